"""What is made of the scores of rows: decisions and probabilities."""

from scipy.special import softmax


def decisions(scores):
    """Scores ``(n, n_classes)``, or of two classes their difference: positive for the second."""
    return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores


def probabilities(scores, logit_scale):
    """``softmax(logit_scale * scores)`` of scores ``(n, n_classes)``."""
    return softmax(logit_scale * scores, axis=1)
