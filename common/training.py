"""The training recipe: one epoch, the evaluation, and `fit`, which puts them together."""

import contextlib
import itertools
import math
import re
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Beta

from common import checkpoint as checkpoints
from common.ahead import augment_all, make_workers
from common.augmentation import alternating_flip
from common.data import Dataset, hold_out, normalize
from common.machine import machine
from common.optim import average_weights, make_optimizer, make_schedule
from common.precision import TRACE_STEPS, Precision, choose

FIT_PART = 20  # one training image in 20 is evaluated as the test's are: that takes at most 3 % of an epoch's time


@dataclass(frozen=True)
class Recipe:
    """Every hyperparameter of a training run."""

    epochs: int
    lr: float  # the peak of the schedule
    batch_size: int = 128
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0
    schedule: str = "constant"  # one of SCHEDULES
    warmup: float = 0.2  # one_cycle: the part of training in which the learning rate rises
    step_epochs: int = 6  # step: epochs between two drops
    gamma: float = 0.1  # step, plateau: the factor of a drop
    patience: int = 1  # plateau: epochs without a better validation loss that are borne; the next one brings a drop
    label_smoothing: float = 0.0
    mixup: float = 0.0  # alpha of the Beta distribution of the shares of two mixed images; 0: none is mixed
    l1: float = 0.0  # the weight of the sum of absolute weights in the loss
    average: float = 0.0  # decay per step of the moving average of the weights, which is then evaluated; 0: none
    muon: float = 0.0  # the peak of the schedule for the weights that Muon trains in place of SGD; 0: SGD trains all
    augmentation: tuple = ()  # steps of common.augmentation, e.g. (("affine", {"rotate": 7}),)
    alternating_flip: bool = False  # mirror each image in every other epoch
    validation: int = 0  # images held out of the training set, on which a plateau is judged
    train_images: int | None = None  # train on the first so many images only; None: on all


class DivergedError(Exception):
    """The loss is no longer a finite number."""


def train_epoch(model, batches, optimizer, recipe: Recipe, schedule=None, averaged=None,
                precision: Precision | None = None) -> tuple[list[float], float]:
    """Train `model` once over `batches` of (images, labels); `schedule` and `averaged` (see common.optim) follow.

    It trains in fp32, or as `precision` says. Returns the loss of each step and the accuracy in percent (of the batches
    as they were met). Raises DivergedError at the first loss that is not finite.
    """
    model.train()
    precision = precision or Precision()
    losses, correct, total = [], 0, 0
    cross_entropy = partial(F.cross_entropy, label_smoothing=recipe.label_smoothing)
    for images, labels in batches:
        if recipe.mixup:  # each with the image at its place from the end, whose label counts less
            share = Beta(recipe.mixup, recipe.mixup).sample().item()
            share = max(share, 1 - share)
            images = share * images + (1 - share) * images.flip(0)
        with precision.autocast():
            logits = model(images).float()
        loss = cross_entropy(logits, labels)
        if recipe.mixup:
            loss = share * loss + (1 - share) * cross_entropy(logits, labels.flip(0))
        if recipe.l1:
            loss = loss + recipe.l1 * sum(p.abs().sum() for p in model.parameters() if p.dim() > 1)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            if not images.isfinite().all():
                raise DivergedError(f"batch {len(losses)} has pixels that are no numbers: look at its augmentation")
            raise DivergedError(f"the loss is {losses[-1]} at batch {len(losses)}, with a learning rate of "
                                f"{optimizer.param_groups[0]['lr']:.3g}; try a smaller one")
        optimizer.zero_grad(set_to_none=True)
        precision.scale(loss).backward()
        precision.step(optimizer)
        if schedule and recipe.schedule != "plateau":  # which is judged after an epoch
            schedule.step()
        if averaged:
            averaged.update_parameters(model)
        correct += (logits.argmax(1) == labels).sum().item()
        total += len(labels)
    return losses, 100 * correct / total


@torch.inference_mode()
def predict(model: nn.Module, dataset: Dataset, batch_size: int = 1000) -> Tensor:
    """Return the logits (N, classes) of `model` in evaluation mode for every image of `dataset`."""
    model.eval()
    return torch.cat([model(normalize(images / 255, dataset.name)) for images in dataset.images.split(batch_size)])


class Misclassified(NamedTuple):
    """An image of which a network predicts the wrong class."""

    index: int  # its number in the data set
    label: int
    prediction: int
    confidence: float  # the probability of the predicted class, from 0 to 1


def find_misclassified(model: nn.Module, dataset: Dataset) -> list[Misclassified]:
    """Return what `model` gets wrong of `dataset`, in evaluation mode, the most confident mistake first."""
    confidence, predictions = predict(model, dataset).softmax(1).max(1)
    wrong = (predictions != dataset.labels).nonzero().flatten()
    rows = zip(*(values[wrong].tolist() for values in (dataset.labels, predictions, confidence)), strict=True)
    mistakes = [Misclassified(index, *row) for index, row in zip(wrong.tolist(), rows, strict=True)]
    return sorted(mistakes, key=lambda mistake: -mistake.confidence)


