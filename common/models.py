"""The networks of the course, each a function that returns a new one with random weights."""

import torch
from torch import Tensor, nn

from common import experiment, results
from common.data import ROOT
from common.layers import Dropout, InvertedBottleneck, ReluDropout, Repeated, SeparableConv, SeparablePool, make_norm


def published(notebook: str, model: str, norm: str | None = None, seed: int = 0) -> nn.Module:
    """Return a trained network of the course, ready to classify: published("S8_norms/2_batch_norm", "ours", "bn").

    `notebook` is the one that trained it, `model` the name of the result. Its input is normalized
    (`common.data.normalize`). Raises ValueError where there is no such result, where the weights' hash isn't the
    recorded one, or where today's code has another network of that name.
    """
    session, _, name = notebook.removesuffix(".ipynb").partition("/")
    folder = ROOT / session / "results" / name
    path = folder / f"{model.replace(' ', '_')}{f'-{norm}' if norm else ''}-seed{seed}.json"
    if not path.exists():
        known = sorted(file.stem for file in folder.glob("*-seed*.json")) or sorted(
            {str(file.parent.relative_to(ROOT)).replace("/results", "") for file in ROOT.glob("S*/results/*/*.json")})
        raise ValueError(f"{notebook} has no published {path.stem} (model, norm, seed); there are: {', '.join(known)}")
    result = results.load(path)
    weights, made_by = results.weights(result), result["network"]
    try:
        network = globals()[made_by["name"]](**made_by["arguments"])
        network.load_state_dict(weights)
        if experiment.layer_table(network, (1, 28, 28) if session == "S7_mnist" else (3, 32, 32)) != result["layers"]:
            raise ValueError("its layers are others")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"today's code has another network than {path}: {str(error).splitlines()[0]}") from None
    return network.eval().to(memory_format=torch.channels_last)  # as it was evaluated after training


class Network(nn.Sequential):
    """Layers one after the other, the last of which leaves one value a class: (N, C, H, W) -> (N, classes)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flatten(1)


def conv(inputs: int, outputs: int, padding: int = 0) -> list[nn.Module]:
    """A 3x3 convolution and ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False), nn.ReLU()]


def regularized_conv(inputs: int, outputs: int, dropout: float, padding: int = 0) -> list[nn.Module]:
    """A 3x3 convolution, ReLU, batch norm and dropout."""
    return [*conv(inputs, outputs, padding), nn.BatchNorm2d(outputs), Dropout(dropout)]


def mix(inputs: int, outputs: int) -> nn.Conv2d:
    """A 1x1 convolution, which mixes the channels at each position."""
    return nn.Conv2d(inputs, outputs, 1, bias=False)


def structure() -> Network:
    """The layout alone, with no thought of size: 194,884 parameters."""
    return Network(
        *conv(1, 32), *conv(32, 64), *conv(64, 128),
        nn.MaxPool2d(2), mix(128, 32),
        *conv(32, 64), *conv(64, 128),
        mix(128, 10), nn.Conv2d(10, 10, 7, bias=False),
    )


def skeleton() -> Network:
    """The layout with few channels and global average pooling: 18,192 parameters."""
    return Network(
        *conv(1, 16), *conv(16, 32),
        mix(32, 10), nn.MaxPool2d(2),
        *conv(10, 16), *conv(16, 32), *conv(32, 16), *conv(16, 16, padding=1),
        nn.AdaptiveAvgPool2d(1), mix(16, 10),
    )


def reduced() -> Network:
    """The skeleton under the budget: 5,864 parameters."""
    return Network(
        *conv(1, 8), *conv(8, 16),
        mix(16, 10), nn.MaxPool2d(2),
        *conv(10, 16), *conv(16, 8), *conv(8, 8), *conv(8, 16, padding=1),
        nn.AdaptiveAvgPool2d(1), mix(16, 10),
    )


