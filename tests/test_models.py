"""The networks of all sessions to the last parameter, and the layers they share."""

import math

import pytest
import torch
from torch import nn

from common import models
from common.experiment import count_parameters, layer_kinds, layer_table, multiply_accumulates, summary
from common.layers import NORMS, Dropout, InvertedBottleneck, ReluDropout, Repeated, SeparableConv, make_norm
from common.receptive_field import measured, receptive_field

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


# S8: parameters, receptive field

S8 = {"unbudgeted": (58_314, 72), "budgeted": (49_746, 72), "wide": (153_616, 64), "narrowed": (36_336, 64),
      "evened_out": (32_592, 64), "widened_input": (37_664, 68), "transitions": (47_876, 72), "residual": (48_576, 72),
      "unshared": (47_888, 72)}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", S8)
def test_s8(name, norm):
    model = getattr(models, name)(norm)
    parameters, field = S8[name]
    without_scale = 512 if (name, norm) == ("transitions", "ln") else 0
    assert count_parameters(model) == parameters - without_scale
    assert f"{parameters:,} parameters" in getattr(models, name).__doc__
    kinds = {type(module) for module in model.modules() if isinstance(module, nn.BatchNorm2d | nn.GroupNorm)}
    assert kinds == {nn.BatchNorm2d if norm == "bn" else nn.GroupNorm}
    assert all(module.num_groups == {"gn": 2, "ln": 1}[norm] for module in model.modules()
               if isinstance(module, nn.GroupNorm))
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert max(row.rf_out for row in receptive_field(model, (3, 32, 32))) == field
    assert measured(model, (3, 32, 32)) == (44, 44)  # before the average, which sees the rest of the map


# channels, side, parameters: the table of issue 3.
WIDENED_INPUT = [
    (32, 32, 864), (32, 32, 64), (32, 32, 0), (32, 32, 9216), (32, 32, 64), (32, 32, 0), (8, 32, 256), (8, 16, 0),
    (32, 16, 2304), (32, 16, 64), (32, 16, 0), (32, 16, 9216), (32, 16, 64), (32, 16, 0),
    (32, 14, 9216), (32, 14, 64), (32, 14, 0), (8, 14, 256), (8, 7, 0),
    (16, 7, 1152), (16, 7, 32), (16, 7, 0), (16, 7, 2304), (16, 7, 32), (16, 7, 0), (16, 7, 2304), (16, 7, 32),
    (16, 7, 0), (16, 1, 0), (10, 1, 160),
]


@pytest.mark.parametrize("norm", NORMS)
def test_layer_table_of_the_widened_input(norm):
    table = layer_table(models.widened_input(norm), (3, 32, 32))
    assert len(table) == 30
    assert [(row["output"], row["params"]) for row in table] == [
        ([channels, side, side], params) for channels, side, params in WIDENED_INPUT]


@pytest.mark.parametrize("name, parameters", [("ours", 7_916), ("smallest", 4_704)])
def test_weights_used_again_count_once(name, parameters):
    model = getattr(models, name)()
    assert count_parameters(model) == parameters and f"{parameters:,} parameters" in getattr(models, name).__doc__
    assert sum(row["params"] for row in layer_table(model, (1, 28, 28))) == parameters
    assert f"Total params: {parameters:,}" in summary(model, (1, 28, 28))
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(model.eval()(images), model(images))  # the table has left its weights alone


def test_repeated():
    block = Repeated(4, times=3).eval()
    x = torch.rand(2, 4, 5, 5)
    y = x
    for _ in range(3):  # fresh batch norms are the identity, nearly
        y = torch.relu(y + block.pointwise(torch.relu(block.depthwise(y))))
    assert torch.allclose(block(x), y, atol=1e-4)
    assert count_parameters(block) == 4 * 9 + 16 + 6 * 8


@pytest.mark.parametrize("norm", NORMS)
def test_separable_conv_used_again(norm):
    block = SeparableConv(4, 4, norm, times=2)
    x = torch.rand(3, 4, 5, 5)
    y = x
    for _ in range(2):
        y = torch.relu(y + make_norm(norm, 4)(block.pointwise(block.depthwise(y))))
    assert torch.allclose(block(x), y, atol=1e-5)
    assert count_parameters(block) == 36 + 16 + 2 * 8
    assert SeparableConv(4, 6, norm)(x).shape == (3, 6, 5, 5)


def test_a_transition_may_average_first():
    x, mix = torch.rand(2, 6, 8, 8), models.mix(6, 4)
    assert torch.allclose(mix(nn.functional.avg_pool2d(x, 2)), nn.functional.avg_pool2d(mix(x), 2), atol=1e-6)


def test_multiply_accumulates():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.Conv2d(8, 8, 3, padding=1, groups=8),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    assert multiply_accumulates(model, (3, 32, 32)) == 16 * 16 * 8 * 27 + 16 * 16 * 8 * 9 + 80


