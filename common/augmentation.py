"""Augmentation of a whole batch at once, as tensor arithmetic on the device that holds the images.

Every step in `AUGMENTATIONS` takes images in [0, 1] of shape (N, C, H, W) and a generator on their device, draws anew
for each image, and returns a tensor of the same shape. A recipe names them as data: (("affine", {"rotate": 7}),
("flip", {})).
"""

import math
import os
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from common.data import MEAN


def flip(images: Tensor, generator: Generator, p: float = 0.5) -> Tensor:
    """Mirror each image left to right with probability `p`."""
    mirrored = _uniform(images, generator, 0, 1) < p
    return torch.where(mirrored, images.flip(3), images)


def alternating_flip(images: Tensor, index: Tensor, epoch: int) -> Tensor:
    """Mirror each image left to right in every other epoch: in odd ones those at an even place of the data set.

    `index` (N,) are their places. Two epochs then show both sides of every image, where chance shows half of the images
    the same side twice. After Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024.
    """
    return torch.where(((index + epoch) % 2 == 1).view(-1, 1, 1, 1), images.flip(3), images)


def crop(images: Tensor, generator: Generator, padding: int = 4, fill: tuple[float, ...] | None = None) -> Tensor:
    """Shift each image by up to `padding` whole pixels along both axes.

    What comes in at the border is `fill` (one value a channel, in [0, 1]), or the mirrored image where it is None.
    """
    n, _, height, width = images.shape
    if fill is None:
        padded = F.pad(images, (padding,) * 4, mode="reflect")
    else:
        color = _color(images, fill)
        padded = F.pad(images - color, (padding,) * 4) + color
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, 2 padding + 1, 2 padding + 1, H, W), a view
    top, left = torch.randint(2 * padding + 1, (2, n), generator=generator, device=images.device)
    return windows[torch.arange(n, device=images.device), :, top, left]


def affine(images: Tensor, generator: Generator, shift: float = 0.0, scale: float = 0.0, rotate: float = 0.0,
           shear: float = 0.0, p: float = 1.0, fill: tuple[float, ...] | None = None) -> Tensor:
    """Shift, scale, rotate and shear each image in one bilinear resampling, with probability `p`.

    Drawn uniformly: a factor in 1 +- `scale`, an angle in +-`rotate` degrees, a shear in +-`shear` degrees, and a shift
    along each axis of up to +-`shift` of the image's side (times the factor). What comes in at the border is
    `fill`, or black where it is None.
    """
    height, width = images.shape[2:]
    angle = _uniform(images, generator, -rotate, rotate).flatten() * math.pi / 180
    slant = _uniform(images, generator, -shear, shear).flatten() * math.pi / 180
    factor = _uniform(images, generator, 1 - scale, 1 + scale).flatten()
    # The matrix maps an output position to the input position that it shows: the inverse of the image's motion.
    cos, sin = torch.cos(angle) / factor, torch.sin(angle) / factor
    x, y = _uniform(images, generator, -2 * shift, 2 * shift, columns=2).T  # the side is 2 units long
    matrix = torch.stack([cos, (sin + cos * torch.tan(slant)) * height / width, x,
                          -sin * width / height, cos - sin * torch.tan(slant), y], 1)
    return _resample(images, generator, matrix.view(-1, 2, 3), p, fill)


def shift_scale_rotate(images: Tensor, generator: Generator, shift: float = 0.0625, scale: float = 0.1,
                       rotate: float = 45.0, p: float = 0.5, fill: tuple[float, ...] | None = None) -> Tensor:
    """Do as albumentations' ShiftScaleRotate does, with probability `p`.

    It is `affine` but for two habits of that class (2.0.8), which its documentation doesn't tell: the width and the
    height are scaled by factors of their own in 1 +- `scale`, and a shift of up to +-`shift` of the side is cut down to
    whole pixels, towards zero. What comes in at the border is `fill`, or the mirrored image where it is None.
    """
    height, width = images.shape[2:]
    angle = _uniform(images, generator, -rotate, rotate).flatten() * math.pi / 180
    factor_x, factor_y = _uniform(images, generator, 1 - scale, 1 + scale, columns=2).T
    sides = torch.tensor([width, height], device=images.device)
    moved = (_uniform(images, generator, -shift, shift, columns=2) * sides).trunc() * 2 / sides  # a side is 2 units
    cos, sin = torch.cos(angle), torch.sin(angle)
    turned = torch.stack([cos / factor_x, sin / factor_x * height / width,
                          -sin / factor_y * width / height, cos / factor_y], 1).view(-1, 2, 2)
    matrix = torch.cat([turned, -(turned @ moved[:, :, None])], 2)
    return _resample(images, generator, matrix, p, fill, "reflection" if fill is None else "zeros")


