import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from rfad_sklearn import MLP, ConvNet, CoresetSelector, NNGPKernelRidge, RFADDistiller
from rfad_sklearn._kernels.exact import exact_kernel
from rfad_sklearn._ridge.linalg import solve_targets
from rfad_sklearn._utils.network_spec import ConvNetSpec, MLPSpec
from tests.conftest import FAST, FAST_ROWS


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return train_test_split(X, y, stratify=y, random_state=0)


@pytest.fixture(scope="module")
def table_coreset(iris):
    X, _, y, _ = iris
    return RFADDistiller(ipc=2, max_iter=60, random_state=0).fit(X, y).coreset_


def test_exact_scores_are_the_formula(iris):
    X, X_test, y, _ = iris
    clf = NNGPKernelRidge(reg=0.02, preprocessing=None).fit(X, y)
    assert clf.kernel_method_ == "exact"
    first, second = torch.tensor(X), torch.tensor(X_test)
    spec = MLPSpec()
    targets = torch.tensor(np.eye(3)[y] - 1 / 3)
    scores = exact_kernel(spec, second, first) @ solve_targets(
        exact_kernel(spec, first), targets, 0.02
    )
    np.testing.assert_allclose(clf.decision_function(X_test), scores, atol=1e-6)


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
def test_it_classifies_real_tables(kernel):
    X, y = load_breast_cancer(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
    assert NNGPKernelRidge(kernel=kernel).fit(X, y).score(X_test, y_test) > 0.93


def test_it_classifies_real_images(all_digits):
    X, X_test, y, y_test = all_digits
    clf = NNGPKernelRidge(n_networks=8, architecture=ConvNet(width=64), random_state=0).fit(X, y)
    assert clf.kernel_method_ == "random_features"
    assert clf.score(X_test, y_test) > 0.97


def test_random_features_approach_the_exact_kernel(iris):
    X, X_test, y, _ = iris
    exact = NNGPKernelRidge(kernel_method="exact").fit(X, y).decision_function(X_test)

    def error(n_networks):
        clf = NNGPKernelRidge(
            kernel_method="random_features",
            n_networks=n_networks,
            architecture=MLP(width=256),
            random_state=0,
        )
        return abs(clf.fit(X, y).decision_function(X_test) - exact).mean()

    assert error(64) < 0.6 * error(4)
    assert error(64) < 0.1


def test_coreset_brings_everything(coreset, digits):
    _, X_test, _, y_test = digits
    clf = NNGPKernelRidge(n_networks=2, random_state=0).fit_coreset(coreset)
    assert clf.coreset_ is coreset
    assert clf.architecture_ == coreset.architecture
    assert clf.reg_ == coreset.reg
    assert clf.logit_scale_ == coreset.logit_scale
    assert clf.image_shape_ == (8, 8, 1)
    assert clf.n_features_in_ == 64
    assert clf.score(X_test, y_test) > 0.6
    np.testing.assert_array_equal(clf.predict(X_test), clf.predict(X_test.reshape(len(X_test), -1)))


def test_learned_targets_are_what_is_regressed_on(coreset, digits):
    _, X_test, _, _ = digits
    permuted = replace(coreset, targets=coreset.targets[:, [1, 2, 0]])
    first, second = (
        NNGPKernelRidge(n_networks=2, random_state=0).fit_coreset(c).predict(X_test)
        for c in (coreset, permuted)
    )
    np.testing.assert_array_equal((first + 1) % 3, (second + 2) % 3)


def test_binary_decision_function_is_one_dimensional():
    X, y = load_breast_cancer(return_X_y=True)
    labels = np.array(["malignant", "benign"])[y]
    clf = NNGPKernelRidge().fit(X, labels)
    scores = clf.decision_function(X)
    assert scores.shape == (len(X),)
    np.testing.assert_array_equal(clf.classes_[(scores > 0).astype(int)], clf.predict(X))
    probabilities = clf.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(probabilities.argmax(1), scores > 0)


def test_probabilities_of_a_ridge_on_rows_are_calibrated_by_leave_one_out():
    X, y = make_blobs(400, centers=3, cluster_std=4.0, random_state=0)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    clf = NNGPKernelRidge(reg=1e-4).fit(X, y)
    loss = log_loss(y_test, clf.predict_proba(X_test))
    for factor in (0.3, 3.0):
        other = clone(clf).fit(X, y)
        other.logit_scale_ = factor * clf.logit_scale_
        assert loss < log_loss(y_test, other.predict_proba(X_test))


def test_scale_is_one_where_a_class_has_a_single_row():
    X, y = np.arange(6.0).reshape(3, 2), [0, 0, 1]
    assert NNGPKernelRidge().fit(X, y).logit_scale_ == 1.0


def test_a_single_row_of_a_class_leaves_the_scale_to_the_others(iris):
    X, _, y, _ = iris
    one = np.flatnonzero(y == 2)[:1]
    chosen = np.concatenate([np.flatnonzero(y != 2), one])
    scale = NNGPKernelRidge(reg=1e-4).fit(X[y != 2], y[y != 2]).logit_scale_
    assert NNGPKernelRidge(reg=1e-4).fit(X[chosen], y[chosen]).logit_scale_ == pytest.approx(
        scale, rel=0.5
    )
    assert scale > 3


def test_a_stale_scale_gives_a_warning_or_is_refitted(table_coreset, iris):
    X, X_test, y, y_test = iris
    with pytest.warns(
        UserWarning, match=r"logit_scale belongs to kernel='nngp' and reg=0.005.*Give real rows"
    ):
        stale = NNGPKernelRidge(reg=0.5).fit_coreset(table_coreset)
    refitted = NNGPKernelRidge(reg=0.5).fit_coreset(table_coreset, X, y)
    assert refitted.logit_scale_ != stale.logit_scale_
    assert log_loss(y_test, refitted.predict_proba(X_test)) < log_loss(
        y_test, stale.predict_proba(X_test)
    )
    with pytest.warns(UserWarning, match="not to kernel='ntk'"):
        NNGPKernelRidge(kernel="ntk").fit_coreset(table_coreset)


def test_method_is_decided_in_fit_and_stored(iris, coreset, digits, monkeypatch):
    X, _, y, _ = iris
    assert NNGPKernelRidge().fit(X, y).kernel_method_ == "exact"
    assert NNGPKernelRidge().fit_coreset(coreset).kernel_method_ == "exact"
    images, _, labels, _ = digits
    images = images.repeat(4, axis=1).repeat(4, axis=2)
    small = NNGPKernelRidge(n_networks=1, architecture=ConvNet(width=4))
    assert small.fit(images[:90], labels[:90]).kernel_method_ == "random_features"
    assert NNGPKernelRidge().fit(images[:9], labels[:9]).kernel_method_ == "exact"
    monkeypatch.setattr("rfad_sklearn._planning.kernel_method._MOST_EXACT_ROWS", 100)
    small = NNGPKernelRidge(n_networks=2, architecture=MLP(width=16))
    assert small.fit(X, y).kernel_method_ == "random_features"


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
@pytest.mark.slow
def test_exact_kernels_of_images(all_digits, kernel):
    X, X_test, y, y_test = all_digits
    # Images of 4x4 pixels, of grey levels from 0 to 1.
    X, X_test = (
        images.reshape(-1, 4, 2, 4, 2).mean((2, 4)) / 16 for images in (X[:200], X_test[:150])
    )
    y, y_test = y[:200], y_test[:150]
    first, second = (torch.tensor(images[..., None]) for images in (X, X_test))
    spec, targets = ConvNetSpec(depth=2), torch.tensor(np.eye(10)[y] - 0.1)
    dual = solve_targets(exact_kernel(spec, first, kernel=kernel), targets, 5e-3)
    expected = exact_kernel(spec, second, first, kernel=kernel) @ dual
    for dtype, atol in (("float32", 1e-3), ("float64", 1e-7)):
        clf = NNGPKernelRidge(
            kernel=kernel, kernel_method="exact", preprocessing=None, dtype=dtype
        ).fit(X, y)
        np.testing.assert_allclose(clf.decision_function(X_test), expected, atol=atol)
    assert clf.score(X_test, y_test) > 0.85


def test_random_features_of_images_approach_the_exact_kernel(coreset, digits):
    _, X_test, _, _ = digits
    exact = NNGPKernelRidge(kernel_method="exact").fit_coreset(coreset).decision_function(X_test)

    def error(n_networks, width):
        clf = NNGPKernelRidge(
            kernel_method="random_features",
            n_networks=n_networks,
            architecture=ConvNet(width=width),
            random_state=0,
        )
        return abs(clf.fit_coreset(coreset).decision_function(X_test) - exact).mean()

    assert error(32, 64) < 0.5 * error(2, 64)
    assert error(32, 64) < 0.03


def test_ntk_has_no_random_features(iris):
    X, _, y, _ = iris
    with pytest.raises(ValueError, match="kernel='ntk' has no random features"):
        NNGPKernelRidge(kernel="ntk", kernel_method="random_features").fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"architecture": ConvNet(depth=3)},
            r"architecture=ConvNet\(depth=3.*contradicts the coreset's ConvNet\(depth=2",
        ),
        ({"architecture": MLP()}, "takes flat rows, got images of shape"),
        ({"architecture": ConvNet(sigma_b=0.2)}, "contradicts the coreset's"),
        ({"image_shape": (4, 16)}, r"image_shape=\(4, 16\) contradicts the coreset's \(8, 8, 1\)"),
        ({"image_shape": (4, 4)}, "needs 16 columns"),
        ({"preprocessing": "zca"}, "preprocessing='zca' contradicts the coreset"),
        ({"preprocessing": None}, "preprocessing=None contradicts the coreset"),
    ],
)
def test_what_contradicts_the_coreset_is_refused(coreset, parameters, message):
    clf = NNGPKernelRidge(**parameters)
    with pytest.raises(ValueError, match=message):
        clf.fit_coreset(coreset)
    assert not [name for name in vars(clf) if name.endswith("_")]


