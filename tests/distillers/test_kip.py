from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris

from rfad_sklearn import Coreset, KIPDistiller, NNGPKernelRidge
from rfad_sklearn._kernels.exact import exact_kernel
from rfad_sklearn._optimization.exact_kernel_objective import ExactKernelObjective
from rfad_sklearn._optimization.ridge_objective import (
    RidgeConfig,
    centred_one_hot,
)
from rfad_sklearn._ridge.linalg import solve_targets
from rfad_sklearn._utils.network_spec import ConvNetSpec
from rfad_sklearn.distillers._prepare import prepare

FAST = {"max_iter": 6, "eval_every": 3, "batch_size": 32, "random_state": 0}


@pytest.fixture(scope="module")
def small(digits):
    """Images of 4x4 pixels."""
    X, X_test, y, y_test = digits
    halved = (images.reshape(-1, 4, 2, 4, 2).mean((2, 4)) for images in (X, X_test))
    return *halved, y, y_test


@pytest.mark.slow
def test_it_distils_images(small):
    X, X_test, y, y_test = small
    distiller = KIPDistiller(**{**FAST, "max_iter": 60, "eval_every": 20}).fit(X, y)
    coreset = distiller.coreset_
    assert coreset.kernel == "ntk"
    assert coreset.images.shape == (3, 4, 4)
    assert distiller.loss_curve_[-1] < 0.7 * distiller.loss_curve_[0]
    score = NNGPKernelRidge(kernel="ntk").fit_coreset(coreset).score(X_test, y_test)
    rows = np.concatenate([np.flatnonzero(y == label)[:1] for label in range(3)])
    assert score > NNGPKernelRidge(kernel="ntk").fit(X[rows], y[rows]).score(X_test, y_test) + 0.05


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_the_loss_is_the_formula(small, kernel, loss):
    X, _, y, _ = small
    context = prepare(KIPDistiller(ipc=2, dtype="float64"), X, y, 0)
    objective = ExactKernelObjective(
        context.spec,
        context.training_data,
        RidgeConfig(batch_size=20, reg=0.01, loss=loss),
        kernel=kernel,
        compiled=False,
        generator=torch.Generator().manual_seed(0),
        device="cpu",
    )
    variables = context.initial_variables("random")
    variables["log_scale"].fill_(0.7)
    spec = ConvNetSpec(depth=2)
    assert context.spec.depth == 2
    batch, labels = objective.inputs, objective.labels
    assert len(batch) == 20
    dual = solve_targets(
        exact_kernel(spec, variables["X"], kernel=kernel), variables["targets"], 0.01
    )
    scores = exact_kernel(spec, batch, variables["X"], kernel=kernel) @ dual
    expected = (
        torch.nn.functional.cross_entropy(np.exp(0.7) * scores, labels)
        if loss == "cross_entropy"
        else 0.5 * (scores - centred_one_hot(labels, 3)).square().sum(1).mean()
    )
    torch.testing.assert_close(objective.loss(variables), expected, rtol=1e-6, atol=0)


def test_every_step_sees_fresh_rows_with_their_labels(small):
    X, _, y, _ = small
    context = prepare(KIPDistiller(), X, y, 0)
    n_train, rows = len(context.train), []
    data = context.training_data
    watched = replace(
        data,
        read=lambda indices: rows.append(indices) or data.read(indices),
        validation=data.validation[:0],
    )
    objective = ExactKernelObjective(
        context.spec,
        watched,
        RidgeConfig(batch_size=n_train // 4, reg=0.01, loss="mse"),
        kernel="nngp",
        compiled=False,
        generator=torch.Generator().manual_seed(0),
        device="cpu",
    )
    for _ in range(3):
        objective.after_step(None)
    assert len(torch.cat(rows).unique()) == n_train // 4 * 4
    torch.testing.assert_close(objective.inputs, data.read(rows[-1]))
    assert torch.equal(objective.labels, torch.from_numpy(y)[rows[-1]])


def test_same_seed_same_bits(small):
    X, _, y, _ = small
    first, second, other = (
        KIPDistiller(**{**FAST, "random_state": seed}).fit(X, y).coreset_ for seed in (0, 0, 1)
    )
    assert first == second
    assert first != other


def test_transform_is_the_kernel_map(small):
    X, X_test, y, _ = small
    distiller = KIPDistiller(**FAST, kernel="nngp", ipc=2).fit(X, y)
    Z, Z_items = distiller.transform(X_test), distiller.transform(distiller.coreset_.images)
    assert Z.shape == (len(X_test), 6)
    inputs = torch.tensor(distiller.coreset_.inputs)
    gram = exact_kernel(ConvNetSpec(depth=2), inputs)
    # Z_items Z_items^T = K (K + ridge)^-1 K, centred and divided by a number.
    expected = (gram @ solve_targets(gram, gram, 5e-3)).numpy()
    expected = expected - expected.mean(0)
    expected = expected - expected.mean(1, keepdims=True)
    expected *= Z_items.size / expected.trace()
    np.testing.assert_allclose(Z_items @ Z_items.T, expected, rtol=1e-3, atol=1e-3)
    # Of the kernel that it was fitted with.
    np.testing.assert_array_equal(distiller.set_params(kernel="ntk").transform(X_test), Z)


def test_tables_round_trip(tmp_path):
    X, y = load_iris(return_X_y=True)
    distiller = KIPDistiller(ipc=2, **FAST, learn_labels=True).fit(X, y)
    loaded = Coreset.load(distiller.coreset_.save(tmp_path / "coreset.npz"))
    assert loaded == distiller.coreset_
    assert loaded.provenance["method"] == "KIPDistiller"
    clf = NNGPKernelRidge(distiller=KIPDistiller(**FAST), kernel="ntk").fit(X, y)
    assert clf.score(X, y) > 0.7


def test_only_types_that_the_kernels_have():
    X, y = load_iris(return_X_y=True)
    for dtype in ("bfloat16", torch.bfloat16):
        with pytest.raises(ValueError, match="'dtype' parameter of KIPDistiller must be"):
            KIPDistiller(dtype=dtype).fit(X, y)
