"""The building blocks that the networks share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Network(nn.Sequential):
    """Layers one after the other, the last of which leaves one value a class: (N, C, H, W) -> (N, classes)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flatten(1)


def mix(inputs: int, outputs: int) -> nn.Conv2d:
    """A 1x1 convolution, which mixes the channels at each position."""
    return nn.Conv2d(inputs, outputs, 1, bias=False)


class Dropout(nn.Dropout):
    """`nn.Dropout` whose random bits are drawn eight activations at a time.

    On a CPU `nn.Dropout` draws one random number per activation, one after the other, and that costs a small network
    20 to 40 % of its training step. One 64-bit number holds eight bytes; an activation is dropped where its byte is
    below p * 256. So `p` is rounded to a multiple of 1/256, and the rest is scaled by the probability really used.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scaled_mask(x) if self.is_active() else x

    def is_active(self) -> bool:
        return self.training and self.threshold() > 0

    def threshold(self) -> int:
        return round(self.p * 256)

    def scale(self) -> float:
        return 256 / max(256 - self.threshold(), 1)

    def scaled_mask(self, x: Tensor) -> Tensor:
        """Return a tensor like `x`: zero where it is dropped, the scale where it is kept."""
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        mask = torch.empty_like(x, requires_grad=False)  # one laid out otherwise than x halves the speed
        draws = words.view(torch.uint8)[: x.numel()].as_strided(mask.shape, mask.stride())
        torch.gt(draws, self.threshold() - 1, out=mask)  # by way of booleans it takes seven times as long
        return mask.mul_(self.scale())


class ReluDropout(Dropout):
    """ReLU, then `Dropout`, as one step: a large map is written and read less often."""

    def forward(self, x: Tensor) -> Tensor:
        return _ReluTimesMask.apply(x, self.scaled_mask(x), self.scale()) if self.is_active() else torch.relu(x)


class _ReluTimesMask(torch.autograd.Function):
    """relu(x) * mask. Only the product is kept for the gradient: where it isn't zero, the gradient is the scale."""

    @staticmethod
    def forward(ctx, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        product = torch.relu(x).mul_(mask)
        ctx.save_for_backward(product)
        ctx.scale = scale
        return product

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        product, = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, product, 0).mul_(ctx.scale), None, None  # ReLU's own


NORMS = ("bn", "gn", "ln")


def make_norm(norm: str | Callable[[int], nn.Module], channels: int, groups: int = 2, affine: bool = True) -> nn.Module:
    """Return a normalization layer for maps of shape (N, `channels`, H, W): `norm(channels)`, or that of this name.

    "bn": batch norm, over the images of the batch and all positions, each channel by itself (Ioffe and Szegedy, 2015).
    "gn": group norm, over all positions of one image, each of `groups` groups of channels by itself (Wu and He, 2018).
    "ln": layer norm, over all channels and positions of one image (Ba, Kiros and Hinton, 2016), which is group norm
    with one group. All three have a learned scale and shift for each channel, where `affine` says so.

    Raises ValueError for an unknown norm, or for a number of groups that doesn't divide the channels.
    """
    if callable(norm):
        return norm(channels)
    if norm == "bn":
        return nn.BatchNorm2d(channels, affine=affine)
    if norm == "gn":
        if groups < 1 or channels % groups:
            raise ValueError(f"{channels} channels can't be split into {groups} groups of equal size: "
                             "choose a number of groups that divides them")
        return nn.GroupNorm(groups, channels, affine=affine)
    if norm == "ln":
        return nn.GroupNorm(1, channels, affine=affine)
    raise ValueError(f"unknown norm {norm!r}; known: {', '.join(NORMS)}")


