"""The building blocks that the networks share."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout` whose random bits are drawn eight activations at a time.

    On a CPU `nn.Dropout` draws one random number per activation, one after the other, and that costs a small network
    20 to 40 % of its training step. One 64-bit number holds eight bytes; an activation is dropped where its byte is
    below p * 256. So `p` is rounded to a multiple of 1/256, and the rest is scaled by the probability really used.
    """

    def forward(self, x: Tensor) -> Tensor:
        threshold = round(self.p * 256)
        if not self.training or threshold == 0:
            return x
        if threshold == 256:  # no byte reaches it
            return super().forward(x)
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        strides = torch.empty_like(x, device="meta").stride()  # a mask laid out otherwise than x halves the speed
        draws = words.view(torch.uint8)[: x.numel()].as_strided(x.shape, strides)
        return x * ((draws >= threshold) * (256 / (256 - threshold)))


class SeparableConv(nn.Module):
    """A 3x3 convolution split in two: one 3x3 filter a channel (depthwise), then a 1x1 mix of the channels.

    It costs 9 x inputs + inputs x outputs weights instead of 9 x inputs x outputs; see Chollet, "Xception", 2017. Batch
    norm and ReLU follow. Where the number of channels stays, the input is added before ReLU.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.residual = inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.pointwise(self.depthwise(x)))
        return self.relu(x + y if self.residual else y)


class SeparableBlock(nn.Module):
    """A depthwise 3x3 convolution and a 1x1 mix of the channels, batch norm and ReLU after each.

    With `pool`, a max-pool stands before the last norm, which then has a quarter of the pixels to work on; the result
    is that of pooling at the end, as long as the norm's scale is positive. Without it, and where the number of
    channels stays, the input is added before the last ReLU.
    """

    def __init__(self, inputs: int, outputs: int, pool: bool = False):
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.norm1 = nn.BatchNorm2d(inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.residual = inputs == outputs and not pool

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm1(self.depthwise(x)))
        y = self.norm2(self.pool(self.pointwise(y)))
        return self.relu(x + y if self.residual else y)
