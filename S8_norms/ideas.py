"""Ideas for the recipe of session 8, each alone on a short schedule: python -m tools ideas S8_norms, an hour.

Each trains on 15,000 images for four epochs, or on 40,000 for two, ten or twenty, and is judged on 10,000 other
training images; the test set has no part in it. Notebooks S8.1, S8.3 and S8.4 show results/ideas.json.
"""

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from common import recipes
from common.data import MEAN, hold_out, load, normalize
from common.models import s8
from common.training import Recipe

SHORT = replace(recipes.S8, epochs=4, train_images=15_000)


def with_momentum(momentum: float) -> nn.Module:
    """The shared network whose running statistics follow a batch by so much."""
    model = s8.shared("bn")
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = momentum
    return model


def with_dropout(dropout: nn.Module) -> nn.Module:
    """The shared network with `dropout` before the average."""
    model = s8.shared("bn")
    model[-2] = nn.Sequential(dropout, model[-2])
    return model


def whitening() -> nn.Module:
    """The shared network; its first convolution is fixed: the 16 strongest directions of patches, at equal variance."""
    model, train = s8.shared("bn"), hold_out(load("cifar10")[0], 10_000)[0]
    patches = F.unfold(normalize(train.images[:2000] / 255, "cifar10"), 3).transpose(1, 2).reshape(-1, 27)
    variance, directions = torch.linalg.eigh(torch.cov(patches.T))
    filters = (directions / (variance + 0.01).sqrt()).T.flip(0)[:16]
    model[0].weight = nn.Parameter(filters.reshape(16, 3, 3, 3).contiguous(), requires_grad=False)
    return model


class SmallerFirst(nn.Module):
    """The shared network, which sees the images at 20 x 20 pixels in the first `steps` steps of training."""

    def __init__(self, steps: int):
        super().__init__()
        self.network, self.steps = s8.shared("bn"), steps

    def forward(self, x):
        if self.training and self.steps > 0:
            self.steps -= 1
            x = F.interpolate(x, size=20, mode="bilinear", antialias=True).contiguous(memory_format=torch.channels_last)
        return self.network(x)


def shared(norm: str = "bn"):
    return lambda: s8.shared(norm)


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

TEN, TWENTY = replace(recipes.S8, epochs=10), replace(recipes.S8, epochs=20)
CUTOUT = (*recipes.S8.augmentation, ("cutout", {"size": 8, "fill": MEAN["cifar10"]}))


def by_albumentations(name: str, **options) -> dict:
    """What the short schedule augments with besides."""
    return {"augmentation": (*SHORT.augmentation, ("albumentations", {"transforms": ((name, options),)}))}


JITTER = by_albumentations("ColorJitter", brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.8, 1.2),
                           hue=(-0.1, 0.1), p=0.5)
RESIZED = by_albumentations("RandomResizedCrop", size=(32, 32), scale=(0.5, 1.0), p=0.5)
CENTRE = by_albumentations("Affine", scale=(32 / 26, 32 / 26), p=0.1)