class SeparableConv(nn.Module):
    """A 3x3 convolution split in two: one 3x3 filter a channel (depthwise), then a 1x1 mix of the channels.

    It costs 9 x inputs + inputs x outputs weights instead of 9 x inputs x outputs; see Chollet, "Xception", 2017. A
    norm and an activation (ReLU, or a layer made by `activation()`) follow. Where the shape of the map stays, the input
    is added before the activation. The same weights may be used several `times` in a row, each time with a norm of its
    own.
    """

    def __init__(self, inputs: int, outputs: int, norm: str = "bn", times: int = 1, stride: int = 1,
                 dilation: int = 1, activation: Callable[[], nn.Module] = nn.ReLU):
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=dilation, dilation=dilation, groups=inputs,
                                   bias=False)
        self.pointwise = mix(inputs, outputs)
        self.norms = nn.ModuleList(make_norm(norm, outputs) for _ in range(times))
        self.activation = activation()
        self.residual = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        for norm in self.norms:
            y = norm(self.pointwise(self.depthwise(x)))
            x = self.activation(x + y if self.residual else y)
        return x


class InvertedBottleneck(nn.Module):
    """A 1x1 convolution to `middle` channels, a depthwise 3x3, a 1x1 down to `outputs`, and the input added.

    Each with batch norm, the first two with ReLU; a 1x1 convolution fits the input where the channels change. After
    Sandler et al., "MobileNetV2", 2018.
    """

    def __init__(self, inputs: int, middle: int, outputs: int):
        super().__init__()
        self.expand = nn.Sequential(mix(inputs, middle), nn.BatchNorm2d(middle), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(middle, middle, 3, padding=1, groups=middle, bias=False),
                                       nn.BatchNorm2d(middle), nn.ReLU())
        self.project = nn.Sequential(mix(middle, outputs), nn.BatchNorm2d(outputs))
        self.skip = nn.Identity() if inputs == outputs else nn.Sequential(mix(inputs, outputs), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.depthwise(self.expand(x))) + self.skip(x)


class SeparablePool(nn.Module):
    """A depthwise 3x3 convolution and a 1x1 mix of the channels, batch norm and ReLU after each, and a max-pool.

    The pool stands before the last norm, which then has a quarter of the pixels to work on. In evaluation the
    result is that of pooling at the end, as long as the norm's scale is positive; in training the norm's mean and
    deviation are those of the maxima.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.norm1 = nn.BatchNorm2d(inputs)
        self.pointwise = mix(inputs, outputs)
        self.pool = nn.MaxPool2d(2)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm1(self.depthwise(x)))
        return self.relu(self.norm2(self.pool(self.pointwise(y))))


class Repeated(nn.Module):
    """One depthwise 3x3 convolution and one 1x1 mix, used `times` times in a row, the input added each time.

    Depth for few parameters: only the batch norms, which see other maps each time, are not shared. After Lan et al.,
    "ALBERT", 2019, who share the weights of all layers of a language model.
    """

    def __init__(self, channels: int, times: int):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = mix(channels, channels)
        self.norms1 = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(times))
        self.norms2 = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(times))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        for norm1, norm2 in zip(self.norms1, self.norms2, strict=True):
            y = self.relu(norm1(self.depthwise(x)))
            x = self.relu(x + norm2(self.pointwise(y)))
        return x


class EveryScale(nn.Module):
    """One depthwise 3x3 convolution and one 1x1 mix for maps of two sizes, with a max-pool between them.

    They are used `times` times in a row for each size, the input added each time. Every use has statistics of its own
    to normalize by; even the scale and the shift that follow are shared. So depth costs no parameter.
    """

    def __init__(self, channels: int, times: int):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = mix(channels, channels)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, affine=False) for _ in range(2 * times))
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.pool = nn.MaxPool2d(2)
        self.activation = nn.SiLU()
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        for use, norm in enumerate(self.norms):
            if use and use % self.times == 0:
                x = self.pool(x)
            y = norm(self.pointwise(self.depthwise(x)))
            x = self.activation(x + self.scale * y + self.shift)
        return x
