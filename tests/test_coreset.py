import json
import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from rfad_sklearn import MLP, ConvNet, Coreset, NNGPKernelRidge, RFADDistiller
from rfad_sklearn._utils.preprocessing_value import Preprocessing


def small(**changes):
    values = {
        "X": np.arange(12.0).reshape(4, 3),
        "targets": np.eye(2)[[0, 0, 1, 1]] - 0.5,
        "classes": np.array(["cat", "dog"]),
        "y": np.array(["cat", "cat", "dog", "dog"]),
        "architecture": MLP(depth=1),
        "preprocessing": Preprocessing.identity(3),
    }
    return Coreset(**{**values, **changes})


@pytest.fixture
def saved(tmp_path, coreset):
    return coreset.save(tmp_path / "coreset.npz")


def rewrite(path, **changes):
    """The same file with other arrays; None drops one."""
    with np.load(path) as loaded:
        arrays = {**{name: loaded[name] for name in loaded.files}, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def test_round_trip(saved, coreset):
    assert Coreset.load(saved) == coreset


def test_round_trip_of_whitening_names_and_objects(tmp_path, digits):
    pd = pytest.importorskip("pandas")
    X, _, y, _ = digits
    frame = pd.DataFrame(X.reshape(len(X), -1), columns=[f"pixel {k}" for k in range(64)])
    labels = pd.Series(y).map({0: "zero", 1: "one", 2: "two"}).astype(object)
    distiller = RFADDistiller(
        max_iter=2, image_shape=(8, 8), width=8, preprocessing="zca", random_state=0
    ).fit(frame, labels)
    loaded = Coreset.load(distiller.coreset_.save(tmp_path / "c.npz"))
    assert loaded == distiller.coreset_
    assert loaded.feature_names == tuple(frame.columns)
    assert loaded.classes.tolist() == ["one", "two", "zero"]
    assert len(loaded.preprocessing.gains) > 0
    assert loaded.preprocessing.project(np.zeros((1, 64))).shape == (1, 64)


def test_file_holds_plain_arrays_under_the_attribute_names(saved, coreset):
    with np.load(saved, allow_pickle=False) as loaded:
        for name in ("X", "targets", "classes", "y", "image_shape", "logit_scale", "reg"):
            np.testing.assert_array_equal(loaded[name], getattr(coreset, name))
        assert loaded["format_version"] == 1
        assert all(loaded[name].dtype != object for name in loaded.files)


def test_a_new_process_predicts_the_same(saved, coreset, digits):
    _, X_test, _, _ = digits
    np.save(saved.with_name("X.npy"), X_test)
    code = (
        "import sys, numpy as np; from rfad_sklearn import Coreset, NNGPKernelRidge\n"
        "clf = NNGPKernelRidge(n_networks=2, random_state=0).fit_coreset(Coreset.load(sys.argv[1]))\n"
        "np.save(sys.argv[3], clf.predict_proba(np.load(sys.argv[2])))"
    )
    paths = [str(saved), str(saved.with_name("X.npy")), str(saved.with_name("P.npy"))]
    subprocess.run([sys.executable, "-c", code, *paths], check=True)
    here = NNGPKernelRidge(n_networks=2, random_state=0).fit_coreset(coreset).predict_proba(X_test)
    np.testing.assert_allclose(np.load(paths[2]), here, atol=1e-6)


def test_failed_save_leaves_the_old_file_and_nothing_else(saved, coreset, monkeypatch):
    before = saved.read_bytes()

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        coreset.save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_save_refuses_a_users_transformer(tmp_path, digits):
    X, _, y, _ = digits
    distiller = RFADDistiller(
        max_iter=0, width=8, n_networks=1, preprocessing=StandardScaler()
    ).fit(X, y)
    with pytest.raises(ValueError, match=r"preprocessing=StandardScaler cannot be saved.*Pipeline"):
        distiller.coreset_.save(tmp_path / "c.npz")
    assert os.listdir(tmp_path) == []


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Coreset.load(tmp_path / "none.npz")


def test_truncated_file(saved):
    saved.write_bytes(saved.read_bytes()[:-200])
    with pytest.raises(ValueError, match="is not a readable coreset file"):
        Coreset.load(saved)


def test_corrupted_file(saved):
    with zipfile.ZipFile(saved) as archive:
        info = archive.getinfo("X.npy")
    content = bytearray(saved.read_bytes())
    begin = info.header_offset + 80
    content[begin : begin + 40] = bytes(40)
    saved.write_bytes(content)
    with pytest.raises(ValueError, match="is not a readable coreset file"):
        Coreset.load(saved)


def test_empty_file_and_directory(tmp_path):
    (tmp_path / "empty.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="is not a readable coreset file"):
        Coreset.load(tmp_path / "empty.npz")
    with pytest.raises(OSError, match="directory"):
        Coreset.load(tmp_path)


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def test_pickles_are_never_loaded(saved, tmp_path):
    mark = tmp_path / "mark"
    rewrite(saved, classes=np.array([Bomb(mark)], dtype=object))
    with pytest.raises(ValueError, match="is not a readable coreset file"):
        Coreset.load(saved)
    saved.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(ValueError, match="is not a readable coreset file"):
        Coreset.load(saved)
    assert not mark.exists()


def test_single_array_file(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"not an \.npz archive"):
        Coreset.load(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": np.int64(99)}, "format_version 99, this library reads 1"),
        ({"targets": None}, r"lacks the arrays \['targets'\]"),
        ({"X": np.zeros((5, 64))}, r"targets must be of shape \(5, 3\)"),
        ({"X": np.full((6, 64), np.nan)}, "X holds NaN or infinity"),
        ({"targets": np.full((6, 3), np.inf)}, "targets holds NaN or infinity"),
        ({"X": np.full((6, 64), "a")}, "X must hold real numbers"),
        ({"targets": np.zeros((6, 3), dtype=complex)}, "targets must hold real numbers"),
        (
            {"image_shape": np.array([8, 9, 1])},
            r"image_shape must be \(H, W, channels\) with product 64",
        ),
        ({"logit_scale": np.float64(-1)}, "logit_scale must be positive"),
        ({"reg": np.float64(np.nan)}, "reg must be finite"),
        ({"kernel": np.str_("rbf")}, "kernel must be 'nngp' or 'ntk'"),
        ({"classes": np.array([0, 0, 1])}, "distinct labels"),
        ({"classes": np.array([2, 1, 0])}, "labels, sorted"),
        (
            {"architecture": np.str_(json.dumps({"name": "ConvNet", "depth": 9}))},
            r"cannot take inputs of shape \(8, 8, 1\)",
        ),
        ({"preprocessing_offset": np.float64(1)}, "offset must be a vector"),
        ({"y": np.array([0, 0, 1, 1, 2, 9])}, "labels that are not in classes"),
        ({"y": np.zeros(2)}, r"y must be of shape \(6,\)"),
        ({"architecture": np.str_("{}")}, "unknown network None"),
        ({"architecture": np.str_("{")}, "is not a readable coreset file"),
        (
            {"architecture": np.str_(json.dumps({"name": "MLP", "colour": 1}))},
            "unexpected keyword argument 'colour'",
        ),
        ({"preprocessing_scale": np.zeros(64)}, "scale, gains and tail must be positive"),
        (
            {
                "preprocessing_offset": np.zeros(3),
                "preprocessing_scale": np.ones(3),
                "preprocessing_components": np.empty((0, 0), dtype=np.float32),
                "preprocessing_gains": np.empty(0),
            },
            "preprocessing takes 3 columns, X has 64",
        ),
        ({"feature_names": np.array(["a"])}, "feature_names must hold 64 names"),
        ({"provenance": np.str_("[1]")}, r"provenance must be a dict, got \[1\]"),
        (
            {"preprocessing_offset": np.zeros(64, dtype=complex)},
            "offset must hold real numbers, got dtype complex128",
        ),
        ({"format_version": np.str_("1")}, "it has format_version '1', this library reads 1"),
    ],
)
def test_files_with_wrong_content(saved, changes, message):
    rewrite(saved, **changes)
    with pytest.raises(ValueError, match=message):
        Coreset.load(saved)


def test_a_convnet_needs_an_image_shape():
    with pytest.raises(ValueError, match="image_shape is needed by a ConvNet"):
        small(architecture=ConvNet())


def test_without_preprocessing_inputs_are_the_items():
    coreset = small(preprocessing=None)
    np.testing.assert_array_equal(coreset.inputs, coreset.X)
    assert coreset == small()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "auto"}, "architecture must be a ConvNet or an MLP, got 'auto'"),
        (
            {"X": np.zeros((4, 3, 1)), "preprocessing": None},
            r"^Coreset: X must be of shape \(n_items, n_features\) [^;]*$",
        ),
        ({"preprocessing": "auto"}, "preprocessing must be a Preprocessing or None, got 'auto'"),
    ],
)
def test_words_are_no_values(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_a_folder_that_is_not_there_is_named(coreset, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder to write to: '.*nowhere'$"):
        coreset.save(tmp_path / "nowhere" / "coreset.npz")


def test_it_cannot_be_changed(coreset):
    with pytest.raises(FrozenInstanceError):
        coreset.X = coreset.X
    with pytest.raises(ValueError, match="read-only"):
        coreset.X[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        pickle.loads(pickle.dumps(coreset)).X[0, 0] = 1


def test_equality_looks_at_everything(coreset):
    assert coreset == replace(coreset)
    assert coreset != replace(coreset, logit_scale=2.0)
    assert coreset != replace(coreset, X=coreset.X + 1e-3)
    assert coreset != "coreset"
    assert pickle.loads(pickle.dumps(coreset)) == coreset
    with pytest.raises(TypeError):
        hash(coreset)


def test_images_and_length(coreset):
    assert coreset.images.shape == (6, 8, 8)
    assert len(coreset) == coreset.n_items == 6
    assert coreset.n_classes == 3
    colour = small(
        X=np.zeros((4, 12)),
        image_shape=(2, 2, 3),
        architecture=ConvNet(depth=1),
        preprocessing=Preprocessing.identity(12),
    )
    assert colour.images.shape == (4, 2, 2, 3)
    assert small().images is None


def test_representation(coreset):
    text = repr(coreset)
    assert "6 8x8x1 images" in text
    assert "3 classes" in text
    assert "6 steps" in text
    assert "validation accuracy" in text
    assert "4 rows of 3 columns" in repr(small())


def test_to_torch_gives_raw_units_channels_first():
    X = np.arange(48.0).reshape(4, 12)
    value = Preprocessing(np.full(12, 1.0), np.full(12, 2.0))
    colour = small(X=X, image_shape=(2, 2, 3), architecture=ConvNet(depth=1), preprocessing=value)
    items, targets = colour.to_torch().tensors
    assert items.shape == (4, 3, 2, 2)
    assert items.dtype == targets.dtype == torch.float32
    assert items[1, 2, 0, 1] == X.reshape(4, 2, 2, 3)[1, 0, 1, 2]
    preprocessed = colour.to_torch(preprocess=True).tensors[0]
    torch.testing.assert_close(preprocessed, (items - 1) / 2)
    assert small().to_torch().tensors[0].shape == (4, 3)
