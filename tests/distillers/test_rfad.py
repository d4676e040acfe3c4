import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from torch.utils._python_dispatch import TorchDispatchMode

import rfad_sklearn
from rfad_sklearn import MLP, ConvNet, DistillationState, NNGPKernelRidge, RFADDistiller
from rfad_sklearn._networks.random_features import cached_features, kernel_product
from rfad_sklearn._optimization.loop import _Run
from rfad_sklearn._optimization.random_feature_objective import PoolConfig, RandomFeatureObjective
from rfad_sklearn._optimization.state import LoopConfig
from rfad_sklearn._optimization.teacher import SoftLabels
from rfad_sklearn._ridge.linalg import solve_targets
from rfad_sklearn._utils.network_spec import ConvNetSpec, MLPSpec
from rfad_sklearn.distillers._prepare import prepare
from rfad_sklearn.kernels import nngp_kernel
from tests.building import objective_of
from tests.conftest import FAST, FAST_ROWS


def make(**changes):
    return RFADDistiller(**{"ipc": 2, **FAST, **changes})


def make_for_rows(**changes):
    return RFADDistiller(**{"ipc": 2, **FAST_ROWS, **changes})


@pytest.mark.slow
def test_distilled_rows_beat_the_random_rows_they_started_from(all_digits):
    X, X_test, y, y_test = all_digits
    settings = {"ipc": 1, "architecture": ConvNet(width=32), "random_state": 0}
    start = NNGPKernelRidge(random_state=0).fit(
        *RFADDistiller(max_iter=0, downstream="nngp", **settings).fit_resample(X, y)
    )
    distiller = RFADDistiller(max_iter=120, **settings).fit(X, y)
    end = NNGPKernelRidge(random_state=0).fit_coreset(distiller.coreset_)
    assert end.score(X_test, y_test) > start.score(X_test, y_test) + 0.15
    assert distiller.loss_curve_[-1] < 0.7 * distiller.loss_curve_[0]


def test_fitted_attributes(fitted, digits):
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.coreset_.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert fitted.n_iter_ == 6
    assert len(fitted.loss_curve_) == len(fitted.validation_scores_) == 3
    assert fitted.stop_reason_ == "max_iter"
    assert fitted.image_shape_ == (8, 8, 1)
    assert fitted.n_features_in_ == 64
    assert 0 < fitted.best_validation_score_ <= 1
    provenance = fitted.coreset_.provenance
    assert provenance["method"] == "RFADDistiller"
    assert provenance["version"] == rfad_sklearn.__version__
    assert provenance["settings"]["ipc"] == 2
    assert provenance["n_iter"] == 6


def test_coreset_is_in_raw_units(all_digits):
    """Grey levels of the digits go from 0 to 16; standardised values would not."""
    X, _, y, _ = all_digits
    coreset = make(ipc=5).fit(X, y).coreset_
    assert coreset.X.mean() == pytest.approx(X.mean(), abs=0.5)
    assert coreset.X.max() > 10


def test_only_items_and_scale_are_learned_unless_labels_are(digits):
    X, _, y, _ = digits
    fixed = make().fit(X, y).coreset_
    np.testing.assert_allclose(fixed.targets, np.repeat(np.eye(3), 2, axis=0) - 1 / 3, atol=1e-6)
    learned = make(learn_labels=True).fit(X, y).coreset_
    assert abs(learned.targets - fixed.targets).max() > 1e-3


@pytest.mark.parametrize(
    "changes",
    [{}, {"loss": "mse"}, {"learn_labels": True}, {"init": "noise", "preprocessing": "zca"}],
)
def test_same_seed_same_bits(digits, changes):
    X, _, y, _ = digits
    first, second = (make(**changes).fit(X, y) for _ in range(2))
    assert first.coreset_ == second.coreset_
    assert first.loss_curve_ == second.loss_curve_
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    assert not np.array_equal(
        first.coreset_.X, make(**changes, random_state=1).fit(X, y).coreset_.X
    )


def test_random_state_instance_advances(digits):
    X, _, y, _ = digits
    state = np.random.RandomState(0)
    assert (
        make(random_state=state).fit(X, y).coreset_ != make(random_state=state).fit(X, y).coreset_
    )


