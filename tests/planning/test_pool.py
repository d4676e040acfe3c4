"""How many networks, how wide, for how long: the pool's defaults and its memory."""

import numpy as np
import pytest
import torch

from rfad_sklearn import ConvNet, RFADDistiller
from rfad_sklearn._networks.random_features import cpu_networks
from rfad_sklearn._planning.memory import n_evaluation_networks
from rfad_sklearn._planning.pool import default_pool, fresh_width, refresh_interval
from rfad_sklearn._planning.timing import Timing
from rfad_sklearn._utils.network_spec import ConvNetSpec, MLPSpec
from rfad_sklearn.distillers._prepare import prepare
from tests.building import FixedTiming, objective_of, plan_of
from tests.conftest import FAST


def test_a_pool_of_large_features_holds_fewer_groups(digits, monkeypatch):
    X, _, y, _ = digits
    settings = {**FAST, "batch_size": 64, "n_networks": 3, "dtype": "float32", "device": "cpu"}
    distiller = RFADDistiller(ipc=2, **settings)
    context = prepare(distiller, X, y, 0)
    assert plan_of(distiller, context).pool_size == 32
    (network,) = cpu_networks(context.spec, context.shape, [0], "cpu", torch.float32)
    n_weights = sum(part.numel() for layer in network for part in layer)
    one_group = 3 * 4 * (64 * context.spec.n_features(context.shape) + n_weights)
    monkeypatch.setattr("rfad_sklearn._planning.memory.POOL_BYTES", 5 * one_group)
    plan = plan_of(distiller, context)
    assert plan.pool_size == 5
    assert "32 groups would take more than 512 MB" in plan.reasons["pool_size"]
    monkeypatch.setattr("rfad_sklearn._planning.memory.POOL_BYTES", 1)
    small = plan_of(distiller, context)
    assert small.pool_size == 1
    # A pool that memory makes small is refreshed as often as a large one.
    assert small.refresh_interval == plan.refresh_interval == 64 // 6


@pytest.mark.parametrize(("n_items", "every"), [(1, 32), (10, 32), (100, 10), (200, 5), (1000, 4)])
def test_the_pool_is_refreshed_as_often_as_the_coreset_is_large(n_items, every):
    assert refresh_interval(1024, n_items) == every
    pool = default_pool(MLPSpec(), n_items)
    assert (pool.width, pool.pool_size, pool.long) == (64, 32, False)


@pytest.mark.parametrize(
    ("spec", "n_items", "n_affordable", "width"),
    [
        (ConvNetSpec(), 200, None, 64),
        (ConvNetSpec(), 201, None, (32, 64, 256)),
        (ConvNetSpec(), 201, 10, (32, 64, 256)),
        (ConvNetSpec(), 100, 399, 64),
        (ConvNetSpec(), 100, 401, (32, 64, 256)),
        (ConvNetSpec(), 100, 1999, (32, 64, 256)),
        (ConvNetSpec(), 100, 2001, (64, 128, 512)),
        (ConvNetSpec(), 500, 2001, (64, 128, 512)),
        (ConvNetSpec(), 30, 10_000, 64),
        (MLPSpec(), 1000, 10_000, 64),
    ],
)
def test_images_have_no_pool_where_there_is_time_for_fresh_networks(
    spec, n_items, n_affordable, width
):
    def affordable(width):
        # Networks twice as wide take twice as long.
        return n_affordable * 256 / width[-1]

    timed = n_affordable is not None
    pool = default_pool(spec, n_items, affordable=affordable if timed else None)
    assert pool.width == width
    assert (pool.pool_size == 1) is (width != 64)
    assert pool.long is (isinstance(width, tuple) and width[-1] == 512)
    by_time = timed and isinstance(spec, ConvNetSpec) and 50 <= n_items <= 200
    assert ("as measured" in pool.why) is (by_time or pool.long)


def test_images_too_large_for_wide_networks_have_none_however_long_a_run():
    pool = default_pool(ConvNetSpec(), 500, most_channels=511, affordable=lambda width: np.inf)
    assert (pool.width, pool.pool_size, pool.long) == ((32, 64, 256), 1, True)


@pytest.mark.parametrize(
    ("depth", "width"),
    [(1, (256,)), (2, (32, 128)), (3, (32, 64, 256)), (5, (32, 32, 32, 64, 256))],
)
def test_fresh_networks_of_any_depth_end_wide(depth, width):
    assert fresh_width(ConvNetSpec(depth=depth)) == width