def evaluate(model: nn.Module, dataset: Dataset) -> tuple[float, float]:
    """Return the mean loss and the accuracy in percent of `model`; raises DivergedError where the loss isn't finite."""
    logits = predict(model, dataset)
    loss = F.cross_entropy(logits, dataset.labels).item()
    if not math.isfinite(loss):
        raise DivergedError(f"the loss of the evaluation is {loss}; try a smaller learning rate")
    return loss, 100 * (logits.argmax(1) == dataset.labels).double().mean().item()


def make_batches(dataset: Dataset, recipe: Recipe, generator: torch.Generator, epoch: int = 1, workers=None):
    """Yield epoch number `epoch` of augmented, normalized (images, labels) batches in random order.

    A last partial batch is left out. `workers` (see common.ahead) begin the next batches while one is trained on.
    Raises ValueError when `dataset` has fewer images than a batch.
    """
    if len(dataset.labels) < recipe.batch_size:
        raise ValueError(f"{len(dataset.labels)} training images don't fill a batch of {recipe.batch_size}: lower it")
    order = torch.randperm(len(dataset.labels), generator=generator, device=generator.device)
    indices = order.split(recipe.batch_size)[: len(order) // recipe.batch_size]
    plain = (dataset.images[index] / 255 for index in indices)
    for index, images in zip(indices, augment_all(plain, generator, recipe.augmentation, workers), strict=True):
        if recipe.alternating_flip:
            images = alternating_flip(images, index, epoch)
        yield normalize(images, dataset.name).contiguous(memory_format=torch.channels_last), dataset.labels[index]


def make_epochs(dataset: Dataset, recipe: Recipe, generator: torch.Generator, first: int = 1):
    """Yield (number, batches) of each epoch from the `first` on, with workers where they help, which end with it."""
    with make_workers(recipe.augmentation) as workers:
        for epoch in range(first, recipe.epochs + 1):
            yield epoch, make_batches(dataset, recipe, generator, epoch, workers)


def fit(model: nn.Module, train: Dataset, test: Dataset, recipe: Recipe, seed: int = 0, *,
        checkpoint: Path | None = None, max_steps: int | None = None, log=print) -> dict:
    """Train `model` in place, on the data's device, and evaluate it after every epoch; the test set chooses nothing.

    Where the recipe averages weights, the averaged ones are evaluated, and `model` ends with them. Each epoch is kept
    in `checkpoint`; where that file is there already, of the same run, training goes on from it. `max_steps` ends
    training in the epoch that reaches it.

    Returns {curve, trace, machine}: a dict an epoch {epoch, lr, train_loss, train_accuracy, fit_loss, fit_accuracy,
    test_loss, test_accuracy, seconds}, with validation_loss and validation_accuracy where the recipe holds images out;
    the losses of the first steps; what took them. train_* are of the batches as they were met; fit_* are of the first
    twentieth of the training images, measured as test_* are: after the epoch, unaugmented, in evaluation mode.

    Raises DivergedError, MemoryError, and ValueError for inputs that can't be trained with.
    """
    check_inputs(model, train, test, recipe)
    device = train.images.device
    model.to(device, memory_format=torch.channels_last)
    about = describe_run(model, train, recipe, seed)
    torch.manual_seed(seed)  # for dropout; the model's first weights are the caller's
    generator = torch.Generator(device).manual_seed(seed)
    train = train[: recipe.train_images]
    judged = {"test": test}
    if recipe.validation:
        train, judged["validation"] = hold_out(train, recipe.validation)
    judged = {"fit": train[: max(1, len(train) // FIT_PART)], **judged}
    steps_per_epoch = len(train.labels) // recipe.batch_size
    optimizer = make_optimizer(model, recipe)
    schedule = make_schedule(optimizer, recipe, steps_per_epoch)
    averaged = average_weights(model, recipe.average) if recipe.average else None
    evaluated = averaged.module if averaged else model
    precision = Precision(choose(device, train.name), device.type)
    history = {"curve": [], "trace": [], "machine": {**machine(device), "precision": precision.name}}
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule, "averaged": averaged, "precision": precision}
    if checkpoint and (unfinished := checkpoints.find_unfinished(checkpoint, about, log)):
        checkpoints.restore(unfinished, parts, generator)
        history = unfinished["history"]
    curve = history["curve"]

    for epoch, batches in make_epochs(train, recipe, generator, len(curve) + 1):
        start, lr = time.perf_counter(), optimizer.param_groups[0]["lr"]
        batches = itertools.islice(batches, max_steps)
        with explain_errors(epoch, recipe):
            losses, accuracy = train_epoch(model, batches, optimizer, recipe, schedule, averaged, precision)
            history["trace"] = (history["trace"] + losses)[:TRACE_STEPS]
            if max_steps and epoch * steps_per_epoch >= max_steps:
                break
            row = {"epoch": epoch, "lr": lr, "train_loss": sum(losses) / len(losses), "train_accuracy": accuracy}
            for name, split in judged.items():
                row[f"{name}_loss"], row[f"{name}_accuracy"] = evaluate(evaluated, split)
        if recipe.schedule == "plateau":
            schedule.step(row["validation_loss"])
        row["seconds"] = time.perf_counter() - start
        curve.append(row)
        log(progress_line(row, recipe.epochs, sum(r["seconds"] for r in curve)))
        if checkpoint:
            checkpoints.write(checkpoint, about, history, parts, generator)
    if averaged:
        model.load_state_dict(averaged.module.state_dict())
    return history


@contextlib.contextmanager
def explain_errors(epoch: int, recipe: Recipe):
    """Say in which epoch training diverged, and what to do where memory ran out."""
    try:
        yield
    except DivergedError as error:
        raise DivergedError(f"epoch {epoch}: {error}") from None
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise MemoryError(f"out of memory: halve the batch_size of {recipe.batch_size}") from error


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; on the CPU torch says so in words only."""
    return isinstance(error, torch.OutOfMemoryError) or bool(re.search("(allocate|not enough) memory", str(error)))


def check_inputs(model: nn.Module, train: Dataset, test: Dataset, recipe: Recipe) -> None:
    """Raise ValueError for data that can't be trained on, or a recipe that can't be run."""
    for name, split in (("training", train), ("test", test)):
        if not 0 < len(split.images) == len(split.labels):
            raise ValueError(f"the {name} split has {len(split.images)} images and {len(split.labels)} labels")
        last = len(split.classes) - 1
        if wrong := ((split.labels < 0) | (split.labels > last)).nonzero().flatten().tolist():
            raise ValueError(f"label {split.labels[wrong[0]]} of {name} image {wrong[0]} is no class: 0 to {last} are")
    sizes = [list(split.images.shape[1:]) for split in (train, test)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"training images are {sizes[0]} (channels, height, width), test images {sizes[1]}")
    if not 0 <= recipe.average < 1:
        raise ValueError(f"the recipe's average is {recipe.average}: a decay is at least 0 and below 1, such as 0.99")
    if recipe.schedule == "plateau" and not recipe.validation:
        raise ValueError("a plateau is judged on held-out images: set the recipe's validation")
    try_network(model, train)
    if recipe.batch_size == 1 and any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules()):
        raise ValueError("batch norm has nothing to compare in a batch of 1: use a larger batch_size, or another norm")


def try_network(model: nn.Module, train: Dataset) -> Tensor:
    """Return the logits (1, classes) of `model` in evaluation mode, on the data's device, for the first of its images.

    The modes of its layers and torch's random states stay. Raises ValueError where the network can't take the image or
    doesn't return a number a class, MemoryError where it is too large.
    """
    # It has a second use: it makes the parameters of lazy layers (nn.LazyConv2d), which could not be trained if they
    # were made in inference_mode; and after it a network with the old torch.nn.utils.weight_norm can be deep-copied.
    image = normalize(train.images[:1] / 255, train.name).contiguous(memory_format=torch.channels_last)
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng([image.device] if image.is_cuda else []):
            logits = model.to(image.device).eval()(image)
    except Exception as error:
        if out_of_memory(error):
            raise MemoryError("out of memory with one image: the network is too large for this machine") from error
        raise ValueError(f"the network can't take images of {list(image.shape[1:])} (channels, height, width): "
                         + f"{type(error).__name__}: {error}".splitlines()[0]) from error
    finally:
        for module, training in modes:
            module.training = training
    output = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if output != (1, len(train.classes)):
        raise ValueError(f"the network's output for one image is {output}, not (1, {len(train.classes)})")
    return logits


def describe_run(model: nn.Module, train: Dataset, recipe: Recipe, seed: int) -> dict:
    """Say which run a checkpoint belongs to, which no other goes on from; an edited forward shows in the output."""
    return {"recipe": repr(recipe), "seed": seed, "data": f"{train.name}, {len(train.labels)} images",
            "device": train.images.device.type, "precision": choose(train.images.device, train.name),
            "network": repr(model),
            "weights": [(name, list(value.shape)) for name, value in model.state_dict().items()],
            "output": first_output(model, train)}


def first_output(model: nn.Module, train: Dataset) -> list[str]:
    """Return the logits for the first image, rounded: they tell networks with the same layers and weights apart."""
    return [f"{logit:.3g}" for logit in try_network(model, train).flatten().tolist()]


def progress_line(row: dict, epochs: int, elapsed: float) -> str:
    """One line of plain text for an epoch's row of the curve; `elapsed` seconds were spent so far."""
    minutes, seconds = divmod(round(elapsed / row["epoch"] * (epochs - row["epoch"])), 60)
    return (f"epoch {row['epoch']:2d}/{epochs}  lr {row['lr']:.4f}  train loss {row['train_loss']:.4f} "
            f"{row['train_accuracy']:6.2f} %  test loss {row['test_loss']:.4f} {row['test_accuracy']:6.2f} %  "
            f"{row['seconds']:5.1f} s, {minutes}:{seconds:02} left")
