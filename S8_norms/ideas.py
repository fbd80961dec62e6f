"""Ideas for the recipe of session 8, each alone on a short schedule: python -m tools ideas S8_norms, 40 minutes.

Each trains on 15,000 images for four epochs and is judged on 10,000 other training images; the test set has no part in
it. Notebook S8.2 shows results/ideas.json.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from common import recipes
from common.data import hold_out, load, normalize
from common.models import s8

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
}]
SEEDS = {"as it is": 4, "hard labels": 4, "flip by chance": 4, "hard labels, flip by chance": 4}  # of others one
