"""Muon, the schedules and the average of the weights, against computations by hand."""

import copy
import dataclasses
import math

import pytest
import torch
from test_training import RECIPE, TEST, TRAIN, made_up, network, quiet_fit
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from common.data import hold_out
from common.optim import make_optimizer, one_cycle, orthogonalize
from common.training import Recipe, evaluate


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (16, 16), (10, 160)])
def test_orthogonal_keeps_the_directions_and_evens_out_their_lengths(shape):
    generator = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    lengths = torch.linspace(1, 0.05, len(v))
    result = u.T @ orthogonalize(u * lengths @ v) @ v.T  # diagonal: the same directions
    assert (result - torch.diag(result.diag())).abs().max() < 1e-4
    assert 0.5 < result.diag().min() and result.diag().max() < 1.3


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_steps_by_the_orthogonal_matrix_of_the_momentum(nesterov):
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 3, groups=6, bias=False))
    optimizer = make_optimizer(model, Recipe(epochs=1, lr=0.5, muon=0.1, momentum=0.9, nesterov=nesterov))
    before = copy.deepcopy(model)
    momentum = torch.zeros(6, 18)
    for _ in range(2):
        generator = torch.Generator().manual_seed(1)
        gradients = [torch.randn(p.shape, generator=generator) for p in model.parameters()]
        for p, gradient in zip(model.parameters(), gradients, strict=True):
            p.grad = gradient.clone()
        optimizer.step()
        momentum = 0.9 * momentum + gradients[0].flatten(1)
        step = orthogonalize(gradients[0].flatten(1) + 0.9 * momentum if nesterov else momentum)
        before[0].weight.data -= 0.1 * step.view(6, 2, 3, 3)
    assert torch.allclose(model[0].weight, before[0].weight, atol=1e-6)
    for p, old, gradient in list(zip(model.parameters(), before.parameters(), gradients, strict=True))[1:]:
        # SGD's steps with an unchanged gradient: 1, then 1.9; Nesterov's: 1.9, then 2.71. Depthwise weights too
        assert torch.allclose(p, old - 0.5 * gradient * (1.9 + 2.71 if nesterov else 1 + 1.9), atol=1e-5)


def test_weight_decay_beside_muon():
    """SGD adds it to the gradient of a depthwise weight; the matrix shrinks by itself, and a vector doesn't."""
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 3, groups=6, bias=False))
    before = copy.deepcopy(model)
    optimizer = make_optimizer(model, Recipe(epochs=1, lr=0.5, muon=0.1, momentum=0.0, weight_decay=0.2))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for p, old, factor in zip(model.parameters(), before.parameters(), (1 - 0.1 * 0.2, 1, 1 - 0.5 * 0.2), strict=True):
        assert torch.allclose(p, factor * old)


def test_one_cycle_by_hand():
    assert [one_cycle(i / 10, 0.2) for i in range(11)] == pytest.approx(
        [0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0])
    assert one_cycle(0, 0) == 1 and one_cycle(0.5, 0) == 0.5 and one_cycle(1, 0) == 0


def watch_steps(model, recipe: Recipe, train=TRAIN, test=TEST) -> tuple[list, list, list[dict]]:
    """Return the learning rates and the weights after every step that `fit` really makes, and the curve."""
    rates, weights = [], []

    def watch(optimizer, *_):
        rates.append(optimizer.param_groups[-1]["lr"])
        weights.append(copy.deepcopy(model.state_dict()))

    hook = register_optimizer_step_post_hook(watch)
    try:
        return rates, weights, quiet_fit(model, train, test, recipe)[0]
    finally:
        hook.remove()


@pytest.mark.parametrize("options, expected", [
    ({"schedule": "constant"}, [0.02] * 18),
    ({"schedule": "step", "epochs": 5, "step_epochs": 2, "gamma": 0.5}, [0.02] * 12 + [0.01] * 12 + [0.005] * 6),
    # 18 steps in open (0, 1): none is lost on a rate of zero
    ({"schedule": "one_cycle", "warmup": 0.3}, [0.02 * one_cycle(step / 19, 0.3) for step in range(1, 19)]),
], ids=["constant", "step", "one_cycle"])
def test_schedules_in_use(options, expected):
    rates, _, curve = watch_steps(network(), dataclasses.replace(RECIPE, **options))
    assert rates == pytest.approx(expected) and min(rates) > 0
    assert [row["lr"] for row in curve] == rates[::6]


def test_plateau_follows_the_validation_loss():
    train, recipe = made_up(64), Recipe(8, 0.05, 16, schedule="plateau", gamma=0.5, patience=1, validation=16)
    rates, _, curve = watch_steps(network(), recipe, train, hold_out(train, 16)[0])  # tested on what it memorises
    # By hand: a loss counts as better when it is below the best by a relative 1e-4; two in a row that are not: a drop.
    expected, lr, best, bad = [], 0.05, math.inf, 0
    for row in curve:
        expected += [lr] * 3
        better = row["validation_loss"] < best * (1 - 1e-4)
        best, bad = (row["validation_loss"], 0) if better else (best, bad + 1)
        if bad > 1:
            lr, bad = lr * 0.5, 0
    assert rates == pytest.approx(expected)
    assert rates[-1] < 0.05, "the validation loss rises, and the rate drops"
    for key in ("train_loss", "test_loss"):  # which these would not have told
        assert all(a[key] > b[key] for a, b in zip(curve, curve[1:], strict=False))


def test_averaged_weights_by_hand():
    model = network()
    _, seen, curve = watch_steps(model, dataclasses.replace(RECIPE, average=0.5))
    average = copy.deepcopy(seen[0])
    for n, state in enumerate(seen[1:], 1):
        decay = min(0.5, (1 + n) / (10 + n))
        for name, value in state.items():
            average[name] = decay * average[name] + (1 - decay) * value if value.is_floating_point() else value
    for name, value in model.state_dict().items():
        assert torch.allclose(value, average[name], atol=1e-6), name
    assert not torch.allclose(model[4].weight, seen[-1]["4.weight"], atol=1e-4)
    assert (curve[-1]["test_loss"], curve[-1]["test_accuracy"]) == evaluate(model, TEST)  # what the curve evaluates
