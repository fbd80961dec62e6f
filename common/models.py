"""The networks of the course, each a function that returns a new one with random weights."""

from torch import Tensor, nn

from common.layers import Dropout, SeparableBlock, SeparableConv


class Network(nn.Sequential):
    """Layers one after the other, the last of which leaves one pixel a class: (N, C, H, W) -> (N, classes)."""

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


def normed_conv(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """A 3x3 convolution without padding, batch norm and ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, stride, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def ours() -> Network:
    """Our own network: one dense convolution, then separable blocks with residual adds; 7,884 parameters."""
    return Network(
        *normed_conv(1, 12), SeparableBlock(12, 24, pool=True),
        SeparableBlock(24, 24), SeparableBlock(24, 24), SeparableBlock(24, 38, pool=True),
        SeparableBlock(38, 38), SeparableBlock(38, 38),
        nn.AdaptiveAvgPool2d(1), mix(38, 10),
    )


def smallest() -> Network:
    """Our smallest network: a stride early on, and simpler separable convolutions; 4,564 parameters."""
    return Network(
        *normed_conv(1, 8), *normed_conv(8, 16, stride=2),
        SeparableConv(16, 20), SeparableConv(20, 20),
        nn.MaxPool2d(2),
        SeparableConv(20, 28), SeparableConv(28, 28),
        nn.AdaptiveAvgPool2d(1), mix(28, 10),
    )
