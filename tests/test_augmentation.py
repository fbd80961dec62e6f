"""Each operation against the distribution that its docstring states, on thousands of images."""

import inspect
import math

import pytest
import torch
from scipy.stats import ks_2samp  # albumentations brings it
from torch import Generator

from common.augmentation import (
    AUGMENTATIONS,
    BRIEF,
    BRIEF_BATCHED,
    affine,
    alternating_flip,
    augment,
    crop,
    cutout,
    flip,
)
from common.data import MEAN

torch.set_num_threads(1)


def draws(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def noise(n: int, channels: int = 3, side: int = 8) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=draws(99))


def near(found: torch.Tensor, p: float) -> bool:
    """Whether a rate of `p` explains a sample of booleans, within four standard errors."""
    return abs(found.double().mean().item() - p) < 4 * (p * (1 - p) / found.numel()) ** 0.5 + 1e-12


def uniform(values: torch.Tensor, low: float, high: float) -> bool:
    """Whether `values` are a uniform sample of [low, high]: none outside, and Kolmogorov's statistic (p > 0.001)."""
    step = 1e-4 * (high - low)  # the error with which the values were recovered
    ranks = (values.double().sort().values - low) / (high - low)
    ideal = (torch.arange(len(values), dtype=torch.double) + 0.5) / len(values)
    inside = values.min() >= low - step and values.max() <= high + step
    return bool(inside and (ranks - ideal).abs().max() < 1.95 / len(values) ** 0.5)


# What holds for all of them

EVERY = {"flip": {}, "crop": {"padding": 2}, "affine": {"shift": 0.1, "scale": 0.1, "rotate": 10, "shear": 5},
         "shift_scale_rotate": {"rotate": 30, "p": 1.0}, "cutout": {"size": 3, "fill": (0.1, 0.2, 0.3)},
         "albumentations": {"transforms": (("ShiftScaleRotate", {"rotate_limit": 30, "p": 1.0}),)}}


def test_every_operation_is_here():
    assert EVERY.keys() == AUGMENTATIONS.keys()
    for name, function in AUGMENTATIONS.items():
        assert list(inspect.signature(function).parameters)[:2] == ["images", "generator"] and function.__name__ == name


