"""Each operation against the distribution that its docstring states, on thousands of images."""

import math
import re

import pytest
import torch
from scipy import stats  # albumentations brings it
from torch import Generator

from common.augmentation import (
    AUGMENTATIONS,
    BRIEF,
    BRIEF_BATCHED,
    GENTLE,
    affine,
    alternating_flip,
    augment,
    crop,
    cutout,
)
from common.data import MEAN

torch.set_num_threads(1)


def draws(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def noise(n: int, channels: int = 3, side: int = 8) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=draws(99))


def near(found: torch.Tensor, p: float) -> bool:
    """Whether a rate of `p` explains a sample of booleans, within four standard errors."""
    return abs(found.double().mean().item() - p) < 4 * (p * (1 - p) / found.numel()) ** 0.5


def uniform(values: torch.Tensor, low: float, high: float) -> bool:
    """Whether `values` are a uniform sample of [low, high], by Kolmogorov's statistic, and none is outside."""
    inside = low - 1e-3 <= values.min() and values.max() <= high + 1e-3
    return bool(inside and stats.kstest(values, "uniform", (low, high - low)).pvalue > 0.001)


def equally_often(places: torch.Tensor, n: int) -> bool:
    """Whether each of 0..n-1 is as frequent in `places`, by a chi-squared test."""
    return stats.chisquare(torch.bincount(places, minlength=n)).pvalue > 0.001


# What holds for all of them

