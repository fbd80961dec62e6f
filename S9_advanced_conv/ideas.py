"""Ideas for the network and the recipe of session 9: python -m tools ideas S9_advanced_conv, some hours of a core.

Each trains on 40,000 images for ten epochs and is judged on 10,000 other training images; the test set has no part in
it. The transforms of the assignment are those by the batch, which take less time.
"""

from dataclasses import replace
from functools import partial

from torch import nn

from common import recipes
from common.augmentation import BRIEF_BATCHED
from common.models import s9

TEN = replace(recipes.S9, epochs=10, augmentation=BRIEF_BATCHED)


def blocks(*channels: int, stride: int = 2, dilation: int = 1, activation: type[nn.Module] = nn.SiLU):
    """The function that makes four blocks with so many channels."""
    return partial(s9.four_blocks, channels, stride=stride, dilation=dilation, activation=activation)


WIDE = blocks(32, 128, 160, 224)
FLIP, MOVE, HOLE = BRIEF_BATCHED  # names with their options

DATA = "cifar10"
IDEAS = [{  # the network and its recipe; the others are compared with the first
    "SiLU, 32, 128, 160 and 224 channels": (WIDE, TEN),
    "ReLU, 32, 64, 160 and 256 channels": (blocks(32, 64, 160, 256, activation=nn.ReLU), TEN),
    "Muon's peak 0.1": (WIDE, replace(TEN, muon=0.1)),
    "Muon's peak 0.025": (WIDE, replace(TEN, muon=0.025)),
    "a quarter of the images moved, a quarter with a hole": (WIDE, replace(TEN, augmentation=(
        FLIP, (MOVE[0], MOVE[1] | {"p": 0.25}), (HOLE[0], HOLE[1] | {"p": 0.25})))),
    "32, 64, 160 and 256 channels": (blocks(32, 64, 160, 256), TEN),
    "SGD's peak 0.1": (WIDE, replace(TEN, lr=0.1)),
    "crop and flip": (WIDE, replace(TEN, augmentation=(("crop", {"padding": 4}), FLIP))),
    "a dilation of 2 in C4 in place of the stride": (blocks(32, 128, 160, 224, stride=1, dilation=2), TEN),
}, {  # for the ablation of S9.4
    "without Muon, SGD's peak 0.3": (WIDE, replace(TEN, muon=0.0)),
    "without Muon, SGD's peak 0.1": (WIDE, replace(TEN, muon=0.0, lr=0.1)),
    "without Muon, SGD's peak 1": (WIDE, replace(TEN, muon=0.0, lr=1.0)),
}]
SEEDS: dict[str, int] = {}  # of others one