def test_what_is_compatible_with_the_coreset_is_accepted(coreset, digits):
    X, _, y, _ = digits
    NNGPKernelRidge(
        architecture=ConvNet(depth=2, width=8), image_shape=(8, 8), n_networks=1
    ).fit_coreset(coreset)
    plain = RFADDistiller(**FAST, preprocessing=None).fit(X, y).coreset_
    NNGPKernelRidge(preprocessing=None, n_networks=1).fit_coreset(plain)


def test_only_coresets_are_coresets(iris):
    with pytest.raises(
        TypeError, match=r"must be a Coreset, got ndarray; use fit\(X, y\) for rows"
    ):
        NNGPKernelRidge().fit_coreset(iris[0])


def test_rows_for_the_scale_may_have_labels_as_objects(digits):
    X, _, y, _ = digits
    labels = np.array(["zero", "one", "two"], dtype=object)[y]
    coreset = RFADDistiller(ipc=2, **FAST).fit(X, labels).coreset_
    clf = NNGPKernelRidge(n_networks=2, random_state=0).fit_coreset(coreset, X, labels)
    assert clf.logit_scale_ > 0
    assert clf.score(X, labels) > 0.6


def test_rows_for_the_scale_are_checked(table_coreset, iris):
    X = iris[0]
    with pytest.raises(ValueError, match="X and y must be given together"):
        NNGPKernelRidge().fit_coreset(table_coreset, X)
    with pytest.raises(ValueError, match=r"labels that the coreset does not know: \[7\]"):
        NNGPKernelRidge().fit_coreset(table_coreset, X, np.full(len(X), 7))


