"""How many blocks the ConvNet of "auto" has."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rfad_sklearn import ConvNet, KIPDistiller, RFADDistiller
from rfad_sklearn._planning.depth_selection import in_question, is_worth_it, select_depth
from rfad_sklearn._utils.network_spec import ConvNetSpec
from rfad_sklearn.distillers._prepare import prepare
from tests.conftest import FAST


def some(n, n_wrong, *, start=0):
    """``n`` rows, of which ``n_wrong`` from number ``start`` on are classified wrongly."""
    rows = torch.arange(n)
    return (rows >= start) & (rows < start + n_wrong)


@pytest.mark.parametrize(
    ("wrong", "without", "worth"),
    [
        (some(2000, 900), some(2000, 1100), True),
        # Fewer than three of a hundred rows.
        (some(2000, 1050), some(2000, 1100), False),
        (some(2000, 1035), some(2000, 1100), True),
        # A third of the errors, but those are few.
        (some(2000, 6), some(2000, 9, start=2), False),
        # No row is lost to others: not chance.
        (some(2000, 600), some(2000, 900), True),
        # Nearly four of a hundred, but the rows change sides all the time.
        (some(400, 100), some(400, 115, start=100), False),
        (some(2000, 0), some(2000, 0), False),
        (some(2000, 900), some(2000, 100), False),
    ],
)
def test_a_block_must_discriminate_more_rows_than_by_chance(wrong, without, worth):
    assert is_worth_it(wrong, without) is worth


def scattered(n=1000, side=16, small=6, noise=0.3):
    """Images of one of ten patterns at a random place."""
    rng = np.random.default_rng(0)
    patterns = (rng.random((10, small, small)) < 0.5).astype(float)
    X, y = noise * rng.standard_normal((n, side, side)), rng.integers(10, size=n)
    for image, label in zip(X, y, strict=True):
        row, column = rng.integers(side - small + 1, size=2)
        image[row : row + small, column : column + small] += patterns[label]
    return X, y


def three_blocks(distiller, X, y, seed=0):
    """Context of a distiller as it is before its depth is selected."""
    context = prepare(distiller, X, y, seed)
    return replace(context, spec=replace(context.spec, depth=3))


@pytest.mark.slow
def test_the_third_block_stays_where_rows_need_it(all_digits):
    X, y = scattered()
    settings = {"ipc": 1, "max_iter": 0, "random_state": 0}
    assert RFADDistiller(**settings).fit(X, y).coreset_.architecture.depth == 3
    X, _, y, _ = all_digits
    assert RFADDistiller(**settings).fit(X, y).coreset_.architecture.depth == 2


@pytest.mark.slow
def test_two_blocks_discriminate_digits_with_fewer_items(all_digits):
    """The point of it: the coreset of the chosen network is better than that of three blocks."""
    X, _, y, _ = all_digits
    settings = {"ipc": 1, "max_iter": 150, "random_state": 0}
    auto, three = (
        RFADDistiller(**settings, architecture=ConvNet(depth=depth, width=32)).fit(X, y)
        for depth in (None, 3)
    )
    assert auto.coreset_.architecture.depth == 2
    assert min(record["validation_loss"] for record in auto.history_) < min(
        record["validation_loss"] for record in three.history_
    )


@pytest.mark.parametrize(
    "architecture", [ConvNet(depth=3), ConvNet(depth=3, width=16), ConvNetSpec(depth=3, width=16)]
)
def test_a_given_depth_is_used(all_digits, architecture, monkeypatch):
    monkeypatch.setattr(
        "rfad_sklearn.distillers._prepare.select_depth",
        lambda context: pytest.fail("compared depths"),
    )
    X, _, y, _ = all_digits
    distiller = RFADDistiller(**{**FAST, "architecture": architecture}).fit(X, y)
    assert distiller.coreset_.architecture.depth == 3


def test_a_given_width_leaves_the_depth_open(all_digits):
    X, _, y, _ = all_digits
    settings = {**FAST, "max_iter": 0}
    assert RFADDistiller(**settings).fit(X, y).coreset_.architecture == ConvNetSpec(2, 16)


def test_other_distillers_keep_three_blocks(digits):
    X, _, y, _ = digits
    distiller = KIPDistiller(max_iter=1, batch_size=16, random_state=0).fit(X[:60], y[:60])
    assert distiller.coreset_.architecture.depth == 3


def test_few_rows_and_large_images_are_no_pilot_sample(all_digits, monkeypatch):
    X, _, y, _ = all_digits
    assert prepare(RFADDistiller(), X[:199], y[:199], 0).spec.depth == 3
    context = three_blocks(RFADDistiller(), X, y)
    # Of two blocks of 32 and 128 channels an image of 8x8 pixels has 512 features.
    for name, enough in (("_ENTRIES", 512 * 200), ("_MOST_FEATURES", 512)):
        with monkeypatch.context() as patch:
            patch.setattr(f"rfad_sklearn._planning.pilot_sample.{name}", enough)
            assert select_depth(context)[0] == 2
            patch.setattr(f"rfad_sklearn._planning.pilot_sample.{name}", enough - 1)
            assert select_depth(context)[0] == 3


@pytest.mark.parametrize(("side", "compared"), [(64, True), (68, False)])
@pytest.mark.slow
def test_images_up_to_64x64_pixels_are_a_pilot_sample(side, compared, monkeypatch):
    monkeypatch.setattr("rfad_sklearn._planning.depth_selection.is_worth_it", lambda *wrong: False)
    X, y = (
        np.random.default_rng(0).integers(256, size=(250, side, side), dtype=np.uint8),
        np.arange(250) % 2,
    )
    distiller = RFADDistiller(preprocessing="standardize", early_stopping=False)
    context = three_blocks(distiller, X, y)
    assert select_depth(context)[0] == (2 if compared else 3)


def test_only_training_rows_are_in_the_pilot_sample(all_digits):
    X, _, y, _ = all_digits
    context = three_blocks(RFADDistiller(), X, y)
    assert len(context.validation)
    rows = context.rows.astype(float)
    rows[context.validation] = np.nan
    with_holes = replace(context, rows=rows)
    assert np.isnan(with_holes.read(context.validation)).all()
    # A single one of them would make the kernels NaN, which cannot be solved.
    assert select_depth(with_holes)[0] == 2


@pytest.mark.slow
def test_the_choice_is_the_same_for_the_same_seed_and_leaves_other_randomness_alone(all_digits):
    X, _, y, _ = all_digits
    context = three_blocks(RFADDistiller(), X, y, 3)
    before, torch_state = context.rng.bit_generator.state, torch.get_rng_state()
    assert {select_depth(context)[0] for _ in range(3)} == {2}
    assert context.rng.bit_generator.state == before
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ConvNetSpec(), True),
        (ConvNetSpec(depth=2), False),
        (ConvNetSpec(depth=4), False),
        (ConvNetSpec(pooling="none"), False),
    ],
)
def test_only_the_third_of_three_pooled_blocks_is_in_question(spec, expected):
    assert in_question(spec) is expected


def test_a_run_does_not_go_on_with_another_depth(all_digits, tmp_path, monkeypatch):
    X, _, y, _ = all_digits
    path = tmp_path / "run.npz"
    RFADDistiller(**FAST, checkpoint=path).fit(X, y)
    monkeypatch.setattr("rfad_sklearn.distillers._prepare.select_depth", lambda context: (3, ""))
    with pytest.raises(
        ValueError, match=r"written by a run with network=.*depth=2.*, not .*depth=3"
    ):
        RFADDistiller(**FAST, checkpoint=path).fit(X, y)
