"""Does accuracy suffer from 16 bits? `python -m tools precision` trains one network of each session in the processor's
own precision and in fp32, for the same seeds and epochs, and compares them on images held out of the training set.
"""

import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import statistics

import torch

from common import recipes
from common.anatomy import count_parameters
from common.data import hold_out, load
from common.experiment import build
from common.files import ROOT, write
from common.machine import count_cores, machine
from common.models import s7, s8, s9
from common.precision import choose
from common.results import difference
from common.tables import markdown
from common.training import Recipe, fit
from tools.notebooks import CourseError

SEEDS, HELD_OUT = 3, 5000

# A network of each session, its data, and its recipe, on a short schedule.
CASES = {
    "S7_mnist": (s7.ours, "mnist", Recipe(
        epochs=9, lr=0.3, schedule="one_cycle", average=0.998,
        augmentation=(("affine", {"shift": 0.08, "scale": 0.1, "rotate": 8.0, "shear": 6.0}),))),
    "S8_norms": (s8.shared, "cifar10", dataclasses.replace(recipes.S8, epochs=2)),
    "S9_advanced_conv": (s9.ours, "cifar10", dataclasses.replace(recipes.S9, epochs=4)),
}


def train(session: str, precision: str, seed: int) -> float:
    """Train on one thread and return the accuracy on the held-out images, in percent, after the last epoch."""
    import common.setup  # for the allocator

    torch.set_num_threads(1)
    os.environ["PRECISION"] = precision
    make_network, data, recipe = CASES[session]
    images, held_out = hold_out(load(data)[0], HELD_OUT)
    name = f"{session} {precision} seed {seed}: "
    history = fit(build(make_network, seed, images), images, held_out, recipe, seed,
                  log=lambda line: print(name + line, flush=True))
    return history["curve"][-1]["test_accuracy"]


def compare() -> None:
    """Train every case in both precisions, a process a core, and write what came out into results/precision.json."""
    native = choose(torch.device("cpu"))
    if native == "fp32":
        raise CourseError("this processor has no instructions for 16 bits: there is nothing to compare")
    runs = [(session, precision, seed) for session in CASES for seed in range(SEEDS) for precision in (native, "fp32")]
    with concurrent.futures.ProcessPoolExecutor(count_cores(), multiprocessing.get_context("spawn")) as pool:
        accuracies = dict(zip(runs, pool.map(train, *zip(*runs, strict=True)), strict=True))
    for session in CASES:
        keep(session, {precision: [accuracies[session, precision, seed] for seed in range(SEEDS)]
                       for precision in (native, "fp32")})


def keep(session: str, accuracies: dict[str, list[float]]) -> None:
    """Print the table of a session's accuracies, {precision: one a seed}, and write it with them."""
    make_network, _, recipe = CASES[session]
    gain = difference(*({"results": [{"seed": seed, "accuracy": value} for seed, value in enumerate(values)]}
                        for values in accuracies.values()))
    rows = [(precision, *(f"{value:.2f}" for value in values), f"{statistics.fmean(values):.2f}")
            for precision, values in accuracies.items()]
    table = (f"{count_parameters(make_network()):,}-parameter network, {recipe.epochs} epochs; accuracy in percent on "
             f"{HELD_OUT:,} images held out of the training set\n\n"
             + markdown(f"precision | {' | '.join(f'seed {seed}' for seed in range(gain.n))} | mean", rows)
             + f"\n\n{' - '.join(accuracies)}: {gain.mean:+.2f} points, 95 % interval {gain.low:+.2f} to "
             f"{gain.high:+.2f}, n = {gain.n}: {gain.verdict}.")
    print(f"\n{table}\n")
    about = {"device": machine(torch.device("cpu"))["device"], "recipe": dataclasses.asdict(recipe)}
    write(ROOT / session / "results" / "precision.json",
          json.dumps({**about, **accuracies, "table": table}, indent=1) + "\n")
