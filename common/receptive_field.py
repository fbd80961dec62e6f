"""The receptive field of any network: computed layer by layer, and measured by its gradient.

The formulas are those of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks",
Distill 2019, https://distill.pub/2019/computing-receptive-fields. For one layer, along one side of the image:

    effective kernel  k' = dilation * (kernel - 1) + 1
    receptive field   r_out = r_in + (k' - 1) * j_in
    jump              j_out = j_in * stride          (input pixels between two neighbouring output pixels)

`receptive_field` computes the table, `measured` checks it on the network itself: the two know nothing of each other's
answer (the table only suggests how large an image to measure on).
"""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Pair = int | tuple[int, int]  # one number for square things, else (height, width)
LAYERS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)  # the layers that get a row


class Row(NamedTuple):
    """One layer of the table. Sizes and fields are in pixels; a number stands for both sides unless they differ."""

    layer: str  # e.g. "block1.conv (Conv2d)"
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


# --- the table ---------------------------------------------------------------------------------------------------


def receptive_field(model: nn.Module, input_size: tuple[int, int, int]) -> list[Row]:
    """The receptive-field table of a network: one row per call of a convolution or pooling layer, in order of call.

    Every tensor carries the span of input pixels that it depends on, so branches may run in any order: where two
    meet (add, concatenate, multiply) the result sees all that either sees, and the larger one counts. The last row
    may thus be a small skip connection; the network's receptive field is `max(row.rf_out for row in table)`.
    Global average pooling is a layer whose kernel is the whole map. Written as `x.mean((2, 3))` it is no layer and
    gets no row: use `nn.AdaptiveAvgPool2d(1)`. A linear layer on a flattened map gets none either.

    Args:
        model: any network; it is copied and left as it is.
        input_size: (channels, height, width) of one image.
    Returns:
        a list of `Row`; empty for a network without such layers.
    Raises:
        ValueError: a convolution or pooling that isn't one of `LAYERS`, or an input of one that can't be followed.
    """
    copied = _copy(model).float()
    device = next((p.device for p in copied.parameters()), torch.device("cpu"))
    image = torch.zeros(1, *input_size, device=device)
    image.spans = (Span(0, 0, 1), Span(0, 0, 1))  # height, width
    rows, follow = [], _FollowSpans()

    def enter(layer: nn.Module, inputs: tuple) -> None:
        follow.inside_layer = True

    def leave(name: str, layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        follow.inside_layer = False
        rows.append(_add_row(name, layer, inputs[0], output))

    for name, layer in copied.named_modules():
        if isinstance(layer, LAYERS):
            layer.register_forward_pre_hook(enter)
            layer.register_forward_hook(lambda *call, name=name: leave(name, *call))
    with torch.no_grad(), follow:
        copied(image)
    return rows


def _add_row(name: str, layer: nn.Module, x: Tensor, y: Tensor) -> Row:
    """The row of one call y = layer(x); y gets its spans."""
    label = f"{name} ({type(layer).__name__})" if name else type(layer).__name__
    if not hasattr(x, "spans"):
        raise ValueError(
            f"{label}: its input can't be followed back to the image. Make it from the image by torch operations"
            " (no .numpy(), no new tensor filled in place), or leave a branch of constants out."
        )
    sizes = (tuple(x.shape[-2:]), tuple(y.shape[-2:]))
    kernel, stride, padding, dilation = _geometry(layer, *sizes)
    effective = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    y.spans = tuple(
        Span(s.start - p * s.jump, s.end + (k - 1 - p) * s.jump, s.jump * step)
        for s, k, p, step in zip(x.spans, effective, padding, stride, strict=True)
    )
    fields = [tuple(s.end - s.start + 1 for s in t.spans) for t in (x, y)]
    jumps = [tuple(s.jump for s in t.spans) for t in (x, y)]
    columns = (fields[0], sizes[0], jumps[0], stride, padding, kernel, dilation, effective, fields[1], sizes[1],
               jumps[1])  # fmt: skip
    return Row(label, *(h if h == w else (h, w) for h, w in columns))


def _geometry(layer: nn.Module, size_in: tuple, size_out: tuple) -> tuple[tuple[int, int], ...]:
    """(kernel, stride, padding, dilation) of a layer, each (height, width); the padding is that at the top left."""
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        if any(a % b for a, b in zip(size_in, size_out, strict=True)):
            raise ValueError(
                f"AdaptiveAvgPool2d from {size_in} to {size_out} uses windows of several sizes, so it has no one"
                " kernel. Choose an output size that divides the input's, e.g. 1."
            )
        kernel = tuple(a // b for a, b in zip(size_in, size_out, strict=True))
        stride = tuple(k if b > 1 else 1 for k, b in zip(kernel, size_out, strict=True))  # one pixel has no neighbour
        return kernel, stride, (0, 0), (1, 1)
    kernel, stride, dilation = _pair(layer.kernel_size), _pair(layer.stride), _pair(getattr(layer, "dilation", 1))
    padding = {"valid": 0, "same": tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))}.get(
        layer.padding, layer.padding
    )
    return kernel, stride, _pair(padding), dilation


