"""Where a network looks: Grad-CAM."""

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from common import plots
from common.data import Dataset, normalize


def grad_cam(model: nn.Module, inputs: Tensor, layer: nn.Module) -> Tensor:
    """Return where the output of `layer` speaks for the class that `model` predicts, for each of `inputs`.

    Each of the layer's channels counts by how much the class's logit grows with it, on average over the map; what
    remains below zero speaks against the class and is cut off. After Selvaraju et al., "Grad-CAM", 2017.

    Args:
        model: a network; it is put into evaluation mode.
        inputs: normalized images (N, C, H, W) on the model's device.
        layer: a module of the network whose output is a map.
    Returns:
        maps (N, H, W), as large as the images, each from 0 to 1 (or all 0, where nothing speaks for the class).
    Raises:
        ValueError: the network doesn't use `layer`.
    """
    maps = []
    hook = layer.register_forward_hook(lambda module, inputs, output: maps.append(output))
    try:
        logits = model.eval()(inputs.detach().clone().requires_grad_())
    finally:
        hook.remove()
    if not maps:
        raise ValueError("the network doesn't use this layer: take one of its own modules")
    gradient, = torch.autograd.grad(logits.max(1).values.sum(), maps[-1])
    weighted = (gradient.mean((2, 3), keepdim=True) * maps[-1]).sum(1, keepdim=True).relu().detach()
    large = F.interpolate(weighted, inputs.shape[2:], mode="bilinear", align_corners=False).squeeze(1)
    return large / large.amax((1, 2), keepdim=True).clamp(min=1e-12)


def show(model: nn.Module, layer: nn.Module, dataset: Dataset, images: Tensor, predictions: Tensor,
         title: str) -> Figure:
    """Draw the images of `dataset` with the numbers `images`, and `grad_cam` over each; `predictions` for all of it."""
    pictures = dataset.images[images] / 255
    captions = [f"true: {dataset.classes[dataset.labels[k]]}\npredicted: {dataset.classes[predictions[k]]}"
                for k in images.tolist()]
    return plots.heat(pictures, grad_cam(model, normalize(pictures, dataset.name), layer), captions, title)