def cutout(images: Tensor, generator: Generator, size: int = 16, fill: tuple[float, ...] = (0.0,),
           p: float = 1.0) -> Tensor:
    """Put a square of `size` x `size` pixels somewhere inside each image, with probability `p`.

    `fill` is its color, a value in [0, 1] for each channel; ValueError where it has another number of values.
    """
    n, _, height, width = images.shape
    top = torch.randint(height - size + 1, (n, 1), generator=generator, device=images.device)
    left = torch.randint(width - size + 1, (n, 1), generator=generator, device=images.device)
    row, column = (torch.arange(side, device=images.device) for side in (height, width))
    rows, columns = (row >= top) & (row < top + size), (column >= left) & (column < left + size)
    covered = rows[:, None, :, None] & columns[:, None, None, :] & (_uniform(images, generator, 0, 1) < p)
    return torch.where(covered, _color(images, fill), images)


def albumentations(images: Tensor, generator: Generator, transforms: tuple) -> Tensor:
    """Pass each image through an albumentations pipeline, one after the other on the CPU.

    `transforms` is a sequence of (class name, keyword arguments), e.g. (("HorizontalFlip", {"p": 0.5}),). The images
    are given to it as bytes, so a fill is in 0..255. Notebook S9.2 says what it costs.

    Raises ValueError for a transform that albumentations doesn't have, for an argument that it would ignore, and for a
    pipeline that returns anything but bytes of the same height, width and channels.
    """
    return from_pictures(vary(*to_pictures(images, generator), transforms), images.device)


def to_pictures(images: Tensor, generator: Generator) -> tuple[np.ndarray, int]:
    """Return `images` as albumentations takes them, bytes (N, H, W, C) on the CPU, and a seed for what it draws."""
    seed = torch.randint(2**31, (), generator=generator, device=generator.device).item()
    return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy(), seed


def from_pictures(pictures: np.ndarray, device: torch.device) -> Tensor:
    """Return bytes (N, H, W, C) as images in [0, 1] on `device`."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).to(device) / 255


def vary(pictures: np.ndarray, seed: int, transforms: tuple) -> np.ndarray:
    """Pass `pictures` through the pipeline of `transforms`: `albumentations` without torch, for any process."""
    import cv2  # as albumentations, only where it is used

    pipeline = make_pipeline(transforms, seed)
    cv2.setNumThreads(1)  # on images this small a second thread only waits, which takes the core from others
    varied = [pipeline(image=picture)["image"] for picture in pictures]
    for picture, image in zip(pictures, varied, strict=True):
        _require_same_kind(picture, image, transforms)
    return np.stack(varied)


def make_pipeline(transforms: tuple, seed: int | None = None):
    """Return the albumentations pipeline of `transforms`; see `albumentations`, also for what it raises."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for its newest version
    import albumentations as A  # takes seconds: only where it is used

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=r"Argument\(s\) .* not valid")
        warnings.filterwarnings("ignore", message="ShiftScaleRotate is a special case")  # the course's brief names it
        try:
            steps = [getattr(A, name)(**options) for name, options in transforms]
        except (AttributeError, TypeError, ValueError, UserWarning) as error:
            raise ValueError(f"albumentations {A.__version__} can't make {transforms}: {error}") from None
    return A.Compose(steps, seed=seed)


