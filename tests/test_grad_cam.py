"""Grad-CAM on networks whose answer is known."""

import copy

import pytest
import torch
from torch import nn

from common.data import Dataset
from common.grad_cam import grad_cam, show

torch.set_num_threads(1)


def bright_or_dark(*layers) -> nn.Sequential:
    """Class 0 counts bright pixels, class 1 dark ones."""
    conv = nn.Conv2d(1, 2, 1, bias=False)
    conv.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    return nn.Sequential(conv, *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_it_finds_what_speaks_for_the_class():
    images = torch.zeros(2, 1, 8, 8)
    images[0, 0, 1:3, 1:3] = 2.0  # bright: class 0
    images[1, 0, 5:7, 4:6] = -3.0  # dark: class 1
    model = bright_or_dark(nn.ReLU())
    maps = grad_cam(model, images.clone(), model[1])
    assert torch.equal(maps > 0, (images != 0).squeeze(1)) and maps.amax((1, 2)).tolist() == [2 / 64, 3 / 64]
    torch.testing.assert_close(maps.sum((1, 2)), model(images).amax(1))  # each position's part of the logit
    assert not grad_cam(model, images, model[1], torch.tensor([1, 0])).any()  # nothing speaks for the other class
    images = torch.full((1, 1, 4, 4), -1.0)  # what speaks against it is cut off
    images[..., 0] = 9.0
    model = bright_or_dark()  # without ReLU: they cancel out
    maps = grad_cam(model, images, model[0])
    assert (maps[0, :, 0] == 9 / 16).all() and (maps[0, :, 1:] == 0).all()


def test_a_small_map_is_enlarged_and_the_model_left_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    before, inputs = copy.deepcopy(model.state_dict()), torch.randn(5, 3, 32, 32)
    maps = grad_cam(model, inputs, model[0])
    assert maps.shape == (5, 32, 32) and 0 <= maps.min() and not inputs.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and not model[0]._forward_hooks
    with pytest.raises(ValueError, match="doesn't use this layer"):
        grad_cam(model, inputs, nn.ReLU())


def test_the_figure_names_true_and_predicted_class():
    data = Dataset("cifar10", torch.zeros(5, 3, 32, 32, dtype=torch.uint8), torch.arange(5), list("abcdefghij"))
    model = nn.Sequential(nn.Conv2d(3, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    axes = show(model, model[0], data, torch.tensor([1, 4]), torch.tensor([9, 8, 7, 6, 5]), "some").axes
    assert [ax.get_title() for ax in axes if ax.get_title()] == ["true: b\npredicted: i", "true: e\npredicted: f"]
