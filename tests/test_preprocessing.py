import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)

from rfad_sklearn import (
    MLP,
    ChannelStandardizer,
    ConvNet,
    InstanceNormalizer,
    NNGPKernelRidge,
    RegularizedZCA,
    RFADDistiller,
)
from rfad_sklearn._utils.preprocessing_fit import standardizing_value, whitening_value
from rfad_sklearn._utils.preprocessing_value import Preprocessing
from rfad_sklearn.preprocessing import fit_preprocessing
from tests.conftest import FAST_ROWS


@pytest.fixture
def colour(rng):
    """Smooth colour images: their pixels are correlated, as those of photographs are."""
    noise = rng.normal(size=(300, 6, 6, 3))
    return np.cumsum(np.cumsum(noise, axis=1), axis=2) * [1.0, 10.0, 100.0] + [5.0, 0.0, -7.0]


def test_channels_are_standardised_each_by_itself(colour):
    Z = ChannelStandardizer().fit_transform(colour)
    assert Z.shape == colour.shape
    assert_allclose(Z.mean((0, 1, 2)), 0, atol=1e-12)
    assert_allclose(Z.std((0, 1, 2)), 1)


def test_tables_are_standardised_by_column(rng):
    X = rng.normal(size=(50, 4)) * [1, 10, 100, 0] + [0, 5, 0, 3]
    Z = ChannelStandardizer().fit_transform(X)
    assert_allclose(Z[:, :3], StandardScaler().fit_transform(X)[:, :3])
    assert_allclose(Z[:, 3], 0)


def test_flat_images_with_a_shape_equal_images(colour):
    flat = ChannelStandardizer(image_shape=(6, 6, 3)).fit_transform(colour.reshape(300, -1))
    assert_allclose(flat, ChannelStandardizer().fit_transform(colour).reshape(300, -1))


def test_untruncated_zca_is_the_textbook_formula(colour):
    Z = ChannelStandardizer().fit_transform(colour).reshape(300, -1)
    moment = Z.T @ Z / 300
    values, vectors = np.linalg.eigh(moment + 0.1 * np.trace(moment) / 108 * np.eye(108))
    expected = Z @ (vectors / np.sqrt(values)) @ vectors.T
    got = RegularizedZCA(n_components=108).fit_transform(colour).reshape(300, -1)
    assert_allclose(got, expected, atol=1e-4 * abs(expected).max())


def test_automatic_truncation_changes_little_and_saves_much(colour):
    full = RegularizedZCA(n_components=108).fit_transform(colour)
    zca = RegularizedZCA().fit(colour)
    assert zca.n_components_ < 100
    assert_allclose(zca.transform(colour), full, atol=0.02 * abs(full).max())


@pytest.mark.parametrize("n_components", [5, None])
def test_truncated_zca_is_inverted_exactly(colour, n_components):
    zca = RegularizedZCA(n_components=n_components).fit(colour)
    assert_allclose(
        zca.inverse_transform(zca.transform(colour)), colour, atol=1e-4 * abs(colour).max()
    )


def test_whitening_makes_the_spectrum_flatter(colour):
    before = np.linalg.eigvalsh(
        np.cov(ChannelStandardizer().fit_transform(colour).reshape(300, -1).T)
    )
    after = np.linalg.eigvalsh(np.cov(RegularizedZCA().fit_transform(colour).reshape(300, -1).T))
    assert after[-1] / after.mean() < 0.2 * before[-1] / before.mean()


def test_images_are_whitened_gently_by_default(colour):
    """The formula, where all directions are kept.

    Where there are more than 64, only the leading ones are.
    """
    rows = colour[..., :1].reshape(300, -1)
    Z = ChannelStandardizer(image_shape=(6, 6, 1)).fit_transform(rows)
    moment = Z.T @ Z / len(Z)
    values, vectors = np.linalg.eigh(moment + (1 + 36 / 300) * np.trace(moment) / 36 * np.eye(36))
    auto = fit_preprocessing("auto", rows, (6, 6, 1))
    assert_allclose(auto.apply(rows), Z @ (vectors / np.sqrt(values)) @ vectors.T, atol=1e-4)
    assert_allclose(auto.invert(auto.apply(rows)), rows, rtol=1e-3, atol=1e-3)
    rows = colour.reshape(300, -1)
    auto = fit_preprocessing("auto", rows, (6, 6, 3))
    assert auto.components.shape == (64, 108)
    moments = np.square(auto.apply(rows) @ auto.components.T).mean(axis=0)
    assert (np.diff(moments) < 0.01).all()
    assert moments.max() < 1


