"""Training images a second, the course's loop against the textbook's: `python -m tools bench`, or `make bench`.

Both train the same network, with the same random motions of the images.
Ours: the images as one tensor of bytes in memory, augmented a batch at a time, channels_last, a cheaper dropout, an
allocator that keeps its memory, and the processor's own precision (see common.precision); once more in fp32.
The textbook's: a DataLoader of 2 workers which transforms one PIL image at a time (an affine motion takes the nearest
pixel where ours interpolates; in session 9 by albumentations), contiguous tensors, `nn.Dropout`, fp32.
Two things are other than in the notebooks: those of session 7 train in fp32, and those of session 9 augment by
albumentations, too.
Each round is a process of its own; the sides take turns, so that a slow minute of the machine hits all. Both loops have
the same number of threads.
Run it on an idle machine: beside another process, threads that wait for each other take ten times as long.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from common.anatomy import count_parameters
from common.augmentation import BRIEF, BRIEF_BATCHED, make_pipeline
from common.data import MEAN, STD, datasets, find, load
from common.files import ROOT, write
from common.layers import Dropout, ReluDropout
from common.machine import machine
from common.models import s7, s8, s9
from common.optim import make_optimizer
from common.precision import Precision, choose
from common.tables import markdown
from common.training import Recipe, make_batches, train_epoch
from tools.runner import ENVIRONMENT

ROUNDS, WARMUP, STEPS = 5, 10, 40  # rounds of each side; steps before the clock starts, and steps it counts
BATCH = 128


def vary(pipeline, picture):
    """Pass one PIL image through a pipeline of albumentations."""
    return pipeline(image=np.array(picture))["image"]


# What is measured: the network, the data, a recipe's augmentation, and the same by torchvision's `transforms`.
CASES = {
    "S7_mnist": (
        s7.regularized, "mnist", (("affine", {"shift": 0.08, "scale": 0.1, "rotate": 8.0, "shear": 6.0}),),
        lambda transforms: [transforms.RandomAffine(8.0, translate=(0.08, 0.08), scale=(0.9, 1.1), shear=6.0)]),
    "S8_norms": (
        s8.widened_input, "cifar10", (("crop", {"padding": 4}), ("flip", {})),
        lambda transforms: [transforms.RandomCrop(32, padding=4, padding_mode="reflect"),
                            transforms.RandomHorizontalFlip()]),
    "S9_advanced_conv": (
        s9.inverted_bottlenecks, "cifar10", BRIEF_BATCHED,
        lambda transforms: [partial(vary, make_pipeline(BRIEF[0][1]["transforms"]))]),
}


def prepare_ours(session: str) -> Callable[[int], None]:
    """Return a function that trains so many steps, by `common.training`."""
    import common.setup  # for the allocator
    make_model, data, augmentation, _ = CASES[session]
    recipe = Recipe(epochs=1, lr=0.05, batch_size=BATCH, augmentation=augmentation)
    train, _ = load(data)
    model = make_model().to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe)
    batches = make_batches(train, recipe, torch.Generator().manual_seed(0))
    precision = Precision(choose(train.images.device), fp32_steps=0)
    return lambda steps: train_epoch(model, islice(batches, steps), optimizer, recipe, precision=precision)


def prepare_textbook(session: str) -> Callable[[int], None]:
    """Return a function that trains so many steps, by the loop that tutorials show."""
    from torchvision import transforms  # after common.data, which makes it importable

    make_model, data, _, make_transforms = CASES[session]
    transform = transforms.Compose([*make_transforms(transforms), transforms.ToTensor(),
                                    transforms.Normalize(MEAN[data], STD[data])])
    kind = {"mnist": datasets.MNIST, "cifar10": datasets.CIFAR10}[data]
    train_set = kind(find(data), transform=transform)
    batches = iter(torch.utils.data.DataLoader(train_set, BATCH, shuffle=True, num_workers=2))
    model = make_model().train()
    for i, module in enumerate(model):
        if isinstance(module, Dropout):
            dropout = nn.Dropout(module.p)
            model[i] = nn.Sequential(nn.ReLU(), dropout) if isinstance(module, ReluDropout) else dropout
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9, nesterov=True)

    def train(steps: int) -> None:
        total_loss = correct = 0
        for images, labels in islice(batches, steps):
            optimizer.zero_grad()
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            total_loss += loss.item()
            correct += (logits.argmax(1) == labels).sum().item()

    return train


def measure(session: str, side: str) -> float:
    """Return the images a second of "ours" or of the "textbook" loop."""
    train = {"ours": prepare_ours, "textbook": prepare_textbook}[side](session)
    train(WARMUP)
    start = time.perf_counter()
    train(STEPS)
    return STEPS * BATCH / (time.perf_counter() - start)


def compare(session: str) -> None:
    """Measure all sides in turn, print the table and keep it with the raw numbers."""
    make_model, data, *_ = CASES[session]
    load(data)  # downloads it where it isn't there
    here = machine(torch.device("cpu"))
    own = {f"ours, {name}": {**ENVIRONMENT, "PRECISION": name} for name in (choose(torch.device("cpu")), "fp32")}
    sides = {**own, "textbook, fp32": {}}
    rates = {side: [] for side in sides}
    for i in range(ROUNDS):
        for side, values in rates.items():
            command = [sys.executable, "-m", "tools.bench", session, side.partition(",")[0]]
            values.append(float(subprocess.check_output(command, cwd=ROOT, env={**os.environ, **sides[side]})))
            print(f"{session}, round {i + 1}/{ROUNDS}  {side:14}  {values[-1]:6,.0f} images/s", flush=True)
    *ours, textbook = rates
    ratios = {f"{side}: times the textbook's": [a / b for a, b in zip(rates[side], rates[textbook], strict=True)]
              for side in ours}
    rows = [(name, *(f"{number(values):{form}}" for number in (statistics.median, min, max)))
            for group, form in (({f"{side}, images/s": rates[side] for side in rates}, ",.0f"), (ratios, ".2f"))
            for name, values in group.items()]
    table = (f"{here['device']}, {here['threads']} threads, torch {here['torch']}; {ROUNDS} rounds of {STEPS} steps\n\n"
             + markdown(f"{count_parameters(make_model()):,}-parameter network | median | lowest | highest", rows))
    print(f"\n{table}\n")
    content = json.dumps({**here, "steps": STEPS, "warmup": WARMUP, **rates, "table": table}, indent=1)
    write(ROOT / session / "results" / "bench.json", content + "\n")


if __name__ == "__main__":  # one round of one side, in a process of its own
    print(measure(*sys.argv[1:]))
