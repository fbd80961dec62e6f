"""Session 8: CIFAR-10, layout C1 C2 c3 P1 C4 C5 C6 c7 P2 C8 C9 C10 GAP c11; the norm is an argument."""

from collections.abc import Callable
from functools import partial

from torch import nn

from common.layers import Network, ReluDropout, SeparableConv, make_norm, mix


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


def blocks(c1_to_c3: tuple, c4_to_c7: tuple, c8_to_c10: tuple, norm: str, dropout: float, padding: int = 0) -> Network:
    """The layout with so many channels, from convolution to convolution; C1 and C2 have `padding`, C6 has none."""
    (c1, c2, c3), (c4, c5, c6, c7), (c8, c9, c10) = c1_to_c3, c4_to_c7, c8_to_c10
    return Network(
        *conv_norm_relu(3, c1, norm, dropout, padding), *conv_norm_relu(c1, c2, norm, dropout, padding),
        mix(c2, c3), nn.MaxPool2d(2),
        *conv_norm_relu(c3, c4, norm, dropout), *conv_norm_relu(c4, c5, norm, dropout),
        *conv_norm_relu(c5, c6, norm, dropout, padding=0),
        mix(c6, c7), nn.MaxPool2d(2),
        *conv_norm_relu(c7, c8, norm, dropout), *conv_norm_relu(c8, c9, norm, dropout),
        *conv_norm_relu(c9, c10, norm, dropout),
        nn.AdaptiveAvgPool2d(1), mix(c10, 10),
    )


def wide(norm: str = "bn", dropout: float = 0.05) -> Network:
    """The layout with up to 128 channels: 153,616 parameters."""
    return blocks((16, 32, 16), (32, 64, 128, 32), (64, 32, 32), norm, dropout)


def narrowed(norm: str = "bn", dropout: float = 0.05) -> Network:
    """The wide network with half the channels or fewer after the first block: 36,336 parameters."""
    return blocks((16, 32, 8), (16, 32, 64, 8), (16, 16, 16), norm, dropout)


def evened_out(norm: str = "bn", dropout: float = 0.05) -> Network:
    """The narrowed network with 32 channels all through the second block: 32,592 parameters."""
    return blocks((16, 32, 8), (32, 32, 32, 8), (16, 16, 16), norm, dropout)


def widened_input(norm: str = "bn", dropout: float = 0.05) -> Network:
    """The network evened out, with 32 padded channels from the first layer on: 37,664 parameters."""
    return blocks((32, 32, 8), (32, 32, 32, 8), (16, 16, 16), norm, dropout, padding=1)


def plain(norm: str | Callable[[int], nn.Module] = "bn") -> Network:
    """The layout with 16 and 32 channels, which many numbers of groups divide: 46,000 parameters."""
    return blocks((16, 32, 16), (16, 32, 32, 16), (32, 32, 32), norm, dropout=0.0, padding=1)


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


def transition(inputs: int, outputs: int, norm: str, activation: Callable[[], nn.Module] = nn.ReLU) -> list[nn.Module]:
    """A pool and a 1x1 convolution with a norm and an activation.

    It averages first and mixes then: the result is the same as the other way round, at a quarter of the work.
    """
    return [nn.AvgPool2d(2), mix(inputs, outputs), make_norm(norm, outputs), activation()]


def unshared(norm: str = "bn") -> Network:
    """Separable convolutions with residual adds in the layout: 47,888 parameters."""
    return Network(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), make_norm(norm, 16), nn.ReLU(), SeparableConv(16, 32, norm),
        *transition(32, 48, norm),
        *(SeparableConv(48, 48, norm) for _ in range(3)),
        *transition(48, 96, norm),
        *(SeparableConv(96, 96, norm) for _ in range(3)),
        nn.AdaptiveAvgPool2d(1), mix(96, 10),
    )


def three_blocks(second: int, third: int, norm: str = "bn", activation: Callable[[], nn.Module] = nn.ReLU) -> Network:
    """`unshared`, where C4, C5 and C6 share their weights, and so do C8, C9 and C10.

    It has `second` channels in C4 to C6, `third` in C8 to C10.
    """
    separable = partial(SeparableConv, norm=norm, activation=activation)
    return Network(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), make_norm(norm, 16), activation(), separable(16, 32),
        *transition(32, second, norm, activation),
        separable(second, second, times=3),
        *transition(second, third, norm, activation),
        separable(third, third, times=3),
        nn.AdaptiveAvgPool2d(1), mix(third, 10),
    )


def shared(norm: str = "bn") -> Network:
    """The blocks share their weights and have more channels for them: 48,576 parameters."""
    return three_blocks(64, 160, norm)


def ours(norm: str = "bn") -> Network:
    """Our own network: the shared one with SiLU, and a wider second block for a narrower third: 47,232 parameters."""
    return three_blocks(96, 128, norm, nn.SiLU)
