"""The networks of all sessions to the last parameter, and the layers they share."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.anatomy import count_parameters, layer_kinds
from common.layers import (
    NORMS,
    Dropout,
    EveryScale,
    InvertedBottleneck,
    ReluDropout,
    Repeated,
    SeparableConv,
    make_norm,
    mix,
)
from common.models import s7, s8, s9
from common.receptive_field import largest_field, measure_field

torch.set_num_threads(1)

NETWORKS = [  # parameters, receptive field, the field before the average
    (s7.skeleton, 18_192, 32, 22), (s7.regularized, 7_280, 32, 22), (s7.ours, 7_916, 80, 60),
    (s7.slim, 4_704, 68, 48), (s8.unbudgeted, 58_314, 72, 44), (s8.budgeted, 49_746, 72, 44),
    (s8.wide, 153_616, 64, 44), (s8.narrowed, 36_336, 64, 44), (s8.evened_out, 32_592, 64, 44),
    (s8.widened_input, 37_664, 68, 44), (s8.plain, 46_000, 68, 44), (s8.transitions, 47_876, 72, 44),
    (s8.unshared, 47_888, 72, 44), (s8.shared, 48_576, 72, 44), (s8.ours, 47_232, 72, 44),
    (s9.inverted_bottlenecks, 178_178, 59, 47), (s9.ours, 193_930, 115, 91), (s9.dilated, 193_930, 127, 99),
    (s9.two_dilated, 193_930, 133, 103),
    (s9.half_size, 97_558, 115, 91), (s9.quarter_size, 47_962, 115, 91), (s9.eighth_size, 24_206, 115, 91),
]


@pytest.mark.parametrize("make_model, parameters, field, before_average", NETWORKS)
def test_networks(make_model, parameters, field, before_average):
    model, shape = make_model(), (1, 28, 28) if make_model.__module__ == "common.models.s7" else (3, 32, 32)
    assert count_parameters(model) == parameters and f"{parameters:,} parameters" in make_model.__doc__
    assert largest_field(model, shape) == (field, "")
    assert measure_field(model, shape) == (before_average, before_average)
    logits = model(torch.randn(3, *shape))
    assert logits.shape == model.eval()(torch.randn(3, *shape)).shape == (3, 10)
    logits.sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
    if make_model.__module__ == "common.models.s9":  # its brief
        kinds = layer_kinds(model)
        assert kinds["depthwise"] and kinds["dilated"] and not kinds["max_pools"]
        assert len(kinds["global_pools"]) == len(kinds["linear"]) == 1


@pytest.mark.parametrize("norm, groups", [("gn", 2), ("ln", 1)])
@pytest.mark.parametrize("make_model, parameters", [row[:2] for row in NETWORKS if "s8" in row[0].__module__])
def test_other_norms(make_model, parameters, norm, groups):
    model = make_model(norm)
    assert count_parameters(model) == parameters - 512 * ((make_model, norm) == (s8.transitions, "ln"))
    assert {getattr(m, "num_groups", "bn") for m in model.modules() if "Norm" in type(m).__name__} == {groups}


# Blocks; fresh batch norms in evaluation are the identity, nearly.

def test_repeated():
    block, x = Repeated(4, times=3).eval(), torch.rand(2, 4, 5, 5)
    y = x
    for _ in range(3):
        y = torch.relu(y + block.pointwise(torch.relu(block.depthwise(y))))
    assert torch.allclose(block(x), y, atol=1e-4)
    assert count_parameters(block) == 4 * 9 + 16 + 6 * 8


def test_every_scale():
    block, x = EveryScale(4, times=2).eval(), torch.rand(2, 4, 6, 6)
    nn.init.normal_(block.scale), nn.init.normal_(block.shift)
    y = x
    for use in range(4):
        y = F.max_pool2d(y, 2) if use == 2 else y
        y = F.silu(y + block.scale * block.pointwise(block.depthwise(y)) + block.shift)
    assert block(x).shape == (2, 4, 3, 3) and torch.allclose(block(x), y, atol=1e-4)
    assert count_parameters(block) == 4 * 9 + 16 + 2 * 4


@pytest.mark.parametrize("channels", [8, 45])
def test_one_block_counts_its_parameters_by_a_formula(channels):
    network = s7.one_block(channels)
    assert count_parameters(network) == channels**2 + 32 * channels
    assert network(torch.randn(2, 1, 28, 28)).shape == (2, 10) and largest_field(network, (1, 28, 28)) == (78, "")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dilation", [1, 2])
def test_separable_conv(norm, dilation):
    block, x = SeparableConv(4, 4, norm, times=2, dilation=dilation), torch.rand(3, 4, 5, 5)
    y = x
    for _ in range(2):
        apart = F.conv2d(y, block.depthwise.weight, padding=dilation, dilation=dilation, groups=4)
        y = torch.relu(y + make_norm(norm, 4)(block.pointwise(apart)))
    assert torch.allclose(block(x), y, atol=1e-5)
    assert count_parameters(block) == 36 + 16 + 2 * 8
    assert SeparableConv(4, 6, norm, stride=2)(x).shape == (3, 6, 3, 3)


@pytest.mark.parametrize("inputs, outputs", [(4, 4), (4, 6)])
def test_inverted_bottleneck(inputs, outputs):
    block, x = InvertedBottleneck(inputs, 8, outputs).eval(), torch.rand(2, inputs, 5, 5)
    y = block.depthwise[0](torch.relu(block.expand[0](x)))
    y = block.project[0](torch.relu(y)) + (x if inputs == outputs else block.skip[0](x))
    assert torch.allclose(block(x), y, atol=1e-4) and block.depthwise[0].groups == 8


def test_a_transition_may_average_first():
    x, conv = torch.rand(2, 6, 8, 8), mix(6, 4)
    assert torch.allclose(conv(F.avg_pool2d(x, 2)), F.avg_pool2d(conv(x), 2), atol=1e-6)


@pytest.mark.parametrize("norm, shape, axes", [
    ("bn", (6, 4, 25), (0, 2)), ("gn", (6, 2, 50), (2,)), ("ln", (6, 1, 100), (2,))])
def test_norms_normalize_their_axes(norm, shape, axes):
    x = torch.randn(6, 4, 5, 5) * 3 + 1
    parts = x.view(shape)
    expected = (parts - parts.mean(axes, keepdim=True)) / (parts.var(axes, False, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(make_norm(norm, 4)(x), expected.view(x.shape), atol=1e-5)


def test_a_norm_may_be_a_function():
    model = s8.plain(lambda channels: nn.GroupNorm(channels // 4, channels))
    assert [m.num_groups for m in model.modules() if isinstance(m, nn.GroupNorm)] == [4, 8, 4, 8, 8, 8, 8, 8]
    assert count_parameters(s8.plain(nn.Identity)) == 46_000 - 2 * 224


@pytest.mark.parametrize("arguments, message", [(("in", 8), "known: bn, gn, ln"), (("gn", 10, 4), "4 groups")])
def test_norms_reject(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_norm(*arguments)


# Dropout

@pytest.mark.parametrize("p", [0.0, 0.05, 0.5, 1.0])
def test_relu_dropout_is_relu_and_then_dropout(p):
    x, gradient, results = torch.randn(3, 5, 7, 3).to(memory_format=torch.channels_last), torch.randn(3, 5, 7, 3), []
    for layer in (nn.Sequential(nn.ReLU(), Dropout(p)), ReluDropout(p)):
        inputs = x.clone().requires_grad_()
        torch.manual_seed(0)
        outputs = layer(inputs)
        outputs.backward(gradient)
        results.append((outputs, inputs.grad, inputs, layer.eval()(inputs)))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    factor = (outputs != 0) / (1 - round(p * 256) / 256 * (p < 1))  # of what is kept
    assert torch.allclose(outputs, x * factor) and torch.allclose(inputs.grad, gradient * factor)
    assert outputs.stride() == x.stride()


@pytest.mark.parametrize("p", [0.05, 0.25, 0.5, 0.9])
def test_dropout_rate_and_mean(p):
    torch.manual_seed(0)
    n, rate = 1_000_000, round(p * 256) / 256
    y = Dropout(p)(torch.ones(n))
    assert abs((y == 0).double().mean() - rate) < 4 * math.sqrt(rate * (1 - rate) / n)
    assert torch.allclose(y[y != 0], torch.tensor(1 / (1 - rate)))  # so the expectation is exactly 1
    # Neighbours, which share a random number, are dropped apart.
    together = torch.corrcoef((y.view(-1, 8) == 0).double().T) - torch.eye(8)
    assert together.abs().max() < 4.5 / math.sqrt(n / 8)


def test_dropout_draws_anew_of_nothing_and_of_everything():
    x, layer = torch.randn(1000), Dropout(0.5)
    torch.manual_seed(0)
    first, second = layer(x), layer(x)
    torch.manual_seed(0)
    assert torch.equal(layer(x), first) and not torch.equal(first, second)
    assert torch.equal(layer.eval()(x), x) and torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(Dropout(1.0)(x), torch.zeros(1000))
