import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from rfad_sklearn import ConvNet, Coreset, InstanceNormalizer, NNGPKernelRidge, RFADDistiller
from tests.conftest import FAST, FAST_ROWS


@pytest.mark.parametrize("preprocessing", ["auto", "zca", InstanceNormalizer()], ids=str)
def test_frozen_entries_keep_their_noise_and_the_others_are_optimised(digits, preprocessing):
    X, _, y, _ = digits
    distiller = RFADDistiller(
        ipc=2, corruption=0.75, preprocessing=preprocessing, early_stopping=False, **FAST
    )
    start = clone(distiller).set_params(max_iter=0).fit(X, y).coreset_
    coreset = distiller.fit(X, y).coreset_
    mask = coreset.corruption_mask
    assert mask.sum(1).tolist() == [48] * 6
    np.testing.assert_array_equal(mask, start.corruption_mask)
    np.testing.assert_array_equal(coreset.X[mask], start.X[mask])
    assert (abs(coreset.X - start.X)[~mask] > 1e-3).mean() > 0.9
    assert len({tuple(row) for row in mask}) == 6


def test_noise_has_the_scale_of_the_data():
    X, y = load_wine(return_X_y=True)
    coreset = RFADDistiller(ipc=40, corruption=0.5, max_iter=0, random_state=0).fit(X, y).coreset_
    np.testing.assert_allclose((coreset.X.mean(0) - X.mean(0)) / X.std(0), 0, atol=0.4)
    np.testing.assert_allclose(coreset.X.std(0), X.std(0), rtol=0.25)


@pytest.mark.slow
def test_the_loss_sees_what_the_file_holds(digits, tmp_path):
    """What was validated is what the stored items score: the frozen entries are in both."""
    X, _, y, _ = digits
    # Enough held-out rows and steps that no seed of four differed by more than 0.04.
    settings = {
        "architecture": ConvNet(width=64),
        "n_networks": 4,
        "max_iter": 300,
        "batch_size": 256,
        "validation_fraction": 0.3,
        "random_state": 0,
    }
    distiller = RFADDistiller(ipc=3, corruption=0.6, early_stopping=True, **settings).fit(X, y)
    distiller.coreset_.save(tmp_path / "c.npz")
    loaded = Coreset.load(tmp_path / "c.npz")
    assert loaded == distiller.coreset_
    assert loaded != Coreset(**{**vars(loaded), "corruption_mask": None})
    assert Coreset(**{**vars(loaded), "corruption_mask": None}) != loaded
    score = NNGPKernelRidge(random_state=0).fit_coreset(loaded).score(X, y)
    assert score > 0.9
    assert abs(score - distiller.best_validation_score_) < 0.1


def test_without_corruption_there_is_no_mask(coreset, tmp_path):
    assert coreset.corruption_mask is None
    coreset.save(tmp_path / "c.npz")
    assert Coreset.load(tmp_path / "c.npz").corruption_mask is None


def test_bad_parameters(digits, coreset):
    X, _, y, _ = digits
    with pytest.raises(ValueError, match="starts from noise, but init='kmeans'"):
        RFADDistiller(corruption=0.5, init="kmeans", **FAST).fit(X, y)
    for corruption, frozen in ((0.005, 0), (0.999, 64)):
        with pytest.raises(ValueError, match=f"freezes {frozen} of the 64 coordinates"):
            RFADDistiller(corruption=corruption, **FAST).fit(X, y)
    with pytest.raises(ValueError, match="needs a built-in preprocessing"):
        RFADDistiller(corruption=0.5, preprocessing=StandardScaler(), **FAST_ROWS).fit(
            X.reshape(len(X), -1), y
        )
    with pytest.raises(ValueError, match="corruption"):
        RFADDistiller(corruption=1.0, **FAST).fit(X, y)
    with pytest.raises(ValueError, match="corruption_mask must be of type bool"):
        Coreset(**{**vars(coreset), "corruption_mask": np.ones(coreset.X.shape)})


def test_noise_stays_where_items_are_as_many_as_rows(rng):
    y = np.repeat([0, 1], [30, 4])
    X = rng.normal(size=(34, 10))
    distiller = RFADDistiller(ipc=4, corruption=0.5, max_iter=1, random_state=0, downstream="nngp")
    items = distiller.fit(X, y).coreset_.X[4:]
    assert not {tuple(row) for row in items.tolist()} & {tuple(row) for row in X[30:].tolist()}
