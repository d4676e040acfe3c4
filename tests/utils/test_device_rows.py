import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from rfad_sklearn import ChannelStandardizer, InstanceNormalizer, RegularizedZCA
from rfad_sklearn._utils import device_rows
from rfad_sklearn._utils.device_rows import DeviceRows, fits_on_device
from rfad_sklearn._utils.preprocessing_value import TransformerPreprocessing


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (60, 6, 6, 3))


@pytest.mark.parametrize(
    "transformer", [ChannelStandardizer(), RegularizedZCA(reg=0.1), InstanceNormalizer(zca_reg=0.1)]
)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32", "float64"])
def test_rows_are_preprocessed_as_on_the_host(images, transformer, dtype):
    rows = images.astype(dtype).reshape(60, -1)
    value = transformer.fit(images.astype(dtype)).value_
    indices = torch.tensor([5, 59, 0, 5])
    assert fits_on_device(rows, value)
    read = DeviceRows(rows, value, "cpu").read(indices)
    expected = value.apply(rows[indices.numpy()])
    assert read.numpy().dtype == expected.dtype
    assert_allclose(read.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_long_integers_keep_their_last_digits():
    rows = np.array([[2**40], [2**40 + 1], [2**40 + 2]])
    value = ChannelStandardizer().fit(rows).value_
    assert_allclose(
        DeviceRows(rows, value, "cpu").read(torch.arange(3)).numpy(), value.apply(rows), rtol=1e-6
    )


def test_they_stay_bytes_on_the_device_and_are_copied_in_parts(images, monkeypatch, tmp_path):
    monkeypatch.setattr(device_rows, "_CHUNK", 7)
    path = tmp_path / "rows.npy"
    np.save(path, images.astype(np.uint8).reshape(60, -1))
    rows = np.load(path, mmap_mode="r")
    on_device = DeviceRows(rows, ChannelStandardizer().fit(images).value_, "cpu")
    assert on_device.rows.dtype == torch.uint8
    np.testing.assert_array_equal(on_device.rows.numpy(), rows)


def test_rows_that_stay_on_the_host(images, monkeypatch):
    rows = images.reshape(60, -1)
    value = ChannelStandardizer().fit(images).value_
    assert not fits_on_device(rows.astype(np.uint16), value)
    assert not fits_on_device(rows, TransformerPreprocessing(None, 108))
    monkeypatch.setattr(device_rows, "_MAX_BYTES", rows.nbytes - 1)
    assert not fits_on_device(rows, value)
