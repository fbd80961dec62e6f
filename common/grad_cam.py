"""Where a network looks: Grad-CAM."""

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from common import plots
from common.data import Dataset, normalize


def grad_cam(model: nn.Module, inputs: Tensor, layer: nn.Module, classes: Tensor | None = None) -> Tensor:
    """Return where the output of `layer` speaks for a class, for each of `inputs`.

    Each of the layer's channels counts by how much the class's logit grows with it, on average over the map; what
    remains below zero speaks against the class and is cut off. After Selvaraju et al., "Grad-CAM", 2017.

    Args:
        model: a network; it is put into evaluation mode.
        inputs: normalized images (N, C, H, W) on the model's device.
        layer: a module of the network whose output is a map.
        classes: the class of each image (N); None: the one that `model` predicts.
    Returns:
        maps (N, H, W), as large as the images: what each position adds to the logit, or 0 where it adds nothing.
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
    classes = logits.argmax(1) if classes is None else classes
    gradient, = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), maps[-1])
    weighted = (gradient.mean((2, 3), keepdim=True) * maps[-1]).sum(1, keepdim=True).relu().detach()
    return F.interpolate(weighted, inputs.shape[2:], mode="bilinear", align_corners=False).squeeze(1)


def show(model: nn.Module, layer: nn.Module, dataset: Dataset, images: Tensor, predictions: Tensor,
         title: str) -> Figure:
    """Draw the images of `dataset` with the numbers `images`, and below each the `grad_cam` of its predicted class.

    Where some are wrong, that of the true class follows, on the same scale. `predictions` are those for the whole of
    `dataset`.
    """
    pictures, labels = dataset.images[images] / 255, dataset.labels[images]
    classes = {"predicted class": predictions[images]}
    if (predictions[images] != labels).any():
        classes["true class"] = labels
    maps = {name: grad_cam(model, normalize(pictures, dataset.name), layer, chosen.to(pictures.device))
            for name, chosen in classes.items()}
    most = torch.stack(list(maps.values())).amax((0, 2, 3)).clamp(min=1e-12)[:, None, None]  # of each image
    captions = [f"true: {dataset.classes[dataset.labels[k]]}\npredicted: {dataset.classes[predictions[k]]}"
                for k in images.tolist()]
    return plots.heat(pictures, {name: found / most for name, found in maps.items()}, captions, title)