def rebalanced() -> Network:
    """The budget spent where the map is small and features are rich: 7,124 parameters."""
    return Network(
        *conv(1, 8), *conv(8, 16),
        mix(16, 10), nn.MaxPool2d(2),
        *conv(10, 14), *conv(14, 16), *conv(16, 8), *conv(8, 16, padding=1),
        nn.AdaptiveAvgPool2d(1), mix(16, 10),
    )


def regularized(dropout: float = 0.05) -> Network:
    """The rebalanced network with batch norm and dropout after each 3x3 convolution: 7,280 parameters."""
    return Network(
        *regularized_conv(1, 8, dropout), *regularized_conv(8, 16, dropout),
        mix(16, 10), nn.MaxPool2d(2),
        *regularized_conv(10, 14, dropout), *regularized_conv(14, 16, dropout),
        *regularized_conv(16, 8, dropout), *regularized_conv(8, 16, dropout, padding=1),
        nn.AdaptiveAvgPool2d(1), mix(16, 10),
    )


def narrow(first: int, second: int, third: int, times: int) -> Network:
    """A 3x3 convolution, then twice: a separable convolution with a pool, and one that is used `times` times."""
    return Network(
        nn.Conv2d(1, first, 3, bias=False), nn.BatchNorm2d(first), nn.ReLU(),
        SeparablePool(first, second), Repeated(second, times),
        SeparablePool(second, third), Repeated(third, times),
        nn.AdaptiveAvgPool2d(1), mix(third, 10),
    )


def ours() -> Network:
    """Our own network: separable convolutions, each weight of the repeated ones used four times; 7,916 parameters."""
    return narrow(12, 24, 52, times=4)


def smallest() -> Network:
    """Our smallest network: the same with fewer channels and repetitions; 4,704 parameters."""
    return narrow(10, 20, 36, times=3)


# S8: CIFAR-10, layout C1 C2 c3 P1 C4 C5 C6 c7 P2 C8 C9 C10 GAP c11; the norm is an argument.


def conv_relu_norm(inputs: int, outputs: int, norm: str) -> list[nn.Module]:
    """A padded 3x3 convolution with bias, ReLU and a norm."""
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), make_norm(norm, outputs)]


def unbudgeted(norm: str = "bn") -> Network:
    """The layout with 32 channels everywhere: 58,314 parameters."""
    return Network(
        *conv_relu_norm(3, 32, norm), *conv_relu_norm(32, 32, norm),
        nn.Conv2d(32, 16, 1), nn.MaxPool2d(2),
        *conv_relu_norm(16, 32, norm), *conv_relu_norm(32, 32, norm), *conv_relu_norm(32, 32, norm),
        nn.Conv2d(32, 16, 1), nn.MaxPool2d(2),
        *conv_relu_norm(16, 32, norm), *conv_relu_norm(32, 32, norm), *conv_relu_norm(32, 32, norm),
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 10, 1),
    )


def budgeted(norm: str = "bn") -> Network:
    """The same with fewer channels at the start of the first two blocks: 49,746 parameters."""
    return Network(
        *conv_relu_norm(3, 16, norm), *conv_relu_norm(16, 32, norm),
        nn.Conv2d(32, 16, 1), nn.MaxPool2d(2),
        *conv_relu_norm(16, 24, norm), *conv_relu_norm(24, 32, norm), *conv_relu_norm(32, 32, norm),
        nn.Conv2d(32, 16, 1), nn.MaxPool2d(2),
        *conv_relu_norm(16, 32, norm), *conv_relu_norm(32, 32, norm), *conv_relu_norm(32, 32, norm),
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 10, 1),
    )


def conv_norm_relu(inputs: int, outputs: int, norm: str, dropout: float, padding: int = 1) -> list[nn.Module]:
    """A 3x3 convolution without bias, a norm, ReLU and dropout."""
    return [nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False), make_norm(norm, outputs), ReluDropout(dropout)]