def _resample(images: Tensor, generator: Generator, matrix: Tensor, p: float, fill: tuple[float, ...] | None,
              border: str = "zeros") -> Tensor:
    """Show at each output position the input at `matrix` (N, 2, 3) times it, bilinearly, with probability `p`."""
    if p < 1:
        identity = torch.eye(2, 3, device=images.device).expand(len(images), 2, 3)
        matrix = torch.where(_uniform(images, generator, 0, 1).view(-1, 1, 1) < p, matrix, identity)
    color = 0.0 if fill is None else _color(images, fill)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images - color, grid, padding_mode=border, align_corners=False) + color


def _uniform(images: Tensor, generator: Generator, low: float, high: float, columns: int = 1) -> Tensor:
    """One draw in [low, high) an image and column, shaped to broadcast: (N, 1, 1, 1), or (N, columns)."""
    shape = (len(images), 1, 1, 1) if columns == 1 else (len(images), columns)
    return low + (high - low) * torch.rand(shape, generator=generator, device=images.device)


def _color(images: Tensor, fill: tuple[float, ...]) -> Tensor:
    if len(fill) != images.shape[1]:
        raise ValueError(f"fill has {len(fill)} values, the images have {images.shape[1]} channels")
    if max(fill) > 1 or min(fill) < 0:
        raise ValueError(f"fill {fill} is not in [0, 1]: the images are scaled to [0, 1]")
    return torch.tensor(fill, device=images.device).view(1, -1, 1, 1)


def _require_same_kind(given, made, step) -> None:
    """Raise ValueError where `step` made images of another type or shape than those it was given."""
    kinds = [(type(images), images.dtype, images.shape) for images in (given, made)]
    if kinds[0] != kinds[1]:
        given, made = (f"{kind.__name__} of {dtype}, {tuple(shape)}" for kind, dtype, shape in kinds)
        raise ValueError(f"{step} turned {given} into {made}: leave out what changes the images' type or shape")


AUGMENTATIONS = {step.__name__: step for step in (flip, crop, affine, shift_scale_rotate, cutout, albumentations)}

# The transforms that the brief of session 9 names, and the same three a batch at a time. The fill is CIFAR-10's mean.
FILL = tuple(round(255 * value) for value in MEAN["cifar10"])
BRIEF = (("albumentations", {"transforms": (
    ("HorizontalFlip", {"p": 0.5}),
    ("ShiftScaleRotate", {"shift_limit": 0.1, "scale_limit": 0.1, "rotate_limit": 10, "border_mode": 0, "fill": FILL,
                          "p": 0.5}),
    ("CoarseDropout", {"num_holes_range": (1, 1), "hole_height_range": (16, 16), "hole_width_range": (16, 16),
                       "fill": FILL, "p": 0.5}),
)}),)
BRIEF_BATCHED = (
    ("flip", {"p": 0.5}),
    ("shift_scale_rotate", {"shift": 0.1, "scale": 0.1, "rotate": 10, "fill": MEAN["cifar10"], "p": 0.5}),
    ("cutout", {"size": 16, "fill": MEAN["cifar10"], "p": 0.5}),
)
# The same three, gentler: a shift by up to four whole pixels with the image mirrored at the border, and a smaller hole.
GENTLE = (("albumentations", {"transforms": (
    ("HorizontalFlip", {"p": 0.5}),
    ("ShiftScaleRotate", {"shift_limit": 0.14, "scale_limit": 0.0, "rotate_limit": 0, "border_mode": 2, "p": 1.0}),
    ("CoarseDropout", {"num_holes_range": (1, 1), "hole_height_range": (8, 8), "hole_width_range": (8, 8),
                       "fill": FILL, "p": 0.5}),
)}),)


def augment(images: Tensor, generator: Generator, steps) -> Tensor:
    """Apply `steps`, a sequence of (name, keyword arguments), in order.

    Raises ValueError for an unknown name and for a step that changes the images' type or shape.
    """
    for step in steps:
        if len(step) != 2 or not isinstance(step[1], dict):
            raise ValueError(f'{step!r} is no augmentation: write (("flip", {{"p": 0.5}}),), a name with its options')
        name, options = step
        if name not in AUGMENTATIONS:
            raise ValueError(f"unknown augmentation {name!r}; known: {', '.join(AUGMENTATIONS)}")
        given, images = images, AUGMENTATIONS[name](images, generator, **options)
        _require_same_kind(given, images, name)
    return images
