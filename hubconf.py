"""The course's own networks for torch.hub: torch.hub.load("owner/small-cnn-course", "s8_ours", norm="bn").

Each takes images of shape (N, C, H, W), normalized by the mean and standard deviation of its data set (see
common/data.py), and returns logits (N, 10). With trained=False it has random weights.
"""

from common.models import s7, s8, s9
from common.pretrained import pretrained

dependencies = ["torch", "torchsummary"]


def s7_ours(trained: bool = True):
    """MNIST (1, 28, 28), 7,916 parameters."""
    return pretrained("S7_mnist/3_augmentation", "ours") if trained else s7.ours()


def s7_smallest(trained: bool = True):
    """MNIST (1, 28, 28), 3,465 parameters: one block at every scale."""
    return pretrained("S7_mnist/3_augmentation", "one_block_45") if trained else s7.one_block(45)


def s8_ours(norm: str = "bn", trained: bool = True):
    """CIFAR-10 (3, 32, 32), 47,232 parameters; `norm` is "bn", "gn" or "ln"."""
    return pretrained("S8_norms/4_three_norms", "ours", norm) if trained else s8.ours(norm)


def s9_ours(trained: bool = True):
    """CIFAR-10 (3, 32, 32), 193,930 parameters."""
    return pretrained("S9_advanced_conv/4_ours", "ours") if trained else s9.ours()