def test_numbers_as_text_are_other_labels(rng):
    """numpy compares them as text where there are many."""
    y = np.repeat(np.arange(20), 3)
    X = rng.normal(size=(60, 4))
    coreset = CoresetSelector(random_state=0).fit(X, y).coreset_
    with pytest.raises(
        ValueError, match=r"labels that the coreset does not know: \['0', '1', '10'"
    ):
        NNGPKernelRidge().fit_coreset(coreset, X, y.astype(str))


def test_soft_targets_come_in_by_fit_coreset(iris):
    X, _, y, _ = iris
    with pytest.raises(
        ValueError,
        match=r"array of shape \(112, 3\); soft \(learned\) targets come in with fit_coreset",
    ):
        NNGPKernelRidge().fit(X, np.eye(3)[y])


def test_distiller_inside(digits):
    X, X_test, y, y_test = digits
    labels = np.array(["zero", "one", "two"], dtype=object)[y]
    distiller = RFADDistiller(ipc=2, **FAST)
    clf = NNGPKernelRidge(distiller=distiller, n_networks=2, random_state=0).fit(X, labels)
    assert not hasattr(distiller, "coreset_")
    assert clf.coreset_ is clf.distiller_.coreset_
    assert clf.classes_.tolist() == ["one", "two", "zero"]
    assert clf.score(X_test, np.array(["zero", "one", "two"], dtype=object)[y_test]) > 0.6


def test_scale_of_a_distiller_inside_is_refitted_only_when_stale(digits):
    X, _, y, _ = digits
    parameters = {"distiller": RFADDistiller(ipc=2, **FAST), "n_networks": 2, "random_state": 0}
    own = NNGPKernelRidge(**parameters).fit(X, y)
    assert own.logit_scale_ == own.coreset_.logit_scale
    other = NNGPKernelRidge(**parameters, reg=0.5).fit(X, y)
    assert other.logit_scale_ != other.coreset_.logit_scale


