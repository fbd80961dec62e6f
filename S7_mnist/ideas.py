"""Ideas for the network and the recipe of session 7, each alone: python -m tools ideas S7_mnist.

Each trains for the full schedule on 50,000 images and is judged on the other 10,000 training images; the test set has
no part in it. Notebook S7.3 shows results/ideas.json. (The networks of one block were tried on a GPU in a loop of its
own, which takes the steps of `fit` as one CUDA graph.)
"""

from dataclasses import replace
from functools import partial

from torch import nn

from common import recipes
from common.layers import Network, Repeated, SeparableConv, SeparablePool, mix
from common.models import s7
from common.training import Recipe


class SharedScale(Repeated):
    """`Repeated` whose norms share scale and shift, too; the statistics remain each one's own."""

    def __init__(self, channels: int, times: int):
        super().__init__(channels, times)
        for norms in (self.norms1, self.norms2):
            for norm in norms:
                norm.weight, norm.bias = norms[0].weight, norms[0].bias


def narrow(first, second, third, times=4, block=Repeated):
    """The network of the course with another repeated block."""
    return lambda: Network(
        nn.Conv2d(1, first, 3, bias=False), nn.BatchNorm2d(first), nn.ReLU(),
        SeparablePool(first, second), block(second, times),
        SeparablePool(second, third), block(third, times),
        nn.AdaptiveAvgPool2d(1), mix(third, 10),
    )


def strided(first, second, block=Repeated):
    """A first convolution of 5x5 with stride 2, in place of the first two layers."""
    return lambda: Network(
        nn.Conv2d(1, first, 5, stride=2, bias=False), nn.BatchNorm2d(first), nn.ReLU(),
        block(first, 4),
        SeparablePool(first, second), block(second, 4),
        nn.AdaptiveAvgPool2d(1), mix(second, 10),
    )