def wide(norm: str = "bn", dropout: float = 0.05) -> Network:
    """The layout with up to 128 channels: 153,616 parameters."""
    return Network(
        *conv_norm_relu(3, 16, norm, dropout, padding=0), *conv_norm_relu(16, 32, norm, dropout, padding=0),
        mix(32, 16), nn.MaxPool2d(2),
        *conv_norm_relu(16, 32, norm, dropout), *conv_norm_relu(32, 64, norm, dropout),
        *conv_norm_relu(64, 128, norm, dropout, padding=0),
        mix(128, 32), nn.MaxPool2d(2),
        *conv_norm_relu(32, 64, norm, dropout), *conv_norm_relu(64, 32, norm, dropout),
        *conv_norm_relu(32, 32, norm, dropout),
        nn.AdaptiveAvgPool2d(1), mix(32, 10),
    )


def narrowed(norm: str = "bn", dropout: float = 0.05) -> Network:
    """The wide network with half the channels or fewer after the first block: 36,336 parameters."""
    return Network(
        *conv_norm_relu(3, 16, norm, dropout, padding=0), *conv_norm_relu(16, 32, norm, dropout, padding=0),
        mix(32, 8), nn.MaxPool2d(2),
        *conv_norm_relu(8, 16, norm, dropout), *conv_norm_relu(16, 32, norm, dropout),
        *conv_norm_relu(32, 64, norm, dropout, padding=0),
        mix(64, 8), nn.MaxPool2d(2),
        *conv_norm_relu(8, 16, norm, dropout), *conv_norm_relu(16, 16, norm, dropout),
        *conv_norm_relu(16, 16, norm, dropout),
        nn.AdaptiveAvgPool2d(1), mix(16, 10),
    )


def evened_out(norm: str = "bn", dropout: float = 0.05) -> Network:
    """The narrowed network with 32 channels all through the second block: 32,592 parameters."""
    return Network(
        *conv_norm_relu(3, 16, norm, dropout, padding=0), *conv_norm_relu(16, 32, norm, dropout, padding=0),
        mix(32, 8), nn.MaxPool2d(2),
        *conv_norm_relu(8, 32, norm, dropout), *conv_norm_relu(32, 32, norm, dropout),
        *conv_norm_relu(32, 32, norm, dropout, padding=0),
        mix(32, 8), nn.MaxPool2d(2),
        *conv_norm_relu(8, 16, norm, dropout), *conv_norm_relu(16, 16, norm, dropout),
        *conv_norm_relu(16, 16, norm, dropout),
        nn.AdaptiveAvgPool2d(1), mix(16, 10),
    )


def widened_input(norm: str = "bn", dropout: float = 0.05) -> Network:
    """The network evened out, with 32 padded channels from the first layer on: 37,664 parameters."""
    return Network(
        *conv_norm_relu(3, 32, norm, dropout), *conv_norm_relu(32, 32, norm, dropout),
        mix(32, 8), nn.MaxPool2d(2),
        *conv_norm_relu(8, 32, norm, dropout), *conv_norm_relu(32, 32, norm, dropout),
        *conv_norm_relu(32, 32, norm, dropout, padding=0),
        mix(32, 8), nn.MaxPool2d(2),
        *conv_norm_relu(8, 16, norm, dropout), *conv_norm_relu(16, 16, norm, dropout),
        *conv_norm_relu(16, 16, norm, dropout),
        nn.AdaptiveAvgPool2d(1), mix(16, 10),
    )


def transitions(norm: str = "bn") -> Network:
    """A norm after every convolution but the last, the 1x1 too: 47,876 parameters.

    Its layer norm has no scale and shift, as in its source, and so 512 parameters fewer.
    """
    def normed(inputs: int, outputs: int, kernel: int = 3) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
                make_norm(norm, outputs, affine=norm != "ln"), nn.ReLU()]

    return Network(
        *normed(3, 12), *normed(12, 32), *normed(32, 10, kernel=1), nn.MaxPool2d(2),
        *normed(10, 32), *normed(32, 32), *normed(32, 32), *normed(32, 10, kernel=1), nn.MaxPool2d(2),
        *normed(10, 32), *normed(32, 32), *normed(32, 32),
        nn.AdaptiveAvgPool2d(1), mix(32, 10),
    )