@pytest.mark.parametrize(
    ("parameters", "distiller", "message"),
    [
        (
            {"preprocessing": "zca"},
            {},
            r"distiller's own; give it to the distiller: RFADDistiller\(preprocessing='zca'\)",
        ),
        (
            {"architecture": ConvNet(depth=1)},
            {},
            r"^architecture=ConvNet\(depth=1\) contradicts the distiller .* give it to the "
            r"distiller: RFADDistiller\(architecture=ConvNet\(depth=1\)\)",
        ),
        # Perhaps the same depth; the rows decide.
        (
            {"architecture": ConvNet(depth=2)},
            {},
            r"contradicts the distiller .* RFADDistiller\(architecture=ConvNet\(depth=2\)\)",
        ),
        (
            {"architecture": ConvNet(depth=2)},
            {"architecture": ConvNet(depth=3, width=16)},
            r"^architecture=ConvNet\(depth=2.* the distiller's ConvNet\(depth=3.*: RFADDistiller\(",
        ),
        (
            {"architecture": ConvNet(width=8, sigma_w=1.0)},
            {"architecture": ConvNet(depth=2, width=16)},
            r"contradicts the distiller's ConvNet\(.*: RFADDistiller\(architecture=ConvNet\(",
        ),
        ({"device": "abacus"}, {}, "device='abacus' is not available"),
        (
            {"image_shape": (4, 16)},
            {},
            r"contradicts the distiller's \(8, 8, 1\); give it to the distiller: "
            r"RFADDistiller\(image_shape=\(4, 16\)\)",
        ),
    ],
)
def test_contradictions_are_found_before_the_long_run(
    digits, parameters, distiller, message, monkeypatch
):
    X, _, y, _ = digits
    monkeypatch.setattr(RFADDistiller, "fit", lambda self, X, y: pytest.fail("distilled first"))
    with pytest.raises(ValueError, match=message):
        NNGPKernelRidge(distiller=RFADDistiller(**{**FAST, **distiller}), **parameters).fit(X, y)


def test_a_class_is_no_distiller(iris):
    with pytest.raises(
        TypeError, match=r"got the class RFADDistiller; use distiller=RFADDistiller\(\)"
    ):
        NNGPKernelRidge(distiller=RFADDistiller).fit(iris[0], iris[2])


def test_what_cannot_be_cached_is_an_error(iris, tmp_path):
    distiller = RFADDistiller(**FAST_ROWS, callback=lambda state: False)
    with pytest.raises(
        ValueError,
        match=r"cannot be pickled .* functions .* that are defined in a module, or memory=None",
    ):
        NNGPKernelRidge(distiller=distiller, memory=str(tmp_path)).fit(iris[0], iris[2])


def test_a_parameter_that_is_changed_after_the_fit_changes_nothing(table_coreset, iris):
    X = iris[0]
    for clf in (NNGPKernelRidge(kernel="ntk"), NNGPKernelRidge(kernel="nngp")):
        with warnings.catch_warnings():
            # Of a scale that is stale for one of the two.
            warnings.simplefilter("ignore", UserWarning)
            clf.fit_coreset(table_coreset)
        before = clf.explain(X[:3]), clf.nearest_rows(X)[0]
        clf.set_params(kernel="nngp" if clf.kernel == "ntk" else "ntk")
        for mine, theirs in zip((clf.explain(X[:3]), clf.nearest_rows(X)[0]), before, strict=True):
            assert_array_equal(mine, theirs)


@pytest.mark.parametrize("depth", [None, 3])
def test_a_distiller_inside_gives_its_network(digits, depth):
    """Whatever depth it has chosen or was given, the classifier has that of its coreset."""
    X, X_test, y, _ = digits
    small = {**FAST, "architecture": ConvNet(depth=depth, width=16)}
    clf = NNGPKernelRidge(
        distiller=RFADDistiller(ipc=2, **small),
        architecture=ConvNet(depth=depth, width=24),
        n_networks=2,
        random_state=0,
    ).fit(X, y)
    assert clf.architecture_ == replace(clf.coreset_.architecture, width=24)
    assert clf.architecture_.depth == (depth or 2)
    by_coreset = NNGPKernelRidge(
        architecture=ConvNet(width=24), n_networks=2, random_state=0
    ).fit_coreset(clf.coreset_)
    np.testing.assert_array_equal(
        clf.decision_function(X_test), by_coreset.decision_function(X_test)
    )


def test_the_same_preprocessing_as_the_distiller_is_no_contradiction(digits):
    X, _, y, _ = digits
    distiller = RFADDistiller(**FAST, preprocessing="standardize")
    NNGPKernelRidge(distiller=distiller, preprocessing="standardize", n_networks=1).fit(X, y)