def test_global_state_is_left_alone(digits):
    X, _, y, _ = digits
    torch_state, threads = torch.get_rng_state(), torch.get_num_threads()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    make().fit(X, y).transform(X)
    assert torch.equal(torch_state, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
    assert threads == torch.get_num_threads()


def test_layouts_give_the_same_coreset(digits):
    X, X_test, y, _ = digits
    images, flat, channel = (
        make(image_shape=shape, downstream="nngp").fit(rows, y)
        for rows, shape in ((X, None), (X.reshape(len(X), -1), (8, 8)), (X[..., None], None))
    )
    assert images.coreset_.X.tolist() == flat.coreset_.X.tolist() == channel.coreset_.X.tolist()
    Z = images.transform(X_test)
    np.testing.assert_array_equal(Z, images.transform(X_test.reshape(len(X_test), -1)))
    assert images.fit_resample(X, y)[0].shape == (6, 8, 8)
    assert flat.fit_resample(X.reshape(len(X), -1), y)[0].shape == (6, 64)
    assert channel.fit_resample(X[..., None], y)[0].shape == (6, 8, 8, 1)


def test_colour_images(rng):
    X = rng.integers(0, 256, size=(60, 8, 8, 3), dtype=np.uint8)
    y = np.repeat(["red", "blue"], 30)
    X[:30, ..., 0] = 250
    distiller = make().fit(X, y)
    assert distiller.coreset_.images.shape == (4, 8, 8, 3)
    assert distiller.coreset_.X.dtype == np.float32
    assert distiller.coreset_.classes.tolist() == ["blue", "red"]
    assert (
        NNGPKernelRidge(n_networks=8, random_state=0).fit_coreset(distiller.coreset_).score(X, y)
        > 0.9
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64, np.float16, bool])
def test_numeric_types(digits, dtype):
    X, _, y, _ = digits
    distiller = make(max_iter=1).fit(X.astype(dtype), y)
    expected = np.float64 if dtype in (np.float64, np.int64) else np.float32
    assert distiller.coreset_.X.dtype == distiller.transform(X.astype(dtype)).dtype == expected


def test_float64_arithmetic_on_request(digits):
    X, _, y, _ = digits
    single, double = (
        make(dtype="float32", max_iter=2).fit(X, y),
        make(dtype="float64", max_iter=2).fit(X, y),
    )
    np.testing.assert_allclose(single.coreset_.X, double.coreset_.X, atol=0.01)
    assert not np.array_equal(single.coreset_.X, double.coreset_.X)


def test_reduced_precision_distils_about_as_well(digits):
    X, _, y, _ = digits
    losses = [
        make(dtype=dtype, max_iter=30).fit(X, y).loss_curve_[-1]
        for dtype in ("float32", "bfloat16")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


def test_a_memory_map_gives_the_same_coreset(digits, tmp_path):
    X, _, y, _ = digits
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert make().fit(mapped, y).coreset_ == make().fit(X, y).coreset_


@pytest.mark.slow
def test_a_memory_map_is_not_read_at_once(rng, tmp_path, monkeypatch):
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.uint8, (3000, 8, 8))
    X[:] = rng.integers(0, 255, X.shape)
    y = np.arange(3000) % 3
    largest = 0
    from rfad_sklearn._utils.preprocessing_value import Preprocessing

    apply = Preprocessing.apply

    def spy(self, rows):
        nonlocal largest
        largest = max(largest, len(rows))
        return apply(self, rows)

    monkeypatch.setattr(Preprocessing, "apply", spy)
    monkeypatch.setattr("rfad_sklearn._utils.preprocessing_fit._CHUNK", 500)
    make(validation_fraction=0.02).fit(X, y).transform(X)
    assert largest <= 500


