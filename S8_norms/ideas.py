"""Ideas for the recipe of session 8, one at a time on a short schedule: python S8_norms/ideas.py, half an hour.

Each trains on 15,000 images for four epochs and is judged on 10,000 other training images; the test set has no part in
it. Writes S8_norms/results/ideas.json, which notebook S8.2 shows. On every core a training of its own.
"""

import json
import multiprocessing
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common.notebooks import ENVIRONMENT

if __name__ == "__main__" and not ENVIRONMENT.items() <= os.environ.items():
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1"})

import torch
import torch.nn.functional as F
from torch import nn

from common import experiment, models, recipes, results, training
from common.data import hold_out, load, normalize

SHORT = replace(recipes.S8, epochs=4, train_images=15_000)
HELD_OUT = 10_000


def with_momentum(momentum: float) -> nn.Module:
    """Our network whose running statistics follow a batch by so much."""
    model = models.residual("bn")
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = momentum
    return model


def with_dropout(dropout: nn.Module) -> nn.Module:
    """Our network with `dropout` before the average."""
    model = models.residual("bn")
    model[-2] = nn.Sequential(dropout, model[-2])
    return model


def whitening() -> nn.Module:
    """Our network whose first convolution is fixed: the 16 strongest directions of 3x3 patches, at equal variance."""
    model, train = models.residual("bn"), hold_out(load("cifar10")[0], HELD_OUT)[0]
    patches = F.unfold(normalize(train.images[:2000] / 255, "cifar10"), 3).transpose(1, 2).reshape(-1, 27)
    variance, directions = torch.linalg.eigh(torch.cov(patches.T))
    filters = (directions / (variance + 0.01).sqrt()).T.flip(0)[:16]
    model[0].weight = nn.Parameter(filters.reshape(16, 3, 3, 3).contiguous(), requires_grad=False)
    return model


class SmallerFirst(nn.Module):
    """Our network, which sees the images at 20 x 20 pixels in the first `steps` steps of training."""

    def __init__(self, steps: int):
        super().__init__()
        self.network, self.steps = models.residual("bn"), steps

    def forward(self, x):
        if self.training and self.steps > 0:
            self.steps -= 1
            x = F.interpolate(x, size=20, mode="bilinear", antialias=True).contiguous(memory_format=torch.channels_last)
        return self.network(x)


def ours(norm: str = "bn"):
    return lambda: models.residual(norm)


BY_CHANCE = {"alternating_flip": False, "augmentation": (*SHORT.augmentation, ("flip", {}))}
SEEDED = {  # what was tried with several seeds
    "as it is": {}, "hard labels": {"label_smoothing": 0.0}, "flip by chance": BY_CHANCE,
    "hard labels, flip by chance": {"label_smoothing": 0.0, **BY_CHANCE},
}
IDEAS = {  # name: the network, its recipe, a seed
    **{f"{name}, seed {seed}": (ours(), replace(SHORT, **change), seed) for seed in range(4)
       for name, change in SEEDED.items()},
    "group norm, hard labels, flip by chance": (ours("gn"), replace(SHORT, **SEEDED["hard labels, flip by chance"]), 0),
    "layer norm, hard labels, flip by chance": (ours("ln"), replace(SHORT, **SEEDED["hard labels, flip by chance"]), 0),
    "both peaks doubled": (ours(), replace(SHORT, lr=0.6, muon=0.1), 0),
    "both peaks halved": (ours(), replace(SHORT, lr=0.15, muon=0.025), 0),
    "label smoothing 0.2": (ours(), replace(SHORT, label_smoothing=0.2), 0),
    "batch norm's momentum 0.3": (lambda: with_momentum(0.3), SHORT, 0),
    "batch norm's momentum 0.03": (lambda: with_momentum(0.03), SHORT, 0),
    "a whitening first layer": (whitening, SHORT, 0),
    "dropout 0.1": (lambda: with_dropout(nn.Dropout(0.1)), SHORT, 0),
    "dropout of channels 0.1": (lambda: with_dropout(nn.Dropout2d(0.1)), SHORT, 0),
    "20 x 20 pixels in the first half": (lambda: SmallerFirst(2 * 15_000 // SHORT.batch_size), SHORT, 0),
    "group norm": (ours("gn"), SHORT, 0),
    "group norm, Muon's peak doubled": (ours("gn"), replace(SHORT, muon=0.1), 0),
    "group norm, Muon's peak halved": (ours("gn"), replace(SHORT, muon=0.025), 0),
    "layer norm": (ours("ln"), SHORT, 0),
    "layer norm, Muon's peak doubled": (ours("ln"), replace(SHORT, muon=0.1), 0),
    "layer norm, Muon's peak halved": (ours("ln"), replace(SHORT, muon=0.025), 0),
}


def tried(name: str) -> dict:
    make_model, recipe, seed = IDEAS[name]
    train, held_out = hold_out(load("cifar10")[0], HELD_OUT)
    history = training.fit(experiment.seeded(make_model, seed), train, held_out, recipe, seed, log=lambda line: None)
    last = history["curve"][-1]
    return {"idea": name, "seed": seed, "accuracy": last["test_accuracy"], "train_accuracy": last["train_accuracy"],
            "seconds": sum(row["seconds"] for row in history["curve"]), **history["machine"],
            "git_commit": experiment.git_commit(), "recipe": asdict(recipe)}


def main() -> None:
    path = ROOT / "S8_norms" / "results" / "ideas.json"
    kept = {row["idea"]: row for row in (json.loads(path.read_text()) if path.exists() else [])}
    done = {name: kept[name] for name, (_, recipe, _) in IDEAS.items()
            if name in kept and kept[name]["recipe"] == json.loads(json.dumps(asdict(recipe)))}
    with multiprocessing.get_context("spawn").Pool() as pool:
        for row in pool.imap_unordered(tried, [name for name in IDEAS if name not in done]):
            done[row["idea"]] = row
            print(f"{row['accuracy']:.2f} %  {row['seconds']:.0f} s  {row['idea']}", flush=True)
            results.write(path, json.dumps([done[name] for name in IDEAS if name in done], indent=1) + "\n")


if __name__ == "__main__":
    main()
