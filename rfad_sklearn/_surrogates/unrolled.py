"""A network and a logistic regression after some steps of gradient descent on the items.

The first layer moves in the span of the items: its steps are taken in the coordinates of that
span, where they cost ``n_items`` in place of the number of columns.
"""

import math

import torch
import torch.nn.functional as F

# Of the descent's momentum.
_MOMENTUM = 0.8


def network_scores(items, one_hot, rows, *, n_hidden, n_steps, rate, generator):
    """Scores of a network of one hidden layer, freshly drawn, after descent on the items.

    Weights are drawn as scikit-learn's ``MLPClassifier`` draws them (Glorot and Bengio 2010).

    Parameters
    ----------
    items : tensor of shape (n_items, d)
    one_hot : tensor of shape (n_items, n_classes)
    rows : tensor of shape (n, d)
    n_hidden, n_steps : int
    rate : float
        Step size.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    tensor of shape (n, n_classes)
    """
    (n, d), n_classes = items.shape, one_hot.shape[1]

    def uniform(*shape, fans):
        bound = math.sqrt(6 / sum(fans))
        return (2 * torch.rand(shape, generator=generator).to(items) - 1) * bound

    first = uniform(d, n_hidden, fans=(d, n_hidden))
    first_bias = uniform(n_hidden, fans=(d, n_hidden))
    second = uniform(n_hidden, n_classes, fans=(n_hidden, n_classes))
    second_bias = uniform(n_classes, fans=(n_hidden, n_classes))
    # With the bias as one more column of ones.
    gram = items @ items.T + 1
    begin = items @ first + first_bias
    # Of the first layer: the sum of all steps, in coordinates of the items.
    moved, velocity = torch.zeros_like(begin), torch.zeros_like(begin)
    second_velocity, bias_velocity = torch.zeros_like(second), torch.zeros_like(second_bias)
    for _ in range(n_steps):
        hidden = F.relu(torch.addmm(begin, gram, moved, alpha=-1))
        error = (F.softmax(torch.addmm(second_bias, hidden, second), dim=1) - one_hot) / n
        back = (error @ second.T) * (hidden > 0)
        velocity = _MOMENTUM * velocity + back
        second_velocity = _MOMENTUM * second_velocity + hidden.T @ error
        bias_velocity = _MOMENTUM * bias_velocity + error.sum(0)
        moved = moved + rate * velocity
        second = second - rate * second_velocity
        second_bias = second_bias - rate * bias_velocity
    kernel = torch.addmm(moved.new_ones(()), rows, items.T)
    hidden = F.relu(torch.addmm(rows @ first + first_bias, kernel, moved, alpha=-1))
    return torch.addmm(second_bias, hidden, second)


def logistic_scores(gram, kernel, one_hot, *, inverse_penalty, n_steps):
    """Scores of a kernel logistic regression with an intercept, fitted on the items.

    Minimises ``|f|^2 / 2 + inverse_penalty * cross entropy`` in the span of the items, by Newton's
    method with the fixed bound ``1/2`` of the curvature (Boehning 1992). The intercept is one more
    column of ones, and penalised as the others are.

    Parameters
    ----------
    gram : tensor of shape (n_items, n_items)
    kernel : tensor of shape (n, n_items)
        Of the rows with the items.
    one_hot : tensor of shape (n_items, n_classes)
    inverse_penalty : float
        What scikit-learn calls ``C``.
    n_steps : int

    Returns
    -------
    tensor of shape (n, n_classes)
    """
    gram = gram + 1
    identity = torch.eye(len(gram), dtype=torch.float64, device=gram.device)
    inverse = torch.linalg.inv(identity + 0.5 * inverse_penalty * gram.double()).to(gram.dtype)
    dual = torch.zeros_like(one_hot)
    for _ in range(n_steps):
        error = one_hot - F.softmax(gram @ dual, dim=1)
        dual = dual + inverse @ (inverse_penalty * error - dual)
    return (kernel + 1) @ dual
