"""Training images a second, the course's loop against the textbook's: `python -m common bench`, or `make bench`.

Both train the same network, with the same random motions of the images, at batch size 128.
Ours: the images as one tensor of bytes in memory, augmented a batch at a time, channels_last, a cheaper dropout, and an
allocator that keeps its memory (ALLOCATOR's variables, which have to be set before the process starts).
The textbook's: a DataLoader of 2 workers which transforms one PIL image at a time (with the transforms' defaults, so
an affine motion takes the nearest pixel where ours interpolates; by albumentations in session 9), contiguous tensors,
`nn.Dropout`.
Each round is a process of its own; the two take turns, so that a slow minute of the machine hits both.
Run it on an idle machine: beside another process, threads that wait for each other take ten times as long.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from common import models, results
from common.augmentation import BRIEF, BRIEF_BATCHED, make_pipeline
from common.data import MEAN, ROOT, STD, datasets, download, find, load
from common.layers import Dropout, ReluDropout
from common.machine import machine
from common.notebooks import ENVIRONMENT, CourseError
from common.training import Recipe, make_batches, make_optimizer, train_epoch

ROUNDS, WARMUP, STEPS = 7, 20, 100  # rounds of each side; steps before the clock starts, and steps it counts
ALLOCATOR = {name: value for name, value in ENVIRONMENT.items() if name.startswith(("MALLOC_", "GLIBC_"))}


class Case(NamedTuple):
    """What is measured in one session."""

    network: str  # for the table
    make_model: Callable[[], nn.Module]
    data: str
    augmentation: tuple  # of a recipe
    of_textbook: tuple = ()  # the same by albumentations, where the textbook's loop takes that and not torchvision


CASES = {
    "S7_mnist": Case("7,280-parameter network", models.regularized, "mnist",
                     (("affine", {"shift": 0.08, "scale": 0.1, "rotate": 8.0, "shear": 6.0}),)),
    "S8_norms": Case("37,664-parameter network, batch norm", models.widened_input, "cifar10",
                     (("crop", {"padding": 4}), ("flip", {}))),
    "S9_advanced_conv": Case("178,178-parameter network, ours with batched transforms", models.inverted_bottlenecks,
                             "cifar10", BRIEF_BATCHED, BRIEF),
}


def ours(case: Case) -> float:
    """Return the images a second of `common.training`."""
    recipe = Recipe(epochs=1, lr=0.05, augmentation=case.augmentation)
    train, _ = load(case.data)
    model = case.make_model().to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe)
    batches = make_batches(train, recipe, torch.Generator().manual_seed(0))
    train_epoch(model, islice(batches, WARMUP), optimizer, recipe, lambda: None)
    start = time.perf_counter()
    train_epoch(model, islice(batches, STEPS), optimizer, recipe, lambda: None)
    return STEPS * recipe.batch_size / (time.perf_counter() - start)


def by_torchvision(transforms, augmentation: tuple) -> list:
    """Return the transforms of one PIL image that do what `augmentation` does to a batch."""
    pieces = {"affine": lambda shift, scale, rotate, shear: transforms.RandomAffine(
                  rotate, translate=(shift, shift), scale=(1 - scale, 1 + scale), shear=shear),
              "crop": lambda padding: transforms.RandomCrop(32, padding=padding, padding_mode="reflect"),
              "flip": transforms.RandomHorizontalFlip}
    return [pieces[name](**options) for name, options in augmentation]


class ByAlbumentations:
    """A transform of one PIL image; a class, because a worker of the DataLoader can't be sent a lambda."""

    def __init__(self, steps: tuple):
        self.pipeline = make_pipeline(steps)

    def __call__(self, picture):
        return self.pipeline(image=np.array(picture))["image"]


def textbook(case: Case) -> float:
    """Return the images a second of the loop that tutorials show."""
    from torchvision import transforms  # after common.data, which makes it importable

    if case.of_textbook:
        (_, options), = case.of_textbook
        varied = [ByAlbumentations(options["transforms"])]
    else:
        varied = by_torchvision(transforms, case.augmentation)
    transform = transforms.Compose([*varied, transforms.ToTensor(),
                                    transforms.Normalize(MEAN[case.data], STD[case.data])])
    kind = {"mnist": datasets.MNIST, "cifar10": datasets.CIFAR10}[case.data]
    train = kind(str(find(case.data)), train=True, transform=transform)
    loader = torch.utils.data.DataLoader(train, 128, shuffle=True, drop_last=True, num_workers=2)
    model = case.make_model()
    for i, module in enumerate(model):
        if isinstance(module, Dropout):
            dropout = nn.Dropout(module.p)
            model[i] = nn.Sequential(nn.ReLU(), dropout) if isinstance(module, ReluDropout) else dropout
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9, nesterov=True)
    model.train()
    total_loss = correct = 0
    for step, (images, labels) in enumerate(islice(loader, WARMUP + STEPS)):
        if step == WARMUP:
            start = time.perf_counter()
        optimizer.zero_grad()
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        total_loss += loss.item()
        correct += (logits.argmax(1) == labels).sum().item()
    return STEPS * 128 / (time.perf_counter() - start)


SIDES = {"ours": ours, "textbook": textbook}


def measure(session: str, side: str) -> float:
    """Return what a fresh process measures for `side`."""
    environment = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    if side == "ours":
        environment |= ALLOCATOR
    command = [sys.executable, "-m", "common.bench", session, side]
    return float(subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)


def compare(session: str, rounds: int = ROUNDS) -> None:
    """Measure both sides in turn, print the table and keep it with the raw numbers."""
    case = CASES[session]
    if find(case.data) is None:
        download(case.data)
    rates = {side: [] for side in SIDES}
    for i in range(rounds):
        for side, values in rates.items():
            values.append(measure(session, side))
            print(f"{session}, round {i + 1}/{rounds}  {side:8}  {values[-1]:6,.0f} images/s", flush=True)
    ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
    here = machine(torch.device("cpu"))
    rows = [("ours, images/s", rates["ours"], ",.0f"), ("textbook, images/s", rates["textbook"], ",.0f"),
            ("ours / textbook", ratios, ".2f")]
    table = "\n".join([
        f"{here['device']}, {here['threads']} threads, torch {here['torch']}; {rounds} rounds of {STEPS} steps", "",
        f"| {case.network} | median | lowest | highest |", "| --- | --- | --- | --- |",
        *(f"| {name} | {statistics.median(values):{form}} | {min(values):{form}} | {max(values):{form}} |"
          for name, values, form in rows)])
    print("", table, "", sep="\n")
    results.write(ROOT / session / "results" / "bench.json", json.dumps({
        **here, "batch_size": 128, "steps": STEPS, "warmup": WARMUP, "allocator": ALLOCATOR, **rates,
        "ratio": ratios, "median_ratio": statistics.median(ratios), "table": table}, indent=1) + "\n")


def main(sessions: list[str]) -> None:
    """Measure the benchmarks of `sessions`, or all; raises CourseError for one that has none."""
    if unknown := set(sessions) - set(CASES):
        raise CourseError(f"no benchmark of {', '.join(sorted(unknown))}; there are: {', '.join(CASES)}")
    for session in sessions or CASES:
        compare(session)


if __name__ == "__main__":  # one round of one side, in a process of its own
    print(SIDES[sys.argv[2]](CASES[sys.argv[1]]))
