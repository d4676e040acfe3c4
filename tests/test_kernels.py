from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from rfad_sklearn import MLP, ConvNet
from rfad_sklearn.kernels import nngp_kernel, ntk_kernel

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("function", "name", "tolerance"), [(nngp_kernel, "nngp", 1e-10), (ntk_kernel, "ntk", 1e-7)]
)
def test_golden_values_of_images_and_rows(function, name, tolerance):
    golden = np.load(DATA / "convnet_depth2_digits.npz")
    images, others = golden["X1"][..., 0], golden["X2"][..., 0]
    np.testing.assert_allclose(
        function(images, architecture=ConvNet(depth=2)), golden[f"{name}_11"], rtol=tolerance
    )
    values = function(
        images.reshape(len(images), -1),
        others.reshape(len(others), -1),
        image_shape=(8, 8),
        architecture=ConvNet(depth=2),
    )
    np.testing.assert_allclose(values, golden[f"{name}_12"], rtol=tolerance)
    golden = np.load(DATA / "fc_depth3_digits.npz")
    np.testing.assert_allclose(
        function(golden["X1"], golden["X2"]), golden[f"{name}_12"], rtol=tolerance
    )
    np.testing.assert_allclose(
        function(golden["X1"], golden["X2"], architecture=MLP()),
        golden[f"{name}_12"],
        rtol=tolerance,
    )


def test_dtype_follows_the_input(rng):
    images = rng.normal(size=(3, 6, 6, 2))
    shallow = ConvNet(depth=1)
    wide, narrow = (
        nngp_kernel(images.astype(dtype), architecture=shallow)
        for dtype in (np.float64, np.float32)
    )
    assert (wide.dtype, narrow.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(narrow, wide, rtol=1e-5)
    integers = (images * 100).astype(np.int8)
    assert nngp_kernel(integers, architecture=shallow).dtype == np.float64
    mixed = nngp_kernel(images.astype(np.float32), images, architecture=shallow)
    assert mixed.dtype == np.float64


def test_an_open_depth_follows_the_size_of_the_images(rng):
    images = rng.normal(size=(3, 4, 4))
    np.testing.assert_array_equal(
        nngp_kernel(images), nngp_kernel(images, architecture=ConvNet(depth=2))
    )
    assert not np.array_equal(
        nngp_kernel(images), nngp_kernel(images, architecture=ConvNet(depth=1))
    )


def test_it_is_a_kernel_for_scikit_learn():
    X, y = load_digits(return_X_y=True)
    X, y = X[:200] / 16, y[:200]
    svc = SVC(kernel=nngp_kernel).fit(X[:150], y[:150])
    assert svc.score(X[150:], y[150:]) > 0.85


def test_working_memory_and_progress(rng):
    images = rng.normal(size=(6, 8, 8))
    calls = []
    small = ntk_kernel(
        images, working_memory=0.01, progress=lambda done, total: calls.append((done, total))
    )
    np.testing.assert_allclose(small, ntk_kernel(images), rtol=1e-10)
    done, total = zip(*calls, strict=True)
    # One image at a time, and each pair once.
    assert set(total) == {21}
    assert list(done) == list(range(1, 22))
    with sklearn.config_context(working_memory=1):
        np.testing.assert_allclose(ntk_kernel(images), small, rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "parameters", "error", "message"),
    [
        (
            [np.ones((2, 8, 8))],
            {"architecture": "conv"},
            TypeError,
            "architecture must be 'auto', a ConvNet or an MLP, got 'conv'",
        ),
        (
            [np.ones((2, 8, 8)), np.ones((2, 6, 6))],
            {},
            ValueError,
            r"X holds inputs of shape \(8, 8, 1\), Y of shape \(6, 6, 1\)",
        ),
        (
            [np.ones((2, 4, 4))],
            {"architecture": ConvNet(depth=3)},
            ValueError,
            "depth=3 needs images of at least 8x8 pixels, got 4x4",
        ),
        (
            [np.ones((2, 4))],
            {"architecture": ConvNet()},
            ValueError,
            "takes images, got flat rows of 4 columns",
        ),
        ([np.full((2, 4), np.nan)], {}, ValueError, "Input X contains NaN"),
        ([np.ones((2, 4)), np.full((2, 4), np.inf)], {}, ValueError, "Input Y contains infinity"),
        (
            [np.ones((2, 4))],
            {"working_memory": 0},
            ValueError,
            "working_memory must be above 0 MiB, got 0",
        ),
        ([np.ones((2, 4))], {"image_shape": (3, 3)}, ValueError, "needs 9 columns"),
        ([np.ones((0, 4))], {}, ValueError, "0 sample"),
        (
            [np.ones((2, 4))],
            {"architecture": MLP(depth=2.9)},
            TypeError,
            "depth must be an int, got 2.9",
        ),
        ([np.ones((2, 4))], {"device": "abacus"}, ValueError, "device='abacus' is not available"),
    ],
)
def test_bad_input(arguments, parameters, error, message):
    with pytest.raises(error, match=message):
        nngp_kernel(*arguments, **parameters)
