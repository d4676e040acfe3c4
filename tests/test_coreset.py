import base64
import io
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from dataclasses import FrozenInstanceError, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from rfad_sklearn import MLP, ConvNet, Coreset, NNGPKernelRidge, RFADDistiller
from rfad_sklearn._utils.labels import label_array
from rfad_sklearn._utils.network_spec import ConvNetSpec
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
        max_iter=2,
        image_shape=(8, 8),
        architecture=ConvNet(width=8),
        preprocessing="zca",
        random_state=0,
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
        assert loaded["format_version"] == 2
        assert all(loaded[name].dtype != object for name in loaded.files)


@pytest.mark.slow
def test_a_new_process_predicts_the_same(saved, coreset, digits):
    _, X_test, _, _ = digits
    np.save(saved.with_name("X.npy"), X_test)
    code = (
        "import sys, numpy as np; from rfad_sklearn import Coreset, NNGPKernelRidge\n"
        "coreset = Coreset.load(sys.argv[1])\n"
        "clf = NNGPKernelRidge(n_networks=2, random_state=0).fit_coreset(coreset)\n"
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
        max_iter=0,
        architecture=ConvNet(width=8),
        n_networks=1,
        preprocessing=StandardScaler(),
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
        (
            {"format_version": np.int64(99)},
            r"format_version 99, this library reads up to 2; update rfad_sklearn\.$",
        ),
        (
            {"format_version": np.int64(1), "logit_scale": None, "platt_scale": np.float64(1)},
            r"format_version 1, written before 0\.1, which no release reads; distil again\.$",
        ),
        ({"format_version": None}, r"lacks the arrays \['format_version'\]"),
        ({"format_version": np.array([2])}, r"format_version \[2\], this library reads 2"),
        ({"targets": None}, r"lacks the arrays \['targets'\]"),
        ({"X": np.zeros((5, 64))}, r"targets must be of shape \(5, 3\)"),
        ({"X": np.full((6, 64), np.nan)}, "X holds NaN or infinity"),
        ({"targets": np.full((6, 3), np.inf)}, "targets holds NaN or infinity"),
        ({"solved_targets": np.zeros((6, 2))}, r"solved_targets must be of shape \(6, 3\)"),
        ({"solved_targets": np.full((6, 3), np.nan)}, "solved_targets holds NaN or infinity"),
        ({"solved_targets": np.zeros((6, 3), int)}, "solved_targets must hold real numbers"),
        ({"sample_weight": np.ones(5)}, r"sample_weight must be floats of shape \(6,\)"),
        ({"sample_weight": np.ones(6, int)}, "sample_weight must be floats"),
        ({"sample_weight": np.zeros(6)}, "sample_weight must be positive and finite"),
        ({"sample_weight": np.full(6, np.nan)}, "sample_weight must be positive and finite"),
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
        ({"format_version": np.str_("1")}, "it has format_version '1', this library reads 2"),
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
    assert repr(coreset) == "Coreset(6 items, 3 classes, 8x8x1 images)"
    assert repr(small()) == "Coreset(4 items, 2 classes, 3 columns)"


def colour_items(n_items=4, side=2):
    d = side * side * 3
    return small(
        X=np.arange(float(n_items * d)).reshape(n_items, d),
        targets=np.eye(2)[np.arange(n_items) % 2] - 0.5,
        y=np.array(["cat", "dog"])[np.arange(n_items) % 2],
        image_shape=(side, side, 3),
        architecture=ConvNet(depth=1),
        preprocessing=None,
    )


def pictures(text):
    """Arrays of the PNG files in an HTML text."""
    plt = pytest.importorskip("matplotlib.pyplot")
    return [
        plt.imread(io.BytesIO(base64.b64decode(data)), format="png")
        for data in re.findall(r"data:image/png;base64,([^\"]*)\"", text)
    ]


def test_html_shows_thumbnails_of_grey_images(coreset):
    text = coreset._repr_html_()
    strips = pictures(text)
    # One strip per class of two items, each of 8 columns of pixels and a white one.
    assert [strip.shape for strip in strips] == 3 * [(8, 18)]
    assert all((strip[:, [8, 17]] == 1).all() for strip in strips)
    low, high = np.percentile(coreset.X, [0.5, 99.5])
    expected = np.clip((coreset.images[0] - low) / (high - low), 0, 1)
    np.testing.assert_allclose(strips[0][:, :8], expected, atol=0.5 / 255 + 1e-6)
    assert re.findall("<th>(.*?)</th>", text) == ["0", "1", "2"]
    assert "more items" not in text


def test_html_shows_colours():
    first, _ = pictures(colour_items()._repr_html_())
    assert first.shape[:2] == (2, 6)
    assert (np.diff(first[0, 0, :3]) >= 0).all()
    assert first[0, 3:5, :3].mean() > first[0, :2, :3].mean()


@pytest.mark.parametrize("kind", ["many large images", "a wide table"])
def test_html_is_bounded(kind):
    if kind == "many large images":
        coreset = colour_items(200, 100)
        assert all(max(strip.shape) <= 10 * 49 for strip in pictures(coreset._repr_html_()))
        assert "180 more items" in coreset._repr_html_()
    else:
        coreset = small(
            X=np.zeros((4, 5000)), preprocessing=None, feature_names=["long " * 1000] * 5000
        )
        assert "4988 more columns" in coreset._repr_html_()
    assert len(coreset._repr_html_()) < 200_000


def test_html_escapes_names():
    coreset = small(
        classes=["<b>", "c"],
        y=["<b>", "<b>", "c", "c"],
        feature_names=["<script>", "a&b", "c"],
    )
    text = coreset._repr_html_()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;b&gt;" in text
    assert "a&amp;b" in text


def test_files_of_version_2_stay_readable():
    """Written once, by version 0.1: what was published must load for good."""
    coreset = Coreset.load(Path(__file__).parent / "data" / "coreset_files" / "version_2.npz")
    assert coreset.classes.tolist() == ["cat", "dog", "\u00f1and\u00fa"]
    assert coreset.y.tolist() == coreset.classes.tolist()
    np.testing.assert_array_equal(coreset.X, np.arange(48.0).reshape(3, 16))
    np.testing.assert_array_equal(coreset.targets, np.eye(3) - 0.25)
    assert coreset.image_shape == (4, 4, 1)
    assert (coreset.logit_scale, coreset.reg, coreset.kernel) == (2.0, 1e-3, "ntk")
    assert coreset.architecture == ConvNetSpec(depth=1, width=(8,), sigma_b=0.2, readout="mean")
    assert coreset.feature_names == tuple(f"pixel {k}" for k in range(16))
    assert coreset.provenance == {"version": "0.1.0", "plan": {"pool_size": [1, "a reason"]}}
    assert coreset.corruption_mask.sum() == 3
    assert coreset.solved_targets is None
    assert coreset.sample_weight.tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_array_equal(
        coreset.preprocessing.apply(coreset.X[:1])[0, :4], [-0.5, 0.0, 0.25, 0.5]
    )


LABELS = {
    "integers": st.integers(-(2**63), 2**63 - 1),
    "floats": st.floats(allow_nan=False),
    "booleans": st.booleans(),
    "text": st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    "dates": st.datetimes(),
    "nanoseconds": st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)).map(
        lambda date: np.datetime64(date, "ns")
    ),
}


@pytest.mark.parametrize("kind", LABELS)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_labels_of_any_type_go_through_a_file(tmp_path, kind, data):
    classes = np.unique(data.draw(st.lists(LABELS[kind], min_size=2, max_size=5, unique=True)))
    n = len(classes)
    coreset = small(
        X=np.zeros((n, 3)), targets=np.eye(n) - 1 / n, classes=label_array(classes), y=classes
    )
    loaded = Coreset.load(coreset.save(tmp_path / "c.npz"))
    assert loaded == coreset
    if kind in ("integers", "floats", "booleans", "text"):
        assert loaded.y.tolist() == classes.tolist()


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