@pytest.mark.parametrize(("standing_out", "whitened"), [(10, 64), (100, 100)])
def test_large_images_are_whitened_more_along_the_directions_that_stand_out(
    rng, standing_out, whitened
):
    n, d = 2000, 400
    deviations = np.where(np.arange(d) < standing_out, 3.0, 0.1)
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    rows = (rng.normal(size=(n, d)) * deviations) @ basis.T
    value = fit_preprocessing("auto", rows, (20, 20, 1))
    Z = ChannelStandardizer(image_shape=(20, 20, 1)).fit_transform(rows)
    eigenvalues = np.linalg.eigvalsh(Z.T @ Z / n)[::-1]
    # Less than the 1 + d / n of images of up to 256 pixels.
    shift = (np.sqrt(256 / d) + d / n) * eigenvalues.mean()
    assert len(value.gains) == whitened
    assert_allclose(value.gains[:5], 1 / np.sqrt(eigenvalues[:5] + shift), rtol=1e-2)
    assert_allclose(value.tail, 1 / np.sqrt(eigenvalues[whitened:].mean() + shift), rtol=2e-2)


def test_few_images_are_hardly_whitened_and_tables_not_at_all(colour):
    rows = colour.reshape(300, -1)
    ratios = [
        np.ptp(value.gains) / value.tail
        for value in (fit_preprocessing("auto", rows[:n], (6, 6, 3)) for n in (60, 150, 300))
    ]
    assert ratios[0] < ratios[1] < ratios[2]
    table = fit_preprocessing("auto", rows, None)
    assert len(table.gains) == 0
    assert table == standardizing_value(rows, None)


@pytest.mark.parametrize(
    "rows", [np.zeros((60, 16)), np.arange(160.0).reshape(10, 16), np.ones((60, 1))]
)
def test_images_without_directions_to_whiten_are_standardised(rows):
    side = int(rows.shape[1] ** 0.5)
    value = fit_preprocessing("auto", rows, (side, side, 1))
    assert value == standardizing_value(rows, (side, side, 1))
    assert np.isfinite(value.apply(rows)).all()


def test_instances_lose_their_own_brightness_and_contrast(colour):
    normalizer = InstanceNormalizer().fit(colour)
    Z = normalizer.transform(colour)
    assert_allclose(Z.mean((1, 2, 3)), 0, atol=1e-9)
    assert_allclose(Z.std((1, 2, 3)), 1, rtol=1e-6)
    assert not hasattr(normalizer, "inverse_transform")


@pytest.mark.parametrize("zca_reg", [None, 0.1])
def test_transform_of_the_inverse_is_the_identity_also_with_a_row_norm(colour, zca_reg):
    value = InstanceNormalizer(zca_reg=zca_reg).fit(colour).value_
    Z = value.apply(colour.reshape(300, -1))
    assert_allclose(value.apply(value.invert(Z)), Z, atol=1e-4)
    assert_allclose(value.project(Z), Z, atol=1e-4)


def test_projection_is_transform_of_inverse_for_any_row_and_has_a_gradient(colour, rng):
    value = InstanceNormalizer(zca_reg=0.1).fit(colour).value_
    z = rng.normal(size=(3, 108))
    assert_allclose(value.project(z), value.apply(value.invert(z)), atol=1e-4)
    on_device = value.to("cpu", torch.float64)
    assert_allclose(on_device.project(torch.tensor(z)), value.project(z), atol=1e-9)
    assert torch.autograd.gradcheck(on_device.project, torch.tensor(z[:1]).requires_grad_())


def test_float_types_are_kept(colour):
    for dtype, expected in (
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.uint8, np.float32),
    ):
        X = abs(colour[:, :, :, 0]).astype(dtype)
        assert ChannelStandardizer().fit(X).transform(X).dtype == expected


def test_a_value_is_fitted_in_chunks(monkeypatch, colour):
    rows = colour.reshape(300, -1)
    whole = whitening_value(rows, (6, 6, 3), 0.1, None)
    monkeypatch.setattr("rfad_sklearn._utils.preprocessing_fit._CHUNK", 70)
    parts = whitening_value(rows, (6, 6, 3), 0.1, None)
    assert_allclose(parts.apply(rows), whole.apply(rows), atol=1e-3)


