"""Ideas for the network and the recipe of session 7, each alone: python -m tools ideas S7_mnist.

Each trains for the full schedule on 50,000 images and is judged on the other 10,000 training images; the test set has
no part in it. Notebook S7.3 shows results/ideas.json.
"""

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from common import recipes
from common.layers import Network, SeparableConv, mix
from common.models import s7
from common.training import Recipe


class Norms(nn.Module):
    """Batch norms that share one scale and shift; the running statistics are each one's own."""

    def __init__(self, channels: int, times: int, shared: bool):
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, affine=not shared) for _ in range(times))
        self.scale = nn.Parameter(torch.ones(channels)) if shared else None
        self.shift = nn.Parameter(torch.zeros(channels)) if shared else None

    def forward(self, x, use):
        norm = self.norms[use]
        if self.scale is None:
            return norm(x)
        return F.batch_norm(x, norm.running_mean, norm.running_var, self.scale, self.shift, norm.training,
                            norm.momentum, norm.eps)


class Repeated(nn.Module):
    """`common.layers.Repeated` with a kernel of any size, and norms that share scale and shift or don't."""

    def __init__(self, channels: int, times: int, kernel: int, shared: bool):
        super().__init__()
        self.times = times
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
        self.pointwise = mix(channels, channels)
        self.norms1, self.norms2 = Norms(channels, times, shared), Norms(channels, times, shared)

    def forward(self, x):
        for use in range(self.times):
            y = F.relu(self.norms1(self.depthwise(x), use))
            x = F.relu(x + self.norms2(self.pointwise(y), use))
        return x