def test_held_out_rows_are_never_trained_on(digits):
    X, _, y, _ = digits
    seen, held_out = set(), []
    original = rfad_sklearn.distillers._random_features.RandomFeatureObjective

    class Spy(original):
        def _make_validation(self):
            held_out.append(set(self.data.validation.tolist()))

        def _next_rows(self):
            rows = super()._next_rows()
            seen.update(rows.tolist())
            return rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rfad_sklearn.distillers._random_features.RandomFeatureObjective", Spy)
        patch.setattr(Spy, "validate", lambda self, variables, progress: (0.0, 0.0))
        patch.setattr(Spy, "fit_scale", lambda self, variables, held_out=False: 1.0)
        make(
            validation_fraction=0.25,
            max_iter=30,
            batch_size=50,
            pool_size=1,
            early_stopping=True,
        ).fit(X, y)
    (held_out,) = held_out
    assert len(held_out) == pytest.approx(0.25 * len(X), abs=2)
    assert seen == set(range(len(X))) - held_out


def test_without_early_stopping_all_rows_are_used_and_the_last_state_kept(digits):
    X, _, y, _ = digits
    distiller = make(early_stopping=False).fit(X, y)
    assert distiller.validation_scores_ is None
    assert distiller.best_validation_score_ is None
    assert len(distiller.loss_curve_) == 3
    assert distiller.coreset_.logit_scale > 0


def test_few_rows_are_all_trained_on(all_digits):
    """A tenth of 1000 rows can choose a state, a tenth of 900 cannot, but True holds them out."""
    X, _, y, _ = all_digits
    kept = {
        n: make(max_iter=1).fit(X[:n], y[:n]).validation_scores_ is not None for n in (900, 1040)
    }
    assert kept == {900: False, 1040: True}
    assert (
        make(max_iter=1, early_stopping=True).fit(X[:100], y[:100]).validation_scores_ is not None
    )


def test_a_class_with_a_single_row(rng):
    X = rng.normal(size=(21, 4))
    y = np.repeat([0, 1, 2], [10, 10, 1])
    distiller = make_for_rows(ipc=1, early_stopping=True).fit(X, y)
    assert distiller.coreset_.y.tolist() == [0, 1, 2]
    # The others have held-out rows all the same; where no class can spare a row there are none.
    assert distiller.validation_scores_ is not None
    one_each = make_for_rows(ipc=1, early_stopping=True).fit(X[[0, 10, 20]], y[[0, 10, 20]])
    assert one_each.validation_scores_ is None


def test_items_per_class_from_a_dict(digits):
    X, _, y, _ = digits
    coreset = make(ipc={2: 3, 0: 1, 1: 2}).fit(X, y).coreset_
    assert coreset.y.tolist() == [0, 1, 1, 2, 2, 2]
    assert coreset.provenance["settings"]["ipc"] == [[2, 3], [0, 1], [1, 2]]


def test_init_with_given_items_in_raw_units(digits):
    X, _, y, _ = digits
    start = np.stack([X[y == c][k] for c in range(3) for k in range(2)])
    for layout in (start, start.reshape(6, 64)):
        np.testing.assert_allclose(
            make(init=layout, max_iter=0).fit(X, y).coreset_.images, start, atol=1e-4
        )


def test_initial_rows(digits):
    X, _, y, _ = digits
    random, kmeans, noise = (
        make(init=init, max_iter=0).fit(X, y).coreset_ for init in ("random", "kmeans", "noise")
    )
    for coreset in (random, kmeans):
        for item, label in zip(coreset.X, coreset.y, strict=True):
            distances = abs(X[y == label].reshape(-1, 64) - item).max(1)
            assert distances.min() < 1e-3
    assert abs(X.reshape(-1, 64) - noise.X[0]).max(1).min() > 1


def test_networks_can_be_chosen(digits):
    X, _, y, _ = digits
    for architecture, spec in (
        (ConvNet(depth=2, width=12), ConvNetSpec(depth=2, width=12)),
        (ConvNet(depth=1, width=9), ConvNetSpec(depth=1, width=9)),
        (ConvNetSpec(depth=1, width=9), ConvNetSpec(depth=1, width=9)),
        (ConvNet(depth=1), ConvNetSpec(depth=1, width=128)),
    ):
        fitted = make(architecture=architecture, max_iter=1).fit(X, y)
        assert fitted.coreset_.architecture == spec
        assert fitted.architecture is architecture
    flat = make(architecture=MLP(depth=1, width=9)).fit(X.reshape(len(X), -1), y)
    assert flat.coreset_.architecture == MLPSpec(depth=1, width=9)
    assert flat.coreset_.image_shape is None


