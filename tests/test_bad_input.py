"""Every bad input gets an error that says what to change, and leaves nothing fitted behind."""

import warnings

import numpy as np
import pytest
import scipy.sparse
import torch

from rfad_sklearn import ConvNet, NNGPKernelRidge, RFADDistiller
from tests.conftest import FAST, FAST_ROWS

N = 30
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 64))
Y = np.repeat([0, 1, 2], 10)


def with_entry(value):
    bad = X.copy()
    bad[3, 4] = value
    return bad


CASES = [
    ("nan", {}, with_entry(np.nan), Y, ValueError, "Input X contains NaN"),
    ("inf", {}, with_entry(np.inf), Y, ValueError, "Input X contains infinity"),
    ("sparse", {}, scipy.sparse.csr_array(X), Y, TypeError, "Sparse data was passed"),
    ("complex", {}, X.astype(complex), Y, ValueError, "Complex data not supported"),
    (
        "object",
        {},
        np.full((N, 3), {"a": 1}, dtype=object),
        Y,
        TypeError,
        "argument must be a string",
    ),
    (
        "string",
        {},
        np.full((N, 3), "a"),
        Y,
        ValueError,
        "not compatible with arrays of bytes/strings",
    ),
    (
        "text column",
        {},
        np.full((N, 3), "a", dtype=object),
        Y,
        ValueError,
        "not numeric.*ColumnTransformer",
    ),
    ("one-dimensional", {}, X[:, 0], Y, ValueError, "Expected 2D array, got 1D array instead"),
    ("five-dimensional", {}, X.reshape(N, 2, 2, 4, 4), Y, ValueError, "dim 5"),
    ("no pixels", {}, np.zeros((N, 0, 8)), Y, ValueError, "images without pixels"),
    ("lengths", {}, X, Y[:-1], ValueError, r"inconsistent numbers of samples: \[30, 29\]"),
    ("no y", {}, X, None, ValueError, "requires y to be passed"),
    ("continuous y", {}, X, np.linspace(0, 1, N), ValueError, "Unknown label type: continuous"),
    ("two-dimensional y", {}, X, np.eye(3)[Y], ValueError, "y should be a 1d array"),
    (
        "one class",
        {},
        X,
        np.full(N, 7),
        ValueError,
        "y holds one class only, .*7.*; classification needs rows of at least 2",
    ),
    (
        "ipc zero",
        {"ipc": 0},
        X,
        Y,
        ValueError,
        r"'ipc' parameter of RFADDistiller must be an int in the range \[1, inf\).*Got 0",
    ),
    (
        "ipc float",
        {"ipc": 1.5},
        X,
        Y,
        ValueError,
        r"'ipc' parameter of RFADDistiller must be an int.*Got 1.5",
    ),
    (
        "ipc bool",
        {"ipc": True},
        X,
        Y,
        ValueError,
        "ipc must be an int of at least 1, or a dict, got True",
    ),
    ("no rows", {}, X[:0].reshape(0, 8, 8), Y[:0], ValueError, r"Found array with 0 sample\(s\)"),
    (
        "one pixel",
        {"architecture": ConvNet(depth=1)},
        X[:, :1].reshape(N, 1, 1),
        Y,
        ValueError,
        r"got 1x1; use ConvNet\(pooling='none'\)",
    ),
    (
        "class_weight word",
        {"class_weight": "heavy"},
        X,
        Y,
        ValueError,
        "'class_weight' parameter of RFADDistiller must be",
    ),
    (
        "class_weight unknown",
        {"class_weight": {0: 1, 9: 2}},
        X,
        Y,
        ValueError,
        r"class_weight names unknown classes \[9\]; the classes of y are \[0, 1, 2\]",
    ),
    (
        "class_weight zero",
        {"class_weight": {0: 0}},
        X,
        Y,
        ValueError,
        "class_weight={0: 0} must hold positive, finite numbers",
    ),
    (
        "n_items and ipc",
        {"ipc": 2, "n_items": 10},
        X,
        Y,
        ValueError,
        "ipc=2 and n_items=10 both say how many items there are; leave one",
    ),
    (
        "n_items small",
        {"n_items": 2},
        X,
        Y,
        ValueError,
        "n_items=2 must be at least one for each of the 3 classes",
    ),
    (
        "n_items large",
        {"n_items": 1000},
        X,
        Y,
        ValueError,
        "n_items=1000 must be .* at most the .* rows of X",
    ),
    (
        "n_items word",
        {"n_items": "all"},
        X,
        Y,
        ValueError,
        "'n_items' parameter of RFADDistiller must be",
    ),
    (
        "ipc unknown",
        {"ipc": {0: 1, 1: 1, 2: 1, 9: 1}},
        X,
        Y,
        ValueError,
        r"unknown classes \[9\], missing classes \[\]",
    ),
    (
        "ipc missing",
        {"ipc": {0: 1, 1: 1}},
        X,
        Y,
        ValueError,
        r"unknown classes \[\], missing classes \[2\]",
    ),
    (
        "ipc dict zero",
        {"ipc": {0: 1, 1: 1, 2: 0}},
        X,
        Y,
        ValueError,
        "ipc for class 2 must be an int of at least 1, got 0",
    ),
    (
        "image_shape product",
        {"image_shape": (8, 9)},
        X,
        Y,
        ValueError,
        r"image_shape=\(8, 9\) needs 72 columns .* X has 64",
    ),
    (
        "image_shape layout",
        {"image_shape": (4, 16)},
        X.reshape(N, 8, 8),
        Y,
        ValueError,
        r"does not match X, whose images are \(8, 8, 1\)",
    ),
    (
        "image_shape word",
        {"image_shape": [8, -8]},
        X,
        Y,
        ValueError,
        r"is not a shape; give \(H, W\) or \(H, W, channels\)",
    ),
    (
        "too small",
        {"architecture": ConvNet(depth=4), "image_shape": (8, 8)},
        X,
        Y,
        ValueError,
        "depth=4 needs images of at least 16x16 pixels, got 8x8",
    ),
    (
        "device",
        {"device": "abacus"},
        X,
        Y,
        ValueError,
        "device='abacus' is not available here.*use 'auto', 'cpu'",
    ),
    ("meta device", {"device": "meta"}, X, Y, ValueError, "device='meta' cannot hold data"),
    ("dtype", {"dtype": "float8"}, X, Y, ValueError, "'dtype' parameter of RFADDistiller must be"),
    (
        "torch dtype",
        {"dtype": torch.int32},
        X,
        Y,
        ValueError,
        "dtype=torch.int32 is unknown; use 'auto', 'float32'",
    ),
    (
        "init shape",
        {"init": np.zeros((2, 64))},
        X,
        Y,
        ValueError,
        r"init must hold 3 items .* of 64 features, got an array of shape \(2, 64\)",
    ),
    (
        "init nan",
        {"init": np.full((3, 64), np.nan)},
        X,
        Y,
        ValueError,
        "init holds NaN or infinity",
    ),
    ("init word", {"init": "best"}, X, Y, ValueError, "'init' parameter of RFADDistiller must be"),
    (
        "categorical_features word",
        {"categorical_features": "all"},
        X,
        Y,
        ValueError,
        "'categorical_features' parameter of RFADDistiller must be",
    ),
    (
        "categorical_features number",
        {"categorical_features": [64]},
        X,
        Y,
        ValueError,
        r"categorical_features=\[64\] must be numbers of columns from 0 to 63",
    ),
    (
        "categorical_features names",
        {"categorical_features": ["city"]},
        X,
        Y,
        ValueError,
        r"categorical_features=\['city'\] must be .*names of columns of a data frame",
    ),
    (
        "missing",
        {"missing": "drop"},
        X,
        Y,
        ValueError,
        "'missing' parameter of RFADDistiller must be",
    ),
    (
        "infinity beside gaps",
        {"missing": "impute"},
        with_entry(-np.inf),
        Y,
        ValueError,
        "Input X contains infinity",
    ),
    (
        "quantiles of images",
        {"preprocessing": "quantile"},
        X.reshape(N, 8, 8),
        Y,
        ValueError,
        "Quantiles are for the columns of tables",
    ),
    (
        "scoring",
        {"scoring": "r2"},
        X,
        Y,
        ValueError,
        "scoring='r2' scores no classes; use 'auto', one of 'accuracy'",
    ),
    ("loss", {"loss": "hinge"}, X, Y, ValueError, "'loss' parameter of RFADDistiller must be"),
    (
        "learning_rate",
        {"learning_rate": 0},
        X,
        Y,
        ValueError,
        "'learning_rate' parameter of RFADDistiller must be",
    ),
    (
        "solver",
        {"solver": "lbfgs"},
        X,
        Y,
        ValueError,
        "'solver' parameter of RFADDistiller must be",
    ),
    (
        "teacher",
        {"teacher": True},
        X,
        Y,
        ValueError,
        "'teacher' parameter of RFADDistiller must be",
    ),
    (
        "max_time",
        {"max_time": -1},
        X,
        Y,
        ValueError,
        "'max_time' parameter of RFADDistiller must be",
    ),
    (
        "architecture",
        {"architecture": "resnet"},
        X,
        Y,
        ValueError,
        "'architecture' parameter of RFADDistiller must be",
    ),
]