def test_whitening_without_shrinkage_of_deficient_data_is_refused(rng):
    X = rng.normal(size=(5, 20))
    with pytest.raises(
        ValueError, match=r"reg=0 cannot whiten data of deficient rank; use reg > 0"
    ):
        RegularizedZCA(reg=0).fit(X)


def test_more_components_than_columns_are_refused(rng):
    with pytest.raises(ValueError, match="n_components=9 is more than the 4 columns of X"):
        RegularizedZCA(n_components=9).fit(rng.normal(size=(20, 4)))


def test_inverse_of_another_number_of_columns_is_refused(rng):
    scaler = ChannelStandardizer().fit(rng.normal(size=(20, 4)))
    with pytest.raises(ValueError, match=r"X must have 4 columns, got shape \(2, 5\)"):
        scaler.inverse_transform(np.zeros((2, 5)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": np.zeros(3)}, "must be positive"),
        ({"scale": np.ones(2)}, "same length"),
        ({"offset": np.array([0, np.nan, 0])}, "offset holds NaN"),
        ({"gains": np.ones(2)}, "components must be of shape"),
        ({"tail": -1.0}, "must be positive"),
    ],
)
def test_a_value_checks_itself(change, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**{"offset": np.zeros(3), "scale": np.ones(3), **change})


ROWS = st_numpy.arrays(
    np.float64,
    st.tuples(st.integers(2, 80), st.integers(1, 5)),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
)


@settings(max_examples=30, deadline=None)
@given(rows=ROWS, kind=st.sampled_from(["auto", "standardize", "zca", None]))
def test_any_rows_are_taken_back(rows, kind):
    value = fit_preprocessing(kind, rows, (1, rows.shape[1], 1))
    Z = value.apply(rows)
    assert np.isfinite(Z).all()
    # Relative to the largest number: the components are float32.
    assert_allclose(value.invert(Z), rows, atol=1e-4 * max(abs(rows).max(), 1e-30))
    assert_allclose(value.apply(value.invert(Z)), Z, atol=1e-4 * max(abs(Z).max(), 1))
    assert_allclose(value.project(Z), Z)