def test_auto_trains_on_narrow_networks_and_evaluates_by_wider_ones(digits, monkeypatch):
    X, _, y, _ = digits
    widths = []
    from rfad_sklearn._optimization import random_feature_objective

    draw = random_feature_objective.draw_networks
    monkeypatch.setattr(
        random_feature_objective,
        "draw_networks",
        lambda spec, *args, **kwargs: widths.append(spec.width) or draw(spec, *args, **kwargs),
    )
    distiller = make(architecture="auto", max_iter=1).fit(X, y)
    assert set(widths) == {64}
    assert distiller.coreset_.architecture == ConvNetSpec(depth=2, width=128)


def test_instance_norm_is_part_of_the_loss(digits):
    """Brightness and contrast of an item change nothing: the items drift in no such direction."""
    X, _, y, _ = digits
    distiller = make(preprocessing=rfad_sklearn.InstanceNormalizer(), max_iter=10).fit(X, y)
    inputs = distiller.coreset_.inputs.reshape(6, -1)
    np.testing.assert_allclose(inputs.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(inputs.std(1), 1, rtol=1e-3)


def test_the_pool_is_refreshed(digits):
    X, _, y, _ = digits
    context = prepare(make(), X, y, 0)
    config = PoolConfig(
        batch_size=32,
        reg=5e-3,
        loss="cross_entropy",
        n_networks=4,
        pool_size=2,
        refresh_interval=3,
        n_evaluation_networks=2,
    )
    objective = RandomFeatureObjective(
        context.spec,
        context.training_data,
        config,
        generator=torch.Generator(),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    pools = []
    for _ in range(12):
        pools.append(list(objective.groups))
        assert any(objective.group is group for group in objective.groups)
        objective.after_step(None)
    assert [len(pool) for pool in pools] == 3 * [1] + 9 * [2]
    renewed = [pools[k + 1][slot] is not pools[k][slot] for k in range(3, 11) for slot in (0, 1)]
    # After step 6 the first slot, after step 9 the second.
    assert [k for k, new in enumerate(renewed) if new] == [2 * 2, 2 * 5 + 1]
    seen = [
        id(layer)
        for group in {id(g): g for pool in pools for g in pool}.values()
        for layer in group.networks
    ]
    assert len(set(seen)) == 4 * 4


def test_cached_activations_belong_to_the_rows_of_their_group(digits):
    X, _, y, _ = digits
    reads = []
    context = prepare(make(), X, y, 0)
    data = context.training_data
    watched = replace(
        data,
        read=lambda rows: reads.append(rows) or data.read(rows),
        validation=data.validation[:0],
    )
    config = PoolConfig(
        batch_size=32,
        reg=5e-3,
        loss="cross_entropy",
        n_networks=2,
        pool_size=2,
        refresh_interval=1,
        n_evaluation_networks=2,
    )
    objective = RandomFeatureObjective(
        context.spec,
        watched,
        config,
        generator=torch.Generator(),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    for _ in range(4):
        objective.after_step(None)
    for group, rows in zip(objective.groups, (reads[4], reads[3]), strict=True):
        activations = cached_features(context.spec, group.networks, data.read(rows))
        torch.testing.assert_close(
            group.cache.kernel(activations), kernel_product(context.spec, activations, activations)
        )
        assert torch.equal(group.labels, data.labels[rows])
        assert torch.equal(group.targets, torch.eye(3)[group.labels] - 1 / 3)


def test_loss_gradient_steps_and_average_never_wait_for_the_device(digits, monkeypatch):
    """No tensor is read as a number there: on a GPU that would stop the host."""

    class NoReading(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            assert function is not torch.ops.aten._local_scalar_dense.default
            return function(*args, **(kwargs or {}))

    X, _, y, _ = digits
    distiller = make(pool_size=1)
    context = prepare(distiller, X, y, 0)
    objective = objective_of(distiller, context)
    config = LoopConfig({"X": 0.03, "log_scale": 0.01}, 0.0, 6, None, 3, 100, 1e-4, ("X",))
    run = _Run(objective, context.initial_variables("random"), config, None)
    objective.soft_labels = SoftLabels(torch.full((len(context.y_encoded), 3), 1 / 3), 1.0, 0.0)
    # Which group comes next is decided on the host, by a generator of the host; torch's Adam counts
    # its steps there.
    objective.after_step = lambda variables: None
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: None)
    with NoReading():
        run.step(0.0)
    assert run.result.n_iter == 1


def test_recomputing_activations_changes_nothing_but_memory(digits, monkeypatch):
    X, _, y, _ = digits
    kept = make().fit(X, y).coreset_
    for budget in ("_ACTIVATION_BUDGET", "_CUDA_SHARE"):
        monkeypatch.setattr(f"rfad_sklearn._optimization.random_feature_objective.{budget}", 0)
    np.testing.assert_allclose(make().fit(X, y).coreset_.X, kept.X, atol=1e-3)


def test_interrupted_fit_returns_the_best_state(digits, monkeypatch):
    X, _, y, _ = digits
    step, best = _Run.step, {}

    def interrupting(self, progress):
        if self.result.n_iter == 10:
            best.update({name: value.clone() for name, value in self.average.items()})
            raise KeyboardInterrupt
        return step(self, progress)

    monkeypatch.setattr(_Run, "step", interrupting)
    distiller = make(max_iter=50)
    with pytest.warns(
        UserWarning, match="interrupted after 10 steps; the best coreset so far is kept"
    ):
        assert distiller.fit(X, y) is distiller
    assert distiller.stop_reason_ == "interrupted"
    assert distiller.n_iter_ == 10
    standard = distiller.coreset_.inputs
    np.testing.assert_allclose(standard, best["X"].numpy(), atol=1e-5)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("changes", [{}, {"eval_every": 1}])
def test_divergence_warns_and_keeps_a_finite_coreset(digits, changes, early_stopping):
    X, _, y, _ = digits
    changes = {**changes, "early_stopping": early_stopping}
    with pytest.warns(
        ConvergenceWarning, match=r"stopped being finite.*Lower learning_rate=1e\+25"
    ):
        distiller = make(
            **{"learning_rate": 1e25, "max_iter": 30, "dtype": "float32", **changes}
        ).fit(X, y)
    assert np.isfinite(distiller.coreset_.X).all()


def test_a_warning_turned_into_an_error_loses_nothing(digits):
    X, _, y, _ = digits
    distiller = make(learning_rate=1e25, max_iter=30, dtype="float32")
    with pytest.raises(ConvergenceWarning):
        distiller.fit(X, y)
    assert distiller.stop_reason_ == "diverged"
    assert distiller.coreset_.n_items == 6


def test_columns_far_from_zero_keep_their_digits():
    """Time stamps: the deviation is far below the spacing of float32 at that offset."""
    rng = np.random.default_rng(0)
    X = 1.7e9 + 100 * rng.normal(size=(60, 3))
    y = (X[:, 0] > 1.7e9).astype(int)
    for rows in (X, X.round().astype(np.int64)):
        items = (
            make_for_rows(ipc=3, max_iter=0, preprocessing="standardize").fit(rows, y).coreset_.X
        )
        assert abs(rows[:, None] - items).max(2).min(0).max() < 0.01


def test_an_integer_seed_in_the_file_repeats_the_run(digits):
    X, _, y, _ = digits
    coreset = make(random_state=None).fit(X, y).coreset_
    again = make(random_state=coreset.provenance["seed"]).fit(X, y).coreset_
    np.testing.assert_array_equal(again.X, coreset.X)


def test_too_little_memory_says_what_to_lower(digits, monkeypatch):
    X, _, y, _ = digits

    def fail(*args, **kwargs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("rfad_sklearn._optimization.random_feature_objective.RowCache", fail)
    with pytest.raises(
        MemoryError,
        match="distilling with batch_size=128; lower batch_size, n_networks, pool_size or the",
    ):
        make().fit(X, y)


def test_other_errors_that_name_memory_are_left_alone(digits):
    X, _, y, _ = digits

    def callback(state):
        raise RuntimeError("no shared memory segment for logging")

    with pytest.raises(RuntimeError, match="no shared memory"):
        make(callback=callback).fit(X, y)


def test_failed_fit_leaves_what_was_there(fitted, digits):
    X, _, y, _ = digits
    again = clone(fitted)
    again.fit(X, y)
    before = again.coreset_
    with pytest.raises(ValueError, match="NaN"):
        again.fit(np.full_like(X, np.nan), y)
    assert again.coreset_ is before
    assert again.n_features_in_ == 64


def test_callback_sees_the_state_and_can_stop(digits):
    X, _, y, _ = digits
    states = []

    def callback(state):
        states.append(state)
        return state.step >= 3

    distiller = make(max_iter=100, early_stopping=True, callback=callback).fit(X, y)
    assert distiller.n_iter_ == 3
    assert distiller.stop_reason_ == "callback"
    assert [state.step for state in states] == [0, 3]
    assert all(isinstance(state, DistillationState) for state in states)
    assert states[1].coreset.X.shape == (6, 64)
    assert not np.array_equal(states[0].coreset.X, states[1].coreset.X)
    assert states[1].validation_score == distiller.validation_scores_[1]
    assert states[1].time > states[0].time >= 0
    assert states[1].steps_per_second > 0
    assert 0 < states[0].evaluation_time < states[1].evaluation_time < states[1].time


def test_verbose_prints_a_line_per_evaluation(digits, capsys):
    X, _, y, _ = digits
    make(verbose=1, early_stopping=True).fit(X, y)
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("step")]
    assert len(lines) == 3
    for line in lines:
        for word in ("step", " s |", "loss", "validation accuracy", "steps/s"):
            assert word in line
    make().fit(X, y)
    assert capsys.readouterr().out == ""
    make(verbose=1, early_stopping=False).fit(X, y)
    assert "validation" not in capsys.readouterr().out


@pytest.mark.slow
def test_time_budget_is_normal_and_bounds_the_whole_fit(digits):
    X, _, y, _ = digits
    begin = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distiller = make(max_iter=None, max_time=2.0).fit(X, y)
    assert time.monotonic() - begin < 6
    assert distiller.stop_reason_ == "max_time"


def test_no_time_for_a_step_gives_a_warning(digits):
    X, _, y, _ = digits
    with pytest.warns(
        UserWarning,
        match=r"max_time=0\.001 seconds were over before the first step.*Raise max_time",
    ):
        distiller = make(max_iter=None, max_time=0.001).fit(X, y)
    assert (distiller.n_iter_, distiller.stop_reason_) == (0, "max_time")


@pytest.mark.slow
def test_default_number_of_steps(monkeypatch):
    """1000, and no bound where there is a budget of time."""
    X, y = load_iris(return_X_y=True)
    settings = {
        "architecture": MLP(depth=1, width=2),
        "n_networks": 1,
        "batch_size": 8,
        "eval_every": 500,
        "max_iter": None,
    }
    distiller = make_for_rows(**settings).fit(X, y)
    assert (distiller.n_iter_, distiller.stop_reason_) == (1000, "max_iter")
    monkeypatch.setattr("rfad_sklearn._planning.budget.DEFAULT_MAX_ITER", 100)
    assert make_for_rows(**settings).fit(X, y).n_iter_ == 100
    timed = make_for_rows(**settings, max_time=600, callback=lambda state: state.step > 100)
    assert timed.fit(X, y).n_iter_ == 500


def test_transform_is_a_feature_map_of_the_kernel(digits):
    """Their scalar products are the Nystroem approximation of the kernel around the items' mean."""
    X, X_test, y, _ = digits
    flat, flat_test = X.reshape(len(X), -1), X_test.reshape(len(X_test), -1)
    distiller = make_for_rows(architecture=MLP(width=512), max_iter=0).fit(flat, y)
    coreset = distiller.coreset_
    Z = distiller.transform(flat_test)
    assert Z.shape == (len(X_test), 6)
    K_items = nngp_kernel(coreset.inputs, architecture=coreset.architecture)
    K = nngp_kernel(
        coreset.preprocessing.apply(flat_test), coreset.inputs, architecture=coreset.architecture
    )
    Z_items, rows = distiller.transform(coreset.X), np.vstack([K_items, K])
    Z_all = np.vstack([Z_items, Z])
    np.testing.assert_allclose(Z_items.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(np.square(Z_items).mean(), 1, rtol=1e-5)
    products = rows @ solve_targets(torch.tensor(K_items), torch.tensor(rows.T), 5e-3).numpy()
    products = products - products[:6].mean(0)
    products = products - products[:, :6].mean(1, keepdims=True)
    factor = Z_items.size / products[:6, :6].trace()
    np.testing.assert_allclose(Z_all @ Z_all.T, factor * products, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [pytest.param("images", marks=pytest.mark.slow), "table"])
def test_a_linear_model_learns_from_features_by_its_defaults(all_digits, kind):
    X, X_test, y, y_test = all_digits
    if kind == "table":
        X, X_test = (images.reshape(len(images), -1) for images in (X, X_test))
    distiller = make(ipc=5, max_iter=0, architecture="auto")
    model = make_pipeline(distiller, LogisticRegression()).fit(X, y)
    nystroem = make_pipeline(
        MinMaxScaler(), Nystroem(n_components=50, random_state=0), LogisticRegression()
    )
    flat, flat_test = X.reshape(len(X), -1), X_test.reshape(len(X_test), -1)
    assert model.score(X_test, y_test) > nystroem.fit(flat, y).score(flat_test, y_test)


def test_transform_does_not_depend_on_the_rows_beside(fitted, digits):
    X_test = digits[1]
    np.testing.assert_allclose(
        fitted.transform(X_test[:3]), fitted.transform(X_test)[:3], atol=1e-5
    )


def test_feature_names_and_output_containers(fitted, digits):
    pd = pytest.importorskip("pandas")
    X, _, y, _ = digits
    names = [f"rfaddistiller{k}" for k in range(6)]
    assert fitted.get_feature_names_out().tolist() == names
    frame = make().set_output(transform="pandas").fit(X, y).transform(X.reshape(len(X), -1))
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == names


def test_data_frames_come_back_as_data_frames(rng):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"], index=np.arange(60) * 7)
    labels = pd.Series(np.where(frame["a"] > 0, "yes", "no"), index=frame.index, name="answer")
    items, answers = make_for_rows(downstream="nngp").fit_resample(frame, labels)
    assert isinstance(items, pd.DataFrame)
    assert items.columns.tolist() == ["a", "b", "c"]
    assert answers.name == "answer"
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        assert make_for_rows(downstream="nngp").fit_resample(frame, labels.to_frame())[
            1
        ].columns.tolist() == ["answer"]
    assert answers.tolist() == ["no", "no", "yes", "yes"]


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "category", "int8"])
def test_labels_come_back_in_their_own_type(rng, dtype):
    pd = pytest.importorskip("pandas")
    X, labels = rng.normal(size=(60, 3)), pd.Series(np.arange(60) % 2).astype(dtype)
    answers = make_for_rows(downstream="nngp").fit_resample(X, labels)[1]
    pd.testing.assert_series_equal(answers, pd.Series([0, 0, 1, 1]).astype(dtype))
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        answers = make_for_rows(downstream="nngp").fit_resample(X, labels.to_frame("answer"))[1]
    assert answers["answer"].dtype == labels.dtype


def test_not_fitted(digits):
    with pytest.raises(NotFittedError):
        make().transform(digits[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_distils_as_the_cpu_does(digits):
    X, _, y, _ = digits
    for device in ("cpu", "cuda"):
        assert (
            make(
                device=device,
                max_iter=60,
                architecture=ConvNet(width=32),
                early_stopping=True,
            )
            .fit(X, y)
            .best_validation_score_
            > 0.8
        )


def test_images_take_the_steps_of_muon_and_flat_rows_those_of_adam(digits):
    X, _, y, _ = digits
    flat = X.reshape(len(X), -1)
    for rows, corruption, same, other in (
        (X, 0.0, "muon", "adam"),
        (X, 0.5, "adam", "muon"),
        (flat, 0.0, "adam", "muon"),
    ):
        small = FAST if rows.ndim == 3 else FAST_ROWS
        settings = {**small, "corruption": corruption}
        default, alike, different = (
            RFADDistiller(**settings, solver=solver).fit(rows, y).coreset_.X
            for solver in ("auto", same, other)
        )
        np.testing.assert_array_equal(default, alike)
        assert not np.allclose(default, different)
