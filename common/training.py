"""The training recipe: one epoch, the evaluation, and `fit`, which puts them together."""

import contextlib
import copy
import itertools
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from common.augmentation import alternating_flip, augment
from common.checkpoint import load, restore, save
from common.data import Dataset, hold_out, normalize
from common.machine import machine

TRACE_STEPS = 20  # the losses of the first steps are kept with a result, to tell later whether today's code repeats it


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
    l1: float = 0.0  # the weight of the sum of absolute weights in the loss
    average: float = 0.0  # decay per step of the moving average of the weights, which is then evaluated; 0: none
    muon: float = 0.0  # the peak of the schedule for the weights that Muon trains in place of SGD; 0: SGD trains all
    augmentation: tuple = ()  # steps of common.augmentation, e.g. (("affine", {"rotate": 7}),)
    alternating_flip: bool = False  # mirror each image in every other epoch
    validation: int = 0  # images held out of the training set, on which a plateau is judged
    train_images: int | None = None  # train on the first so many images only; None: on all


class DivergedError(Exception):
    """The loss is no longer a finite number."""


SCHEDULES = ("constant", "step", "plateau", "one_cycle")


def one_cycle(progress: float, warmup: float) -> float:
    """Return the learning rate at `progress` in [0, 1] of training, as a part of its peak.

    It rises linearly to 1 over the first `warmup` of training and falls linearly to 0 at the end. After Smith and
    Topin, "Super-Convergence", 2018, with straight lines.
    """
    rise = progress / warmup if warmup > 0 else 1.0
    fall = (1 - progress) / (1 - warmup) if warmup < 1 else 1.0
    return min(rise, fall)


def make_schedule(optimizer, recipe: Recipe, steps_per_epoch: int):
    """Return (scheduler, after_step, after_epoch): torch's scheduler, and what to call after each step and each epoch.

    `after_epoch` takes the validation loss. Raises ValueError for an unknown schedule.
    """
    schedulers = torch.optim.lr_scheduler
    no_step, no_epoch = (lambda: None), (lambda loss: None)
    if recipe.schedule == "constant":
        return schedulers.ConstantLR(optimizer, factor=1), no_step, no_epoch
    if recipe.schedule == "step":
        step = schedulers.StepLR(optimizer, recipe.step_epochs, recipe.gamma)
        return step, no_step, lambda loss: step.step()
    if recipe.schedule == "plateau":
        plateau = schedulers.ReduceLROnPlateau(optimizer, factor=recipe.gamma, patience=recipe.patience)
        return plateau, no_step, plateau.step
    if recipe.schedule == "one_cycle":
        total = recipe.epochs * steps_per_epoch
        cycle = schedulers.LambdaLR(optimizer, lambda step: one_cycle((step + 1) / (total + 1), recipe.warmup))
        return cycle, cycle.step, no_epoch
    raise ValueError(f"unknown schedule {recipe.schedule!r}; known: {', '.join(SCHEDULES)}")


