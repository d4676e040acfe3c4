"""Files of checkpoints: what goes through them, and which of them are refused."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from rfad_sklearn import Coreset, RFADDistiller
from rfad_sklearn._optimization.checkpoint import load_checkpoint, save_checkpoint
from tests.optimization.test_checkpoint import POOL


def test_damaged_files(digits, tmp_path):
    X, _, y, _ = digits
    path = tmp_path / "run.npz"

    def fit():
        clone(POOL).set_params(checkpoint=path).fit(X, y)

    for content in (b"", b"nonsense", b"PK\x03\x04 damaged"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"not a readable checkpoint.*or remove the file"):
            load_checkpoint(path)
        with pytest.raises(ValueError, match="not a checkpoint; remove it, or give another path"):
            fit()
        assert path.read_bytes() == content
    np.savez(path, X=X)
    with pytest.raises(ValueError, match="lacks the arrays"):
        load_checkpoint(path)
    with pytest.raises(ValueError, match="not a checkpoint; remove it, or give another path"):
        fit()
    np.savez(path, checkpoint_version=99, facts="{}", fingerprint="{}")
    with pytest.raises(ValueError, match="checkpoint_version 99"):
        fit()
    with pytest.raises(ValueError, match="folder"):
        RFADDistiller(checkpoint=tmp_path / "nowhere" / "run.npz").fit(X, y)


def test_pickles_are_never_loaded(tmp_path):
    path = tmp_path / "run.npz"
    np.savez(path, checkpoint_version=1, facts=np.array({"a": 1}, dtype=object), fingerprint="{}")
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        load_checkpoint(path)


def test_state_goes_through_a_file(tmp_path):
    state = {
        "a": {"b": torch.arange(3), "c": {"d": [1, None, 0.1]}},
        "e": float("inf"),
        "f": torch.tensor(2.5),
    }
    save_checkpoint(tmp_path / "s.npz", state, {"seed": 1})
    loaded, fingerprint = load_checkpoint(tmp_path / "s.npz")
    assert torch.equal(loaded["a"]["b"], state["a"]["b"])
    assert loaded["a"]["c"] == state["a"]["c"]
    assert loaded["e"] == state["e"]
    assert torch.equal(loaded["f"], state["f"])
    assert fingerprint == {"seed": 1}


def test_a_file_that_is_no_checkpoint_is_not_overwritten(digits, fitted, tmp_path):
    X, _, y, _ = digits
    path = fitted.coreset_.save(tmp_path / "coreset.npz")
    for taken in (path, tmp_path):
        with pytest.raises(ValueError, match="not a checkpoint; remove it, or give another path"):
            clone(POOL).set_params(checkpoint=taken).fit(X, y)
    assert Coreset.load(path) == fitted.coreset_


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("seconds", None, "seconds"),
        ("seconds", float("nan"), "seconds"),
        ("n_iter", -3, "n_iter"),
        ("n_no_change", "x", "n_no_change"),
        ("best_validation_loss", "x", "best_validation_loss"),
        (
            "budget",
            {"elapsed": 1.0, "evaluation_seconds": "x", "step_seconds": 1.0},
            "evaluation_seconds",
        ),
        ("budget", {}, "KeyError"),
        ("history", 3, "TypeError"),
        ("history", [3], "history"),
        ("average", {}, "KeyError"),
    ],
)
def test_tampered_facts_are_named(digits, tmp_path, name, value, message):
    X, _, y, _ = digits
    distiller = clone(POOL).set_params(checkpoint=tmp_path / "run.npz").fit(X, y)
    state, fingerprint = load_checkpoint(distiller.checkpoint)
    save_checkpoint(distiller.checkpoint, {**state, name: value}, fingerprint)
    with pytest.raises(
        ValueError,
        match=f"run.npz is not a readable checkpoint: .*{message}.*another path",
    ):
        clone(distiller).set_params(max_iter=20).fit(X, y)
    save_checkpoint(
        distiller.checkpoint,
        state,
        {key: value for key, value in fingerprint.items() if key != "seed"},
    )
    with pytest.raises(ValueError, match="its fingerprint has no seed"):
        clone(distiller).fit(X, y)


def test_too_little_memory_does_not_make_a_checkpoint_a_damaged_one(digits, tmp_path, monkeypatch):
    X, _, y, _ = digits
    distiller = clone(POOL).set_params(checkpoint=tmp_path / "run.npz").fit(X, y)

    def fail(self, state):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr("rfad_sklearn._optimization.loop._Run.load_state_dict", fail)
    with pytest.raises(MemoryError, match="Not enough memory for distilling"):
        clone(distiller).set_params(max_iter=20).fit(X, y)


def test_a_checkpoint_of_another_version_is_refused_and_stays(digits, tmp_path):
    X, _, y, _ = digits
    path = tmp_path / "run.npz"
    np.savez(path, checkpoint_version=1, facts="{}", fingerprint="{}")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint_version 1, .*another path, or remove the"):
        clone(POOL).set_params(checkpoint=path).fit(X, y)
    assert path.read_bytes() == before
