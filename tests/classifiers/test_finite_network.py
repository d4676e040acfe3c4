import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_iris

from rfad_sklearn import (
    MLP,
    ConvNet,
    Coreset,
    CoresetSelector,
    FiniteNetworkClassifier,
    RFADDistiller,
)
from rfad_sklearn._networks.finite import draw_finite_network, largest_curvature, network_outputs
from rfad_sklearn._utils.network_spec import ConvNetSpec, MLPSpec, resolve_norm
from rfad_sklearn.classifiers._training import target_distribution
from rfad_sklearn.datasets import load_digits_images

CASES = [
    (ConvNetSpec(depth=2, width=6), (9, 7, 2)),
    (ConvNetSpec(depth=2, width=6, readout="mean", pooling="none"), (5, 4, 3)),
    (MLPSpec(depth=2, width=6), (5,)),
]


@pytest.mark.parametrize(("spec", "shape"), CASES)
def test_outputs_are_those_of_a_plain_network(spec, shape):
    x = torch.randn((4, *shape), generator=torch.Generator().manual_seed(0))
    *hidden, weight, bias = draw_finite_network(spec, shape, 3, seed=5)
    y = x if isinstance(spec, MLPSpec) else x.permute(0, 3, 1, 2)
    for layer_weight, layer_bias in zip(hidden[::2], hidden[1::2], strict=True):
        if isinstance(spec, MLPSpec):
            y = torch.relu(y @ layer_weight.T + layer_bias)
            continue
        y = torch.relu(torch.nn.functional.conv2d(y, layer_weight, layer_bias, padding=1))
        y = torch.nn.functional.avg_pool2d(y, 2) if spec.pooling == "avg" else y
    if not isinstance(spec, MLPSpec):
        y = y.mean((2, 3)) if spec.readout == "mean" else y.permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(
        network_outputs(spec, [*hidden, weight, bias], x), y @ weight.T + bias
    )


@pytest.mark.slow
def test_wide_networks_have_the_nngp_as_covariance():
    """Over many networks the outputs at initialisation have the kernel as their covariance."""
    from rfad_sklearn.kernels import nngp_kernel

    spec, x = (
        MLPSpec(depth=2, width=256),
        torch.randn((3, 5), generator=torch.Generator().manual_seed(0)),
    )
    outputs = torch.stack(
        [
            network_outputs(spec, draw_finite_network(spec, (5,), 1, seed), x)[:, 0]
            for seed in range(3000)
        ]
    )
    kernel = torch.from_numpy(nngp_kernel(x.numpy().astype(float), architecture=spec)).float()
    covariance = outputs.T @ outputs / len(outputs)
    assert (covariance - kernel).abs().max() < 0.12 * kernel.max()


