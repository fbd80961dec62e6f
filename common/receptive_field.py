"""The receptive field of any network: computed step by step, and measured by its gradient.

The formulas are those of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks",
Distill 2019, https://distill.pub/2019/computing-receptive-fields. For one layer, along one side of the image:

    effective kernel  k' = dilation * (kernel - 1) + 1
    receptive field   r_out = r_in + (k' - 1) * j_in
    jump              j_out = j_in * stride          (input pixels between two neighbouring output pixels)

`receptive_field` computes the table, `measure_field` checks it on the network itself: neither knows the other's answer
(the table only suggests which map to measure, and on how large an image).
"""

import itertools
import re
from contextlib import suppress
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from common.anatomy import make_trial, tensors

Pair = int | tuple[int, int]  # one number for square things, else (height, width)


class Row(NamedTuple):
    """One line of the table. Sizes and fields are in pixels; a number stands for both sides unless they differ."""

    layer: str  # "block1.conv (Conv2d)"; "block1.max_pool2d" for a function that block1 calls
    rf_in: Pair
    size_in: Pair
    jump_in: Pair
    stride: Pair
    padding: Pair
    kernel: Pair
    dilation: Pair
    effective_kernel: Pair
    rf_out: Pair
    size_out: Pair
    jump_out: Pair


class Span(NamedTuple):
    """The input pixels start..end (along one side) that the first pixel of a map sees, and the map's jump."""

    start: int
    end: int
    jump: int

    def size(self) -> int:
        return self.end - self.start + 1

    def shift(self, pixels: int) -> "Span":
        """The span after padding by `pixels`, which moves the first pixel of the map up or left."""
        return Span(self.start - pixels * self.jump, self.end - pixels * self.jump, self.jump)


# --- the table ---------------------------------------------------------------------------------------------------


def largest_field(model: nn.Module, input_size: tuple[int, int, int]) -> tuple[int | None, str]:
    """Return the largest receptive field in a network, in pixels, and ""; or None and the reason, in one sentence.

    There is nothing to say of a network without convolution and pooling: None and "".
    """
    try:
        fields = [max(_pair(row.rf_out)) for row in receptive_field(model, input_size)]
    except Exception as error:  # a network may do anything, and be trained all the same
        return None, str(error).partition("\n")[0] or type(error).__name__
    return max(fields, default=None), ""


def field_before_average(model: nn.Module, input_size: tuple[int, int, int]) -> int:
    """Return the largest receptive field in front of a pool over the whole map, with which every network sees all.

    Raises ValueError where `receptive_field` does.
    """
    rows = itertools.takewhile(lambda row: not ("pool" in row.layer.lower() and row.kernel == row.size_in),
                               receptive_field(model, input_size))
    return max((max(_pair(row.rf_out)) for row in rows), default=1)


def receptive_field(model: nn.Module, input_size: tuple[int, int, int]) -> list[Row]:
    """The receptive-field table of a network: one row per convolution or pooling, layer or function, in order of call.

    Every tensor carries the span of input pixels that it depends on, so branches may run in any order: where two
    meet (add, concatenate, multiply) the result sees all that either sees, and the larger one counts. The last row
    may thus be a small skip connection; the network's receptive field is that of `largest_field`.
    Global average pooling is a row whose kernel is the whole map. Written as `x.mean((2, 3))` it gets none, nor does
    a linear layer on a flattened map.

    Args:
        model: any network; it is copied and left as it is.
        input_size: (channels, height, width) of one image.
    Returns:
        a list of `Row`; empty for a network without convolution and pooling.
    Raises:
        ValueError: a step that can't be followed, e.g. a transposed convolution, attention, a map made by numpy.
    """
    copied, images = make_trial(model, input_size)
    images.spans = (Span(0, 0, 1), Span(0, 0, 1))  # height, width
    follow = _FollowSpans({layer: name for name, layer in copied.named_modules()})
    with torch.no_grad(), follow:
        copied(images)
    return follow.rows