@pytest.mark.parametrize(
    ("parameters", "rows", "labels", "error", "message"),
    [c[1:] for c in CASES],
    ids=[c[0] for c in CASES],
)
def test_distiller(parameters, rows, labels, error, message):
    small = FAST if "image_shape" in parameters or np.ndim(rows) > 2 else FAST_ROWS
    distiller = RFADDistiller(**{**small, **parameters})
    with pytest.raises(error, match=message):
        distiller.fit(rows, labels)
    assert not [name for name in vars(distiller) if name.endswith("_")]


@pytest.mark.parametrize(
    ("parameters", "rows", "labels", "error", "message"),
    [c[1:] for c in CASES if not c[1] and c[0] not in ("two-dimensional y",)],
    ids=[c[0] for c in CASES if not c[1] and c[0] not in ("two-dimensional y",)],
)
def test_classifier(parameters, rows, labels, error, message):
    clf = NNGPKernelRidge()
    with pytest.raises(error, match=message):
        clf.fit(rows, labels)
    assert not [name for name in vars(clf) if name.endswith("_")]


@pytest.fixture(scope="module")
def both():
    distiller = RFADDistiller(**FAST, image_shape=(8, 8)).fit(X, Y)
    return distiller.transform, NNGPKernelRidge(n_networks=1).fit_coreset(
        distiller.coreset_
    ).predict