def test_instance_norm_removes_the_contrast():
    spec, shape = ConvNetSpec(depth=2, width=8, sigma_b=0.0), (8, 8, 1)
    x = torch.randn((3, *shape), generator=torch.Generator().manual_seed(0))
    parameters = draw_finite_network(spec, shape, 2, 0, instance_norm=True)
    outputs = network_outputs(spec, parameters, x, instance_norm=True)
    torch.testing.assert_close(
        network_outputs(spec, parameters, 5 * x, instance_norm=True), outputs, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(("spec", "shape"), CASES)
def test_largest_curvature_is_that_of_the_jacobian(spec, shape):
    x = torch.randn((4, *shape), generator=torch.Generator().manual_seed(0)).double()
    parameters = [parameter.double() for parameter in draw_finite_network(spec, shape, 3, seed=5)]

    def outputs(parameters):
        return network_outputs(spec, parameters, x)

    jacobians = torch.autograd.functional.jacobian(lambda *p: outputs(list(p)), tuple(parameters))
    jacobian = torch.cat([part.reshape(12, -1) for part in jacobians], dim=1)
    exact = torch.linalg.eigvalsh(jacobian @ jacobian.T)[-1].item() / 4
    assert largest_curvature(
        outputs, parameters, torch.Generator().manual_seed(0)
    ) == pytest.approx(exact, rel=0.1)


def test_where_networks_are_normalised():
    assert resolve_norm("auto", ConvNetSpec(), (28, 28, 1))
    assert not resolve_norm("auto", ConvNetSpec(), (8, 8, 1))
    assert resolve_norm("instance", ConvNetSpec(), (8, 8, 1))
    assert not resolve_norm("auto", MLPSpec(), (8,))
    assert not resolve_norm(None, ConvNetSpec(), (28, 28, 1))
    for spec, shape in ((MLPSpec(), (8,)), (ConvNetSpec(depth=2), (2, 3, 1))):
        with pytest.raises(ValueError, match="more than one pixel"):
            resolve_norm("instance", spec, shape)


def test_targets_as_probabilities():
    targets = torch.tensor([[2 / 3, -1 / 3, -1 / 3], [0.5, -0.6, 0.1]])
    torch.testing.assert_close(
        target_distribution(targets),
        torch.tensor([[1, 0, 0], [0.8333333, 0, 0.4333333]]) / torch.tensor([[1], [1.2666667]]),
    )


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits_images()
    return X[:1200], y[:1200], X[1200:], y[1200:]


@pytest.fixture(scope="module")
def coreset(digits):
    distiller = RFADDistiller(ipc=1, max_iter=150, architecture=ConvNet(width=64), random_state=0)
    return distiller.fit(*digits[:2]).coreset_


SMALL = {"architecture": ConvNet(width=32), "max_iter": 200, "random_state": 0}


@pytest.mark.slow
def test_network_trained_on_a_coreset_beats_one_trained_on_random_rows(digits, coreset):
    X, y, X_test, y_test = digits
    rows = CoresetSelector(strategy="random", random_state=0).fit(X, y).coreset_
    # A single network of so few channels gets 71 to 78 %, by seed and machine.
    clf = FiniteNetworkClassifier(**SMALL, n_init=4)
    scores = [clf.fit_coreset(c, X[:300], y[:300]).score(X_test, y_test) for c in (coreset, rows)]
    assert scores[0] > scores[1] + 0.1
    assert scores[0] > 0.75


@pytest.mark.slow
@pytest.mark.parametrize(
    "kw",
    [
        {"loss": "cross_entropy"},
        # A single one gets 62 to 71 %: the last maps of these images have four pixels to normalise
        # by.
        {"norm": "instance", "n_init": 4},
        {"n_init": 2},
        {"augment": ("crop", "scale")},
        {"weight_decay": 1e-3},
    ],
)
def test_options_learn_too(digits, coreset, kw):
    clf = FiniteNetworkClassifier(**SMALL, **kw).fit_coreset(
        coreset, digits[0][:300], digits[1][:300]
    )
    # Items made for squared loss teach less by cross entropy.
    assert clf.score(*digits[2:]) > (0.4 if "loss" in kw else 0.6)
    assert clf.validation_loss_ < 1.5


@pytest.mark.slow
def test_held_out_rows_choose_the_step_size_of_cross_entropy(digits, coreset, capsys):
    """Items need smaller steps than rows do."""
    X, y, X_test, y_test = digits
    clf = FiniteNetworkClassifier(**SMALL, loss="cross_entropy", verbose=1)
    clf.fit_coreset(coreset, X[:300], y[:300])
    assert "a step size 2 times the safe one" in capsys.readouterr().out
    assert clf.fit(X, y).score(X_test, y_test) > 0.9
    assert "a step size 8 times the safe one" in capsys.readouterr().out


def test_strong_weight_decay_keeps_the_network_at_its_start(digits, coreset):
    free, held = (
        FiniteNetworkClassifier(**SMALL, label_scale=1.0, weight_decay=decay).fit_coreset(coreset)
        for decay in (0.0, 10.0)
    )
    assert (
        abs(held.decision_function(digits[2])).max()
        < 0.2 * abs(free.decision_function(digits[2])).max()
    )


@pytest.mark.slow
def test_lazy_network_is_kernel_regression_with_its_tangent_kernel():
    """Small targets and centring keep gradient descent in the linear regime.

    There the network follows its own tangent kernel.
    """
    X, y = load_iris(return_X_y=True)
    coreset = (
        CoresetSelector(ipc=2, random_state=0, architecture=MLP(depth=1, width=64))
        .fit(X, y)
        .coreset_
    )
    clf = FiniteNetworkClassifier(
        architecture=MLP(depth=1, width=256),
        label_scale=0.01,
        max_iter=4000,
        random_state=0,
        dtype="float64",
    ).fit_coreset(coreset)
    start = [torch.from_numpy(array) for array in clf._networks[0][1]]

    def jacobian(rows):
        x = torch.from_numpy(coreset.preprocessing.apply(rows)).double()
        parts = torch.autograd.functional.jacobian(
            lambda *p: network_outputs(clf.architecture_, list(p), x), tuple(start)
        )
        return torch.cat([part.reshape(3 * len(rows), -1) for part in parts], dim=1)

    J_S, J = jacobian(coreset.X), jacobian(X[::10])
    expected = (
        J @ J_S.T @ torch.linalg.solve(J_S @ J_S.T, torch.tensor(coreset.targets).reshape(-1))
    )
    np.testing.assert_allclose(
        clf.decision_function(X[::10]), expected.reshape(-1, 3).numpy(), atol=0.03
    )


@pytest.mark.slow
def test_training_in_reduced_precision_ends_nearby(digits, coreset):
    # With large targets, or instance normalisation, training is chaotic in any precision.
    wide, narrow = (
        FiniteNetworkClassifier(**SMALL, label_scale=0.25, dtype=dtype)
        .fit_coreset(coreset)
        .decision_function(digits[2])
        for dtype in ("float64", "bfloat16")
    )
    assert 0 < np.abs(narrow - wide).mean() < 0.25 * np.abs(wide).mean()


def test_hidden_layers_compute_in_the_type_that_is_given():
    """The last dense layer keeps that of the parameters: bfloat16 costs only its rounding."""
    spec, shape = ConvNetSpec(depth=2, width=32), (8, 8, 1)
    x = torch.randn((6, *shape), generator=torch.Generator().manual_seed(0))
    parameters = draw_finite_network(spec, shape, 3, seed=0)
    wide, narrow = (
        network_outputs(spec, parameters, x, dtype=dtype) for dtype in (None, torch.bfloat16)
    )
    assert narrow.dtype == torch.float32
    assert 0 < (narrow - wide).abs().max() < 0.02 * wide.abs().max()


def test_without_centering_the_outputs_at_initialisation_remain(coreset):
    items = coreset.images
    fitted = [
        FiniteNetworkClassifier(**SMALL, centering=c, label_scale=1.0).fit_coreset(coreset)
        for c in (True, False)
    ]
    for clf in fitted:
        assert (clf.predict(items) == coreset.y).all()
    assert abs(fitted[0].decision_function(items) - fitted[1].decision_function(items)).max() > 1e-3


def test_rows_with_any_labels():
    X, y = load_breast_cancer(return_X_y=True)
    clf = FiniteNetworkClassifier(architecture=MLP(width=64), max_iter=200, random_state=0)
    clf.fit(X, np.array(["bad", "good"])[y])
    assert set(clf.predict(X)) == {"bad", "good"}
    assert (clf.predict(X) == np.array(["bad", "good"])[y]).mean() > 0.93
    assert clf.label_scale_ in (1.0, 4.0, 16.0)
    p = clf.predict_proba(X)
    assert -np.log(p[np.arange(len(y)), y]).mean() < 0.25


def test_soft_targets_are_used(coreset):
    swapped = Coreset(**{**vars(coreset), "targets": np.roll(coreset.targets, 1, axis=1)})
    clf = FiniteNetworkClassifier(**SMALL).fit_coreset(swapped)
    assert (clf.predict(coreset.images) == (coreset.y + 1) % 10).all()


def test_same_seed_same_bits_and_row_independence(digits, coreset):
    first, second = (FiniteNetworkClassifier(**SMALL).fit_coreset(coreset) for _ in range(2))
    X = digits[2]
    np.testing.assert_array_equal(first.decision_function(X), second.decision_function(X))
    np.testing.assert_array_equal(
        first.decision_function(X)[37:40], first.decision_function(X[37:40])
    )


def test_too_large_a_step_is_an_error_and_leaves_nothing_fitted(coreset):
    clf = FiniteNetworkClassifier(**SMALL, learning_rate=1e4)
    with pytest.raises(FloatingPointError, match=r"learning_rate=10000\.0"):
        clf.fit_coreset(coreset)
    assert not hasattr(clf, "classes_")


def test_label_scale_belongs_to_mse(coreset):
    with pytest.raises(ValueError, match=r"label_scale=2\.0 belongs to loss='mse'"):
        FiniteNetworkClassifier(**SMALL, loss="cross_entropy", label_scale=2.0).fit_coreset(coreset)


def test_augmentation_needs_images():
    with pytest.raises(ValueError, match="flat rows"):
        FiniteNetworkClassifier(augment=True).fit(*load_iris(return_X_y=True))