class _FollowSpans(TorchFunctionMode):
    """Hands the spans on through every torch function: what comes out has seen all that went in has seen."""

    def __init__(self, names: dict[nn.Module, str]):
        super().__init__()
        self.rows, self.names, self.running = [], names, []
        for layer in names:
            layer.register_forward_pre_hook(lambda layer, inputs: self.running.append(layer))
            layer.register_forward_hook(lambda layer, inputs, output: self.running.remove(layer))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").removesuffix("_with_indices")
        inputs = [t.spans for t in tensors([args, kwargs]) if hasattr(t, "spans")]
        out = func(*args, **kwargs)
        if name in _FOLLOWED:
            row, spans = _make_row(self.label(name), name, args, kwargs, next(tensors(out)))
            self.rows.append(row)
        elif not inputs:
            return out
        elif re.search(_UNFOLLOWED, name) or (re.search("matmul|bmm|einsum", name) and len(inputs) > 1):
            raise ValueError(f"{name}() changes the receptive field in a way that can't be followed")
        else:
            spans = tuple(Span(min(s.start for s in side), max(s.end for s in side), max(s.jump for s in side))
                          for side in zip(*inputs, strict=True))
            if name == "pad":
                left, _, top, *_ = [*(args[1] if len(args) > 1 else kwargs["pad"]), 0, 0]
                spans = spans[0].shift(top), spans[1].shift(left)
        for tensor in tensors(args[:1] if name == "__setitem__" else out):
            tensor.spans = spans
        return out

    def label(self, function: str) -> str:
        """The layer that is running; where a larger module calls a function, that."""
        layer = self.running[-1]
        name, kind = self.names[layer], type(layer).__name__
        if not isinstance(layer, _LAYERS):
            return f"{name}.{function}".lstrip(".")
        return f"{name} ({kind})" if name else kind


_LAYERS = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveMaxPool2d | nn.AdaptiveAvgPool2d
_FOLLOWED = ("conv2d", "max_pool2d", "avg_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool2d")  # these get a row
_UNFOLLOWED = "conv|pool|interpolate|upsample|pixel_|fold|grid_sample|attention"  # other functions with such names


