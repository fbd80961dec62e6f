"""Session 7: MNIST, from a layout to a network under the budget."""

from torch import nn

from common.layers import Dropout, Network, Repeated, SeparablePool, mix


def conv(inputs: int, outputs: int, padding: int = 0) -> list[nn.Module]:
    """A 3x3 convolution and ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False), nn.ReLU()]


def regularized_conv(inputs: int, outputs: int, dropout: float, padding: int = 0) -> list[nn.Module]:
    """A 3x3 convolution, ReLU, batch norm and dropout."""
    return [*conv(inputs, outputs, padding), nn.BatchNorm2d(outputs), Dropout(dropout)]


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