@pytest.mark.parametrize(("side", "last"), [(64, 256), (96, 128), (300, 64)])
def test_fresh_networks_of_large_images_keep_the_bounds_of_a_pool(side, last):
    X, y = np.zeros((2048, side, side), dtype=np.uint8), np.arange(2048) % 2
    distiller = RFADDistiller(
        ipc=110,
        architecture=ConvNet(depth=3),
        dtype="bfloat16",
        preprocessing=None,
        early_stopping=False,
        augment=False,
    )
    plan = plan_of(distiller, prepare(distiller, X, y, 0))
    assert plan.architecture.width == (32, 64, last)


def test_the_time_of_a_fresh_step_counts_rows_items_and_networks(digits, monkeypatch):
    context = prepare(RFADDistiller(ipc=3, device="cpu"), digits[0], digits[2], 0)
    monkeypatch.setattr(
        "rfad_sklearn._planning.timing._fastest",
        lambda function, device: function() is not None and 0.64,
    )
    # 0.64 s for 64 images forwards, and as much forwards and backwards: 3 networks of 100 rows and
    # 9 items.
    width = (4, 6, 8)[-context.spec.depth :]
    seconds = Timing(context, 0.0).fresh_step(width, 100, 3)
    assert seconds == pytest.approx(3 * (100 + 9) * 0.01)


@pytest.mark.parametrize(
    ("seconds", "steps", "size"), [(3.9, None, 32), (4.1, None, 1), (60, 399, 32), (60, 400, 1)]
)
def test_enough_time_does_without_a_pool(digits, seconds, steps, size):
    X, _, y, _ = digits
    distiller = RFADDistiller(
        ipc=20, max_time=seconds, max_iter=steps, dtype="float32", augment=False, teacher=None
    )
    plan = plan_of(distiller, prepare(distiller, X, y, 0), FixedTiming(0.01))
    assert plan.pool_size == size
    assert plan.refresh_interval == (1 if size == 1 else 1024 // 60)


def test_the_time_is_measured_of_the_networks_that_are_used(digits):
    X, _, y, _ = digits
    for architecture, expected in (
        (ConvNet(depth=3), [(32, 64, 256)]),
        (ConvNet(width=24), [24]),
        (ConvNet(depth=2, width=48), [48]),
        (ConvNet(width=(2, 3, 4)), [(2, 3, 4)]),
    ):
        timed = []
        distiller = RFADDistiller(ipc=20, max_time=399, architecture=architecture)
        plan_of(distiller, prepare(distiller, X, y, 0), FixedTiming(1.0, timed=timed))
        assert timed == expected
    # A width of the user's own is measured once.
    timed = []
    long = RFADDistiller(ipc=20, max_time=5000, architecture=ConvNet(width=24), augment=False)
    plan_of(long, prepare(long, X, y, 0), FixedTiming(1.0, timed=timed))
    assert timed == [24]


def test_more_evaluation_networks_where_their_features_fit(digits, monkeypatch):
    X, _, y, _ = digits
    settings = {"ipc": 2, "early_stopping": True, "dtype": "float32", "device": "cpu"}
    distiller = RFADDistiller(**settings, architecture=ConvNet(depth=3))
    context = prepare(distiller, X, y, 0)
    objective = objective_of(distiller, context)
    networks, cache = objective._validation
    assert objective.spec.width == 64
    assert objective.evaluation_spec.width == (32, 64, 256)
    assert len(networks) == 16
    bytes_of_one = cache.centred.nbytes // 16
    for size, n_networks in ((15.5, 15), (12, 12), (2, 8)):
        budget = int(size * bytes_of_one)
        monkeypatch.setattr("rfad_sklearn._planning.memory._HELD_OUT_BYTES", budget)
        assert plan_of(distiller, context).n_evaluation_networks == n_networks
    assert [n_evaluation_networks(2**n, torch.device("cuda")) for n in (20, 27, 30)] == [32, 16, 8]
    own = RFADDistiller(**settings, architecture=ConvNet(width=16))
    assert plan_of(own, prepare(own, X, y, 0)).evaluation_architecture.width == 16


def test_large_coresets_of_images_take_fresh_networks(digits):
    X, _, y, _ = digits
    distiller = RFADDistiller(ipc=67, architecture=ConvNet(depth=3))
    objective = objective_of(distiller, prepare(distiller, X, y, 0))
    assert objective.spec.width == objective.evaluation_spec.width == (32, 64, 256)
    before = objective.group
    objective.after_step(None)
    assert len(objective.groups) == 1
    assert objective.group is not before
    own = RFADDistiller(ipc=67, n_networks=2, architecture=ConvNet(width=16), pool_size=3)
    plan = plan_of(own, prepare(own, X, y, 0))
    assert (plan.n_networks, plan.pool_size, plan.refresh_interval) == (2, 3, 5)
    assert "pool_size" not in plan.reasons
