"""What a network is made of: its layers, parameters and multiply-accumulates."""

import copy
import io
import itertools
import re
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress

import torch
import torchsummary
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def layer_kinds(model: nn.Module) -> dict[str, list[str]]:
    """Return the names of the layers that a brief may ask for, by kind.

    The kinds: depthwise (a convolution with a filter for each channel), dilated, max_pools, global_pools, linear. A 1x1
    convolution sees one pixel only, so it is neither of the first two.
    """
    def spatial(layer):
        return isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1

    kinds = {"depthwise": lambda layer: spatial(layer) and 1 < layer.groups == layer.in_channels == layer.out_channels,
             "dilated": lambda layer: spatial(layer) and max(layer.dilation) > 1,
             "max_pools": lambda layer: isinstance(layer, nn.MaxPool2d | nn.AdaptiveMaxPool2d),
             "global_pools": lambda layer: isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)),
             "linear": lambda layer: isinstance(layer, nn.Linear)}
    return {kind: [name for name, layer in model.named_modules() if belongs(layer)] for kind, belongs in kinds.items()}


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def multiply_accumulates(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return the multiply-accumulates of convolutions, linear layers and attention, for one image (C, H, W)."""
    model, images = make_trial(model, shape)
    with FlopCounterMode(display=False) as counter:  # under no_grad attention takes a path that isn't counted
        model(images)
    return counter.get_total_flops() // 2 // len(images)  # it counts a multiplication and an addition as two


def layer_table(model: nn.Module, shape: tuple[int, int, int]) -> list[dict]:
    """Return a row {layer, output, params} for each call of a layer, in order, for an image of `shape` (C, H, W).

    `layer` is its kind and the row's number, e.g. "Conv2d-1"; `output` is (C, H, W) or (features,), of several outputs
    that of the first; `params` are the trainable parameters that the layer itself owns, 0 where a row above has
    counted them. The network itself and containers get no row. Parameters that no row has counted (the network's own,
    those of layers that it never calls) follow at the end with `output` None. So the sum is `count_parameters`.
    """
    model, calls = watch(model, shape)
    uncounted = {p: p.numel() for p in model.parameters() if p.requires_grad}
    rows = []
    for layer, output in [*calls, *((layer, None) for layer in model.modules())]:
        own = [uncounted.pop(p) for p in layer._parameters.values() if p in uncounted]
        if own or len(rows) < len(calls):
            rows.append({"layer": f"{type(layer).__name__}-{len(rows) + 1}", "output": output, "params": sum(own)})
    return rows


def blocks(model: nn.Module, shape: tuple[int, int, int]) -> list[dict]:
    """Return a row {name, kind, output, params, macs} for each block of a network, for an image of `shape` (C, H, W).

    The parts of a network are its children, and those of its containers, in the order of their calls. A part that
    multiplies (a convolution, a linear layer, a module made of some) or changes the shape (a pool, a flatten) begins a
    block; norms, activations and dropout join the block before. `kind` is "convolution", "several layers", "pool",
    "linear" or "other"; `output` is (C, H, W) or (features,), after what has joined; `params` are
    the trainable parameters that no row above has counted. What belongs to no block follows as a last row "other" with
    `output` None. So the sums are `count_parameters` and `multiply_accumulates`.
    """
    model, calls, macs = watch_parts(model, shape)
    uncounted = {p: p.numel() for p in model.parameters() if p.requires_grad}
    rows: list[dict] = []
    for part, entered, output, own_macs in calls:
        params = sum(uncounted.pop(p, 0) for p in part.parameters())
        if own_macs or entered != output or not rows:
            kind, name = describe(part, output)
            rows.append({"name": name, "kind": kind, "output": output, "params": params, "macs": own_macs})
        else:
            rows[-1].update(output=output, params=rows[-1]["params"] + params)
    params, macs = sum(uncounted.values()), macs - sum(row["macs"] for row in rows)
    other = {"name": "other", "kind": "other", "output": None, "params": params, "macs": macs}
    return rows + [other] * bool(params or macs)


def watch_parts(model: nn.Module, shape: tuple[int, int, int]) -> tuple[nn.Module, list[tuple], int]:
    """Run a copy of `model`; return it, its parts' calls (part, input shape, output shape, macs), and the sum of macs.

    macs are the multiply-accumulates for one image. A part that another one calls is inside of that one: no call.
    """
    model, images = make_trial(model, shape)
    counter, begun, calls = FlopCounterMode(display=False), [], []

    def macs() -> int:
        return counter.get_total_flops() // 2 // len(images)

    def size(value) -> tuple[int, ...] | None:
        return next((tuple(tensor.shape[1:]) for tensor in tensors(value)), None)

    def leave(part, args, named, output):
        before = begun.pop()
        if not begun:
            calls.append((part, size((args, named)), size(output), macs() - before))

    for part in dict.fromkeys(list_parts(model)) or [model]:
        part.register_forward_pre_hook(lambda part, inputs: begun.append(macs()))
        part.register_forward_hook(leave, with_kwargs=True)
    with counter:
        model(images)
    return model, calls, macs()


def list_parts(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the children of `model`, and in place of a container its children."""
    for child in model.children():
        if type(child) in (nn.Sequential, nn.ModuleList, nn.ModuleDict):
            yield from list_parts(child)
        else:
            yield child


def describe(layer: nn.Module, output: tuple[int, ...] | None) -> tuple[str, str]:
    """Return the kind (see `blocks`) and the name of a layer with this output shape: "3x3 conv, stride 2"."""
    convolutions = [part for part in layer.modules() if isinstance(part, nn.Conv2d)]
    options = {f", {name} {'x'.join(map(str, dict.fromkeys(getattr(conv, name))))}": None for conv in convolutions
               for name in ("stride", "dilation") if max(getattr(conv, name)) > 1}
    if isinstance(layer, nn.Conv2d):
        groups = "" if layer.groups == 1 else "depthwise " if layer.groups == layer.in_channels else "grouped "
        return "convolution", f"{groups}{'x'.join(map(str, layer.kernel_size))} conv" + "".join(options)
    if isinstance(layer, nn.AvgPool2d | nn.AdaptiveAvgPool2d):
        return "pool", "global average" if output[1:] == (1, 1) else "average pool"
    if isinstance(layer, nn.MaxPool2d | nn.AdaptiveMaxPool2d):
        return "pool", "max-pool"
    name = re.sub("(?<=[a-z])(?=[A-Z0-9])", " ", type(layer).__name__).lower() + "".join(options)
    return "linear" if isinstance(layer, nn.Linear) else "several layers" if any(layer.children()) else "other", name


def torchsummary_table(model: nn.Module, shape: tuple[int, int, int]) -> str:
    """Return torchsummary's table for an image of `shape` (C, H, W), in which a layer that is used again counts once.

    torchsummary counts the `weight` and `bias` of layers that are called, and stops at some networks. Where that isn't
    what `count_parameters` counts, the text is that of `layer_table`.
    """
    watched, calls = watch(model, shape)
    visits = []
    watched.to("cpu").apply(visits.append)  # as torchsummary does: a layer once for each module that has it
    counted = [p for layer in dict(calls) for p in (getattr(layer, "weight", None), getattr(layer, "bias", None))
               if isinstance(p, Tensor)]
    trainable = [p for p in watched.parameters() if p.requires_grad]
    if sorted(map(id, counted)) == sorted(map(id, trainable)) and len(visits) == len(set(visits)):
        for module in visits:
            hide_weights_when_used_again(module)
        with redirect_stdout(io.StringIO()) as text, torch.random.fork_rng([]), suppress(Exception):
            torchsummary.summary(watched, shape, device="cpu")
            return text.getvalue()
    lines = [f"{row['layer']:>30} {row['output'] or '-'!s:>25} {row['params']:>15,}"
             for row in layer_table(model, shape)]
    return "\n".join([*lines, f"Total params: {count_parameters(model):,}"])


def hide_weights_when_used_again(module: nn.Module) -> None:
    """Take the weights of `module` away after every call but its first, and give them back before the next.

    torchsummary looks at a layer after each call, and would count the weights once more each time.
    """
    weights, calls = dict(module._parameters), itertools.count()

    def after(module, inputs, output):
        if next(calls):
            module._parameters.update(dict.fromkeys(weights))

    module.register_forward_pre_hook(lambda module, inputs: module._parameters.update(weights))
    module.register_forward_hook(after)


def watch(model: nn.Module, shape: tuple[int, int, int]) -> tuple[nn.Module, list[tuple[nn.Module, list[int] | None]]]:
    """Run a copy of `model`; return it and its calls (layer, output shape), but for containers and the network."""
    model, images = make_trial(model, shape)
    calls = []

    def note(layer, inputs, output):
        calls.append((layer, next((list(tensor.shape[1:]) for tensor in tensors(output)), None)))

    for layer in list(model.modules())[1:]:
        if not isinstance(layer, nn.Sequential | nn.ModuleList):
            layer.register_forward_hook(note)
    with torch.no_grad():
        model(images)
    return model, calls


def make_trial(model: nn.Module, shape: tuple[int, int, int]) -> tuple[nn.Module, Tensor]:
    """Return a copy of `model` in evaluation mode and two black images to run it on; `model` stays as it is."""
    model = getattr(model, "_orig_mod", model)  # what torch.compile was given
    # What a forward pass has left depends on parameters, e.g. weight_norm's `weight`: deepcopy refuses such tensors.
    left = {id(value): value.detach().clone() for module in model.modules() for value in tensors(vars(module))
            if not value.is_leaf}
    model = copy.deepcopy(model, left).eval()
    like = next(model.parameters(), torch.empty(0))
    return model, torch.zeros(2, *shape, dtype=like.dtype, device=like.device)  # of one, squeeze() would take the batch


def tensors(value) -> Iterator[Tensor]:
    """Yield the tensors in `value`: itself, or those in a tuple, list or dict."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | tuple | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors(item)
