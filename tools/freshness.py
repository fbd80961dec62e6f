"""Whether today's code would make the published results again: what `make check` and `make publish` ask of each.

Only a notebook knows its networks and recipes. So it is run with one more cell, INJECTED, which has `verify` look at
every result before the notebook reads it; nothing is trained but the first steps.
"""

import concurrent.futures
import functools
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from common import anatomy, experiment, results
from common.experiment import Experiment
from common.files import ROOT
from common.machine import machine
from common.training import TRACE_STEPS, evaluate, fit
from tools import notebooks, runner
from tools.notebooks import CourseError, relative

INJECTED = "from tools import freshness; freshness.verify_all_results()"


def verify_notebooks(folder: Path, at_a_time: int = 1) -> Iterator[str]:
    """Run all notebooks into `folder`, several `at_a_time`; print which are fresh, and yield what is wrong else."""
    if at_a_time > 1:
        os.environ["OMP_NUM_THREADS"] = "1"
    with concurrent.futures.ProcessPoolExecutor(
            at_a_time, multiprocessing.get_context("spawn"),
            initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_DFL),  # Ctrl-C ends them; they'd go on else
    ) as pool:
        problems = pool.map(functools.partial(verify_notebook, folder=folder), notebooks.names())
        for name, problem in zip(notebooks.names(), problems, strict=True):
            if problem:
                yield problem
            else:
                print(f"{name}: fresh", flush=True)


def verify_notebook(name: str, folder: Path) -> str | None:
    """Run notebook `name` into `folder`, verifying its results; return what is wrong with it or with them, or None."""
    try:
        runner.execute(ROOT / f"{name}.ipynb", folder / f"{name}.ipynb", {"preset": "full"}, injected=INJECTED)
    except CourseError as error:
        return str(error)
    return None


def verify_all_results() -> None:
    """Have this kernel's `train_or_read` verify every seed of a result before it reads one."""
    read = Experiment.train_or_read

    @functools.wraps(read)
    def verify_and_read(run, name, make_network, recipe, data, limits, norm=None):
        if problem := verify(run, results.result_name(name, norm), make_network, recipe, data):
            sys.exit(problem)
        return read(run, name, make_network, recipe, data, limits, norm)

    Experiment.train_or_read = verify_and_read


def verify(run: Experiment, name: str, make_network, recipe, data: tuple) -> str | None:
    """Say which published result of `name`, of any seed, isn't what today's code would make, and how; or None.

    Compared are recipe and layer table, the losses of the first steps, which are trained again, and, where weights are
    kept, the accuracy that they have.
    """
    about = run.session.results(run.notebook).get(name)
    if about is None:
        return f"session.toml of {run.session.name} doesn't know {run.notebook}'s {name}"
    _, folder = run.folders()
    extra = {int(path.stem.rpartition("-seed")[2]) for path in folder.glob(f"{name}-seed*.json")}
    for seed in sorted({*range(about.seeds), *extra}):
        path, has_weights = folder / f"{name}-seed{seed}.json", seed < about.weights
        if not path.exists():
            return f"{relative(path)} is missing; `make results` makes it"
        network = experiment.build(make_network, seed, data[0])
        shape = tuple(data[0].images.shape[1:])
        layers = anatomy.layer_table(network, shape)
        known = experiment.before_training(network, recipe, shape)
        if reason := (experiment.staleness(path, layers, recipe) or experiment.missing_weights(path, has_weights)
                      or compare_numbers(results.read(path), known, network, data, recipe, has_weights)):
            return f"{relative(path)} is stale: {reason}; delete it, and `make results` makes it anew"
    return None


def compare_numbers(result: dict, known: dict, network, data: tuple, recipe, has_weights: bool) -> str | None:
    """Say what of a result differs from what comes out here: what was `known` before training, the losses of its first
    steps, or the accuracy of its kept weights; or None.
    """
    if edited := [key for key, value in known.items() if result.get(key, value) != value]:
        return f"its {', '.join(edited)} should be another one"
    here = machine(data[0].images.device)
    # A GPU adds in another order each time.
    same_machine = here["device"].startswith("cpu") and all(result[key] == here[key] for key in ("device", "torch"))
    if result["device"].split()[0] == here["device"].split()[0]:  # another kind of device draws other random numbers
        losses = first_losses(network, data, recipe, result["seed"], result["threads"])
        if not traces_agree(losses, result["trace"], same_machine):
            return "training starts with other losses"
    if has_weights:
        network.load_state_dict(results.read_weights(result))
        accuracy = evaluate(network.to(data[0].images.device, memory_format=torch.channels_last), data[1])[1]
        if abs(accuracy - result["accuracy"]) > (0 if same_machine else 0.05):  # rounding may turn a few images
            return f"its weights are right in {accuracy:.2f} % of the test images"
    return None


def first_losses(network, data: tuple, recipe, seed: int, threads: int) -> list[float]:
    """Train a network's first steps, on so many threads, for they decide its rounding; return their losses."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    history = fit(network, *data, recipe, seed, max_steps=TRACE_STEPS, log=lambda line: None)
    torch.set_num_threads(before)
    return history["trace"]


def traces_agree(now: list[float], then: list[float], exactly: bool) -> bool:
    """Whether two traces are of the same run: `exactly`, or, of another kind of machine, within a relative 1e-3.

    That is asked of the first three. Rounding grows with every step, and fastest where a run begins at its highest
    rate: between an Intel and an AMD processor the recipe of session 9's source differs by 5e-5 at the third loss and
    by 2.3e-3 at the fourth.
    """
    if exactly:
        return now == then
    return len(now) == len(then) and np.allclose(now[:3], then[:3], rtol=1e-3, atol=0)
