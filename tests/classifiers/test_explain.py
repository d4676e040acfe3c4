import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_iris

from rfad_sklearn import MLP, CoresetSelector, ExplanationDisplay, NNGPKernelRidge, RFADDistiller
from rfad_sklearn.kernels import nngp_kernel, ntk_kernel

METHODS = [
    {"kernel_method": "exact"},
    {"kernel_method": "exact", "kernel": "ntk"},
    {"kernel_method": "random_features"},
    {"kernel_method": "random_features", "n_networks": 1, "architecture": MLP(width=8)},
]


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def distiller(iris):
    return RFADDistiller(
        ipc=4, max_iter=30, architecture=MLP(width=32), learn_labels=True, random_state=0
    ).fit(*iris)


def fitted(coreset, X, y, **kw):
    return NNGPKernelRidge(random_state=0, **kw).fit_coreset(coreset, X, y)


@pytest.mark.parametrize("kw", METHODS)
def test_contributions_sum_to_the_scores(iris, distiller, kw):
    X, y = iris
    clf = fitted(distiller.coreset_, X, y, **kw)
    parts = clf.explain(X)
    assert parts.shape == (150, 12, 3)
    np.testing.assert_allclose(parts.sum(1), clf.decision_function(X), rtol=0, atol=1e-10)
    # Each is a weight times the targets of its item.
    flat = parts[:, 0] / distiller.coreset_.targets[0]
    np.testing.assert_allclose(flat, np.broadcast_to(flat[:, :1], flat.shape), atol=1e-8)


def test_two_classes_differ_by_the_decision_function():
    X, y = load_breast_cancer(return_X_y=True)
    clf = NNGPKernelRidge(distiller=CoresetSelector(ipc=3, random_state=0)).fit(X, y)
    parts = clf.explain(X[:20]).sum(1)
    np.testing.assert_allclose(
        parts[:, 1] - parts[:, 0], clf.decision_function(X[:20]), rtol=0, atol=1e-10
    )


def test_images_of_single_precision(digits, coreset):
    X_test = digits[1].astype(np.float32)
    parts = NNGPKernelRidge().fit_coreset(coreset).explain(X_test[:5])
    assert parts.shape == (5, 6, 3)
    np.testing.assert_allclose(
        parts.sum(1),
        NNGPKernelRidge().fit_coreset(coreset).decision_function(X_test[:5]),
        atol=1e-6,
    )


def test_only_a_coreset_has_items(iris):
    clf = NNGPKernelRidge().fit(*iris)
    for call in (clf.explain, clf.nearest_rows):
        with pytest.raises(ValueError, match="fitted on rows"):
            call(iris[0])


@pytest.mark.parametrize(("kernel", "function"), [("nngp", nngp_kernel), ("ntk", ntk_kernel)])
def test_nearest_rows_are_those_of_the_normalised_kernel(iris, distiller, kernel, function):
    X, y = iris
    coreset = distiller.coreset_
    similarities, rows = fitted(coreset, X, y, kernel=kernel, kernel_method="exact").nearest_rows(
        X, n_rows=4
    )
    Z, S = coreset.preprocessing.apply(X), coreset.preprocessing.apply(coreset.X)
    both = function(np.concatenate([Z, S]), architecture=MLP())
    scaled = both / np.sqrt(np.outer(np.diag(both), np.diag(both)))
    expected = scaled[150:, :150]
    np.testing.assert_allclose(np.take_along_axis(expected, rows, axis=1), similarities, atol=1e-9)
    np.testing.assert_allclose(-np.sort(-expected, axis=1)[:, :4], similarities, atol=1e-9)


@pytest.mark.slow
def test_a_chosen_row_is_nearest_to_itself(digits):
    X, _, y, _ = digits
    selector = CoresetSelector(ipc=2, random_state=0).fit(X, y)
    for method in ("exact", "random_features"):
        similarities, rows = (
            NNGPKernelRidge(kernel_method=method)
            .fit_coreset(selector.coreset_)
            .nearest_rows(X, n_rows=2)
        )
        np.testing.assert_array_equal(rows[:, 0], selector.sample_indices_)
        np.testing.assert_allclose(similarities[:, 0], 1, atol=1e-5)
        assert (similarities[:, 1] < similarities[:, 0]).all()


def test_number_of_rows_is_checked(iris, distiller):
    clf = fitted(distiller.coreset_, *iris)
    for n in (0, 151, 2.5):
        with pytest.raises(ValueError, match=f"the 150 rows of X, got {n}"):
            clf.nearest_rows(iris[0], n)
    assert clf.nearest_rows(iris[0], 150)[1].shape == (12, 150)


def test_picture_of_an_image_shows_the_items_with_the_largest_contributions(digits, coreset):
    x = digits[1][0]
    clf = NNGPKernelRidge().fit_coreset(coreset)
    display = ExplanationDisplay.from_estimator(
        clf, x, n_items=2, class_names=["zero", "one", "two"]
    )
    parts = clf.explain(x[None])[0]
    predicted = clf.predict(x[None])[0]
    assert (
        display.axes_[0].get_title()
        == f"predicted {['zero', 'one', 'two'][predicted]}: {parts[:, predicted].sum():+.2f}"
    )
    np.testing.assert_allclose(display.axes_[0].images[0].get_array(), x)
    own = parts[:, predicted]
    assert display.items_[0] == own.argmax()
    assert display.items_[-1] == own.argmin()
    assert (np.diff(own[display.items_]) <= 0).all()
    for ax, item in zip(display.axes_[1:], display.items_, strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), coreset.images[item])
        assert ax.get_title().endswith(f"{own[item]:+.2f}")


def test_picture_of_a_colour_image(rng):
    X = rng.normal(size=(40, 8, 8, 3)) * 50
    clf = NNGPKernelRidge(distiller=CoresetSelector(random_state=0)).fit(X, np.repeat([0, 1], 20))
    display = ExplanationDisplay.from_estimator(clf, X[0])
    for ax in display.axes_:
        picture = ax.images[0].get_array()
        assert picture.shape == (8, 8, 3)
        assert picture.min() >= 0
        assert picture.max() <= 1


def test_a_row_of_a_data_frame():
    X, y = load_iris(return_X_y=True, as_frame=True)
    clf = NNGPKernelRidge(distiller=CoresetSelector(ipc=2, random_state=0)).fit(X, y)
    display = ExplanationDisplay.from_estimator(clf, X.iloc[60])
    own = clf.explain(X.iloc[[60]])[0][:, clf.predict(X.iloc[[60]])[0]]
    np.testing.assert_allclose(display.contributions, own)


def test_bars_of_a_table(iris, distiller):
    X, y = iris
    clf = fitted(distiller.coreset_, X, y)
    figure = Figure()
    display = ExplanationDisplay.from_estimator(clf, X[0], n_items=2, figure=figure)
    own = clf.explain(X[:1])[0][:, clf.predict(X[:1])[0]]
    widths = [bar.get_width() for bar in display.axes_[0].patches]
    np.testing.assert_allclose(widths, own[display.items_])
    assert widths[0] == own.max()
    assert (
        display.axes_[0].get_yticklabels()[0].get_text()
        == f"{distiller.coreset_.y[own.argmax()]} (item {own.argmax()})"
    )
    assert display.figure_ is figure
    with pytest.raises(ValueError, match="n_items must be at least 1"):
        display.plot(n_items=0)