@settings(max_examples=30, deadline=None)
@given(rows=ROWS, zca_reg=st.sampled_from([None, 0.1, 1.0]))
def test_any_rows_that_were_normed_keep_their_transform(rows, zca_reg):
    value = InstanceNormalizer(zca_reg=zca_reg).fit(rows).value_
    Z = value.apply(rows)
    scaled = (rows - value.offset) / value.scale
    # A row of equal numbers has no contrast that a second norm could keep.
    contrast = scaled.std(axis=1) > 1e-3 * max(abs(scaled).max(), 1)
    assert_allclose(value.project(Z)[contrast], Z[contrast], atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(
    rows=ROWS,
    kind=st.sampled_from(["standardize", "zca"]),
    dtype=st.sampled_from(["float64", "float32", "int64", "uint8"]),
)
def test_a_value_of_tensors_does_what_one_of_arrays_does(rows, kind, dtype):
    value = fit_preprocessing(kind, rows, None)
    rows = abs(rows).clip(0, 200).astype(dtype)
    tensors = value.to("cpu", torch.float64)
    Z = value.apply(rows)
    of_tensors = tensors.apply(torch.from_numpy(rows))
    assert of_tensors.numpy().dtype == Z.dtype
    scale = max(abs(Z).max(), 1e-30)
    assert_allclose(of_tensors.numpy(), Z, rtol=1e-4, atol=1e-4 * scale)
    back = value.invert(Z)
    # Where rows are far from the offset, its digits are lost on the way.
    size = max(abs(back).max(), abs(value.offset).max())
    assert_allclose(tensors.invert(torch.from_numpy(Z)).numpy(), back, atol=1e-9 * size)
    assert isinstance(tensors.offset, torch.Tensor)
    assert isinstance(value.offset, np.ndarray)


def test_values_compare_by_content():
    first, second = Preprocessing.identity(3), Preprocessing.identity(3)
    assert first == second
    assert first != Preprocessing.identity(4)
    assert first != "identity"


@pytest.mark.parametrize(
    "preprocessing",
    [None, "auto", "standardize", "zca", RegularizedZCA(n_components=7), StandardScaler()],
)
def test_every_preprocessing_gives_a_coreset_in_raw_units(digits, preprocessing):
    """Without a step the coreset is real rows: in raw units they are found among the rows of X."""
    X, _, y, _ = digits
    distiller = RFADDistiller(
        ipc=2,
        max_iter=0,
        architecture=ConvNet(width=8),
        n_networks=1,
        preprocessing=preprocessing,
        random_state=0,
    ).fit(X, y)
    rows = X.reshape(len(X), -1)
    for item in distiller.coreset_.X:
        assert abs(rows - item).max(1).min() < 1e-3


def test_parameters_of_a_preprocessor_are_not_changed(digits):
    X, _, y, _ = digits
    zca = RegularizedZCA()
    RFADDistiller(max_iter=0, architecture=ConvNet(width=8), n_networks=1, preprocessing=zca).fit(
        X, y
    )
    assert zca.image_shape is None
    assert not hasattr(zca, "value_")


def test_a_transformer_may_change_the_number_of_columns(rng):
    X = rng.normal(size=(60, 6))
    y = (X[:, 0] > 0).astype(int)
    distiller = RFADDistiller(
        ipc=2, max_iter=2, architecture=MLP(width=8), preprocessing=PCA(3), random_state=0
    ).fit(X, y)
    assert distiller.coreset_.X.shape == (4, 6)
    assert distiller.transform(X).shape == (60, 4)


def test_a_transformer_must_keep_the_pixels_of_images(digits):
    X, _, y, _ = digits
    with pytest.raises(ValueError, match=r"PCA makes 3 columns of images of shape \(8, 8, 1\)"):
        RFADDistiller(preprocessing=PCA(3)).fit(X, y)


def test_a_classifier_on_rows_needs_no_inverse(rng):
    from sklearn.preprocessing import Normalizer

    X = rng.normal(size=(60, 6)) + 1
    y = (X[:, 0] > 1).astype(int)
    assert NNGPKernelRidge(preprocessing=Normalizer()).fit(X, y).score(X, y) > 0.7


def test_a_transformer_without_inverse_is_refused(rng):
    from sklearn.preprocessing import Normalizer

    with pytest.raises(ValueError, match=r"Normalizer\(\) has no inverse_transform.*Pipeline"):
        fit_preprocessing(clone(Normalizer()), rng.normal(size=(9, 3)), None)


def test_constant_data_is_left_finite():
    value = standardizing_value(np.full((5, 3), 1e6), None)
    assert_allclose(value.apply(np.full((2, 3), 1e6)), 0)


def test_a_value_takes_rows_images_and_lists(colour):
    value = fit_preprocessing("standardize", colour.reshape(300, -1), (6, 6, 3))
    flat = value.apply(colour.reshape(300, -1))
    assert_array_equal(value.apply(colour), flat)
    assert_array_equal(value.apply(colour.tolist()), flat)
    assert_array_equal(value.apply(colour.reshape(300, -1).astype(">f8")), flat)
    for rows in (colour[:, :5], colour[0, 0, 0]):
        with pytest.raises(
            ValueError,
            match=r"takes rows of 108 columns, or images of as many numbers, got an array of shape",
        ):
            value.apply(rows)


def test_byte_order_is_no_type(rng):
    X, y = rng.normal(size=(30, 4)), np.arange(30) % 3
    mine, theirs = (
        RFADDistiller(**FAST_ROWS).fit(rows, y).coreset_ for rows in (X, X.astype(">f8"))
    )
    assert theirs.X.dtype == np.float64
    assert_array_equal(theirs.X, mine.X)


def test_images_of_another_shape_are_not_taken_back(colour):
    with pytest.raises(
        ValueError,
        match=r"must have 108 columns, or images of shape \(6, 6, 3\), got shape \(300, 3, 12, 3\)",
    ):
        ChannelStandardizer().fit(colour).inverse_transform(colour.reshape(300, 3, 12, 3))


def test_numbers_that_cannot_be_squared_are_refused(rng):
    X = rng.normal(size=(30, 4)) * 1e200
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match="too large for float64; divide it by a constant"),
    ):
        RFADDistiller(**FAST_ROWS).fit(X, np.arange(30) % 3)


def test_an_unpickled_value_cannot_be_changed(colour):
    value = pickle.loads(pickle.dumps(ChannelStandardizer().fit(colour).value_))
    assert not value.offset.flags.writeable


@pytest.mark.parametrize(
    "estimator",
    [RFADDistiller(**FAST_ROWS), NNGPKernelRidge(n_networks=1)],
    ids=lambda e: type(e).__name__,
)
def test_a_transformer_that_works_in_place_leaves_the_rows_alone(rng, estimator):
    X, y = 10 + rng.normal(size=(30, 4)), np.arange(30) % 3
    before = X.copy()
    estimator = clone(estimator).set_params(preprocessing=StandardScaler(copy=False)).fit(X, y)
    use = getattr(estimator, "transform", None) or estimator.predict_proba
    assert_array_equal(use(X), use(X))
    assert_array_equal(X, before)


