"""Ideas for the network and the recipe of session 9: python -m tools ideas S9_advanced_conv, some hours of a core.

Each trains on 40,000 images for ten epochs where its name says no other numbers, and is judged on 10,000 other
training images; the test set has no part in it. The transforms of the assignment are those by the batch, which take
less time.
"""

from dataclasses import replace
from functools import partial

from torch import nn

from common import recipes
from common.data import MEAN
from common.models import s9

FILL = MEAN["cifar10"]
FLIP = ("flip", {"p": 0.5})


def move(p: float):
    """The transform that shifts, scales and turns images with probability `p`."""
    return ("shift_scale_rotate", {"shift": 0.1, "scale": 0.1, "rotate": 10, "fill": FILL, "p": p})


def hole(size: int, p: float):
    """The transform that covers a square with probability `p`."""
    return ("cutout", {"size": size, "fill": FILL, "p": p})


# a shift by up to 4 whole pixels, with the mirrored image at the border
SHIFT = ("shift_scale_rotate", {"shift": 0.14, "scale": 0.0, "rotate": 0, "p": 1.0})
TEN = replace(recipes.S9, epochs=10, augmentation=(FLIP, move(0.5), hole(16, 0.5)))
GENTLE = replace(TEN, epochs=25, augmentation=(FLIP, SHIFT, hole(8, 0.5)))
# as many epochs as the long schedule of S9.5, and few images: the network soon knows them
LONG = replace(GENTLE, epochs=50, train_images=10_000)


def blocks(*channels: int, activation: type[nn.Module] = nn.SiLU):
    """The function that makes four blocks with so many channels."""
    return partial(s9.four_blocks, channels, activation=activation)


WIDE = blocks(32, 128, 160, 224)

DATA = "cifar10"
IDEAS = [{  # the network and its recipe; the others are compared with the first
    "SiLU, 32, 128, 160 and 224 channels": (WIDE, TEN),
    "ReLU, 32, 64, 160 and 256 channels": (blocks(32, 64, 160, 256, activation=nn.ReLU), TEN),
    "Muon's peak 0.025": (WIDE, replace(TEN, muon=0.025)),
    "a quarter of the images moved, a quarter with a hole": (WIDE, replace(
        TEN, augmentation=(FLIP, move(0.25), hole(16, 0.25)))),
    "32, 64, 160 and 256 channels": (blocks(32, 64, 160, 256), TEN),
    "crop and flip": (WIDE, replace(TEN, augmentation=(("crop", {"padding": 4}), FLIP))),
}, {  # the strength of the transforms, on the full schedule
    "25 epochs: flip, shift, a hole of 8 x 8 in half of the images": (WIDE, GENTLE),
    "25 epochs: flip and shift": (WIDE, replace(GENTLE, augmentation=(FLIP, SHIFT))),
    "25 epochs: flip, shift, a hole of 16 x 16 in half of the images": (WIDE, replace(
        GENTLE, augmentation=(FLIP, SHIFT, hole(16, 0.5)))),
    "25 epochs: the first with Muon's peak 0.025": (WIDE, replace(GENTLE, muon=0.025)),
}, {  # what regularization a long schedule needs
    "50 epochs of 10,000 images": (WIDE, LONG),
    "50 epochs of 10,000 images: mixup": (WIDE, replace(LONG, mixup=0.2)),
    "50 epochs of 10,000 images: a hole of 16 x 16": (WIDE, replace(LONG, augmentation=(FLIP, SHIFT, hole(16, 0.5)))),
    "50 epochs of 10,000 images: weight decay": (WIDE, replace(LONG, weight_decay=0.005)),
    "50 epochs of 10,000 images: label smoothing 0.2": (WIDE, replace(LONG, label_smoothing=0.2)),
}]
SEEDS: dict[str, int] = {}  # of others one