DATA = "cifar10"
BY_CHANCE = {"alternating_flip": False, "augmentation": (*SHORT.augmentation, ("flip", {}))}
IDEAS = [{  # the network and its recipe; the others of a group are compared with the first
    "as it is": (shared(), SHORT),
    "hard labels": (shared(), replace(SHORT, label_smoothing=0.0)),
    "flip by chance": (shared(), replace(SHORT, **BY_CHANCE)),
    "hard labels, flip by chance": (shared(), replace(SHORT, label_smoothing=0.0, **BY_CHANCE)),
    "both peaks doubled": (shared(), replace(SHORT, lr=0.6, muon=0.1)),
    "both peaks halved": (shared(), replace(SHORT, lr=0.15, muon=0.025)),
    "label smoothing 0.2": (shared(), replace(SHORT, label_smoothing=0.2)),
    "batch norm's momentum 0.3": (lambda: with_momentum(0.3), SHORT),
    "batch norm's momentum 0.03": (lambda: with_momentum(0.03), SHORT),
    "a whitening first layer": (whitening, SHORT),
    "dropout 0.1": (lambda: with_dropout(nn.Dropout(0.1)), SHORT),
    "dropout of channels 0.1": (lambda: with_dropout(nn.Dropout2d(0.1)), SHORT),
    "20 x 20 pixels in the first half": (lambda: SmallerFirst(2 * 15_000 // SHORT.batch_size), SHORT),
    **{f"SGD, peak {peak}": (shared(), replace(SHORT, muon=0.0, lr=peak)) for peak in (0.03, 0.1, 0.3, 1.0)},
    "colour jitter, half of the images": (shared(), replace(SHORT, **JITTER)),
    "resized crop, half of the images": (shared(), replace(SHORT, **RESIZED)),
    "centre crop of 26 pixels, one image in ten": (shared(), replace(SHORT, **CENTRE)),
}, {
    "group norm": (shared("gn"), SHORT),
    "group norm, hard labels, flip by chance": (shared("gn"), replace(SHORT, label_smoothing=0.0, **BY_CHANCE)),
    "group norm, Muon's peak doubled": (shared("gn"), replace(SHORT, muon=0.1)),
    "group norm, Muon's peak halved": (shared("gn"), replace(SHORT, muon=0.025)),
}, {
    "layer norm": (shared("ln"), SHORT),
    "layer norm, hard labels, flip by chance": (shared("ln"), replace(SHORT, label_smoothing=0.0, **BY_CHANCE)),
    "layer norm, Muon's peak doubled": (shared("ln"), replace(SHORT, muon=0.1)),
    "layer norm, Muon's peak halved": (shared("ln"), replace(SHORT, muon=0.025)),
}, *PEAKS, *MUON, {
    "twenty epochs": (shared(), TWENTY),
    "twenty epochs, cutout": (shared(), replace(TWENTY, augmentation=CUTOUT)),
}, {
    "ten epochs": (shared(), TEN),
    "ten epochs, both peaks halved": (shared(), replace(TEN, lr=0.15, muon=0.025)),
    "ten epochs, SiLU in place of ReLU": (partial(s8.three_blocks, 64, 160, activation=nn.SiLU), TEN),
    "ten epochs, hard swish in place of ReLU": (partial(s8.three_blocks, 64, 160, activation=nn.Hardswish), TEN),
    "ten epochs, 96 and 128 channels": (partial(s8.three_blocks, 96, 128), TEN),
    "ten epochs, 112 and 112 channels": (partial(s8.three_blocks, 112, 112), TEN),
    "ten epochs, 96 and 128 channels, SiLU": (ours(), TEN),
    "ten epochs, 96 and 128 channels, SiLU, SGD's peak 0.1": (ours(), replace(TEN, lr=0.1)),
}, {
    "ten epochs, group norm": (shared("gn"), TEN),
    "ten epochs, group norm, SGD's peak 0.1": (shared("gn"), replace(TEN, lr=0.1)),
    "ten epochs, group norm, Muon's peak 0.025": (shared("gn"), replace(TEN, muon=0.025)),
    "ten epochs, group norm, Muon's peak 0.0125": (shared("gn"), replace(TEN, muon=0.0125)),
    "ten epochs, group norm, ours": (ours("gn"), TEN),
    "ten epochs, group norm, ours, SGD's peak 0.1": (ours("gn"), replace(TEN, lr=0.1)),
}, {
    "ten epochs, layer norm": (shared("ln"), TEN),
    "ten epochs, layer norm, Muon's peak 0.025": (shared("ln"), replace(TEN, muon=0.025)),
    "ten epochs, layer norm, ours": (ours("ln"), TEN),
    "ten epochs, layer norm, ours, SGD's peak 0.1": (ours("ln"), replace(TEN, lr=0.1)),
}]
SEEDS = {"as it is": 4, "hard labels": 4, "flip by chance": 4, "hard labels, flip by chance": 4,
         "colour jitter, half of the images": 3, "resized crop, half of the images": 3,
         "centre crop of 26 pixels, one image in ten": 3}  # of others one