class _FollowSpans(TorchFunctionMode):
    """Hands the spans on through every torch function: what comes out has seen all that went in has seen."""

    inside_layer = False  # in a layer that gets a row, whose hook does the work

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        inputs = [t.spans for t in _tensors((args, kwargs)) if hasattr(t, "spans")]
        if name in _UNFOLLOWED and inputs and not self.inside_layer:
            known = ", ".join(f"nn.{layer.__name__}" for layer in LAYERS)
            raise ValueError(
                f"{name}() changes the receptive field but isn't one of the layers that the table knows ({known})."
                " Write it as one of those, made in __init__ and called in forward."
            )
        out = func(*args, **kwargs)
        if inputs:
            spans = tuple(_union(side) for side in zip(*inputs, strict=True))
            if name == "pad":
                spans = _shift_by_pad(spans, args[1] if len(args) > 1 else kwargs["pad"])
            for tensor in _tensors(args[:1] if name == "__setitem__" else out):
                tensor.spans = spans
        return out


_UNFOLLOWED = {
    "conv2d", "conv_transpose2d", "max_pool2d", "max_pool2d_with_indices", "avg_pool2d", "lp_pool2d",
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices", "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices", "interpolate", "upsample", "pixel_shuffle", "pixel_unshuffle", "unfold",
    "grid_sample",
}  # fmt: skip


def _union(spans: tuple[Span, ...]) -> Span:
    starts, ends, jumps = zip(*spans, strict=True)
    return Span(min(starts), max(ends), max(jumps))


def _shift_by_pad(spans: tuple[Span, Span], pad: list[int]) -> tuple[Span, ...]:
    """F.pad and nn.ZeroPad2d move the first pixel of a map up and left; `pad` is (left, right, top, bottom)."""
    left, top = pad[0], pad[2] if len(pad) > 2 else 0
    return tuple(
        Span(s.start - p * s.jump, s.end - p * s.jump, s.jump) for s, p in zip(spans, (top, left), strict=True)
    )


# --- the measurement ---------------------------------------------------------------------------------------------


def measured(model: nn.Module, input_size: tuple[int, int, int], layer: str | None = None) -> tuple[int, int]:
    """The window of input pixels on which the central pixel of a feature map really depends, found by its gradient.

    It is the smallest window around every input pixel with a non-zero gradient; strides and dilations may leave
    holes in it. See `window` for the arguments and for how the network is prepared.

    Returns:
        (height, width) in pixels. Not clipped: it may be larger than the image.
    """
    seen = window(model, input_size, layer) > 0
    rows, cols = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    return int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1