class Muon(torch.optim.Optimizer):
    """SGD with Nesterov momentum, whose groups with "orthogonal" step by the nearest orthogonal matrix to the momentum.

    A convolution's weight counts as a matrix of outputs x (inputs * kernel). Its gradients are nearly of low rank: a
    few directions are learned and the others wait. The orthogonal matrix has all directions in equal length. After
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(self, groups: list[dict], lr: float, momentum: float):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                gradient = weight.grad.add(weight, alpha=group["weight_decay"])
                momentum = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                momentum.mul_(group["momentum"]).add_(gradient)
                step = gradient.add(momentum, alpha=group["momentum"])
                if group["orthogonal"]:
                    matrix = step.flatten(1)
                    step = orthogonal(matrix).view_as(weight) * max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
                weight.sub_(step, alpha=group["lr"])


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """Return roughly the nearest matrix to `matrix` whose rows, or columns, are orthogonal and of length 1.

    Newton and Schulz's iteration with the coefficients of Jordan et al., which end between 0.7 and 1.2 quickly rather
    than at 1 slowly.
    """
    x = matrix / (matrix.norm() + 1e-7)
    if wide := x.shape[0] <= x.shape[1]:
        x = x.T
    for _ in range(steps):
        gram = x.T @ x
        x = 3.4445 * x + x @ (-4.7750 * gram + 2.0315 * gram @ gram)
    return x.T if wide else x


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return SGD over the trainable parameters, or `Muon` where the recipe says so.

    Weight decay works only on the weights of convolutions and linear layers that SGD trains. Depthwise convolutions,
    whose matrix would be a list of single filters, are left to SGD, and so are all vectors.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in parameters if recipe.muon and p.dim() > 1 and p.shape[1] > 1]
    others = [p for p in parameters if not any(p is matrix for matrix in matrices)]
    groups = [{"params": [p for p in others if p.dim() > 1], "weight_decay": recipe.weight_decay},
              {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if matrices:
        return Muon([*groups, {"params": matrices, "lr": recipe.muon, "orthogonal": True}], recipe.lr, recipe.momentum)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum,
                           nesterov=recipe.nesterov and recipe.momentum > 0)


def average_weights(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of `model` whose parameters and buffers follow it as an exponential moving average.

    The decay grows from 0 towards `decay` over the first steps, so that the average forgets the random start.
    """
    @torch.no_grad()
    def update(averaged, current, count):
        weight = 1 - min(decay, (1 + float(count)) / (10 + float(count)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, weight)
        else:
            torch._foreach_copy_(averaged, current)  # the batch counter of batch norm

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def train_epoch(model, batches, optimizer, recipe: Recipe, after_step) -> tuple[float, float, list[float]]:
    """Train `model` once over `batches` of (images, labels).

    Returns the mean loss, the accuracy in percent (of the batches as they were met) and the loss of each step.
    Raises DivergedError at the first loss that is not finite.
    """
    model.train()
    losses, correct, total = [], 0, 0
    for images, labels in batches:
        logits = model(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        if recipe.l1:
            loss = loss + recipe.l1 * sum(p.abs().sum() for p in model.parameters() if p.dim() > 1)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            if not images.isfinite().all():
                raise DivergedError(f"batch {len(losses)} has pixels that are no numbers: look at its augmentation")
            raise DivergedError(f"the loss is {losses[-1]} at batch {len(losses)}, with a learning rate of "
                                f"{optimizer.param_groups[0]['lr']:.3g}; try a smaller one")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        after_step()
        correct += (logits.argmax(1) == labels).sum().item()
        total += len(labels)
    return sum(losses) / len(losses), 100 * correct / total, losses


@torch.inference_mode()
def predict(model: nn.Module, dataset: Dataset, batch_size: int = 1000) -> Tensor:
    """Return the logits (N, classes) of `model` in evaluation mode for every image of `dataset`."""
    model.eval()
    return torch.cat([model(normalize(images / 255, dataset.name)) for images in dataset.images.split(batch_size)])


def evaluate(model: nn.Module, dataset: Dataset) -> tuple[float, float]:
    """Return the mean cross-entropy and the accuracy in percent of `model` on `dataset`."""
    logits = predict(model, dataset)
    accuracy = (logits.argmax(1) == dataset.labels).double().mean().item()
    return F.cross_entropy(logits, dataset.labels).item(), 100 * accuracy


def make_batches(dataset: Dataset, recipe: Recipe, generator: torch.Generator, epoch: int = 1):
    """Yield epoch number `epoch` of augmented, normalized (images, labels) batches in random order.

    A last partial batch is left out. Raises ValueError when `dataset` has fewer images than a batch.
    """
    if len(dataset.labels) < recipe.batch_size:
        raise ValueError(f"{len(dataset.labels)} training images don't fill a batch of {recipe.batch_size}; "
                         "use a smaller batch_size or more images")
    order = torch.randperm(len(dataset.labels), generator=generator, device=generator.device)
    for index in order.split(recipe.batch_size)[: len(order) // recipe.batch_size]:
        images = augment(dataset.images[index] / 255, generator, recipe.augmentation)
        if recipe.alternating_flip:
            images = alternating_flip(images, index, epoch)
        yield normalize(images, dataset.name).contiguous(memory_format=torch.channels_last), dataset.labels[index]


def fit(model: nn.Module, train: Dataset, test: Dataset, recipe: Recipe, seed: int = 0, *,
        checkpoint: Path | None = None, max_steps: int | None = None, log=print) -> dict:
    """Train `model` in place, on the device that holds the data, and evaluate it after every epoch.

    Where the recipe averages weights, the averaged ones are evaluated, and `model` ends with them. The test set is
    evaluated for the curve alone: nothing is chosen by it. After each epoch all that training needs to go on is
    written to `checkpoint`; where that file is there already, of the same run, training goes on from it. `max_steps`
    ends training early: an epoch that it cuts short is not evaluated.

    Returns {curve, trace, machine}: the curve is a dict an epoch {epoch, lr, train_loss, train_accuracy, test_loss,
    test_accuracy, seconds}, with validation_loss and validation_accuracy where the recipe holds images out; the trace
    are the losses of the first steps, and `machine` (see there) is what took them.
    Raises DivergedError when the loss is no longer finite, MemoryError, and ValueError for data or a recipe that can't
    be run.
    """
    check(model, train, test, recipe)
    device = train.images.device
    about = whose(model, train, recipe, seed)
    saved = unfinished(checkpoint, about, model, train, test, recipe, seed, log) if checkpoint else None
    torch.manual_seed(seed)  # for dropout; the model's first weights are the caller's
    generator = torch.Generator(device).manual_seed(seed)
    model.to(device, memory_format=torch.channels_last)
    if recipe.train_images is not None:
        train = train[: recipe.train_images]
    train, validation = hold_out(train, recipe.validation) if recipe.validation else (train, None)
    steps_per_epoch = len(train.labels) // recipe.batch_size
    optimizer = make_optimizer(model, recipe)
    scheduler, scheduler_step, scheduler_epoch = make_schedule(optimizer, recipe, steps_per_epoch)
    averaged = average_weights(model, recipe.average) if recipe.average else None
    evaluated = model if averaged is None else averaged.module
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    if averaged is not None:
        parts["averaged"] = averaged
    history, steps = {"curve": [], "trace": [], "machine": machine(device)}, 0
    if saved:
        restore(saved, parts, generator)
        history = saved["history"]
    curve = history["curve"]

    def after_step():
        nonlocal steps
        steps += 1
        scheduler_step()
        if averaged is not None:
            averaged.update_parameters(model)

    for epoch in range(len(curve) + 1, recipe.epochs + 1):
        start, lr = time.perf_counter(), optimizer.param_groups[0]["lr"]
        batches = itertools.islice(make_batches(train, recipe, generator, epoch), max_steps)
        with explained(epoch, recipe):
            train_loss, train_accuracy, losses = train_epoch(model, batches, optimizer, recipe, after_step)
            history["trace"] = (history["trace"] + losses)[:TRACE_STEPS]
            if max_steps and steps >= max_steps:
                break
            row = {"epoch": epoch, "lr": lr, "train_loss": train_loss, "train_accuracy": train_accuracy}
            row["test_loss"], row["test_accuracy"] = evaluate(evaluated, test)
            if not math.isfinite(row["test_loss"]):
                raise DivergedError(f"the test loss is {row['test_loss']}, after a learning rate of {lr:.3g}; "
                                    "try a smaller one")
            if validation is not None:
                row["validation_loss"], row["validation_accuracy"] = evaluate(evaluated, validation)
        scheduler_epoch(row.get("validation_loss"))
        row["seconds"] = time.perf_counter() - start
        curve.append(row)
        log(progress_line(row, recipe.epochs, sum(r["seconds"] for r in curve)))
        if checkpoint:
            save(checkpoint, about, history, parts, generator)
    if averaged is not None:
        model.load_state_dict(averaged.module.state_dict())
    return history


@contextlib.contextmanager
def explained(epoch: int, recipe: Recipe):
    """Say in which epoch training diverged, and what to do where memory ran out."""
    try:
        yield
    except DivergedError as error:
        raise DivergedError(f"epoch {epoch}: {error}") from None
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise MemoryError(f"out of memory with batches of {recipe.batch_size} images; try "
                          f"batch_size={max(1, recipe.batch_size // 2)}") from error


def out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out; on the CPU torch says so in words only."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error) or (
        "not enough memory" in str(error))


def check(model: nn.Module, train: Dataset, test: Dataset, recipe: Recipe) -> None:
    """Raise ValueError for data that can't be trained on, or a recipe that can't be run."""
    for name, split in (("training", train), ("test", test)):
        if len(split.images) != len(split.labels):
            raise ValueError(f"the {name} split has {len(split.images)} images and {len(split.labels)} labels")
        if not len(split.labels):
            raise ValueError(f"the {name} split is empty")
        wrong = ((split.labels < 0) | (split.labels >= len(split.classes))).nonzero().flatten().tolist()
        if wrong:
            raise ValueError(f"label {split.labels[wrong[0]].item()} of {name} image {wrong[0]} is none of the "
                             f"{len(split.classes)} classes, 0 to {len(split.classes) - 1}")
    shape = list(train.images.shape[1:])
    if shape != list(test.images.shape[1:]):
        raise ValueError(f"training images are {shape} (channels, height, width), test images "
                         f"{list(test.images.shape[1:])}")
    if recipe.schedule == "plateau" and not recipe.validation:
        raise ValueError("a plateau is judged on held-out images: set the recipe's validation")
    if recipe.batch_size == 1 and any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise ValueError("batch norm has nothing to compare in a batch of 1: use a larger batch_size, or another norm")
    try:
        outputs = list(predict(copy.deepcopy(model).to(train.images.device), train[:1]).shape[1:])
    except RuntimeError as error:
        if out_of_memory(error):
            raise MemoryError("out of memory with one image: the network is too large for this machine") from error
        raise ValueError(f"the network can't take images of {shape} (channels, height, width): "
                         f"{str(error).splitlines()[0]}") from error
    if outputs != [len(train.classes)]:
        raise ValueError(f"the network's output for an image is {outputs}, the data has {len(train.classes)} classes")


def unfinished(checkpoint: Path, about: dict, model: nn.Module, train: Dataset, test: Dataset, recipe: Recipe,
               seed: int, log) -> dict | None:
    """Return the checkpoint of the same run, or None; say which it is where there is a file.

    Two networks may have the same weights and differ in what they do with them; so the first losses must be the same,
    too, as with a result that is read.
    """
    if not checkpoint.exists():
        return None
    try:
        saved = load(checkpoint, about)
        history = saved["history"]
        trace = first_losses(model, train, test, recipe, seed, history["machine"]["threads"])
        trace = trace[: len(history["trace"])]  # the first epochs may have fewer steps
        if not agree(trace, history["trace"], history["machine"], machine(train.images.device)):
            raise ValueError("its training starts with other losses")
    except ValueError as error:
        log(f"the checkpoint {checkpoint} is not used: {error}")
        return None
    log(f"goes on from {checkpoint} after epoch {len(history['curve'])}")
    return saved


def whose(model: nn.Module, train: Dataset, recipe: Recipe, seed: int) -> dict:
    """Say which run a checkpoint belongs to: only the same one goes on from it."""
    return {"recipe": repr(recipe), "seed": seed, "data": f"{train.name}, {len(train.labels)} images",
            "device": train.images.device.type, "network": repr(model),
            "weights": [(name, list(value.shape)) for name, value in model.state_dict().items()]}


def first_losses(model: nn.Module, train: Dataset, test: Dataset, recipe: Recipe, seed: int, threads: int) -> list:
    """Return the losses of the first steps of a copy of `model`, on so many threads: they decide its rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return fit(copy.deepcopy(model), train, test, recipe, seed, max_steps=TRACE_STEPS,
                   log=lambda line: None)["trace"]
    finally:
        torch.set_num_threads(before)


def agree(now: list[float], then: list[float], there: dict, here: dict) -> bool:
    """Whether two traces are of the same run, of which the older one was made on the machine `there`.

    On the same kind of machine they must be equal. On another one the first half of them must agree within a relative
    1e-3; in the second half a different rounding may have grown beyond that.
    """
    same_kind = all(there[key] == here[key] for key in ("device", "torch"))
    tolerance, compared = (0.0, None) if same_kind else (1e-3, TRACE_STEPS // 2)
    return len(now) == len(then) and all(
        abs(a - b) <= tolerance * abs(b) for a, b in zip(now[:compared], then[:compared], strict=True))


def progress_line(row: dict, epochs: int, elapsed: float) -> str:
    """One line of plain text for an epoch's row of the curve; `elapsed` seconds were spent so far."""
    minutes, seconds = divmod(round(elapsed / row["epoch"] * (epochs - row["epoch"])), 60)
    return (f"epoch {row['epoch']:2d}/{epochs}  lr {row['lr']:.4f}  train loss {row['train_loss']:.4f} "
            f"{row['train_accuracy']:6.2f} %  test loss {row['test_loss']:.4f} {row['test_accuracy']:6.2f} %  "
            f"{row['seconds']:5.1f} s, {minutes}:{seconds:02} left")
