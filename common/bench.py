"""Training images a second, the course's loop against the textbook's: `python -m common.bench`, or `make bench`.

Both train the 7,280-parameter network on MNIST with random affine motions of the same ranges, at batch size 128.
Ours: the images as one tensor of bytes in memory, augmented a batch at a time, channels_last, a cheaper dropout, and an
allocator that keeps its memory (the MALLOC_* variables, which have to be set before the process starts).
The textbook's: a DataLoader of 2 workers which transforms one PIL image at a time (RandomAffine with its default,
nearest pixel; ToTensor; Normalize), contiguous tensors, `nn.Dropout`.
Each round is a process of its own; the two take turns, so that a slow minute of the machine hits both.
Run it on an idle machine: beside another process, threads that wait for each other take ten times as long.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from itertools import islice

import torch
import torch.nn.functional as F
from torch import nn

from common import models, results
from common.data import MEAN, ROOT, STD, datasets, download, find, load
from common.experiment import machine
from common.layers import Dropout
from common.notebooks import ENVIRONMENT
from common.training import Recipe, make_batches, make_optimizer, train_epoch

ROUNDS, WARMUP, STEPS = 7, 20, 100  # rounds of each side; steps before the clock starts, and steps it counts
MALLOC = {name: value for name, value in ENVIRONMENT.items() if name.startswith("MALLOC_")}
RECIPE = Recipe(epochs=1, lr=0.05, augmentation=(
    ("affine", {"shift": 0.08, "scale": 0.1, "rotate": 8.0, "shear": 6.0}),
))


def ours() -> float:
    """Return the images a second of `common.training`."""
    train, _ = load("mnist")
    model = models.regularized().to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, RECIPE)
    batches = make_batches(train, RECIPE, torch.Generator().manual_seed(0))
    train_epoch(model, islice(batches, WARMUP), optimizer, RECIPE, lambda: None)
    start = time.perf_counter()
    train_epoch(model, islice(batches, STEPS), optimizer, RECIPE, lambda: None)
    return STEPS * RECIPE.batch_size / (time.perf_counter() - start)


def textbook() -> float:
    """Return the images a second of the loop that tutorials show."""
    from torchvision import transforms  # after common.data, which makes it importable

    motion = RECIPE.augmentation[0][1]
    transform = transforms.Compose([
        transforms.RandomAffine(motion["rotate"], translate=(motion["shift"],) * 2,
                                scale=(1 - motion["scale"], 1 + motion["scale"]), shear=motion["shear"]),
        transforms.ToTensor(),
        transforms.Normalize(MEAN["mnist"], STD["mnist"]),
    ])
    train = datasets.MNIST(str(find("mnist")), train=True, transform=transform)
    loader = torch.utils.data.DataLoader(train, RECIPE.batch_size, shuffle=True, drop_last=True, num_workers=2)
    model = models.regularized()
    for i, module in enumerate(model):
        if isinstance(module, Dropout):
            model[i] = nn.Dropout(module.p)
    optimizer = torch.optim.SGD(model.parameters(), RECIPE.lr, RECIPE.momentum, nesterov=True)
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
    return STEPS * RECIPE.batch_size / (time.perf_counter() - start)


SIDES = {"ours": ours, "textbook": textbook}


def measure(side: str) -> float:
    """Return what a fresh process measures for `side`."""
    environment = {**os.environ, **MALLOC} if side == "ours" else {k: v for k, v in os.environ.items()
                                                                   if k not in MALLOC}
    command = [sys.executable, "-m", "common.bench", side]
    return float(subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)


def main(rounds: int = ROUNDS) -> None:
    """Measure both sides in turn, print the table and keep it with the raw numbers."""
    if find("mnist") is None:
        download("mnist")
    rates = {side: [] for side in SIDES}
    for i in range(rounds):
        for side, values in rates.items():
            values.append(measure(side))
            print(f"round {i + 1}/{rounds}  {side:8}  {values[-1]:6,.0f} images/s", flush=True)
    ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
    here = machine(torch.device("cpu"))
    rows = [("ours, images/s", rates["ours"], ",.0f"), ("textbook, images/s", rates["textbook"], ",.0f"),
            ("ours / textbook", ratios, ".2f")]
    table = "\n".join([
        f"{here['device']}, {here['threads']} threads, torch {here['torch']}; {rounds} rounds of {STEPS} steps", "",
        "| 7,280-parameter network | median | lowest | highest |", "| --- | --- | --- | --- |",
        *(f"| {name} | {statistics.median(values):{form}} | {min(values):{form}} | {max(values):{form}} |"
          for name, values, form in rows)])
    print("", table, sep="\n")
    results.write(ROOT / "S7_mnist" / "results" / "bench.json", json.dumps({
        **here, "batch_size": RECIPE.batch_size, "steps": STEPS, "warmup": WARMUP, "malloc": MALLOC, **rates,
        "ratio": ratios, "median_ratio": statistics.median(ratios), "table": table}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:]:
        print(SIDES[sys.argv[1]]())
    else:
        main()
