"""Session 7: MNIST, from a layout to a network under the budget."""

from torch import nn

from common.layers import Dropout, EveryScale, Network, Repeated, SeparablePool, mix


def conv(inputs: int, outputs: int, padding: int = 0) -> list[nn.Module]:
    """A 3x3 convolution and ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False), nn.ReLU()]


def regularized_conv(inputs: int, outputs: int, dropout: float, padding: int = 0) -> list[nn.Module]:
    """A 3x3 convolution, ReLU, batch norm and dropout."""
    return [*conv(inputs, outputs, padding), nn.BatchNorm2d(outputs), Dropout(dropout)]


def skeleton() -> Network:
    """Two blocks, a transition and global average pooling: 18,192 parameters."""
    return Network(
        *conv(1, 16), *conv(16, 32),
        mix(32, 10), nn.MaxPool2d(2),
        *conv(10, 16), *conv(16, 32), *conv(32, 16), *conv(16, 16, padding=1),
        nn.AdaptiveAvgPool2d(1), mix(16, 10),
    )


def regularized(dropout: float = 0.05) -> Network:
    """The skeleton with fewer channels, batch norm and dropout after each 3x3 convolution: 7,280 parameters."""
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


def slim() -> Network:
    """The same with fewer channels and repetitions: 4,704 parameters."""
    return narrow(10, 20, 36, times=3)


def one_block(channels: int) -> Network:
    """A 3x3 convolution, a pool, and one block for all that follows: channels**2 + 32 * channels parameters."""
    return Network(
        nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(channels), nn.SiLU(),
        EveryScale(channels, times=4),
        nn.AdaptiveAvgPool2d(1), mix(channels, 10),
    )