def test_interrupted_runs_are_not_cached(digits, tmp_path, monkeypatch):
    from rfad_sklearn._optimization.loop import _Run

    X, _, y, _ = digits
    step = _Run.step

    def interrupting(self, progress):
        if self.result.n_iter == 2:
            raise KeyboardInterrupt
        return step(self, progress)

    clf = NNGPKernelRidge(distiller=RFADDistiller(**FAST), memory=str(tmp_path), n_networks=1)
    monkeypatch.setattr(_Run, "step", interrupting)
    with pytest.warns(UserWarning, match="interrupted"):
        clf.fit(X, y)
    assert clf.distiller_.n_iter_ == 2
    monkeypatch.undo()
    assert clf.fit(X, y).distiller_.n_iter_ == 6


def test_memory_distils_once(digits, tmp_path, monkeypatch):
    X, _, y, _ = digits
    fit, fits = RFADDistiller.fit, []
    monkeypatch.setattr(
        RFADDistiller, "fit", lambda self, X, y: fits.append(self.ipc) or fit(self, X, y)
    )

    def classify(memory, reg, ipc):
        distiller = RFADDistiller(ipc=ipc, **FAST)
        clf = NNGPKernelRidge(distiller=distiller, memory=memory, reg=reg, n_networks=1)
        return clf.fit(X, y).coreset_

    cache = str(tmp_path / "cache")
    coresets = [classify(cache, reg, 1) for reg in (1e-3, 1e-2)]
    assert fits == [1]
    assert coresets[0] == coresets[1]
    # Another distiller is another entry, and without a cache every fit distils.
    classify(cache, 1e-3, 2)
    for _ in range(2):
        classify(None, 1e-3, 1)
    assert fits == [1, 2, 1, 1]


def test_the_classifier_seeds_a_distiller_without_a_seed(digits):
    X, _, y, _ = digits
    distiller = RFADDistiller(**{**FAST, "random_state": None})
    first, second = (
        NNGPKernelRidge(distiller=distiller, n_networks=1, random_state=3).fit(X, y).coreset_
        for _ in range(2)
    )
    assert first == second
    assert distiller.random_state is None


def test_refit_forgets_the_coreset(coreset, iris):
    X, _, y, _ = iris
    clf = NNGPKernelRidge(n_networks=1).fit_coreset(coreset)
    clf.fit(X, y)
    assert not hasattr(clf, "coreset_")
    assert clf.n_features_in_ == 4


@pytest.mark.parametrize("method", ["exact", "random_features"])
def test_predictions_do_not_depend_on_the_batch(coreset, digits, method):
    _, X_test, _, _ = digits
    clf = NNGPKernelRidge(kernel_method=method, n_networks=2, random_state=0).fit_coreset(coreset)
    whole = clf.decision_function(X_test)
    np.testing.assert_allclose(
        np.concatenate([clf.decision_function(X_test[k : k + 1]) for k in range(9)]),
        whole[:9],
        atol=1e-6,
    )


def test_same_seed_same_predictions_and_another_seed_others(coreset, digits):
    _, X_test, _, _ = digits
    scores = [
        NNGPKernelRidge(kernel_method="random_features", n_networks=2, random_state=seed)
        .fit_coreset(coreset)
        .decision_function(X_test)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_fitted_classifier_holds_no_tensors(coreset):
    clf = NNGPKernelRidge(n_networks=2).fit_coreset(coreset)

    def values(thing):
        yield thing
        for part in getattr(thing, "__dict__", {}).values():
            yield from values(part)

    assert not any(isinstance(value, torch.Tensor | torch.device) for value in values(clf._model))


def test_data_frame_names_are_kept_and_checked():
    pytest.importorskip("pandas")
    frame, y = load_iris(return_X_y=True, as_frame=True)
    coreset = RFADDistiller(**FAST_ROWS).fit(frame, y).coreset_
    assert list(coreset.feature_names) == frame.columns.tolist()
    clf = NNGPKernelRidge().fit_coreset(coreset)
    assert clf.feature_names_in_.tolist() == frame.columns.tolist()
    unnamed = NNGPKernelRidge().fit_coreset(replace(coreset, feature_names=None))
    assert_array_equal(clf.predict(frame), unnamed.predict(frame.to_numpy()))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        clf.predict(frame.to_numpy())
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(frame.rename(columns={frame.columns[0]: "other"}))


def test_verbose_prints_what_is_done(iris, capsys):
    X, _, y, _ = iris
    NNGPKernelRidge(verbose=1).fit(X, y)
    assert "solving the ridge on 112 rows" in capsys.readouterr().out


def test_not_fitted(iris):
    with pytest.raises(NotFittedError):
        NNGPKernelRidge().predict(iris[0])
