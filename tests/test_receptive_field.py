"""The receptive-field table against tables known by hand, and against its measurement."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.models.s9 import inverted_bottlenecks
from common.receptive_field import largest_field, measure_field, receptive_field, window

torch.set_num_threads(1)


def conv(i, o, k=3, **kwargs):
    kwargs.setdefault("padding", kwargs.get("dilation", 1) * (k - 1) // 2)
    return nn.Conv2d(i, o, k, bias=False, **kwargs)


class Forward(nn.Module):
    """A network of some layers and of a function of the images and these layers."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x):
        return self.function(x, *self.layers)


def add(f, g=None):
    return Forward(lambda x, f, g: f(x) + g(x), f, g or nn.Identity())


def test_the_inverted_bottlenecks():
    table = receptive_field(inverted_bottlenecks(), (3, 32, 32))
    spatial = [row for row in table if row.kernel != 1]
    assert [(row.rf_out, row.size_out, row.jump_out) for row in spatial] == [
        (3, 32, 1), (5, 32, 1), (7, 16, 2), (11, 16, 2), (15, 8, 4), (23, 8, 4), (39, 4, 4), (47, 4, 4), (59, 1, 4)]
    assert [row.layer for row in spatial][:3] == ["0 (Conv2d)", "3.depthwise.0 (Conv2d)", "4 (Conv2d)"]
    assert table[-1] == ("16 (AdaptiveAvgPool2d)", 47, 4, 4, 1, 0, 4, 1, 4, 59, 1, 4)
    assert [(row.rf_in, row.rf_out) for row in table if ".skip." in row.layer] == [(15, 15), (39, 39)]


def test_every_column_of_a_table_known_by_hand():
    model = nn.Sequential(conv(3, 8), nn.MaxPool2d(2), conv(8, 8, stride=2), conv(8, 8, dilation=2), conv(8, 4, 1),
                          nn.AvgPool2d(8))
    assert [tuple(row)[1:] for row in receptive_field(model, (3, 32, 32))] == [
        # RF in, size in, jump in, stride, padding, kernel, dilation, effective, RF out, size out, jump out
        (1, 32, 1, 1, 1, 3, 1, 3, 3, 32, 1),
        (3, 32, 1, 2, 0, 2, 1, 2, 4, 16, 2),
        (4, 16, 2, 2, 1, 3, 1, 3, 8, 8, 4),
        (8, 8, 4, 1, 2, 3, 2, 5, 24, 8, 4),
        (24, 8, 4, 1, 0, 1, 1, 1, 24, 8, 4),
        (24, 8, 4, 8, 0, 8, 1, 8, 52, 1, 32),
    ]


def test_both_sides_are_shown_where_they_differ():
    table = receptive_field(nn.Sequential(nn.Conv2d(1, 2, (1, 5), stride=(1, 2)), nn.AdaptiveAvgPool2d(1)), (1, 6, 9))
    assert table[0].kernel == (1, 5) and table[0].rf_out == (1, 5) and table[0].size_out == (6, 3)
    assert table[1].rf_out == (6, 9) and table[1].kernel == (6, 3)
    model = nn.Sequential(nn.Conv2d(1, 2, (1, 5), padding=(0, 2)), nn.Conv2d(2, 2, (3, 1), stride=(2, 1)))
    assert receptive_field(model, (1, 20, 20))[-1].rf_out == measure_field(model, (1, 20, 20)) == (3, 5)


def functions(x, a, b):
    x = b(input=F.max_pool2d(F.gelu(F.conv2d(F.pad(x, (1, 1, 1, 1)), a.weight)), kernel_size=2))
    x = F.dropout(torch.relu_(F.layer_norm(x, x.shape[1:])), 0.9, training=True)
    return F.adaptive_avg_pool2d(F.avg_pool2d(input=x, kernel_size=2), 1)


def zeroed(*layers):
    model = nn.Sequential(*layers)
    for p in model.parameters():
        nn.init.zeros_(p)
    return model