OPTIONS = {"flip": {}, "crop": {"padding": 2}, "affine": {"shift": 0.1, "scale": 0.1, "rotate": 10, "shear": 5},
           "shift_scale_rotate": {"rotate": 30, "p": 1.0}, "cutout": {"size": 3, "fill": (0.1, 0.2, 0.3)},
           "albumentations": {"transforms": (("ShiftScaleRotate", {"rotate_limit": 30, "p": 1.0}),)}}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_seeded_pure_and_in_range(name):
    images = noise(50)
    before, state = images.clone(), torch.get_rng_state()
    first, again, other = (augment(images, draws(seed), ((name, OPTIONS[name]),)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
    assert first.min() >= -1e-6 and first.max() <= 1 + 1e-6
    first.zero_()
    assert torch.equal(images, before), "the input was modified, or the output is a view of it"
    # Each image draws anew: one image repeated becomes many.
    many = augment(images[:1].expand(50, -1, -1, -1), draws(), ((name, OPTIONS[name]),))
    assert len(many.flatten(1).unique(dim=0)) > (1 if name == "flip" else 10)


def test_augment_applies_the_steps_in_order():
    images, generator = noise(20), draws()
    steps = (("crop", {"padding": 1}), ("cutout", {"size": 3, "fill": (1.0, 1.0, 1.0)}))
    by_hand = cutout(crop(images, generator, 1), generator, 3, (1.0, 1.0, 1.0))
    assert torch.equal(augment(images, draws(), steps), by_hand)
    assert not torch.equal(augment(images, draws(), steps[::-1]), by_hand)
    with pytest.raises(ValueError, match="'mixup'; known: flip, crop, affine, shift_scale"):
        augment(images, draws(), [("mixup", {})])


@pytest.mark.parametrize("name", ["crop", "affine", "cutout"])
@pytest.mark.parametrize("fill, message", [((125, 123, 114), "not in"), ((0.5, 0.5, -0.1), "not in"),
                                           ((0.5,), "1 values, the images have 3 channels")])
def test_fill_is_a_color_of_the_images(name, fill, message):
    with pytest.raises(ValueError, match=message):
        AUGMENTATIONS[name](noise(2, side=32), draws(), fill=fill)


@pytest.mark.parametrize("step", [lambda images, _: images[:, :, 1:], lambda images, _: images.double(),
                                  lambda images, _: (images * 255).byte()], ids=["height", "double", "bytes"])
def test_a_step_returns_images_of_the_kind_that_went_in(monkeypatch, step):
    monkeypatch.setitem(AUGMENTATIONS, "mine", step)
    with pytest.raises(ValueError, match=r"mine turned .*torch.float32, \(9, 3, 8, 8\) into .*torch.* leave out"):
        augment(noise(9), draws(), (("mine", {}),))


@pytest.mark.parametrize("name, options, channels, message", [
    ("Normalize", {}, 3, "float32"), ("Normalize", {"p": 0.1}, 3, "float32"), ("ToFloat", {}, 1, "float32"),
    ("Resize", {"height": 6, "width": 8}, 1, "(6, 8, 1): leave out"), ("ToTensorV2", {}, 3, "Tensor"),
    ("ToGray", {"num_output_channels": 1, "p": 1.0}, 3, "(8, 8): leave out"),
    ("NoSuchTransform", {}, 3, "can't make"), ("CoarseDropout", {"max_holes": 1}, 3, "can't make"),
])
def test_what_albumentations_may_not_do(name, options, channels, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        augment(noise(99, channels), draws(), (("albumentations", {"transforms": ((name, options),)}),))


# Flip and crop

def test_flip_is_left_to_right():
    images = torch.arange(6.0).view(1, 1, 2, 3)
    assert augment(images, draws(), (("flip", {"p": 1.0}),)).tolist() == [[[[2, 1, 0], [5, 4, 3]]]]


def test_alternating_flip():
    images, index = noise(6, 1, 4), torch.tensor([7, 2, 4, 9, 0, 3])
    even = (index % 2 == 0).view(-1, 1, 1, 1)
    assert torch.equal(alternating_flip(images, index, 1), torch.where(even, images.flip(3), images))
    assert torch.equal(alternating_flip(images, index, 2), torch.where(even, images, images.flip(3)))


@pytest.mark.parametrize("fill", [None, (0.25, 0.75)])
def test_crop_offsets_are_uniform(fill):
    padding, image = 2, noise(1, 2, 6)
    padded = torch.nn.functional.pad(image, (padding,) * 4, mode="reflect")
    if fill:
        padded = torch.tensor(fill).view(1, 2, 1, 1).repeat(1, 1, 10, 10)
        padded[:, :, 2:-2, 2:-2] = image
    windows = torch.stack([padded[0, :, i:i + 6, j:j + 6] for i in range(5) for j in range(5)])
    cropped = crop(image.expand(10_000, -1, -1, -1), draws(), padding, fill)
    distance, place = torch.cdist(cropped.flatten(1), windows.flatten(1)).min(1)
    assert distance.max() < 1e-2 and equally_often(place, 25)  # each is one of the (2 padding + 1)^2 windows


# Motions: a picture of its own coordinates tells where each pixel came from.

LINE = torch.arange(32) * 8 / 255  # whole bytes, for albumentations
POSITIONS = torch.stack([LINE.expand(32, 32), LINE.view(32, 1).expand(32, 32), torch.zeros(32, 32)])
COVERED = (0.0, 0.0, 1.0)  # a fill that the third channel tells from the image


def recover(images: torch.Tensor, within: float = 1e-3) -> tuple[torch.Tensor, torch.Tensor]:
    """Where output pixels came from, read off transformed POSITIONS: x' = A x + t in pixels from the center.

    Bilinear interpolation is exact on a linear image, so the middle, where no border comes in, gives A (N, 2, 2)
    and t (N, 2): exactly, or `within` some pixels where images are rounded to bytes.
    """
    source = images[:, :2, 8:24, 8:24].flatten(2).double() * 255 / 8 - 15.5
    offset = torch.arange(-7.5, 8, dtype=torch.double)
    x, y = (grid.flatten() for grid in torch.meshgrid(offset, offset, indexing="xy"))
    design = torch.stack([x, y, torch.ones_like(x)])
    found = source @ torch.linalg.pinv(design)
    assert (found @ design - source).abs().max() < within  # it is one affine map an image
    return found[:, :, :2], found[:, :, 2]


def motion(a: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Angle and shear in degrees and factor of the image's motion, whose inverse is `a` = R(angle)^T shear / factor."""
    angle, factor = torch.atan2(-a[:, 1, 0], a[:, 0, 0]), 1 / torch.hypot(a[:, 0, 0], a[:, 1, 0])
    tangent = (a[:, 0, 0] * a[:, 0, 1] + a[:, 1, 0] * a[:, 1, 1]) * factor ** 2
    assert torch.allclose(torch.linalg.det(a), 1 / factor ** 2, atol=1e-4)
    return angle * 180 / math.pi, torch.atan(tangent) * 180 / math.pi, factor


def test_affine_ranges():
    a, t = recover(affine(POSITIONS.expand(4000, -1, -1, -1), draws(), shift=0.1, scale=0.1, rotate=10, shear=5))
    angle, shear, factor = motion(a)
    # The shift is that of the window over the input: the output's middle shows the input at t.
    assert uniform(t[:, 0], -3.2, 3.2) and uniform(t[:, 1], -3.2, 3.2)
    assert uniform(angle, -10, 10) and uniform(shear, -5, 5) and uniform(factor, 0.9, 1.1)
    together = torch.corrcoef(torch.stack([*t.T, angle, shear, factor]))
    assert (together - torch.eye(5)).abs().max() < 4.5 / 4000 ** 0.5  # all five are independent


@pytest.mark.parametrize("options", [{"rotate": 30, "scale": 0.2}, {"shear": 20, "scale": 0.2}])
def test_affine_equals_torchvision(options):
    """The same motion by an independent implementation, borders included.

    Rotation and shear apart: torchvision shears first and then rotates, ours the other way round.
    """
    from torchvision.transforms import functional as reference  # after common.data, which makes it importable

    images = noise(30, 3, 32)
    moved = affine(images, draws(3), **options)
    motions = zip(*motion(recover(affine(POSITIONS.expand(30, -1, -1, -1), draws(3), **options))[0]), strict=True)
    for image, output, (angle, shear, factor) in zip(images, moved, motions, strict=True):
        expected = reference.affine(image, angle.item(), [0, 0], factor.item(), [shear.item(), 0],
                                    interpolation=reference.InterpolationMode.BILINEAR)
        assert torch.allclose(output, expected, atol=1e-3)


# The brief's three transforms, by albumentations and by the batch

def drawn(step: tuple, n: int, image=POSITIONS, **options) -> torch.Tensor:
    """`image`, `n` times, through one transform of BRIEF or BRIEF_BATCHED with some options changed."""
    step = (step[0], {**step[1], **options})
    steps = (("albumentations", {"transforms": (step,)}),) if step[0][0].isupper() else (step,)
    return augment(image.expand(n, -1, -1, -1), draws(), steps)


BY_LIBRARY = BRIEF[0][1]["transforms"]


@pytest.mark.parametrize("step", [*BY_LIBRARY, *BRIEF_BATCHED, ("affine", {"rotate": 20, "p": 0.5})],
                         ids=lambda step: step[0])
def test_rates(step):
    assert step[1]["p"] == 0.5
    assert near((drawn(step, 2000, p=0.3) - POSITIONS).abs().amax((1, 2, 3)) > 1e-3, 0.3)


def test_both_move_images_alike():
    motions = []
    for step, fill in ((BY_LIBRARY[1], (0, 0, 255)), (BRIEF_BATCHED[1], COVERED)):
        a, t = recover(drawn(step, 2000, p=1.0, fill=fill), within=0.15)
        angle, scales = torch.atan2(a[:, 0, 1], a[:, 0, 0]) * 180 / math.pi, 1 / a.norm(dim=2)
        shift = -torch.linalg.solve(a, t).T
        assert (shift - shift.round()).abs().max() < 0.1  # whole pixels
        motions.append(torch.stack([*shift.round(), *scales.T, angle]))
        assert torch.corrcoef(scales.T)[0, 1].abs() < 4 / 2000 ** 0.5  # width and height are scaled apart
    theirs, ours = motions
    assert all(stats.ks_2samp(*pair).pvalue > 0.001 for pair in zip(theirs, ours, strict=True))
    assert all(uniform(values, 0.9, 1.1) for values in ours[2:4]) and uniform(ours[4], -10, 10)
    plain = recover(affine(POSITIONS.expand(2000, -1, -1, -1), draws(), shift=0.1, scale=0.1, rotate=10))[1]
    assert stats.ks_2samp(theirs[0], plain[:, 0]).pvalue < 0.001  # so the comparison can fail


def test_both_shift_by_whole_pixels_and_mirror_the_border():
    image = noise(1, 3, 32)[0].mul(255).round() / 255
    mirrored = torch.cat([image[:, :4].flip(1), image, image[:, -4:].flip(1)], 1)
    mirrored = torch.cat([mirrored[..., :4].flip(2), mirrored, mirrored[..., -4:].flip(2)], 2)
    windows = mirrored.unfold(1, 32, 1).unfold(2, 32, 1).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
    shares = torch.tensor([0.48, 1, 1, 1, 2, 1, 1, 1, 0.48]).double() / 8.96  # up to 4.48 pixels, cut towards zero
    for step, options in (
            (GENTLE[0][1]["transforms"][1], {}),
            (BRIEF_BATCHED[1], {"shift": 0.14, "scale": 0.0, "rotate": 0, "fill": None})):
        off, window = torch.cdist(drawn(step, 2000, image, p=1.0, **options).flatten(1), windows, p=torch.inf).min(1)
        assert off.max() < 1e-5
        for shift in (window // 9, window % 9):
            assert stats.chisquare(shift.bincount(minlength=9), 2000 * shares).pvalue > 0.001


@pytest.mark.parametrize("step, fill", [(BY_LIBRARY[2], (0, 0, 255)), (BRIEF_BATCHED[2], COVERED)])
def test_both_cover_a_square_anywhere(step, fill):
    hole = drawn(step, 5000, p=1.0, fill=fill)[:, 2] == 1
    rows, columns = hole.any(2), hole.any(1)
    top, left = (side.int().argmax(1) for side in (rows, columns))
    assert (hole.sum((1, 2)) == 256).all()
    for start in (0, 15):  # 256 pixels in 16 rows and 16 columns: a square, as these follow each other
        assert (rows.sum(1) == 16).all() and rows[torch.arange(5000), top + start].all()
        assert (columns.sum(1) == 16).all() and columns[torch.arange(5000), left + start].all()
    assert equally_often(top * 17 + left, 17 * 17)


@pytest.mark.parametrize("step", [*BY_LIBRARY[1:], *BRIEF_BATCHED[1:],
                                  ("affine", {"shift": 0.3, "fill": MEAN["cifar10"]})], ids=lambda step: step[0])
def test_each_fills_with_the_mean_of_cifar10(step):
    darkest = drawn(step, 200, image=torch.ones(3, 32, 32), p=1.0).amin((0, 2, 3))
    assert (darkest - torch.tensor(MEAN["cifar10"])).abs().max() < 0.5 / 255 + 1e-5
