"""The S7 networks to the last parameter, and the dropout they share."""

import math

import pytest
import torch
from torch import nn

from common import models
from common.experiment import count_parameters, layer_table
from common.layers import Dropout

torch.set_num_threads(1)

SIZES = {"structure": 194_884, "skeleton": 18_192, "reduced": 5_864, "rebalanced": 7_124, "regularized": 7_280}


@pytest.mark.parametrize("name", SIZES)
def test_parameters(name):
    model = getattr(models, name)()
    assert count_parameters(model) == SIZES[name]
    assert f"{SIZES[name]:,} parameters" in getattr(models, name).__doc__
    assert not any(getattr(module, "bias", None) is not None and isinstance(module, nn.Conv2d)
                   for module in model.modules())


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("training", [True, False])
def test_output(name, training):
    model = getattr(models, name)().train(training)
    images = torch.randn(3, 1, 28, 28)
    logits = model(images)
    assert logits.shape == (3, 10) and logits.dtype == torch.float32
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_each_call_makes_new_weights():
    first, second = models.regularized(), models.regularized()
    assert not torch.equal(first[0].weight, second[0].weight)


# kind, channels, side (0: a vector), parameters: the table of issue 2 and DESIGN 5.
REGULARIZED = [
    ("Conv2d", 8, 26, 72), ("ReLU", 8, 26, 0), ("BatchNorm2d", 8, 26, 16), ("Dropout", 8, 26, 0),
    ("Conv2d", 16, 24, 1152), ("ReLU", 16, 24, 0), ("BatchNorm2d", 16, 24, 32), ("Dropout", 16, 24, 0),
    ("Conv2d", 10, 24, 160), ("MaxPool2d", 10, 12, 0),
    ("Conv2d", 14, 10, 1260), ("ReLU", 14, 10, 0), ("BatchNorm2d", 14, 10, 28), ("Dropout", 14, 10, 0),
    ("Conv2d", 16, 8, 2016), ("ReLU", 16, 8, 0), ("BatchNorm2d", 16, 8, 32), ("Dropout", 16, 8, 0),
    ("Conv2d", 8, 6, 1152), ("ReLU", 8, 6, 0), ("BatchNorm2d", 8, 6, 16), ("Dropout", 8, 6, 0),
    ("Conv2d", 16, 6, 1152), ("ReLU", 16, 6, 0), ("BatchNorm2d", 16, 6, 32), ("Dropout", 16, 6, 0),
    ("AdaptiveAvgPool2d", 16, 1, 0), ("Conv2d", 10, 1, 160),
]


def test_layer_table_of_the_regularized_network():
    table = layer_table(models.regularized(), (1, 28, 28))
    expected = [{"layer": f"{kind}-{i}", "output": [channels, side, side] if side else [channels], "params": params}
                for i, (kind, channels, side, params) in enumerate(REGULARIZED, 1)]
    assert table == expected
    assert sum(row["params"] for row in table) == 7_280


@pytest.mark.parametrize("name, channels, sides", [
    ("structure", [32, 64, 128, 32, 64, 128, 10, 10], [26, 24, 22, 11, 9, 7, 7, 1]),
    ("skeleton", [16, 32, 10, 16, 32, 16, 16, 10], [26, 24, 24, 10, 8, 6, 6, 1]),
    ("reduced", [8, 16, 10, 16, 8, 8, 16, 10], [26, 24, 24, 10, 8, 6, 6, 1]),
    ("rebalanced", [8, 16, 10, 14, 16, 8, 16, 10], [26, 24, 24, 10, 8, 6, 6, 1]),
])
def test_convolutions_of_the_other_networks(name, channels, sides):
    model = getattr(models, name)()
    rows = [row["output"] for row in layer_table(model, (1, 28, 28)) if row["layer"].startswith("Conv2d")]
    assert rows == [[c, side, side] for c, side in zip(channels, sides, strict=True)]
    assert not any(isinstance(module, nn.BatchNorm2d | nn.Dropout) for module in model.modules())


def test_dropout_of_the_regularized_network():
    assert [module.p for module in models.regularized().modules() if isinstance(module, Dropout)] == [0.05] * 6
    assert [module.p for module in models.regularized(0.1).modules() if isinstance(module, Dropout)] == [0.1] * 6


# Dropout

@pytest.mark.parametrize("p", [0.05, 0.1, 0.25, 0.5, 0.9])
def test_dropout_rate_and_mean(p):
    torch.manual_seed(0)
    n = 1_000_000
    rate = round(p * 256) / 256
    y = Dropout(p)(torch.ones(n))
    dropped = (y == 0).double().mean().item()
    assert abs(dropped - rate) < 4 * math.sqrt(rate * (1 - rate) / n)
    assert torch.allclose(y[y != 0], torch.tensor(1 / (1 - rate)))  # so the expectation is exactly 1
    assert abs(y.double().mean().item() - 1) < 4 * math.sqrt(rate / (1 - rate) / n)
    # Neighbours, which share a random number, are dropped apart.
    pairs = (y.view(-1, 8) == 0).double()
    together = torch.corrcoef(pairs.T) - torch.eye(8)
    assert together.abs().max() < 4.5 / math.sqrt(n / 8)


def test_dropout_draws_anew_and_is_seeded():
    x, layer = torch.ones(1000), Dropout(0.5)
    torch.manual_seed(0)
    first, second = layer(x), layer(x)
    torch.manual_seed(0)
    assert torch.equal(layer(x), first) and not torch.equal(first, second)


def test_dropout_is_nothing_in_evaluation_and_at_zero():
    x = torch.randn(5, 3)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_dropout_of_everything():
    assert torch.equal(Dropout(1.0)(torch.randn(100)), torch.zeros(100))


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 5, 7), (1,)])
def test_dropout_shapes(shape):
    assert Dropout(0.5)(torch.ones(shape)).shape == shape


def test_dropout_keeps_memory_format():
    x = torch.randn(4, 6, 5, 5).contiguous(memory_format=torch.channels_last)
    y = Dropout(0.5)(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    kept = y != 0
    assert torch.allclose(y[kept], 2 * x[kept]) and 0.3 < kept.float().mean() < 0.7


def test_dropout_gradient():
    x = torch.randn(10_000, requires_grad=True)
    y = Dropout(0.25)(x)
    y.sum().backward()
    kept = y != 0
    assert torch.allclose(x.grad, kept / 0.75)  # scaled where kept, none where dropped


def test_dropout_rejects():
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            Dropout(p)