def pooled(first, second, times=4):
    """A first convolution with a pool before its norm, so that nothing else works on the large map."""
    return lambda: Network(
        nn.Conv2d(1, first, 3, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(first), nn.ReLU(),
        Repeated(first, times),
        SeparablePool(first, second), Repeated(second, times),
        nn.AdaptiveAvgPool2d(1), mix(second, 10),
    )


def one_norm(first, second):
    """Strided, with one norm a use in place of two, and no ReLU between: the separable convolutions of session 8."""
    return lambda: Network(
        nn.Conv2d(1, first, 5, stride=2, bias=False), nn.BatchNorm2d(first), nn.ReLU(),
        SeparableConv(first, first, times=4),
        SeparableConv(first, second), nn.MaxPool2d(2),
        SeparableConv(second, second, times=4),
        nn.AdaptiveAvgPool2d(1), mix(second, 10),
    )


def plain():
    return s7.regularized(dropout=0.0)


DATA = "mnist"
STRONGER = recipes.S7.augmentation
MILDER = (("affine", {"shift": 0.08, "scale": 0.1, "rotate": 8.0, "shear": 6.0}),)
WEAKER = (("affine", {"shift": 0.04, "scale": 0.05, "rotate": 4.0, "shear": 3.0}),)
WAS = replace(recipes.S7, augmentation=MILDER)
LONG = replace(recipes.S7, epochs=40, augmentation=WEAKER)
ONE_RATE = Recipe(epochs=14, lr=0.1, augmentation=STRONGER)  # constant; the others differ in the schedule alone
TINY = Recipe(epochs=15, lr=0.1, schedule="one_cycle", average=0.998)
SMALL = replace(TINY, epochs=14, augmentation=WEAKER)
BRIEF = Recipe(epochs=14, lr=0.05, schedule="plateau", validation=5000, augmentation=(("affine", {"rotate": 7.0}),))
IDEAS = [{  # the network and its recipe; the others of a group are compared with the first
    "as it was": (narrow(12, 24, 52), WAS),
    "Muon, peak 0.05": (narrow(12, 24, 52), replace(WAS, muon=0.05)),
    "stronger variation": (narrow(12, 24, 52), recipes.S7),
    "stronger variation, 8-24-53": (narrow(8, 24, 53), recipes.S7),
    "stronger variation, pool first, 26-52": (pooled(26, 52), recipes.S7),
    "shared scale and shift, 14-26-54": (narrow(14, 26, 54, block=SharedScale), WAS),
    "strided, 24-52": (strided(24, 52), WAS),
    "strided, 24-52, stronger variation": (strided(24, 52), recipes.S7),
    "strided, 26-56, shared scale and shift": (strided(26, 56, block=SharedScale), WAS),
    "strided, 26-54, one norm a use": (one_norm(26, 54), WAS),
}, {
    "8-16-28": (narrow(8, 16, 28), WAS),
    "8-16-28, weaker variation": (narrow(8, 16, 28), replace(WAS, augmentation=WEAKER)),
    "8-16-32, shared scale and shift": (narrow(8, 16, 32, block=SharedScale), WAS),
    "pool first, 16-30": (pooled(16, 30), WAS),
    "strided, 14-28": (strided(14, 28), WAS),
    "strided, 14-28, stronger variation": (strided(14, 28), recipes.S7),
}, {
    "pool first, 7-10 used three times, 40 epochs": (pooled(7, 10, 3), LONG),
    "3-4-6 used three times, 40 epochs": (narrow(3, 4, 6, 3), LONG),
}, {
    "7,280 parameters": (plain, WAS),
    "7,280 parameters, stronger variation": (plain, recipes.S7),
}, {
    "one cycle, peak 0.1": (plain, replace(ONE_RATE, schedule="one_cycle")),
    "one cycle, peak 0.3": (plain, replace(ONE_RATE, schedule="one_cycle", lr=0.3)),
    "constant, 0.03": (plain, replace(ONE_RATE, lr=0.03)),
    "constant, 0.1": (plain, ONE_RATE),
    "step, peak 0.1": (plain, replace(ONE_RATE, schedule="step", step_epochs=5)),
    "step, peak 0.3": (plain, replace(ONE_RATE, schedule="step", step_epochs=5, lr=0.3)),
    "plateau, peak 0.1": (plain, replace(ONE_RATE, schedule="plateau", validation=5000)),
    "plateau, peak 0.3": (plain, replace(ONE_RATE, schedule="plateau", validation=5000, lr=0.3)),
}, {
    "one block of 18": (partial(s7.one_block, 18), TINY),
    "one block of 18, peak 0.05": (partial(s7.one_block, 18), replace(TINY, lr=0.05)),
    "one block of 18, peak 0.2": (partial(s7.one_block, 18), replace(TINY, lr=0.2)),
    "one block of 18, weaker variation": (partial(s7.one_block, 18), replace(TINY, augmentation=WEAKER)),
    "one block of 18, Muon, peak 0.02": (partial(s7.one_block, 18), replace(TINY, muon=0.02)),
    "one block of 18, Muon, peak 0.05": (partial(s7.one_block, 18), replace(TINY, muon=0.05)),
    "one block of 18, Muon, peaks 0.05": (partial(s7.one_block, 18), replace(TINY, lr=0.05, muon=0.05)),
    "one block of 18, Muon, peak 0.1": (partial(s7.one_block, 18), replace(TINY, muon=0.1)),
}, {
    "one block of 45": (partial(s7.one_block, 45), SMALL),
    "one block of 45, peak 0.05": (partial(s7.one_block, 45), replace(SMALL, lr=0.05)),
    "one block of 45, variation as it was": (partial(s7.one_block, 45), replace(SMALL, augmentation=MILDER)),
    "one block of 45, Muon, peak 0.02": (partial(s7.one_block, 45), replace(SMALL, muon=0.02)),
    "one block of 45, Muon, peak 0.05": (partial(s7.one_block, 45), replace(SMALL, muon=0.05)),
    "one block of 45, Muon, peak 0.05, variation as it was":
        (partial(s7.one_block, 45), replace(SMALL, muon=0.05, augmentation=MILDER)),
    "one block of 45, Muon, peaks 0.05": (partial(s7.one_block, 45), replace(SMALL, lr=0.05, muon=0.05)),
    "one block of 45, Muon, peak 0.1": (partial(s7.one_block, 45), replace(SMALL, muon=0.1)),
}, {
    "brief, peak 0.05": (s7.regularized, BRIEF),
    "brief, peak 0.1": (s7.regularized, replace(BRIEF, lr=0.1)),
}]
SEEDS = {"stronger variation": 2, "strided, 24-52, stronger variation": 2}  # of others one