def transition(inputs: int, outputs: int, norm: str) -> list[nn.Module]:
    """A pool and a 1x1 convolution with a norm and ReLU.

    It averages first and mixes then: the result is the same as the other way round, at a quarter of the work.
    """
    return [nn.AvgPool2d(2), mix(inputs, outputs), make_norm(norm, outputs), nn.ReLU()]


def residual(norm: str = "bn") -> Network:
    """Our own network in the layout, with residual adds: 48,576 parameters.

    C4, C5 and C6 share their weights, and so do C8, C9 and C10.
    """
    return Network(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), make_norm(norm, 16), nn.ReLU(), SeparableConv(16, 32, norm),
        *transition(32, 64, norm),
        SeparableConv(64, 64, norm, times=3),
        *transition(64, 160, norm),
        SeparableConv(160, 160, norm, times=3),
        nn.AdaptiveAvgPool2d(1), mix(160, 10),
    )


def unshared(norm: str = "bn") -> Network:
    """The same with weights of its own for each convolution, and fewer channels: 47,888 parameters."""
    return Network(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), make_norm(norm, 16), nn.ReLU(), SeparableConv(16, 32, norm),
        *transition(32, 48, norm),
        *(SeparableConv(48, 48, norm) for _ in range(3)),
        *transition(48, 96, norm),
        *(SeparableConv(96, 96, norm) for _ in range(3)),
        nn.AdaptiveAvgPool2d(1), mix(96, 10),
    )


# S9: CIFAR-10, layout C1 C2 C3 C4 O without max-pooling, global average pooling and a linear layer at the end.


def conv_bn(inputs: int, outputs: int, stride: int = 1, dilation: int = 1, padding: int = 1) -> list[nn.Module]:
    """A 3x3 convolution without bias, batch norm and ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, stride, padding, dilation, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def classifier(inputs: int) -> list[nn.Module]:
    """Global average pooling and a linear layer to ten classes."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10)]


def inverted_bottlenecks() -> Network:
    """The source's network: a convolution and an inverted bottleneck in each block; 178,178 parameters."""
    return Network(
        *conv_bn(3, 32), InvertedBottleneck(32, 160, 32),
        *conv_bn(32, 32, stride=2), InvertedBottleneck(32, 160, 32),
        *conv_bn(32, 32, stride=2), InvertedBottleneck(32, 160, 64),
        *conv_bn(64, 64, dilation=2, padding=0), InvertedBottleneck(64, 320, 132),
        *classifier(132),
    )


def four_blocks(c3: int, c4: int, stride: int = 1, dilation: int = 1) -> Network:
    """C1 to C4 of separable convolutions, some of them used twice in a row, and a dilated one at the end of C3.

    C3 has `c3` channels and C4 `c4`, where most of the parameters are. C4 begins with `stride`, and all of its
    convolutions have `dilation`.
    """
    return Network(
        *conv_bn(3, 16), SeparableConv(16, 32),
        SeparableConv(32, 64, stride=2), SeparableConv(64, 64, times=2),
        SeparableConv(64, c3, stride=2), SeparableConv(c3, c3, times=2), SeparableConv(c3, c3, dilation=2),
        SeparableConv(c3, c4, stride=stride, dilation=dilation), SeparableConv(c4, c4, times=2, dilation=dilation),
        *classifier(c4),
    )


def strided() -> Network:
    """Our own network, with a stride at the start of C2, C3 and C4: 189,098 parameters."""
    return four_blocks(160, 256, stride=2)


def dilated() -> Network:
    """The same with a dilation of 2 in C4 in place of the stride, so four times the positions: 189,098 parameters."""
    return four_blocks(160, 256, dilation=2)


def half_size() -> Network:
    """Our own network with fewer channels in C3 and C4: 96,578 parameters."""
    return four_blocks(112, 168, stride=2)