def _make_row(label: str, function: str, args: tuple, kwargs: dict, y: Tensor) -> tuple[Row, tuple[Span, ...]]:
    """The row of one call of a function with the result y, and the spans of y."""
    x = args[0] if args else kwargs["input"]
    if not hasattr(x, "spans"):
        raise ValueError(f"the input of {label} can't be followed back to the image: make it by torch operations")
    sizes = list(zip(x.shape[-2:], y.shape[-2:], strict=True))
    if function in _GEOMETRY:
        geometry = _GEOMETRY[function](*args, **kwargs)
    elif any(a % b for a, b in sizes):
        raise ValueError(f"{function}() has windows of several sizes: choose an output size that divides the map's")
    else:  # one pixel has no neighbour, and so no stride
        geometry = tuple(a // b for a, b in sizes), tuple(a // b if b > 1 else 1 for a, b in sizes), 0, 1
    spans, columns = [], []
    for span, (a, b), k, stride, p, d in zip(x.spans, sizes, *map(_pair, geometry), strict=True):
        effective, p = d * (k - 1) + 1, {"same": d * (k - 1) // 2, "valid": 0}.get(p, p)
        start, end, jump = span.shift(p)
        spans.append(Span(start, end + (effective - 1) * jump, jump * stride))
        columns.append((span.size(), a, jump, stride, p, k, d, effective, spans[-1].size(), b, spans[-1].jump))
    return Row(label, *(h if h == w else (h, w) for h, w in zip(*columns, strict=True))), tuple(spans)


_GEOMETRY = {  # arguments -> kernel, stride, padding, dilation
    "conv2d": lambda input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1: (
        weight.shape[-2:], stride, padding, dilation),
    "max_pool2d": lambda input, kernel_size, stride=None, padding=0, dilation=1, *_, **__: (
        kernel_size, stride or kernel_size, padding, dilation),
    "avg_pool2d": lambda input, kernel_size, stride=None, padding=0, *_, **__: (
        kernel_size, stride or kernel_size, padding, 1),
}


# --- the measurement ---------------------------------------------------------------------------------------------


def measure_field(model: nn.Module, input_size: tuple[int, int, int]) -> tuple[int, int]:
    """The window of input pixels on which the centre of the last feature map really depends, found by its gradient.

    It is the smallest window around every input pixel with a non-zero gradient; strides and dilations may leave
    holes in it. See `window` for the arguments and for how the network is prepared.

    Returns:
        (height, width) in pixels. Not clipped: it may be larger than the image.
    """
    seen = window(model, input_size) > 0
    rows, cols = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    return int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1


def window(model: nn.Module, input_size: tuple[int, int, int]) -> Tensor:
    """How strongly the central pixel of the last feature map depends on each input pixel: the map of its gradient.

    The map is that before global pooling, or the last convolution's or pooling's. A trained network hides part of its
    window: dead ReLUs, zero weights, the loser of a max-pooling; and a norm over the whole map sees every pixel by
    itself. So a copy is measured with random positive weights, without activations, norms and dropout, with average
    for max pooling, in float64, on an image so large that its border doesn't cut the window.

    Args:
        model: any network; it is copied and left as it is.
        input_size: (channels, height, width) of one image.
    Returns:
        a float64 tensor (H', W') on the CPU, larger than the window, with 1 for the strongest dependence.
    Raises:
        ValueError: there is no such map, or it depends on the whole image, however large.
    """
    table = receptive_field(model, input_size)
    if not table:
        raise ValueError("the network has no convolution and no pooling: there is no feature map to measure")
    pooled = [i for i, row in enumerate(table)
              if re.search(r"pool2d\)?$", row.layer, re.I) and row.size_out == 1 and row.kernel == row.size_in]
    copied, _ = make_trial(model, input_size)
    _randomize(copied)
    channels, height, width = input_size
    jump = max(max(_pair(row.jump_out)) for row in table)
    more = jump * (max(max(_pair(row.rf_out)) for row in table) // jump + 3)  # whole jumps: every map divides as before
    for _ in range(3):
        transparent = _Transparent(stop=pooled[-1] if pooled else len(table) - 1, at_input=bool(pooled))
        gradient = _central_gradient(copied, transparent, (channels, height + more, width + more))
        border = torch.cat([gradient[0], gradient[-1], gradient[:, 0], gradient[:, -1]])
        if not border.any():
            return gradient / gradient.max()
        more *= 2
    raise ValueError("the last feature map depends on the whole image, however large: a global pooling or a norm by"
                     " hand stands before it")


def _randomize(model: nn.Module) -> None:
    """float64 on the CPU (not every device has it), and every weight random and positive, about 1 / fan-in.

    Random, so that x - f(x) doesn't cancel out."""
    generator = torch.Generator().manual_seed(0)
    model.to("cpu", torch.float64).requires_grad_(False)
    for p in model.parameters():
        fan_in = p[0].numel() if p.dim() > 1 else 1
        p.copy_((torch.rand(p.shape, generator=generator, dtype=p.dtype) + 0.5) / fan_in)


def _central_gradient(model: nn.Module, transparent: "_Transparent", size: tuple[int, int, int]) -> Tensor:
    """|d central pixel of the map / d input pixel|, summed over the channels of both: (height, width)."""
    image = torch.ones(1, *size, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad(), transparent, suppress(_Reached):  # what comes after may not fit the larger image
        model(image)
    features = transparent.features
    centre = features[..., features.shape[-2] // 2, features.shape[-1] // 2].sum()
    return torch.autograd.grad(centre, image)[0][0].abs().sum(0)


class _Reached(Exception):
    """Ends a forward pass where the feature map is known."""


class _Transparent(TorchFunctionMode):
    """Leaves out activations, norms and dropout, as layers or as functions, and pools by the mean.

    The function that has row `stop` ends the forward pass; `features` is its result, or its input.
    """

    def __init__(self, stop: int, at_input: bool):
        super().__init__()
        self.rows_before_stop, self.at_input = stop, at_input

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").rstrip("_").removesuffix("_with_indices")
        reached = name in _FOLLOWED and self.rows_before_stop == 0
        self.rows_before_stop -= name in _FOLLOWED
        if name in _LEFT_OUT or reached and self.at_input:
            out = args[0] if args else kwargs["input"]
        elif name == "max_pool2d":
            out = _mean_instead_of_max(*args, **kwargs)
        elif name == "adaptive_max_pool2d":
            out = F.adaptive_avg_pool2d(*args)
        else:
            out = func(*args, **kwargs)
        if reached:
            self.features = out
            raise _Reached
        return out


_LEFT_OUT = {
    "batch_norm", "group_norm", "layer_norm", "instance_norm", "rms_norm", "local_response_norm", "normalize",
    "dropout", "dropout2d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout",
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid",
    "hardsigmoid", "hardswish", "hardtanh", "tanh", "softplus", "softsign", "logsigmoid", "threshold", "clamp",
    "hardshrink", "softshrink", "tanhshrink",
}  # fmt: skip


def _mean_instead_of_max(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The same windows as max-pooling; a depthwise convolution of equal weights, for only that can dilate."""
    kernel, channels = _pair(kernel_size), input.shape[1]
    ones = torch.ones(channels, 1, *kernel, dtype=input.dtype) / (kernel[0] * kernel[1])
    return F.conv2d(input, ones, None, stride or kernel_size, padding, dilation, channels)


def _pair(value: Pair) -> tuple[int, int]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)
