"""The receptive-field table against tables known by hand, against its measurement, and against the model itself."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.receptive_field import measured, receptive_field, window
from common.report import receptive_fields

torch.set_num_threads(1)


def conv(i, o, k=3, **kwargs):
    kwargs.setdefault("padding", kwargs.get("dilation", 1) * (k - 1) // 2)
    return nn.Conv2d(i, o, k, bias=False, **kwargs)


class Add(nn.Module):
    """x + f(x), or g(x) + f(x); written as a function in forward, where a hook on layers doesn't see it."""

    def __init__(self, f, g=None):
        super().__init__()
        self.f, self.g = f, g

    def forward(self, x):
        return self.f(x) + (x if self.g is None else self.g(x))


class Forward(nn.Module):
    """A network from named layers and a forward function of (self, x)."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


def conv_norm(i, o, k=3, **kwargs):
    return nn.Sequential(conv(i, o, k, **kwargs), nn.BatchNorm2d(o))


def bottleneck(i, mid, o):
    f = nn.Sequential(conv_norm(i, mid, 1), nn.ReLU(), conv_norm(mid, mid, groups=mid), nn.ReLU(), conv_norm(mid, o, 1))
    return Add(f, None if i == o else conv_norm(i, o, 1))


def s9_source():
    """The S9 network of the source material (shared/DESIGN.md, section 5)."""
    return nn.Sequential(
        conv_norm(3, 32), nn.ReLU(),
        bottleneck(32, 160, 32), conv_norm(32, 32, stride=2), nn.ReLU(),
        bottleneck(32, 160, 32), conv_norm(32, 32, stride=2), nn.ReLU(),
        bottleneck(32, 160, 64), conv_norm(64, 64, dilation=2, padding=0), nn.ReLU(),
        bottleneck(64, 320, 132), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(132, 10),
    )  # fmt: skip


def test_s9_source_network():
    model = s9_source()
    assert sum(p.numel() for p in model.parameters()) == 178_178
    table = receptive_field(model, (3, 32, 32))
    spatial = [row for row in table if row.kernel != 1]
    assert [row.rf_out for row in spatial] == [3, 5, 7, 11, 15, 23, 39, 47, 59]
    assert [row.layer for row in spatial][:3] == ["0.0 (Conv2d)", "2.f.2.0 (Conv2d)", "3.0 (Conv2d)"]
    assert [row.jump_out for row in spatial] == [1, 1, 2, 2, 4, 4, 4, 4, 4]
    assert [row.size_out for row in spatial] == [32, 32, 16, 16, 8, 8, 4, 4, 1]
    gap = table[-1]
    assert gap.layer == "12 (AdaptiveAvgPool2d)"
    assert (gap.rf_in, gap.size_in, gap.kernel, gap.stride, gap.jump_out) == (47, 4, 4, 1, 4)
    projections = [row for row in table if ".g." in row.layer]
    assert [(row.rf_in, row.rf_out) for row in projections] == [(15, 15), (39, 39)]
    assert measured(model, (3, 32, 32)) == (47, 47)


def test_every_column_of_a_table_known_by_hand():
    model = nn.Sequential(
        conv(3, 8), nn.MaxPool2d(2), conv(8, 8, stride=2), conv(8, 8, dilation=2, padding=2), conv(8, 4, 1),
        nn.AvgPool2d(8),
    )  # fmt: skip
    columns = [tuple(row)[1:] for row in receptive_field(model, (3, 32, 32))]
    assert columns == [
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
    assert " | 1x5 | " in receptive_fields(table).data


def branches(self, x):
    return self.last(torch.cat([self.a(x), self.b(x), self.c(self.a(x))], 1))


def in_place(self, x):
    y = self.a(x)
    y += self.b(x)
    return self.last(F.relu_(y))


def shared_pool(self, x):
    return self.pool(F.relu(self.b(self.pool(F.relu(self.a(x))))))


def dense(self, x):
    x = torch.cat([x, self.a(x)], 1)
    return torch.cat([x, self.b(x)], 1)


def cropped(self, x):
    return self.last(self.a(x) + x[:, :, 2:-2, 2:-2])


def padded_by_hand(self, x):
    return self.last(self.a(F.pad(x, (1, 1, 1, 1))) + self.b(x))


def misaligned(self, x):
    """A 2x2 pooling sees the pixels 2i, 2i + 1; a 3x3 stride of padding 1 sees 2i - 1 to 2i + 1."""
    return self.last(self.a(x) + self.b(x))


def difference(self, x):
    return self.last(x - self.a(x))


def gated(self, x):
    return self.last(self.a(x) * torch.sigmoid(self.b(x)))


def split(self, x):
    one, two = self.a(x).chunk(2, 1)
    return self.last(one + self.b(two))


ZOO = {
    "plain": (nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8), nn.ReLU6()), 5),
    "unpadded": (nn.Sequential(conv(3, 8, padding=0), nn.BatchNorm2d(8), conv(8, 8, padding=0)), 5),
    "padding same": (nn.Sequential(conv(3, 4, 5, padding="same"), conv(4, 4, dilation=3, padding="same")), 11),
    "5x5 and a stride": (nn.Sequential(conv(3, 8, 5), conv(8, 8, stride=2), conv(8, 8)), 11),
    "1x1 with a stride leaves holes": (nn.Sequential(conv(3, 4, 1, stride=2), conv(4, 4)), 5),
    "dilations 1 2 4": (nn.Sequential(conv(3, 4), conv(4, 4, dilation=2), conv(4, 4, dilation=4)), 15),
    "dilation after a stride": (nn.Sequential(conv(3, 4, stride=2), conv(4, 4, dilation=2)), 11),
    "depthwise separable": (nn.Sequential(conv(3, 8), conv(8, 8, groups=8, stride=2), conv(8, 16, 1)), 5),
    "max-pooling": (nn.Sequential(conv(3, 4), nn.ReLU(), nn.MaxPool2d(2), conv(4, 4), nn.MaxPool2d(3, 2, 1)), 12),
    "dilated max-pooling": (nn.Sequential(nn.MaxPool2d(2, stride=1, dilation=3), conv(3, 4)), 6),
    "average pooling": (nn.Sequential(conv(3, 4), nn.AvgPool2d(2), conv(4, 4), nn.AvgPool2d(2)), 10),
    "group norm": (nn.Sequential(conv(3, 4), nn.GroupNorm(2, 4), conv(4, 4), nn.GroupNorm(1, 4)), 5),
    "layer norm over the map": (nn.Sequential(conv(3, 4), nn.LayerNorm([4, 24, 24]), conv(4, 4)), 5),
    "dropout": (nn.Sequential(conv(3, 4), nn.Dropout(0.9), conv(4, 4), nn.Dropout2d(0.9), conv(4, 4)), 7),
    "residual": (nn.Sequential(conv(3, 4), Add(nn.Sequential(conv(4, 4), nn.ReLU(), conv(4, 4))), conv(4, 4)), 9),
    "projection last": (nn.Sequential(Add(conv(3, 4, 5, stride=2), conv(3, 4, 1, stride=2)), conv(4, 4)), 9),
    "projection first": (nn.Sequential(Add(conv(3, 4, 1, stride=2), conv(3, 4, 5, stride=2)), conv(4, 4)), 9),
    "ends in an add": (nn.Sequential(Add(conv(3, 4), conv(3, 4, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 3),
    "concatenated": (Forward(branches, a=conv(3, 2), b=conv(3, 2, 5), c=conv(2, 2, dilation=3), last=conv(6, 4)), 11),
    "dense": (nn.Sequential(Forward(dense, a=conv(3, 2), b=conv(5, 2)), nn.AdaptiveAvgPool2d(1)), 5),
    "in place": (Forward(in_place, a=conv(3, 4), b=conv(3, 4, 7), last=conv(4, 4)), 9),
    "one pooling layer twice": (Forward(shared_pool, a=conv(3, 4), b=conv(4, 4), pool=nn.MaxPool2d(2)), 10),
    "cropped skip": (Forward(cropped, a=nn.Sequential(conv(3, 3, 3, padding=0), conv(3, 3, 3, padding=0)),
                             last=conv(3, 4)), 7),
    "padded by hand": (Forward(padded_by_hand, a=conv(3, 4, padding=0), b=conv(3, 4), last=conv(4, 4)), 5),
    "ZeroPad2d": (nn.Sequential(Add(nn.Sequential(nn.ZeroPad2d(1), conv(3, 4, padding=0)), conv(3, 4)),
                                nn.AdaptiveAvgPool2d(1)), 3),
    "misaligned": (Forward(misaligned, a=nn.MaxPool2d(2), b=conv(3, 3, stride=2), last=conv(3, 4)), 7),
    "difference": (Forward(difference, a=conv(3, 3), last=conv(3, 4)), 5),
    "gate": (Forward(gated, a=conv(3, 4), b=conv(3, 4, 5), last=conv(4, 4)), 7),
    "split": (Forward(split, a=conv(3, 4), b=conv(2, 2), last=conv(2, 2)), 7),
}  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_computed_equals_measured(name):
    model, field = ZOO[name]
    table = receptive_field(model, (3, 24, 24))
    last = table[-1]
    assert (last.rf_in if "Adaptive" in last.layer else last.rf_out) == field
    assert measured(model, (3, 24, 24)) == (field, field)


@pytest.mark.parametrize("seed", range(12))
def test_computed_equals_measured_for_random_networks(seed):
    generator = torch.Generator().manual_seed(seed)

    def pick(*choices):
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    def block():
        k, d, s = pick(1, 3, 5), pick(1, 2, 3), pick(1, 1, 2)
        return pick(
            lambda: conv(4, 4, k, dilation=d, stride=s),
            lambda: nn.Sequential(conv(4, 4, k, groups=4, dilation=d), conv(4, 4, 1, stride=s)),
            lambda: nn.Sequential(conv(4, 4, k), pick(nn.MaxPool2d, nn.AvgPool2d)(2)),
            lambda: Add(nn.Sequential(conv(4, 4, k, stride=s), nn.ReLU(), conv(4, 4)), conv(4, 4, 1, stride=s)),
            lambda: Add(nn.Sequential(conv(4, 4, k), nn.GroupNorm(2, 4), conv(4, 4, dilation=d))),
        )()

    blocks = [block() for _ in range(5)]
    model = nn.Sequential(conv(3, 4), *blocks, nn.AdaptiveAvgPool2d(1))
    before_gap = receptive_field(model, (3, 64, 64))[-1].rf_in
    assert measured(model, (3, 64, 64)) == (before_gap, before_gap)


def test_rectangular_kernels_are_measured_by_side():
    model = nn.Sequential(nn.Conv2d(1, 2, (1, 5), padding=(0, 2)), nn.Conv2d(2, 2, (3, 1), stride=(2, 1)))
    assert receptive_field(model, (1, 20, 20))[-1].rf_out == (3, 5)
    assert measured(model, (1, 20, 20)) == (3, 5)


def test_dead_networks_are_measured_all_the_same():
    """Zero weights, ReLUs that never fire, a norm without variance: the structure is measured, not the weights."""
    model = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU6())
    for p in model.parameters():
        nn.init.constant_(p, -1.0)
    assert measured(model, (3, 16, 16)) == (8, 8)
    for p in model.parameters():
        nn.init.zeros_(p)
    assert measured(model, (3, 16, 16)) == (8, 8)


def test_functional_activations_norms_and_dropout_are_left_out():
    def forward(self, x):
        x = F.gelu(F.group_norm(self.a(x), 1))
        return self.b(F.dropout(torch.relu_(F.layer_norm(x, x.shape[1:])), 0.9, training=True))

    assert measured(Forward(forward, a=conv(3, 4), b=conv(4, 4)), (3, 16, 16)) == (5, 5)


def test_a_layer_can_be_named():
    model = s9_source()
    assert measured(model, (3, 32, 32), "3") == (7, 7)
    assert measured(model, (3, 32, 32), "2.f.2.0 (Conv2d)") == (5, 5)
    with pytest.raises(ValueError, match="no layer 'block9'.*it has"):
        measured(model, (3, 32, 32), "block9")
    unused = Forward(lambda self, x: self.a(x), a=conv(3, 4), b=conv(3, 4))
    with pytest.raises(ValueError, match="'b' isn't used"):
        measured(unused, (3, 32, 32), "b")


def test_window_is_a_map_larger_than_the_field():
    seen = window(nn.Sequential(conv(3, 4), nn.MaxPool2d(2), conv(4, 4)), (3, 8, 8))
    assert seen.dtype == torch.float64 and seen.dim() == 2 and min(seen.shape) > 8
    assert seen.max() == 1 and int((seen > 0).sum()) == 8 * 8
    holes = window(nn.Sequential(conv(3, 4, dilation=2)), (3, 8, 8))
    assert int((holes > 0).sum()) == 9


def test_the_window_of_a_global_gate_is_refused():
    squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(4, 4, 1), nn.Sigmoid())
    model = nn.Sequential(conv(3, 4), Forward(lambda self, x: x * self.gate(x), gate=squeeze), conv(4, 4))
    assert receptive_field(model, (3, 16, 16))[-1].rf_out == 1 + 2 + 15 + 2
    with pytest.raises(ValueError, match="whole image"):
        measured(model, (3, 16, 16), "2")


@pytest.mark.parametrize(
    "model",
    [
        Forward(lambda self, x: F.max_pool2d(self.a(x), 2), a=conv(3, 4)),
        Forward(lambda self, x: F.adaptive_avg_pool2d(self.a(x), 1), a=conv(3, 4)),
        Forward(lambda self, x: F.conv2d(x, self.a.weight), a=conv(3, 4)),
        nn.Sequential(conv(3, 4), nn.AdaptiveMaxPool2d(1)),
        nn.Sequential(conv(3, 4), nn.ConvTranspose2d(4, 4, 2, 2)),
        nn.Sequential(conv(3, 4), nn.Upsample(scale_factor=2)),
    ],
)
def test_what_the_table_would_miss_is_refused(model):
    with pytest.raises(ValueError, match="Write it as one of those"):
        receptive_field(model, (3, 16, 16))


def test_other_refusals():
    with pytest.raises(ValueError, match="divides"):
        receptive_field(nn.AdaptiveAvgPool2d(3), (3, 16, 16))
    with pytest.raises(ValueError, match="can't be followed"):
        receptive_field(Forward(lambda self, x: self.a(torch.ones(1, 3, 8, 8)), a=conv(3, 4)), (3, 8, 8))
    with pytest.raises(ValueError, match="no feature map"):
        measured(nn.Flatten(), (3, 8, 8))
    assert receptive_field(nn.Flatten(), (3, 8, 8)) == []


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.Dropout(0.5), conv(4, 4), nn.AdaptiveAvgPool2d(1)).train()
    model[1].eval()
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    flags = [m.training for m in model.modules()]
    receptive_field(model, (3, 16, 16))
    measured(model, (3, 16, 16))
    window(model, (3, 16, 16), "0")
    assert [m.training for m in model.modules()] == flags
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None and p.dtype == torch.float32 for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(random, torch.get_rng_state())


def test_half_precision_and_channels_last_models():
    model = nn.Sequential(conv(3, 4), conv(4, 4, stride=2)).to(torch.bfloat16, memory_format=torch.channels_last)
    assert receptive_field(model, (3, 16, 16))[-1].rf_out == 5
    assert measured(model, (3, 16, 16)) == (5, 5)
    assert model[0].weight.dtype == torch.bfloat16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu():
    model = s9_source().cuda()
    assert receptive_field(model, (3, 32, 32))[-1].rf_out == 59
    assert measured(model, (3, 32, 32)) == (47, 47)
    assert all(p.is_cuda for p in model.parameters())


def test_as_a_markdown_table():
    lines = receptive_fields(receptive_field(s9_source(), (3, 32, 32))).data.split("\n")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["layer", "RF in", "size in", "jump in", "stride", "padding", "kernel", "dilation",
                        "effective kernel", "RF out", "size out", "jump out"]
    assert {len(row) for row in cells} == {12}
    assert cells[2] == "0.0 (Conv2d)|1|32|1|1|1|3|1|3|3|32|1".split("|")
