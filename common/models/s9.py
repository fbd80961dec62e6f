"""Session 9: CIFAR-10, layout C1 C2 C3 C4 O without max-pooling; global average pooling and a linear layer end it."""

from collections.abc import Callable
from functools import partial

from torch import nn

from common.layers import InvertedBottleneck, Network, SeparableConv


def conv_bn(inputs: int, outputs: int, stride: int = 1, dilation: int = 1, padding: int = 1,
            activation: Callable[[], nn.Module] = nn.ReLU) -> list[nn.Module]:
    """A 3x3 convolution without bias, batch norm and an activation."""
    return [nn.Conv2d(inputs, outputs, 3, stride, padding, dilation, bias=False), nn.BatchNorm2d(outputs), activation()]


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


CHANNELS = (32, 128, 160, 224)  # of C1 to C4 in our network


def four_blocks(channels: tuple[int, int, int, int] = CHANNELS, strides: tuple[int, int, int] = (2, 2, 2),
                dilations: tuple[int, int, int] = (1, 1, 1), activation: Callable[[], nn.Module] = nn.SiLU) -> Network:
    """C1 to C4 of separable convolutions, some of them used twice in a row.

    C2, C3 and C4 have a stride each, that of their first layer, and a dilation, that of all their layers, but for the
    last of C3, which has twice as much.
    """
    (c1, c2, c3, c4), (d2, d3, d4) = channels, dilations
    separable = partial(SeparableConv, activation=activation)
    return Network(
        *conv_bn(3, c1 // 2, activation=activation), separable(c1 // 2, c1),
        separable(c1, c2, stride=strides[0], dilation=d2), separable(c2, c2, times=2, dilation=d2),
        separable(c2, c3, stride=strides[1], dilation=d3), separable(c3, c3, times=2, dilation=d3),
        separable(c3, c3, dilation=2 * d3),
        separable(c3, c4, stride=strides[2], dilation=d4), separable(c4, c4, times=2, dilation=d4),
        *classifier(c4),
    )


def ours() -> Network:
    """Our own network, with a stride at the start of C2, C3 and C4: 193,930 parameters."""
    return four_blocks()


def dilated() -> Network:
    """The same with a dilation of 2 in C4 in place of its stride: 193,930 parameters."""
    return four_blocks(strides=(2, 2, 1), dilations=(1, 1, 2))


def two_dilated() -> Network:
    """With dilations of 2 in C3 and 4 in C4 in place of their strides: 193,930 parameters."""
    return four_blocks(strides=(2, 1, 1), dilations=(1, 2, 4))


def half_size() -> Network:
    """Our own network with 0.7 times its channels: 97,558 parameters."""
    return four_blocks((24, 88, 112, 156))


def quarter_size() -> Network:
    """Our own network with 0.48 times its channels: 47,962 parameters."""
    return four_blocks((16, 60, 76, 108))


def eighth_size() -> Network:
    """Our own network with a third of its channels: 24,206 parameters."""
    return four_blocks((12, 44, 52, 72))