def test_sparse_output_of_a_transformer_is_refused(rng):
    X, y = rng.integers(3, size=(30, 4)), np.arange(30) % 3
    with pytest.raises(
        ValueError,
        match=r"preprocessing=OneHotEncoder\(\) gives sparse rows; use its sparse_output=False",
    ):
        NNGPKernelRidge(preprocessing=OneHotEncoder()).fit(X, y)


def test_a_transformer_may_give_views(rng):
    X, y = rng.normal(size=(30, 4)), np.arange(30) % 3
    reverse = FunctionTransformer(lambda X: X[:, ::-1], lambda Z: Z[:, ::-1])
    coreset = RFADDistiller(**FAST_ROWS, preprocessing=reverse).fit(X, y).coreset_
    assert_array_equal(coreset.inputs, coreset.X[:, ::-1].astype(coreset.inputs.dtype))


def test_items_beyond_the_range_of_an_inverse_are_not_lost(rng):
    """The inverse of a power transform, which is for skewed columns, takes some numbers only."""
    X, y = np.exp(2 * rng.normal(size=(300, 4))), np.arange(300) % 3
    distiller = RFADDistiller(
        ipc=2,
        architecture=MLP(width=16),
        max_iter=60,
        learning_rate=0.3,
        preprocessing=PowerTransformer(),
        random_state=0,
    )
    with pytest.warns(UserWarning, match=r"of preprocessing=PowerTransformer\(\) is not z"):
        distiller.fit(X, y)
    coreset = distiller.coreset_
    assert np.isfinite(coreset.X).all()
    assert np.isfinite(coreset.inputs).all()
    assert distiller.n_iter_ == 60


def test_a_transformer_without_a_finite_inverse_is_named(rng):
    X, y = rng.normal(size=(30, 4)), np.arange(30) % 3
    lossy = FunctionTransformer(lambda X: X, lambda Z: np.full_like(Z, np.nan), check_inverse=False)
    with pytest.raises(
        ValueError,
        match=r"=FunctionTransformer\(\) has no finite inverse for the items.*Pipeline",
    ):
        RFADDistiller(**FAST_ROWS, preprocessing=lossy).fit(X, y)


def test_items_that_do_not_pass_a_second_time_move_into_the_range_of_the_rows(rng):
    X, y = 0.01 * abs(rng.normal(size=(30, 4))), np.arange(30) % 3
    root = FunctionTransformer(np.sqrt, lambda Z: Z, check_inverse=False)
    distiller = RFADDistiller(**FAST_ROWS, preprocessing=root, learning_rate=1.0)
    with pytest.warns(UserWarning, match=r"of preprocessing=FunctionTransformer\(\) is not z"):
        distiller.fit(X, y)
    assert np.isfinite(distiller.coreset_.inputs).all()
    assert np.isfinite(distiller.transform(X)).all()


class Recording(RFADDistiller):
    """Keeps the items that the last step of a fit sees."""

    def _finish(self, run, variables):
        self.seen_ = variables["X"].flatten(1).numpy().copy()


def test_what_is_given_out_is_what_is_evaluated(rng):
    """A quantile transform has many rows for one transformed row.

    It does not take its own inverse back.
    """
    X, y = rng.normal(size=(60, 4)), np.arange(60) % 3
    distiller = Recording(**FAST_ROWS, preprocessing=QuantileTransformer(n_quantiles=20))
    with pytest.warns(
        UserWarning,
        match=r"\(inverse_transform\(z\)\) of preprocessing=QuantileTransformer\(\) is not z",
    ):
        distiller.fit(X, y)
    assert_allclose(distiller.seen_, distiller.coreset_.inputs, atol=1e-5)


def test_an_exact_inverse_is_exact_for_large_offsets_too(rng):
    """Of time stamps float32 keeps two minutes."""
    X, y = 1.6e9 + 50 * rng.normal(size=(60, 4)), np.arange(60) % 3
    coreset = RFADDistiller(**FAST_ROWS, preprocessing=StandardScaler()).fit(X, y).coreset_
    assert (abs(coreset.X - 1.6e9) < 1000).all()
    assert len(np.unique(coreset.X % 1)) > 1