@pytest.mark.parametrize("k", [0, 1], ids=["transform", "predict"])
def test_another_number_of_features(both, k):
    with pytest.raises(ValueError, match=r"X has 63 features, but .* is expecting 64 features"):
        both[k](X[:, 1:])
    with pytest.raises(
        ValueError,
        match=r"images of shape \(4, 16, 1\), .* was fitted on images of shape \(8, 8, 1\)",
    ):
        both[k](X.reshape(N, 4, 16))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        both[k](with_entry(np.nan))


def test_a_single_image_is_no_table(both):
    for use in both:
        with pytest.raises(
            ValueError,
            match=r"X of shape \(8, 8\) looks like a single image of shape \(8, 8, 1\); "
            r"give it as X\[None\]",
        ):
            use(X[0].reshape(8, 8))


def test_a_single_colour_image_is_no_stack_of_images():
    images = RNG.normal(size=(N, 8, 8, 3))
    distiller = RFADDistiller(**FAST).fit(images, Y)
    with pytest.raises(ValueError, match=r"give a single image as X\[None\]"):
        distiller.transform(images[0])
    # One channel is not an image.
    with pytest.raises(
        ValueError, match="X has 8 features, but RFADDistiller is expecting 192 features"
    ):
        distiller.transform(images[0, :, :, 0])


def test_images_for_a_table():
    distiller = RFADDistiller(**FAST_ROWS).fit(X, Y)
    with pytest.raises(ValueError, match="was fitted on flat rows with 64 features"):
        distiller.transform(X.reshape(N, 8, 8))


def test_images_as_nested_lists_are_images():
    images = X.reshape(N, 8, 8).tolist()
    assert RFADDistiller(**FAST).fit(images, Y).image_shape_ == (8, 8, 1)


def test_images_that_look_channels_first_give_a_warning():
    X = np.random.default_rng(0).random((20, 3, 6, 6), dtype=np.float32)
    for estimator in (RFADDistiller(ipc=1, max_iter=1, random_state=0), NNGPKernelRidge()):
        with pytest.warns(
            UserWarning, match=r"3x6 pixels with 6 channels.*transpose\(0, 2, 3, 1\)"
        ) as record:
            estimator.fit(X, np.arange(20) % 2)
        # At the caller's line, whatever wrappers lie between.
        assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RFADDistiller(ipc=1, max_iter=1, random_state=0).fit(
            X.transpose(0, 2, 3, 1), np.arange(20) % 2
        )
