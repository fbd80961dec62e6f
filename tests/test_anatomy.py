"""What networks are made of, against tables known by hand, the published results, and networks of all kinds."""

import copy
import json
from importlib import import_module
from pathlib import Path

import pytest
import torch
from test_receptive_field import Forward, after_a_step
from torch import nn

from common import tables
from common.anatomy import (
    blocks,
    count_parameters,
    layer_kinds,
    layer_table,
    multiply_accumulates,
    torchsummary_table,
)
from common.layers import NORMS, Network, SeparableConv, SeparablePool
from common.receptive_field import largest_field, measure_field

torch.set_num_threads(1)


def test_published_networks_are_what_they_were():
    made = {}
    for path in sorted(Path(__file__).parents[1].glob("S*/results/*/*.json")):
        result = json.loads(path.read_text())
        session, shape = path.parts[-4][:2].lower(), (1, 28, 28) if path.parts[-4] == "S7_mnist" else (3, 32, 32)
        name, arguments = result["network"].values()
        models = import_module(f"common.models.{session}")
        if not hasattr(models, name) or arguments.get("norm", "bn") not in NORMS:
            continue  # a network, or a norm, that a notebook defines: the run of the notebook checks it
        if (key := (session, name, *arguments.items())) not in made:
            model = getattr(models, name)(**arguments)
            made[key] = layer_table(model, shape), largest_field(model, shape)
            ours = name == "one_block"  # torchsummary doesn't count its scale and shift: a table of our own
            total = f"Total params: {result['params']:,}" + "\nTrainable" * (not ours)
            assert total in torchsummary_table(model, shape)
        assert made[key] == (result["layers"], (result["receptive_field"], "")), path
    assert len(made) >= 20


def conv():
    return nn.Conv2d(1, 2, 3, padding=1)  # 20 parameters


def scaled(model):
    model.scale = nn.Parameter(torch.ones(5))
    return model


RELU, LINEAR, TIED = nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4)
TIED.weight = LINEAR.weight
DICTIONARY = Forward(lambda x, conv: {"maps": [conv(x)]}, conv())
ATTENTION = Forward(lambda x, mix: mix(*[x.flatten(1, 2)] * 3)[0], nn.MultiheadAttention(4, 2, batch_first=True))
C = ("Conv2d", [2, 4, 4], 20)
ZOO = {  # a network for images (1, 4, 4), and its rows
    "own parameter": (scaled(Forward(lambda x, a: a(x), conv())), [C, ("Forward", None, 5)]),
    "container's": (nn.Sequential(scaled(nn.Sequential(conv()))), [C, ("Sequential", None, 5)]),
    "block's": (nn.Sequential(scaled(Forward(lambda x, a: a(x), conv()))), [C, ("Forward", [2, 4, 4], 5)]),
    "never called": (Forward(lambda x, a, b: a(x), conv(), conv()), [C, ("Conv2d", None, 20)]),
    "attention": (ATTENTION, [("MultiheadAttention", [4, 4], 60), ("NonDynamicallyQuantizableLinear", None, 20)]),
    "by keyword": (Forward(lambda x, a: a(input=x), conv()), [C]),
    "dictionary": (Forward(lambda x, a: a(x)["maps"][0], DICTIONARY), [C, ("Forward", [2, 4, 4], 0)]),
    "no tensor": (Forward(lambda x, a: a(x) or x, Forward(lambda x: None)), [("Forward", None, 0)]),
    "nothing": (Forward(lambda x: x), []),
    "used again": (Forward(lambda x, a: a(a(x)), nn.Conv2d(1, 1, 1)), [("Conv2d", [1, 4, 4], n) for n in (2, 0)]),
    "in two places": (nn.Sequential(conv(), RELU, nn.Sequential(RELU)), [C, *[("ReLU", [2, 4, 4], 0)] * 2]),
    "tied": (nn.Sequential(LINEAR, TIED), [("Linear", [1, 4, 4], 20), ("Linear", [1, 4, 4], 4)]),
    "frozen": (nn.Sequential(conv(), nn.PReLU().requires_grad_(False)), [C, ("PReLU", [2, 4, 4], 0)]),
    "weight norm": (after_a_step(nn.utils.weight_norm(nn.Conv2d(3, 1, 1))), [("Conv2d", [1, 4, 4], 5)]),
    "lazy": (after_a_step(nn.LazyConv2d(2, 1)), [("Conv2d", [2, 4, 4], 8)]),
    "squeezed": (Forward(lambda x, a: a(x).mean((2, 3)).squeeze().softmax(1), conv()), [C]),
    "half precision": (nn.Sequential(conv().bfloat16()), [C]),
}