def test_strides_and_dilations_of_a_separable_conv():
    assert SeparableConv(4, 4, stride=2)(torch.rand(2, 4, 8, 8)).shape == (2, 4, 4, 4)
    block = SeparableConv(4, 4, dilation=2)
    x = torch.rand(2, 4, 8, 8)
    apart = nn.functional.conv2d(x, block.depthwise.weight, padding=2, dilation=2, groups=4)
    assert torch.allclose(block(x), torch.relu(x + make_norm("bn", 4)(block.pointwise(apart))), atol=1e-5)


@pytest.mark.parametrize("inputs, outputs", [(4, 4), (4, 6)])
def test_inverted_bottleneck(inputs, outputs):
    block = InvertedBottleneck(inputs, 8, outputs).eval()
    x = torch.rand(2, inputs, 5, 5)
    y = block.depthwise[0](torch.relu(block.expand[0](x)))  # fresh batch norms are the identity, nearly
    y = block.project[0](torch.relu(y)) + (x if inputs == outputs else block.skip[0](x))
    assert torch.allclose(block(x), y, atol=1e-4)
    assert block.depthwise[0].groups == 8


# S9

S9 = [("strided", 189_098), ("dilated", 189_098), ("half_size", 96_578)]


def test_the_sources_inverted_bottlenecks():
    model = models.inverted_bottlenecks()
    assert count_parameters(model) == 178_178 and "178,178 parameters" in models.inverted_bottlenecks.__doc__
    spatial = [row for row in receptive_field(model, (3, 32, 32)) if row.kernel != 1]
    assert [row.rf_out for row in spatial] == [3, 5, 7, 11, 15, 23, 39, 47, 59]
    assert [row.size_out for row in spatial] == [32, 32, 16, 16, 8, 8, 4, 4, 1]


@pytest.mark.parametrize("name, parameters", S9)
def test_our_networks_of_s9_keep_to_the_brief(name, parameters):
    make_model = getattr(models, name)
    model = make_model()
    assert count_parameters(model) == parameters < 200_000 and f"{parameters:,} parameters" in make_model.__doc__
    kinds = layer_kinds(model)
    assert kinds["depthwise"] and kinds["dilated"] and not kinds["max_pools"]
    assert len(kinds["global_pools"]) == len(kinds["linear"]) == 1
    assert min(measured(model, (3, 32, 32))) > 44
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


# Norms

@pytest.mark.parametrize("norm, axes", [("bn", (0, 2, 3)), ("ln", (1, 2, 3))])
def test_norms_normalize_their_axes(norm, axes):
    x = torch.randn(6, 4, 5, 5) * 3 + 1
    y = make_norm(norm, 4)(x)
    expected = (x - x.mean(axes, keepdim=True)) / (x.var(axes, unbiased=False, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(y, expected, atol=1e-5)


def test_group_norm_normalizes_each_group():
    x = torch.randn(6, 4, 5, 5) * 3 + 1
    together = torch.cat([make_norm("ln", 2)(half) for half in x.split(2, dim=1)], 1)
    assert torch.allclose(make_norm("gn", 4)(x), together, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_norms_without_scale_and_shift(norm):
    assert count_parameters(make_norm(norm, 8)) == 16 and count_parameters(make_norm(norm, 8, affine=False)) == 0


@pytest.mark.parametrize("arguments, message", [
    (("in", 8), "unknown norm 'in'; known: bn, gn, ln"), (("gn", 10, 4), "10 channels can't be split into 4 groups"),
    (("gn", 10, 0), "into 0 groups"),
])
def test_norms_reject(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_norm(*arguments)


# Dropout

def test_relu_dropout():
    torch.manual_seed(0)
    x = torch.randn(10_000)
    y = ReluDropout(0.25)(x)
    kept = y != 0
    assert torch.allclose(y[kept], x[kept] / 0.75) and (x[kept] > 0).all()
    assert 0.23 < 1 - kept.sum().item() / (x > 0).sum().item() < 0.27
    assert torch.equal(ReluDropout(0.25).eval()(x), torch.relu(x))


@pytest.mark.parametrize("p", [0.0, 0.05, 0.5, 1.0])
def test_relu_dropout_is_relu_and_then_dropout(p):
    apart = torch.randn(4, 6, 5, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    at_once = apart.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    before = at_once.detach().clone()
    gradient = torch.randn(4, 6, 5, 5)
    torch.manual_seed(0)
    expected = Dropout(p)(torch.relu(apart))
    torch.manual_seed(0)
    found = ReluDropout(p)(at_once)
    assert torch.equal(found, expected) and torch.equal(at_once, before)
    expected.backward(gradient)
    found.backward(gradient)
    assert torch.equal(at_once.grad, apart.grad)


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
