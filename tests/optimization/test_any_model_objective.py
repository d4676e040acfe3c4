"""Losses of models fitted on the items: what is drawn, what is kept, how items are evaluated."""

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from rfad_sklearn import RFADDistiller
from rfad_sklearn._optimization.panel import Panel, PanelMember, default_members
from rfad_sklearn.distillers._any_model import plan_with_spacing
from rfad_sklearn.distillers._prepare import prepare
from tests.building import plan_of


@pytest.fixture
def made(rng):
    """Objective and variables of a small table, of three classes and four items each."""
    centres = rng.normal(size=(3, 5))
    y = np.arange(300) % 3
    X = centres[y] + 0.7 * rng.normal(size=(300, 5))
    return make(X, y)


def make(X, y, **parameters):
    distiller = RFADDistiller(**{"ipc": 4, "random_state": 0, "early_stopping": True, **parameters})
    context = prepare(distiller, X, y, 0, "any")
    variables = context.initial_variables("centroids")
    plan = plan_with_spacing(plan_of(distiller, context), context, variables["X"])
    objective = distiller._make_objective(plan, context, torch.Generator().manual_seed(0))
    return objective, {**variables, **objective.initial_variables()}


def loss_and_gradient(objective, variables):
    copies = {name: value.clone().requires_grad_(True) for name, value in variables.items()}
    loss = objective.loss(copies)
    loss.backward()
    return loss.detach(), copies["X"].grad, copies["log_scales"].grad


def test_gradients_reach_every_item_and_every_scale(made):
    objective, variables = made
    total = torch.zeros_like(variables["X"])
    for _ in range(8):
        loss, gradient, scales = loss_and_gradient(objective, variables)
        assert torch.isfinite(loss)
        total += gradient.abs()
        # Single columns have no scale of their own.
        assert int((scales != 0).sum()) == len(scales) - 1
        objective.after_step(variables)
    assert (total > 0).all()


def test_a_draw_gives_the_same_loss_again_and_the_next_another(made):
    objective, variables = made
    first, again = (loss_and_gradient(objective, variables)[:2] for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    objective.after_step(variables)
    assert not torch.equal(first[0], loss_and_gradient(objective, variables)[0])


def test_one_item_of_each_class_is_kept(made):
    objective, _ = made
    generator = torch.Generator().manual_seed(0)
    kept = [objective._kept(generator) for _ in range(200)]
    assert all(set(objective.item_y_encoded[each].tolist()) == {0, 1, 2} for each in kept)
    assert 0.6 < np.mean([len(each) / 12 for each in kept]) < 0.8
    everything = np.unique(torch.cat(kept))
    assert everything.tolist() == list(range(12))


def test_goes_on_with_the_same_losses(made, rng):
    objective, variables = made
    for _ in range(2):
        objective.loss(variables)
        objective.after_step(variables)
    objective.loss(variables)
    state = objective.state_dict()
    losses = []
    for _ in range(2):
        objective.load_state_dict(state)
        own = []
        for _ in range(6):
            own.append(float(objective.loss(variables)))
            objective.after_step(variables)
        losses.append(own)
    assert losses[0] == losses[1]


def test_a_probe_changes_nothing(made):
    objective, variables = made
    before = float(objective.loss(variables))
    objective.after_step(variables)
    state = objective.state_dict()
    objective.probe(variables)
    after = objective.state_dict()
    assert torch.equal(state["generator"], after["generator"])
    assert torch.equal(state["rows"], after["rows"])
    assert before != float(objective.loss(variables))


def test_items_are_evaluated_as_they_leave(made):
    objective, variables = made
    score, loss = objective.validate(variables, 0.0)
    accuracies = objective.panel_scores(variables)
    assert score == pytest.approx(np.mean(list(accuracies.values())))
    assert loss == pytest.approx(1 - score)
    items = objective.raw_items(variables["X"].numpy())
    svc = SVC().fit(items, objective.item_y_encoded)
    assert accuracies["SVC"] == svc.score(objective.panel.rows, objective.panel.y_encoded)


def test_members_behind_a_scaler_see_scaled_rows(rng):
    rows, y = rng.normal(size=(60, 3)) * [1, 100, 1], np.arange(60) % 2
    rows[:, 0] += 3 * y
    scale = np.array([1.0, 100.0, 1.0])
    members = [PanelMember("bare", SVC(), False), PanelMember("scaled", SVC(), True)]
    found = Panel(members, rows, y, np.zeros(3), scale).scores(rows[:20], y[:20])
    assert found["scaled"] == SVC().fit(rows[:20] / scale, y[:20]).score(rows / scale, y)
    assert found["scaled"] > found["bare"]


def test_three_neighbours_need_four_items():
    names, few, of_pixels = (
        {member.name for member in default_members(*what)}
        for what in ((4, False), (3, False), (4, True))
    )
    assert names - few == {"3-NN"}
    assert names - of_pixels == {"GaussianNB", "DecisionTree"}


def test_float64_arithmetic_on_request(rng):
    y = np.arange(60) % 2
    objective, variables = make(
        rng.normal(size=(60, 3)) + y[:, None], y, dtype="float64", early_stopping=False
    )
    assert objective.loss(variables).dtype == torch.float64
    assert objective.validate(variables, 0.0) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_the_losses_of_the_cpu(rng):
    y = np.arange(200) % 2
    X = rng.normal(size=(200, 6)) + y[:, None]
    losses = [
        float(objective.loss(variables))
        for objective, variables in (make(X, y, device=device) for device in ("cpu", "cuda"))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