@pytest.mark.parametrize("name", ZOO)
def test_no_parameter_is_missed(name):
    model, rows = ZOO[name]
    shape = (3 if name in ("weight norm", "lazy") else 1, 4, 4)
    table, parameters = layer_table(model, shape), count_parameters(model)
    assert [tuple(row.values()) for row in table] == [(f"{kind}-{i}", *row) for i, (kind, *row) in enumerate(rows, 1)]
    assert sum(row["params"] for row in table) == parameters
    parts = blocks(model, shape)
    assert sum(row["params"] for row in parts) == parameters
    assert sum(row["macs"] for row in parts) == multiply_accumulates(model, shape)
    text = torchsummary_table(model, shape)
    assert f"Total params: {parameters:,}" in text and all(row["layer"] in text for row in table)
    assert ("Trainable params" in text) == (name in ("used again", "lazy", "squeezed"))  # torchsummary's own


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(conv(), nn.BatchNorm2d(2), nn.Dropout(), nn.MaxPool2d(2), nn.Flatten()).train()
    model[1].eval()
    before, flags = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    random = torch.get_rng_state()
    for look in (blocks, layer_table, torchsummary_table, multiply_accumulates, largest_field, measure_field):
        look(model, (1, 8, 8))
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert [module.training for module in model.modules()] == flags and torch.equal(random, torch.get_rng_state())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        assert all(p.requires_grad and p.grad is None for p in model.parameters())


NORMED = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout())
SEQUENCE = Network(
    NORMED, nn.Conv2d(4, 4, 3, dilation=2, groups=4), nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(3, 1, 1),
    SeparablePool(4, 6), nn.Conv2d(6, 6, (1, 3), groups=2, bias=False), nn.AvgPool2d(1, 1), nn.AdaptiveAvgPool2d(1),
    nn.Flatten(), nn.Linear(6, 10))
SEQUENCE_BLOCKS = [
    ("3x3 conv, stride 2", (4, 16, 16), 3 * 4 * 9 + 8, 256 * 3 * 4 * 9),
    ("depthwise 3x3 conv, dilation 2", (4, 12, 12), 40, 144 * 4 * 9), ("max-pool", (4, 6, 6), 0, 0),
    ("separable pool", (6, 3, 3), 36 + 8 + 24 + 12, 36 * (36 + 24)), ("grouped 1x3 conv", (6, 3, 1), 54, 3 * 54),
    ("global average", (6, 1, 1), 0, 0), ("flatten", (6,), 0, 0), ("linear", (10,), 70, 60)]


def test_blocks_of_a_sequence():
    found = [tuple(row[key] for key in ("name", "output", "params", "macs")) for row in blocks(SEQUENCE, (3, 33, 33))]
    assert found == SEQUENCE_BLOCKS
    table = tables.block_table(SEQUENCE, (3, 33, 33)).data.splitlines()
    assert table[2] == "| 3x3 conv, stride 2 | 4 x 16 x 16 | 116 | 27,648 |" and len(table) == 2 + 8 + 1
    assert table[-1].endswith(f"{count_parameters(SEQUENCE):,} | {multiply_accumulates(SEQUENCE, (3, 33, 33)):,} |")
    dilated = nn.Sequential(SeparableConv(1, 2, dilation=2), nn.Sequential(nn.Dropout(), nn.AvgPool2d(2)))
    assert [(row["name"], row["kind"]) for row in blocks(dilated, (1, 4, 4))] == [
        ("separable conv, dilation 2", "several layers"), ("average pool", "pool")]


def test_blocks_of_other_networks_are_their_parts_in_the_order_of_their_calls():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.second, self.unused, self.pool = nn.Conv2d(4, 2, 1, bias=False), nn.Linear(2, 2), nn.MaxPool2d(2)
            self.first, self.scale = nn.ModuleList([NORMED]), nn.Parameter(torch.ones(5))

        def forward(self, x):
            y = self.pool(self.first[0](x))
            return self.pool(self.second(y @ y.mT))

    found = [tuple(row[key] for key in ("name", "output", "params", "macs")) for row in blocks(Branches(), (3, 33, 33))]
    assert found == [SEQUENCE_BLOCKS[0], ("max-pool", (4, 8, 8), 0, 0), ("1x1 conv", (2, 8, 8), 8, 8 * 64),
                     ("max-pool", (2, 4, 4), 0, 0), ("other", None, 6 + 5, 4 * 8**3)]


def test_kinds_and_multiply_accumulates():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 16, 3, padding=2, dilation=2, groups=4), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2),
        nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(16, 10), nn.Conv2d(8, 8, 1, dilation=2, groups=8))
    assert layer_kinds(model) == {
        "depthwise": ["1"], "dilated": ["2"], "max_pools": ["3"], "global_pools": ["6"], "linear": ["8"]}
    assert multiply_accumulates(model[:-1], (3, 32, 32)) == 16 * 16 * (8 * 27 + 8 * 9 + 16 * 2 * 9) + 160
    assert multiply_accumulates(ATTENTION, (1, 4, 4)) == 4 * 4 * 4 * 4 + 2 * 4 * 4 * 4  # four linear, two products
