"""The course on a GPU, which is pretended: nothing of it is made on the CPU, or used as if it were there."""

import copy
import inspect
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from pretended_gpu import CPU, GPU, pretend
from test_augmentation import OPTIONS
from test_checkpoint import Stopped, stop_after
from test_training import NETWORKS as READERS_OWN
from torch import nn

from common import anatomy, grad_cam, plots, receptive_field, tables
from common.augmentation import AUGMENTATIONS, BRIEF, BRIEF_BATCHED, augment, crop
from common.data import MEAN, Dataset, hold_out
from common.layers import NORMS, Network
from common.machine import machine
from common.models import s7, s8, s9
from common.optim import SCHEDULES
from common.pretrained import pretrained
from common.training import Recipe, evaluate, find_misclassified, fit, predict
from tools import freshness

torch.set_num_threads(1)
MODELS = [make for module in (s7, s8, s9) for make in vars(module).values()
          if inspect.isfunction(make) and inspect.get_annotations(make)["return"] is Network and
          all(parameter.default is not parameter.empty for parameter in inspect.signature(make).parameters.values())]
NETWORKS = {f"{make.__module__}.{make.__name__} {norm}": partial(make, *norm.split()) for make in MODELS
            for norm in (NORMS if make.__module__ == s8.__name__ else [""])}
RECIPE = Recipe(epochs=1, lr=0.01, batch_size=4, muon=0.01, average=0.9, l1=1e-5, validation=2, alternating_flip=True,
                schedule="one_cycle", augmentation=(("crop", {"padding": 2}), ("affine", {"rotate": 5.0})))
quiet_fit = partial(fit, log=lambda line: None)


@pytest.fixture
def gpu():
    with pretend() as gpu:
        yield gpu


@pytest.fixture
def splits(gpu):
    """Noise in the place of CIFAR-10, on the GPU: a training and a test split."""
    images, labels = torch.randint(256, (18, 3, 32, 32), dtype=torch.uint8), torch.arange(18) % 10
    noise = Dataset("cifar10", images.to(GPU), labels.to(GPU), tuple("abcdefghij"))
    return noise[:10], noise[10:]


def grey(split: Dataset) -> Dataset:
    return replace(split, name="mnist", images=split.images[:, :1, :28, :28])


def on_gpu(module: nn.Module) -> bool:
    return all(value.device == GPU for value in module.state_dict().values())


@pytest.mark.parametrize("mistake, message", [
    (lambda x: x + torch.ones(3), "same device"), (lambda x: torch.stack([x, torch.ones(3)]), "same device"),
    (lambda x: torch.ones(3)[x.long()], "same device"), (lambda x: x[None][torch.arange(1), x.long()], "same device"),
    (lambda x: nn.Linear(3, 1)(x), "same device"), (lambda x: nn.Linear(3, 1).to(GPU)(x.cpu()), "same device"),
    (lambda x: x.numpy(), "Use Tensor.cpu"), (lambda x: np.array([x, x]), "Use Tensor.cpu"),
    (lambda x: torch.rand(3, device=x.device, generator=torch.Generator()), "generator"),
    (lambda x: torch.randperm(3, generator=torch.Generator(x.device)), "generator"),
    (lambda x: crop(x.view(1, 1, 1, 3), torch.Generator(), 0), "generator"),
])
def test_it_refuses_what_a_gpu_would(gpu, mistake, message):
    x = torch.zeros(3, device=GPU)
    with pytest.raises((RuntimeError, TypeError), match=message):
        mistake(x)
    assert x[torch.arange(2)].device == (x + torch.tensor(1)).device == torch.zeros(3).to(x.device).device == GPU
    assert torch.zeros(3).device == x.cpu().device == torch.zeros(3).copy_(x).device == CPU


@pytest.mark.parametrize("step", [*((name, OPTIONS[name]) for name in AUGMENTATIONS), *BRIEF, *BRIEF_BATCHED,
                                  ("crop", {"fill": MEAN["cifar10"]})], ids=lambda step: step[0])
def test_augmentation(splits, step):
    assert augment(splits[0].images / 255, torch.Generator(GPU), (step,)).device == GPU


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_course(splits, name):
    data, network = map(grey, splits) if ".s7." in name else splits, NETWORKS[name]()
    quiet_fit(network, *data, RECIPE)
    assert on_gpu(network)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("name", [name for name in READERS_OWN if name != "lazy"])  # whose parameters can't pretend
def test_networks_of_readers(splits, name):
    network = READERS_OWN[name]()
    quiet_fit(network, *map(grey, splits), RECIPE)
    assert on_gpu(network)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("change", [{}, {"muon": 0.0, "average": 0.0}], ids=["Muon, average", "SGD"])
def test_a_stopped_run_goes_on(splits, tmp_path, schedule, change):
    recipe, splits = replace(RECIPE, epochs=2, schedule=schedule, **change), list(map(grey, splits))
    run = {"recipe": recipe, "checkpoint": tmp_path / "run.pt"}
    network, lines = s7.regularized(), []
    with pytest.raises(Stopped):
        fit(copy.deepcopy(network), *splits, **run, log=stop_after(2))
    fit(network, *splits, **run, log=lines.append)
    assert "goes on" in lines[0] and len(lines) == 2 and on_gpu(network)


def test_what_comes_after_training(splits):
    train, test = splits
    network = s9.ours().to(GPU)
    guess, mistakes = predict(network, test).argmax(1), find_misclassified(network, test)
    assert evaluate(network, test)[1] == 100 * (guess == test.labels).double().mean().item()
    assert all(part.images.device == part.labels.device == GPU for part in hold_out(train, 3))
    plots.samples(train.images / 255, train.labels, train.classes)
    plots.misclassified(test.images, mistakes, test.classes)
    plots.confusion_matrix(test.labels, guess, test.classes)
    grad_cam.show(network, network[-4], test, torch.tensor([mistake.index for mistake in mistakes]), guess, "title")
    shape = (3, 32, 32)
    assert receptive_field.measure_field(network, shape) == receptive_field.measure_field(s9.ours(), shape)
    assert receptive_field.largest_field(network, shape) == receptive_field.largest_field(s9.ours(), shape)
    plots.footprints({"window": receptive_field.window(network, shape)})
    assert anatomy.torchsummary_table(network, shape) == anatomy.torchsummary_table(s9.ours(), shape)
    assert "million" in tables.cost(network, shape) and on_gpu(network)
    recipe = replace(RECIPE, epochs=20)
    losses = freshness.first_losses(copy.deepcopy(network), splits, recipe, 0, threads=1)
    result = {**machine(GPU), "seed": 0, "trace": [loss * 1.0005 for loss in losses]}  # it rounds anew each time
    assert freshness.compare_numbers(result, {}, network, splits, recipe, has_weights=False) is None
    evaluate(pretrained("S7_mnist/3_augmentation", "one_block_45").to(GPU), grey(test))