def window(model: nn.Module, input_size: tuple[int, int, int], layer: str | None = None) -> Tensor:
    """How strongly the central pixel of a feature map depends on each input pixel: the map of its gradient.

    A trained network hides part of its window: dead ReLUs, zero weights, the loser of a max-pooling; and a norm
    over the whole map sees every pixel by itself. So a copy is measured with random positive weights, without
    activations, norms and dropout, with average for max pooling, in float64, on an image so large that its border
    doesn't cut the window.

    Args:
        model: any network; it is copied and left as it is.
        input_size: (channels, height, width) of one image.
        layer: name of a module whose output is meant ("block2", or a row's "block2.conv (Conv2d)"); without one it
            is the last feature map before global average pooling. A module called several times: its last call.
    Returns:
        a float64 tensor (H', W') on the CPU, larger than the window, with 1 for the strongest dependence.
    Raises:
        ValueError: no such layer; or one that depends on the whole image, however large.
    """
    table = receptive_field(model, input_size)
    copied, name, at_input = _copy(model), *_target(model, table, layer)
    calls = _count_calls(copied, name, input_size)
    if not calls:
        raise ValueError(f"layer {name!r} isn't used by the network's forward; name one that is")
    _make_transparent(copied)
    channels, height, width = input_size
    jump = max(max(_pair(row.jump_out)) for row in table)
    more = jump * (max(max(_pair(row.rf_out)) for row in table) // jump + 3)  # whole jumps: every map divides as before
    for _ in range(3):
        gradient = _central_gradient(copied, name, at_input, calls, (channels, height + more, width + more))
        border = torch.cat([gradient[0], gradient[-1], gradient[:, 0], gradient[:, -1]])
        if not border.any():
            return gradient / gradient.max()
        more *= 2
    raise ValueError(
        f"the output of {name!r} depends on the whole image, however large: a global pooling or a hand-written norm"
        " stands before it. Name a layer before that one."
    )


def _target(model: nn.Module, table: list[Row], layer: str | None) -> tuple[str, bool]:
    """(module name, whether its input is meant): the map to measure."""
    names = dict(model.named_modules())
    if layer is not None:
        name = layer.split(" (")[0]
        if name not in names:
            raise ValueError(f"no layer {name!r} in the network; it has {', '.join(n for n in names if n)}")
        return name, False
    if not table:
        raise ValueError("the network has no convolution or pooling layer: there is no feature map to measure")
    pooled = [r for r in table if "AvgPool2d" in r.layer and r.size_out == 1 and r.kernel == r.size_in]
    last = (pooled or table)[-1].layer
    return ("" if " (" not in last else last.split(" (")[0]), bool(pooled)


def _count_calls(copied: nn.Module, name: str, input_size: tuple[int, int, int]) -> int:
    """How often a forward pass calls the module, e.g. one pooling layer that is used in three places."""
    calls, module = [], copied.get_submodule(name)
    hook = module.register_forward_hook(lambda *_: calls.append(1))
    p = next(copied.parameters(), torch.zeros(1))
    with torch.no_grad():
        copied(torch.zeros(1, *input_size, dtype=p.dtype, device=p.device))
    hook.remove()
    return len(calls)


def _make_transparent(model: nn.Module) -> None:
    """float64 on the CPU (not every device has it), and every weight random and positive, about 1 / fan-in.

    Random, so that x - f(x) doesn't cancel out."""
    generator = torch.Generator().manual_seed(0)
    model.to("cpu", torch.float64).requires_grad_(False)
    for p in model.parameters():
        fan_in = p[0].numel() if p.dim() > 1 else 1
        p.copy_((torch.rand(p.shape, generator=generator, dtype=p.dtype) + 0.5) / fan_in)


def _central_gradient(model: nn.Module, name: str, at_input: bool, calls: int, size: tuple[int, int, int]) -> Tensor:
    """|d central pixel of the map / d input pixel|, summed over the channels of both: (height, width)."""
    image = torch.ones(1, *size, dtype=torch.float64, requires_grad=True)
    countdown = iter(range(calls - 1, -1, -1))

    def stop(_, inputs: tuple, output: Tensor | None = None) -> None:
        if next(countdown) == 0:
            raise _Reached(inputs[0] if at_input else output)  # what comes after may not fit the larger image

    module = model.get_submodule(name)
    hook = module.register_forward_pre_hook(stop) if at_input else module.register_forward_hook(stop)
    try:
        with torch.enable_grad(), _Transparent():
            model(image)
    except _Reached as reached:
        features = reached.args[0]
    finally:
        hook.remove()
    centre = features[..., features.shape[-2] // 2, features.shape[-1] // 2].sum()
    return torch.autograd.grad(centre, image)[0][0].abs().sum(0)


class _Reached(Exception):
    """Carries the feature map out of the forward pass."""


class _Transparent(TorchFunctionMode):
    """Leaves out activations, norms and dropout, as layers or as functions, and pools by the mean."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").rstrip("_")
        if name in _LEFT_OUT:
            return args[0] if args else kwargs["input"]
        if name.startswith("max_pool2d"):
            return _mean_instead_of_max(*args, **kwargs)
        return func(*args, **kwargs)


_LEFT_OUT = {
    "batch_norm", "group_norm", "layer_norm", "instance_norm", "rms_norm", "local_response_norm", "normalize",
    "dropout", "dropout2d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout",
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid",
    "hardsigmoid", "hardswish", "hardtanh", "tanh", "softplus", "softsign", "logsigmoid", "threshold", "clamp",
    "hardshrink", "softshrink", "tanhshrink",
}  # fmt: skip


def _mean_instead_of_max(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The same windows as max-pooling; a depthwise convolution of equal weights, for only that can dilate."""
    kernel = _pair(kernel_size)
    ones = torch.ones(x.shape[1], 1, *kernel, dtype=x.dtype, device=x.device) / (kernel[0] * kernel[1])
    return F.conv2d(x, ones, None, stride or kernel_size, padding, dilation, x.shape[1])


# --- small things ------------------------------------------------------------------------------------------------


def _copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode: hooks, flags and running statistics of the original stay as they are."""
    return copy.deepcopy(getattr(model, "_orig_mod", model)).eval()  # _orig_mod: what torch.compile was given


def _tensors(value) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)


def _pair(value: Pair) -> tuple[int, int]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)