class SeparablePool(nn.Module):
    """`common.layers.SeparablePool` with a kernel of any size."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.pointwise = mix(inputs, outputs)

    def forward(self, x):
        y = F.relu(self.norm1(self.depthwise(x)))
        return F.relu(self.norm2(F.max_pool2d(self.pointwise(y), 2)))


def narrow(first, second, third, times=(4, 4), kernel=3, shared=False):
    """`common.models.s7.narrow` with more to choose."""
    return lambda: Network(
        nn.Conv2d(1, first, 3, bias=False), nn.BatchNorm2d(first), nn.ReLU(),
        SeparablePool(first, second, kernel), Repeated(second, times[0], kernel, shared),
        SeparablePool(second, third, kernel), Repeated(third, times[1], kernel, shared),
        nn.AdaptiveAvgPool2d(1), mix(third, 10),
    )


def strided(second, third, times=(4, 4), kernel=3, shared=False):
    """The same, but for a first convolution of 5x5 with stride 2 in place of the two first blocks."""
    return lambda: Network(
        nn.Conv2d(1, second, 5, stride=2, bias=False), nn.BatchNorm2d(second), nn.ReLU(),
        Repeated(second, times[0], kernel, shared),
        SeparablePool(second, third, kernel), Repeated(third, times[1], kernel, shared),
        nn.AdaptiveAvgPool2d(1), mix(third, 10),
    )


def one_norm(second, third, times=4):
    """Strided, with one norm a use: the separable convolutions of session 8, the inner one with a pool."""
    return lambda: Network(
        nn.Conv2d(1, second, 5, stride=2, bias=False), nn.BatchNorm2d(second), nn.ReLU(),
        SeparableConv(second, second, times=times),
        SeparableConv(second, third), nn.MaxPool2d(2),
        SeparableConv(third, third, times=times),
        nn.AdaptiveAvgPool2d(1), mix(third, 10),
    )


DATA = "mnist"
STRONGER = recipes.S7.augmentation
OURS = replace(recipes.S7, augmentation=(("affine", {"shift": 0.08, "scale": 0.1, "rotate": 8.0, "shear": 6.0}),))
LONG = replace(OURS, epochs=40)
SCHEDULES = replace(OURS, average=0.0, validation=5000, augmentation=STRONGER)
BRIEF = Recipe(epochs=14, lr=0.05, schedule="plateau", validation=5000, augmentation=(("affine", {"rotate": 7.0}),))
NORM = Recipe(epochs=14, lr=0.05, nesterov=False, schedule="one_cycle")  # S7.2
FEW = replace(NORM, epochs=60, train_images=2000)


def plain():
    return s7.regularized(dropout=0.0)


WEAKER = (("affine", {"shift": 0.04, "scale": 0.05, "rotate": 4.0, "shear": 3.0}),)
STRONGEST = (("affine", {"shift": 0.12, "scale": 0.2, "rotate": 16.0, "shear": 14.0}),)
IDEAS = [{  # the network and its recipe; the others of a group are compared with the first
    "as it was": (narrow(12, 24, 52), OURS),
    "Muon, peak 0.05": (narrow(12, 24, 52), replace(OURS, muon=0.05)),
    "Muon, peak 0.02": (narrow(12, 24, 52), replace(OURS, muon=0.02)),
    "Muon, peak 0.05, SGD's 0.1": (narrow(12, 24, 52), replace(OURS, muon=0.05, lr=0.1)),
    "label smoothing 0.1": (narrow(12, 24, 52), replace(OURS, label_smoothing=0.1)),
    "stronger variation": (narrow(12, 24, 52), replace(OURS, augmentation=STRONGER)),
    "strongest variation": (narrow(12, 24, 52), replace(OURS, augmentation=STRONGEST)),
    "stronger variation, 8-24-53": (narrow(8, 24, 53), replace(OURS, augmentation=STRONGER)),
    "batches of 64, peak 0.2": (narrow(12, 24, 52), replace(OURS, batch_size=64, lr=0.2)),
    "5x5 depthwise, 12-22-44": (narrow(12, 22, 44, kernel=5), OURS),
    "shared scale and shift, 14-26-54": (narrow(14, 26, 54, shared=True), OURS),
    "strided, 24-52": (strided(24, 52), OURS),
    "strided, 24-52, stronger variation": (strided(24, 52), replace(OURS, augmentation=STRONGER)),
    "strided, 24-52, strongest variation": (strided(24, 52), replace(OURS, augmentation=STRONGEST)),
    "strided, shared scale and shift, 26-56": (strided(26, 56, shared=True), OURS),
    "strided, one norm a use, 26-54": (one_norm(26, 54), OURS),
    "strided, one norm, six uses, 26-52": (one_norm(26, 52, times=6), OURS),
}, {
    "strided, 14-28": (strided(14, 28), OURS),
    "strided, 14-28, stronger variation": (strided(14, 28), replace(OURS, augmentation=STRONGER)),
    "8-16-28": (narrow(8, 16, 28), OURS),
    "8-16-28, weaker variation": (narrow(8, 16, 28), replace(OURS, augmentation=WEAKER)),
    "8-16-32, shared scale and shift": (narrow(8, 16, 32, shared=True), OURS),
}, {
    "4-6-10 used three times, 40 epochs": (narrow(4, 6, 10, (3, 3)), LONG),
    "4-6-10 used three times, 40 epochs, weaker variation": (
        narrow(4, 6, 10, (3, 3)), replace(LONG, augmentation=WEAKER)),
    "strided, 6-10 used three times, 40 epochs, weaker variation": (
        strided(6, 10, (3, 3)), replace(LONG, augmentation=WEAKER)),
}, {
    "3-4-6 used three times, 40 epochs, weaker variation": (
        narrow(3, 4, 6, (3, 3)), replace(LONG, augmentation=WEAKER)),
    "strided, 3-6, 40 epochs, weaker variation": (strided(3, 6), replace(LONG, augmentation=WEAKER)),
}, {
    f"{schedule}, peak {peak}": (plain, replace(SCHEDULES, schedule=schedule, lr=peak)) for schedule, peaks in {
        "one_cycle": (0.3, 0.1), "constant": (0.03, 0.1), "step": (0.1, 0.3), "plateau": (0.1, 0.3)}.items()
    for peak in peaks
}, {
    f"brief, peak {peak}": (s7.regularized, replace(BRIEF, lr=peak)) for peak in (0.05, 0.1, 0.2)
}, {
    "batch norm": (plain, NORM),
    **{f"L1 of {weight}": (plain, replace(NORM, l1=weight)) for weight in (1e-6, 1e-5, 1e-4)},
    **{f"L2 of {weight}": (plain, replace(NORM, weight_decay=weight)) for weight in (1e-4, 5e-4, 2e-3)},
}, {
    "2,000 images": (plain, FEW),
    **{f"2,000 images, L2 of {weight}": (plain, replace(FEW, weight_decay=weight)) for weight in (1e-3, 5e-3, 2e-2)},
    "2,000 images, dropout 0.05": (s7.regularized, FEW),
    "2,000 images, dropout 0.2": (partial(s7.regularized, dropout=0.2), FEW),
}]
SEEDS = {"as it was": 2}  # of others one