ZOO = {
    "dead": (zeroed(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU6()), 8),
    "padding same": (nn.Sequential(conv(3, 4, 5, padding="same"), conv(4, 4, dilation=3, padding="same")), 11),
    "padding around": (nn.Sequential(conv(3, 4, padding_mode="circular"), conv(4, 4, padding_mode="reflect")), 5),
    "max-pooling": (nn.Sequential(conv(3, 4), nn.ReLU(), nn.MaxPool2d(2), conv(4, 4), nn.MaxPool2d(3, 2, 1)), 12),
    "dilated max-pooling": (nn.Sequential(nn.MaxPool2d(2, stride=1, dilation=3), conv(3, 4)), 6),
    "global max-pooling": (nn.Sequential(conv(3, 4), nn.AdaptiveMaxPool2d(1)), 3),
    "projection first": (nn.Sequential(add(conv(3, 4, 1, stride=2), conv(3, 4, 5, stride=2)), conv(4, 4)), 9),
    "ends in an add": (nn.Sequential(add(conv(3, 4), conv(3, 4, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 3),
    "dense": (Forward(lambda x, a, b: b(torch.cat([x, a(x)], 1)), conv(3, 2), conv(5, 2)), 5),
    "in place": (Forward(lambda x, a, b, c: c(F.relu_(a(x).add_(b(x)))), conv(3, 4), conv(3, 4, 7), conv(4, 4)), 9),
    "one pooling layer twice": (Forward(lambda x, a, pool: pool(a(pool(a(x)))), conv(3, 3), nn.MaxPool2d(2)), 10),
    "cropped": (Forward(lambda x, a, b: b(a(x) + x[:, :, 2:-2, 2:-2]), conv(3, 3, 5, padding=0), conv(3, 4)), 7),
    "padded": (nn.Sequential(add(nn.Sequential(nn.ZeroPad2d(1), conv(3, 4, padding=0)), conv(3, 4)), conv(4, 4)), 5),
    # A 2x2 pooling sees the pixels 2i, 2i + 1; a 3x3 stride of padding 1 sees 2i - 1 to 2i + 1.
    "misaligned": (nn.Sequential(add(nn.MaxPool2d(2), conv(3, 3, stride=2)), conv(3, 4)), 7),
    "difference": (Forward(lambda x, a, b: b(x - a(x)), conv(3, 3), conv(3, 4)), 5),
    "gate": (Forward(lambda x, a, b, c: c(a(x) * torch.sigmoid(b(x))), conv(3, 4), conv(3, 4, 5), conv(4, 4)), 7),
    "split": (Forward(lambda x, a, b, c: c(b(sum(a(x).chunk(2, 1)))), conv(3, 4), conv(2, 2), conv(2, 2)), 7),
    "functions": (Forward(functions, conv(3, 4), conv(4, 4)), 10),
}


@pytest.mark.parametrize("name", ZOO)
def test_computed_equals_measured(name):
    model, field = ZOO[name]
    last = receptive_field(model, (3, 24, 24))[-1]
    assert (last.rf_in if last.size_out == 1 else last.rf_out) == field
    assert measure_field(model, (3, 24, 24)) == (field, field)


@pytest.mark.parametrize("seed", range(12))
def test_computed_equals_measured_for_random_networks(seed):
    pick = random.Random(seed).choice

    def block():
        k, d, s = pick([1, 3, 5]), pick([1, 2, 3]), pick([1, 1, 2])
        return pick([
            conv(4, 4, k, dilation=d, stride=s),
            nn.Sequential(conv(4, 4, k, groups=4, dilation=d), conv(4, 4, 1, stride=s)),
            nn.Sequential(conv(4, 4, k), pick([nn.MaxPool2d, nn.AvgPool2d])(2)),
            add(nn.Sequential(conv(4, 4, k, stride=s), nn.ReLU(), conv(4, 4)), conv(4, 4, 1, stride=s)),
            add(nn.Sequential(conv(4, 4, k), nn.GroupNorm(2, 4), conv(4, 4, dilation=d))),
        ])

    model = nn.Sequential(conv(3, 4), *(block() for _ in range(5)), nn.AdaptiveAvgPool2d(1))
    before_average = receptive_field(model, (3, 64, 64))[-1].rf_in
    assert measure_field(model, (3, 64, 64)) == (before_average, before_average)


def test_window_is_a_map_larger_than_the_field():
    seen = window(nn.Sequential(conv(3, 4), nn.MaxPool2d(2), conv(4, 4)), (3, 8, 8))
    assert seen.dtype == torch.float64 and seen.dim() == 2 and min(seen.shape) > 8
    assert seen.max() == 1 and int((seen > 0).sum()) == 8 * 8
    assert int((window(conv(3, 4, dilation=2), (3, 8, 8)) > 0).sum()) == 9  # it has holes


def test_windows_that_are_refused():
    pools = nn.AdaptiveMaxPool2d(1), nn.AdaptiveAvgPool2d(1)
    gated = Forward(lambda x, a, gate, average: average(a(x) * gate(a(x))), conv(3, 4, stride=2), *pools)
    for model, message in ((nn.Flatten(), "no feature map"), (gated, "whole image")):
        with pytest.raises(ValueError, match=message):
            measure_field(model, (3, 8, 8))


def after_a_step(*layers):
    """What training leaves: layers that aren't lazy any longer, and with weight norm a tensor that deepcopy refuses."""
    model = nn.Sequential(*layers)
    model(torch.ones(1, 3, 8, 8)).sum().backward()
    return model


def pytorchs_mnist_example(x, conv1, conv2, fc1, fc2):
    x = torch.flatten(F.max_pool2d(F.relu(conv2(F.relu(conv1(x)))), 2), 1)
    return F.log_softmax(fc2(F.relu(fc1(x))), dim=1)


LARGEST = [
    (Forward(pytorchs_mnist_example, nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3), nn.Linear(32, 9), nn.Linear(9, 10)), 6),
    (after_a_step(nn.utils.weight_norm(conv(3, 4))), 3),
    (after_a_step(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(10)), 3),
    (nn.Sequential(conv(3, 4), conv(4, 4, stride=2)).to(torch.bfloat16, memory_format=torch.channels_last), 5),
    (Forward(lambda x, pool: pool(x)[0], nn.MaxPool2d(2, return_indices=True)), 2),
    (nn.AdaptiveAvgPool2d(3), "several sizes"),
    (nn.Sequential(conv(3, 4), nn.ConvTranspose2d(4, 4, 2, 2)), "conv_transpose2d"),
    (nn.Sequential(conv(3, 4), nn.Upsample(scale_factor=2)), "interpolate"),
    (Forward(lambda x, mix: mix(*[x.flatten(1, 2)] * 3)[0], nn.MultiheadAttention(8, 2)), "attention"),
    (Forward(lambda x: x @ x.mT), "matmul"),
    (Forward(lambda x, a: a(torch.from_numpy(x.numpy())), conv(3, 4)), "can't be followed"),
]


@pytest.mark.parametrize("model, expected", LARGEST)
def test_the_largest_field_or_why_it_is_not_known(model, expected):
    field, reason = largest_field(model, (3, 8, 8))
    if isinstance(expected, int):
        assert (field, reason) == (expected, "")
    else:
        assert field is None and expected in reason and "\n" not in reason


def test_a_network_without_maps_has_no_field():
    assert largest_field(nn.Sequential(nn.Flatten(), nn.Linear(192, 10)), (3, 8, 8)) == (None, "")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu():
    model = inverted_bottlenecks().cuda()
    assert largest_field(model, (3, 32, 32)) == (59, "") and measure_field(model, (3, 32, 32)) == (47, 47)
    assert all(p.is_cuda for p in model.parameters())