@pytest.mark.parametrize("name", EVERY)
def test_seeded_pure_and_same_shape(name):
    images = noise(50)
    before = images.clone()
    state = torch.get_rng_state()
    first, again, other = (AUGMENTATIONS[name](images, draws(seed), **EVERY[name]) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(images, before), "the input was modified"
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
    assert first.shape == images.shape and first.dtype == images.dtype and not first.requires_grad
    assert first.min() >= -1e-6 and first.max() <= 1 + 1e-6
    assert (first != images).flatten(1).any(1).float().mean() > 0.3, "few images were changed"
    # Each image draws anew: one image repeated becomes many.
    many = AUGMENTATIONS[name](images[:1].expand(50, -1, -1, -1), draws(), **EVERY[name])
    assert len(many.flatten(1).unique(dim=0)) > (1 if name == "flip" else 10)
    # An output is the images' next draw, not a view of the input.
    first.zero_()
    assert torch.equal(images, before)


@pytest.mark.parametrize("name, options", [("flip", {"p": 0}), ("crop", {"padding": 0}),
                                           ("crop", {"padding": 0, "fill": (0.5, 0.5, 0.5)}), ("affine", {}),
                                           ("affine", {"rotate": 90, "p": 0}), ("cutout", {"size": 0}),
                                           ("cutout", {"size": 3, "p": 0})])
def test_identity(name, options):
    options = {"fill": (0.5, 0.5, 0.5), **options} if name == "cutout" else options
    images = noise(50)
    assert torch.allclose(AUGMENTATIONS[name](images, draws(), **options), images, atol=2e-6)


def test_augment_applies_the_steps_in_order():
    images = noise(20)
    steps = (("crop", {"padding": 1}), ("cutout", {"size": 3, "fill": (1.0, 1.0, 1.0)}))
    generator = draws()
    by_hand = cutout(crop(images, generator, 1), generator, 3, (1.0, 1.0, 1.0))
    assert torch.equal(augment(images, draws(), steps), by_hand)
    assert not torch.equal(augment(images, draws(), steps[::-1]), by_hand)
    assert torch.equal(augment(images, draws(), ()), images)


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown augmentation 'mixup'; known: flip, crop, affine, shift_scale"):
        augment(noise(2), draws(), [("mixup", {})])
    with pytest.raises(TypeError, match="degrees"):
        augment(noise(2), draws(), [("affine", {"degrees": 3})])


@pytest.mark.parametrize("name", ["crop", "affine", "cutout"])
@pytest.mark.parametrize("fill, message", [((125, 123, 114), "not in"), ((0.5, 0.5, -0.1), "not in"),
                                           ((0.5,), "1 values, the images have 3 channels")])
def test_fill_is_a_color_of_the_images(name, fill, message):
    with pytest.raises(ValueError, match=message):
        AUGMENTATIONS[name](noise(2, side=32), draws(), fill=fill)


# Flip

@pytest.mark.parametrize("p", [0.5, 0.2, 1.0])
def test_flip_rate(p):
    images = noise(10_000, 1, 4)
    mirrored = flip(images, draws(), p)
    flipped = (mirrored == images.flip(3)).flatten(1).all(1)
    assert ((mirrored == images).flatten(1).all(1) ^ flipped).all()  # an image is as it was, or mirrored, whole
    assert near(flipped, p)


def test_flip_is_left_to_right():
    images = torch.arange(6.0).view(1, 1, 2, 3) / 6
    assert flip(images, draws(), 1.0)[0, 0].mul(6).round().tolist() == [[2, 1, 0], [5, 4, 3]]


def test_alternating_flip():
    images, index = noise(6, 1, 4), torch.tensor([7, 2, 4, 9, 0, 3])
    even = (index % 2 == 0).view(-1, 1, 1, 1)
    mirrored = images.flip(3)
    assert torch.equal(alternating_flip(images, index, 1), torch.where(even, mirrored, images))
    assert torch.equal(alternating_flip(images, index, 2), torch.where(even, images, mirrored))


# Crop

@pytest.mark.parametrize("fill", [None, (0.25,)])
def test_crop_offsets_are_uniform(fill):
    padding, n = 2, 25_000
    image = torch.arange(36.0).view(1, 1, 6, 6) / 36
    cropped = crop(image.expand(n, -1, -1, -1), draws(), padding, fill)
    padded = torch.nn.functional.pad(image, (padding,) * 4, mode="reflect") if fill is None else (
        torch.nn.functional.pad(image, (padding,) * 4, value=fill[0]))
    side = 2 * padding + 1
    windows = torch.stack([padded[0, 0, i:i + 6, j:j + 6] for i in range(side) for j in range(side)])
    match = torch.isclose(cropped.flatten(1)[:, None], windows.flatten(1)[None], atol=1e-6).all(2)
    assert (match.sum(1) == 1).all()  # each is one of the (2p + 1)^2 windows
    counts = match.sum(0).double()
    expected = n / side ** 2
    assert ((counts - expected) ** 2 / expected).sum() < 52.6  # chi-squared, 24 degrees of freedom, p > 0.0007


def test_crop_keeps_channels_together():
    image = torch.arange(36.0).view(1, 1, 6, 6) / 72
    cropped = crop(torch.cat([image, image + 0.5], 1).expand(200, -1, -1, -1), draws(), 1)
    assert torch.allclose(cropped[:, 1] - cropped[:, 0], torch.tensor(0.5))


# Affine: a picture of its own coordinates tells where each pixel came from.

SIDE = 21


def coordinates(n: int, side: int = SIDE) -> torch.Tensor:
    """n images whose two channels hold x and y of each pixel, scaled to [0, 1]."""
    line = torch.linspace(0, 1, side)
    return torch.stack(torch.meshgrid(line, line, indexing="xy")).expand(n, -1, -1, -1)


def recover(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where output pixels came from, read off transformed `coordinates`: x' = A x + t in pixels from the center.

    Bilinear interpolation is exact on a linear image, so the middle, where no border comes in, gives A (N, 2, 2)
    and t (N, 2) exactly.
    """
    half = (SIDE - 1) / 2
    middle = slice(int(half) - 2, int(half) + 3)
    source = images[:, :, middle, middle].flatten(2).double() * (SIDE - 1) - half
    offset = torch.arange(-2.0, 3.0, dtype=torch.double)
    x, y = (grid.flatten() for grid in torch.meshgrid(offset, offset, indexing="xy"))
    design = torch.stack([x, y, torch.ones_like(x)], 1)
    solution = torch.linalg.lstsq(design.expand(len(images), -1, -1), source.transpose(1, 2)).solution
    fitted = (design @ solution).transpose(1, 2)
    assert (fitted - source).abs().max() < 1e-4  # it is one affine map an image
    return solution[:, :2].transpose(1, 2), solution[:, 2]


def motion(a: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Angle and shear in degrees and factor of the image's motion, whose inverse is `a` = R(angle)^T shear / factor."""
    angle = torch.atan2(-a[:, 1, 0], a[:, 0, 0])
    factor = 1 / torch.hypot(a[:, 0, 0], a[:, 1, 0])
    tangent = (a[:, 0, 0] * a[:, 0, 1] + a[:, 1, 0] * a[:, 1, 1]) * factor ** 2
    assert torch.allclose(torch.linalg.det(a), 1 / factor ** 2, atol=1e-4)
    return angle * 180 / math.pi, torch.atan(tangent) * 180 / math.pi, factor


def test_affine_ranges_one_by_one():
    images, n = coordinates(4000), 4000
    angle, shear, factor = motion(recover(affine(images, draws(), rotate=15))[0])
    assert uniform(angle, -15, 15) and shear.abs().max() < 0.01 and (factor - 1).abs().max() < 1e-4
    angle, shear, factor = motion(recover(affine(images, draws(), shear=8))[0])
    assert uniform(shear, -8, 8) and angle.abs().max() < 0.01 and (factor - 1).abs().max() < 1e-4
    angle, shear, factor = motion(recover(affine(images, draws(), scale=0.2))[0])
    assert uniform(factor, 0.8, 1.2) and angle.abs().max() < 0.01 and shear.abs().max() < 0.01
    a, t = recover(affine(images, draws(), shift=0.2))
    assert torch.allclose(a, torch.eye(2, dtype=torch.double).expand(n, 2, 2), atol=1e-4)
    assert uniform(t[:, 0], -0.2 * SIDE, 0.2 * SIDE) and uniform(t[:, 1], -0.2 * SIDE, 0.2 * SIDE)
    assert torch.corrcoef(t.T)[0, 1].abs() < 4 / n ** 0.5  # the two axes are drawn apart


def test_affine_ranges_together():
    a, t = recover(affine(coordinates(4000), draws(), shift=0.1, scale=0.1, rotate=10, shear=5))
    angle, shear, factor = motion(a)
    # The shift is that of the window over the input: the output's middle shows the input at t.
    assert uniform(t[:, 0], -0.1 * SIDE, 0.1 * SIDE) and uniform(t[:, 1], -0.1 * SIDE, 0.1 * SIDE)
    assert uniform(angle, -10, 10) and uniform(shear, -5, 5) and uniform(factor, 0.9, 1.1)
    together = torch.corrcoef(torch.stack([*t.T, angle, shear, factor]))
    assert (together - torch.eye(5)).abs().max() < 4.5 / 4000 ** 0.5  # all five are independent


@pytest.mark.parametrize("options", [{"rotate": 30, "scale": 0.2}, {"shear": 20, "scale": 0.2}])
def test_affine_equals_torchvision(options):
    """The same motion by an independent implementation, borders included.

    Rotation and shear apart: torchvision shears first and then rotates, ours the other way round.
    """
    from torchvision.transforms import functional as reference  # after common.data, which makes it importable

    images = noise(30, 3, SIDE)
    moved = affine(images, draws(3), **options)
    motions = zip(*motion(recover(affine(coordinates(30), draws(3), **options))[0]), strict=True)
    for image, output, (angle, shear, factor) in zip(images, moved, motions, strict=True):
        expected = reference.affine(image, angle.item(), [0, 0], factor.item(), [shear.item(), 0],
                                    interpolation=reference.InterpolationMode.BILINEAR)
        assert torch.allclose(output, expected, atol=1e-3)


def test_affine_rate():
    images = coordinates(10_000, 5)
    moved = (affine(images, draws(), rotate=20, p=0.3) - images).abs().flatten(1).amax(1) > 1e-4
    assert near(moved, 0.3)


def test_affine_border():
    images = torch.ones(500, 3, 11, 11)
    fill = MEAN["cifar10"]
    moved = affine(images, draws(), shift=0.4, fill=fill)
    for channel, color in enumerate(fill):
        assert abs(moved[:, channel].min().item() - color) < 1e-6 and moved[:, channel].max() <= 1 + 1e-6
    assert affine(images, draws(), shift=0.4).min() == 0  # black where no fill is named
    # A picture of that one color stays as it is.
    flat = torch.tensor(fill).view(1, 3, 1, 1).expand(50, 3, 11, 11)
    assert torch.allclose(affine(flat, draws(), shift=0.4, rotate=45, fill=fill), flat)


# Cutout

def test_cutout_is_inside_and_everywhere():
    n, side, size = 20_000, 8, 3
    images = 0.5 + noise(n, 3, side) / 2
    cut = (cutout(images, draws(), size, (0.1, 0.2, 0.3)) != images).any(1)
    assert torch.equal((cutout(images, draws(), size, (0.1, 0.2, 0.3)) != images).all(1), cut)  # in every channel
    assert (cut.sum((1, 2)) == size * size).all()
    rows, columns = cut.any(2), cut.any(1)
    assert (rows.sum(1) == size).all() and (columns.sum(1) == size).all()
    top, left = rows.int().argmax(1), columns.int().argmax(1)
    for start in (0, 1, 2):  # 9 pixels in 3 rows and 3 columns: a square, when these follow each other
        assert rows[torch.arange(n), top + start].all() and columns[torch.arange(n), left + start].all()
    counts = torch.bincount(top * (side - size + 1) + left, minlength=36).double()
    assert len(counts) == 36 and ((counts - n / 36) ** 2 / (n / 36)).sum() < 68  # chi-squared, 35 dof, p > 0.0007


def test_cutout_fills_with_the_mean_of_the_data():
    images = torch.ones(10, 3, 32, 32)
    cut = cutout(images, draws(), 16, MEAN["cifar10"])
    assert torch.equal(cut.amin((2, 3)), torch.tensor(MEAN["cifar10"]).expand(10, 3))
    assert torch.allclose(cut.mean((2, 3)), (3 + torch.tensor(MEAN["cifar10"])) / 4)  # a quarter of each image
    assert all(0.4 < color < 0.5 for color in MEAN["cifar10"])


def test_cutout_rate_and_size():
    images = torch.ones(10_000, 1, 4, 4)
    assert near((cutout(images, draws(), 2, (0.0,), p=0.5) == 0).flatten(1).any(1), 0.5)
    assert cutout(images, draws(), 4, (0.0,)).max() == 0  # as large as the image: there is one place
    with pytest.raises((ValueError, RuntimeError)):
        cutout(images, draws(), 5, (0.0,))


MEAN_255 = (125, 123, 114)
PIPELINE = (
    ("HorizontalFlip", {"p": 0.5}),
    ("CoarseDropout", {"num_holes_range": (1, 1), "hole_height_range": (16, 16), "hole_width_range": (16, 16),
                       "fill": MEAN_255, "p": 1.0}),
)


def test_albumentations_flips_and_cuts_as_stated():
    ramp = torch.arange(32.0).mul(8).div(255).expand(400, 3, 32, 32)  # brighter to the right
    steps = (("albumentations", {"transforms": PIPELINE}),)
    out = augment(ramp, draws(0), steps)
    holes = ((out * 255).round() == torch.tensor(MEAN_255).view(1, 3, 1, 1)).all(1)
    assert (holes.sum((1, 2)) == 16 * 16).all()
    whole = [image[0, ~hole.any(1)][0] for image, hole in zip(out, holes, strict=True)]  # a row outside the hole
    assert near(torch.stack(whole).diff().mean(1) < 0, 0.5)
    assert torch.equal(out, augment(ramp, draws(0), steps))
    assert not torch.equal(out, augment(ramp, draws(1), steps))


@pytest.mark.parametrize("transforms", [(("NoSuchTransform", {}),), (("CoarseDropout", {"max_holes": 1}),)])
def test_albumentations_refuses_what_it_would_ignore(transforms):
    with pytest.raises(ValueError, match="can't make"):
        augment(torch.zeros(1, 3, 32, 32), draws(0), (("albumentations", {"transforms": transforms}),))


# --- the brief's three transforms, by albumentations and by the batch ---------------------------------------------

RAMP = torch.arange(32) * 8 / 255  # a pixel's value says where it came from
POSITIONS = torch.stack([RAMP.expand(32, 32), RAMP.view(32, 1).expand(32, 32), torch.zeros(32, 32)])
COVERED = (0.0, 0.0, 1.0)  # a fill that the third channel tells from the image


def drawn(steps, name: str, n: int, image=POSITIONS, **options) -> torch.Tensor:
    """`image`, `n` times, through the one transform `name` of `steps` with some options changed."""
    steps = steps[0][1]["transforms"] if steps is BRIEF else steps
    step = (name, {**dict(steps)[name], **options})
    steps = (("albumentations", {"transforms": (step,)}),) if name[0].isupper() else (step,)
    return augment(image.expand(n, -1, -1, -1), torch.Generator().manual_seed(0), steps)


def motions(images: torch.Tensor) -> dict[str, torch.Tensor]:
    """The shift (pixels), scale and angle (degrees) of each image, from where its pixels came from."""
    centred = torch.arange(32) - 15.5
    at = torch.stack([centred.expand(32, 32), centred.view(32, 1).expand(32, 32), torch.ones(32, 32)], 2)
    found = []
    for image in images:
        inside = image[2] == 0
        inside[[0, -1]] = inside[:, [0, -1]] = False
        found.append(torch.linalg.lstsq(at[inside], image[:2, inside].T * 255 / 8 - 15.5).solution.T)
    source = torch.stack(found)  # (N, 2, 3): output position -> input position
    motion = torch.linalg.inv(source[:, :, :2])
    shift = -(motion @ source[:, :, 2:]).squeeze(2)
    return {"shift x": shift[:, 0].round(), "shift y": shift[:, 1].round(),
            "scale x": motion[:, :, 0].norm(dim=1), "scale y": motion[:, :, 1].norm(dim=1),
            "angle": torch.rad2deg(torch.atan2(motion[:, 1, 0], motion[:, 0, 0]))}


def same_distribution(one, other) -> bool:
    return ks_2samp(one, other).pvalue > 0.001


def test_both_flip_half_of_the_images():
    for steps, name in ((BRIEF, "HorizontalFlip"), (BRIEF_BATCHED, "flip")):
        mirrored = drawn(steps, name, 4000)[:, 0, 0, 0] > 0.5
        assert 0.46 < mirrored.float().mean() < 0.54  # five standard deviations


def test_both_move_images_alike():
    theirs = motions(drawn(BRIEF, "ShiftScaleRotate", 2000, p=1.0, fill=(0, 0, 255)))
    ours = motions(drawn(BRIEF_BATCHED, "shift_scale_rotate", 2000, p=1.0, fill=COVERED))
    for name, low, high, margin in (("shift x", -3, 3, 0), ("shift y", -3, 3, 0), ("scale x", 0.9, 1.1, 0.002),
                                    ("scale y", 0.9, 1.1, 0.002), ("angle", -10, 10, 0.1)):
        for found in (theirs[name], ours[name]):
            assert low - margin <= found.min() <= low + 2 * margin and high - 2 * margin <= found.max() <= high + margin
        assert same_distribution(theirs[name], ours[name]), name
    for found in (theirs, ours):  # width and height are scaled apart
        assert abs(torch.corrcoef(torch.stack([found["scale x"], found["scale y"]]))[0, 1]) < 4 / 2000**0.5
    plain = motions(affine(POSITIONS.expand(2000, -1, -1, -1), torch.Generator().manual_seed(0), shift=0.1, scale=0.1,
                           rotate=10, fill=COVERED))
    assert not same_distribution(theirs["shift x"], plain["shift x"])  # so the comparison can fail


def test_both_move_half_of_the_images():
    for steps, name in ((BRIEF, "ShiftScaleRotate"), (BRIEF_BATCHED, "shift_scale_rotate")):
        moved = (drawn(steps, name, 4000) - POSITIONS).abs().amax((1, 2, 3)) > 1e-3
        assert 0.46 < moved.float().mean() < 0.54


def test_both_cover_alike():
    corners = {}
    for steps, name, fill in ((BRIEF, "CoarseDropout", (0, 0, 255)), (BRIEF_BATCHED, "cutout", COVERED)):
        hole = drawn(steps, name, 3000, p=1.0, fill=fill)[:, 2] == 1
        rows, columns = hole.any(2), hole.any(1)
        assert (hole.sum((1, 2)) == 256).all() and (rows.sum(1) == 16).all() and (columns.sum(1) == 16).all()
        corners[name] = [side.float().argmax(1) for side in (rows, columns)]
        assert all(side.unique().tolist() == list(range(17)) for side in corners[name])
        assert 0.46 < (drawn(steps, name, 4000, fill=fill)[:, 2] == 1).any(2).any(1).float().mean() < 0.54
    for theirs, ours in zip(*corners.values(), strict=True):
        assert same_distribution(theirs, ours)


@pytest.mark.parametrize("steps, name", [(BRIEF, "ShiftScaleRotate"), (BRIEF, "CoarseDropout"),
                                         (BRIEF_BATCHED, "shift_scale_rotate"), (BRIEF_BATCHED, "cutout")])
def test_each_fills_with_the_mean_of_cifar10(steps, name):
    darkest = drawn(steps, name, 200, image=torch.ones(3, 32, 32), p=1.0).amin((0, 2, 3))
    assert (darkest - torch.tensor(MEAN["cifar10"])).abs().max() < 0.5 / 255 + 1e-5
