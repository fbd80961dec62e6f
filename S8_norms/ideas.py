"""Ideas for the recipe of session 8, each alone on a short schedule: python -m tools ideas S8_norms, an hour.

Each trains on 15,000 images for four epochs, or on 40,000 for two, and is judged on 10,000 other training images; the
test set has no part in it. Notebooks S8.1 and S8.3 show results/ideas.json.
"""

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from common import recipes
from common.data import hold_out, load, normalize
from common.models import s8
from common.training import Recipe

SHORT = replace(recipes.S8, epochs=4, train_images=15_000)


def with_momentum(momentum: float) -> nn.Module:
    """Our network whose running statistics follow a batch by so much."""
    model = s8.ours("bn")
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = momentum
    return model


def with_dropout(dropout: nn.Module) -> nn.Module:
    """Our network with `dropout` before the average."""
    model = s8.ours("bn")
    model[-2] = nn.Sequential(dropout, model[-2])
    return model


def whitening() -> nn.Module:
    """Our network whose first convolution is fixed: the 16 strongest directions of 3x3 patches, at equal variance."""
    model, train = s8.ours("bn"), hold_out(load("cifar10")[0], 10_000)[0]
    patches = F.unfold(normalize(train.images[:2000] / 255, "cifar10"), 3).transpose(1, 2).reshape(-1, 27)
    variance, directions = torch.linalg.eigh(torch.cov(patches.T))
    filters = (directions / (variance + 0.01).sqrt()).T.flip(0)[:16]
    model[0].weight = nn.Parameter(filters.reshape(16, 3, 3, 3).contiguous(), requires_grad=False)
    return model


class SmallerFirst(nn.Module):
    """Our network, which sees the images at 20 x 20 pixels in the first `steps` steps of training."""

    def __init__(self, steps: int):
        super().__init__()
        self.network, self.steps = s8.ours("bn"), steps

    def forward(self, x):
        if self.training and self.steps > 0:
            self.steps -= 1
            x = F.interpolate(x, size=20, mode="bilinear", antialias=True).contiguous(memory_format=torch.channels_last)
        return self.network(x)


def ours(norm: str = "bn"):
    return lambda: s8.ours(norm)


def he() -> nn.Module:
    """The plain network of S8.1 without a norm and with the first weights of He et al., "Delving deep", 2015."""
    model = s8.plain(nn.Identity)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return model


PLAIN = [  # the norm; how the network is made; the peaks that are tried, with SGD, and of Muon beside the best of SGD
    ("no norm", partial(s8.plain, nn.Identity), (0.1, 0.3, 1.0), ()),
    ("no norm, He's initial weights", he, (0.003, 0.01, 0.03), (0.01, 0.02, 0.05)),  # 0.1 diverges
    ("batch norm", partial(s8.plain, "bn"), (0.03, 0.1, 0.3, 1.0), (0.02, 0.05, 0.1)),
    ("group norm", partial(s8.plain, "gn"), (0.01, 0.03, 0.1, 0.3), (0.02, 0.05, 0.1)),
    ("layer norm", partial(s8.plain, "ln"), (0.01, 0.03, 0.1, 0.3), (0.02, 0.05, 0.1)),
]
BEST = {"no norm, He's initial weights": 0.01, "batch norm": 0.1, "group norm": 0.03, "layer norm": 0.03}
CYCLE = Recipe(epochs=2, lr=0.1, schedule="one_cycle")
PEAKS = [{f"plain, {name}, peak {peak}": (network, replace(CYCLE, lr=peak)) for peak in peaks}
         for name, network, peaks, _ in PLAIN]
MUON = [{f"plain, {name}, Muon, peak {peak}": (network, replace(CYCLE, lr=BEST[name], muon=peak)) for peak in peaks}
        for name, network, _, peaks in PLAIN if peaks]

DATA = "cifar10"
BY_CHANCE = {"alternating_flip": False, "augmentation": (*SHORT.augmentation, ("flip", {}))}
IDEAS = [{  # the network and its recipe; the others of a group are compared with the first
    "as it is": (ours(), SHORT),
    "hard labels": (ours(), replace(SHORT, label_smoothing=0.0)),
    "flip by chance": (ours(), replace(SHORT, **BY_CHANCE)),
    "hard labels, flip by chance": (ours(), replace(SHORT, label_smoothing=0.0, **BY_CHANCE)),
    "both peaks doubled": (ours(), replace(SHORT, lr=0.6, muon=0.1)),
    "both peaks halved": (ours(), replace(SHORT, lr=0.15, muon=0.025)),
    "label smoothing 0.2": (ours(), replace(SHORT, label_smoothing=0.2)),
    "batch norm's momentum 0.3": (lambda: with_momentum(0.3), SHORT),
    "batch norm's momentum 0.03": (lambda: with_momentum(0.03), SHORT),
    "a whitening first layer": (whitening, SHORT),
    "dropout 0.1": (lambda: with_dropout(nn.Dropout(0.1)), SHORT),
    "dropout of channels 0.1": (lambda: with_dropout(nn.Dropout2d(0.1)), SHORT),
    "20 x 20 pixels in the first half": (lambda: SmallerFirst(2 * 15_000 // SHORT.batch_size), SHORT),
    **{f"SGD, peak {peak}": (ours(), replace(SHORT, muon=0.0, lr=peak)) for peak in (0.03, 0.1, 0.3, 1.0)},
}, {
    "group norm": (ours("gn"), SHORT),
    "group norm, hard labels, flip by chance": (ours("gn"), replace(SHORT, label_smoothing=0.0, **BY_CHANCE)),
    "group norm, Muon's peak doubled": (ours("gn"), replace(SHORT, muon=0.1)),
    "group norm, Muon's peak halved": (ours("gn"), replace(SHORT, muon=0.025)),
}, {
    "layer norm": (ours("ln"), SHORT),
    "layer norm, hard labels, flip by chance": (ours("ln"), replace(SHORT, label_smoothing=0.0, **BY_CHANCE)),
    "layer norm, Muon's peak doubled": (ours("ln"), replace(SHORT, muon=0.1)),
    "layer norm, Muon's peak halved": (ours("ln"), replace(SHORT, muon=0.025)),
}, *PEAKS, *MUON]
SEEDS = {"as it is": 4, "hard labels": 4, "flip by chance": 4, "hard labels, flip by chance": 4}  # of others one
