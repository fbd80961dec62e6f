"""Ideas for a session's network or recipe, each tried alone: python -m tools ideas S8_norms.

They stand in the session's ideas.py. Each is trained without 10,000 of the training images and judged on those; the
test set has no part in it. What came out is in the session's results/ideas.json, which its notebooks show.
"""

import concurrent.futures
import dataclasses
import json
import multiprocessing
import runpy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from common import experiment, training
from common.anatomy import count_parameters
from common.data import hold_out, load
from common.files import ROOT, write
from common.machine import count_cores
from common.training import Recipe

HELD_OUT = 10_000


class Idea(NamedTuple):
    """A network and its recipe; `start` is the idea that it is compared with, the first of its group."""

    start: str
    make_network: Callable[[], nn.Module]
    recipe: Recipe
    seeds: int


def read_ideas(session: str) -> tuple[str, dict[str, Idea]]:
    """Return the name of the data and the ideas of S*/ideas.py.

    It defines DATA, IDEAS: groups of {name: (function that makes the network, recipe)}, and SEEDS: {name: how many},
    where it isn't one.
    """
    found = runpy.run_path(str(ROOT / session / "ideas.py"))
    return found["DATA"], {name: Idea(next(iter(group)), *idea, found["SEEDS"].get(name, 1))
                           for group in found["IDEAS"] for name, idea in group.items()}


def try_ideas(session: str) -> None:
    """Train every idea and seed that results/ideas.json lacks, or has of another recipe, a process a core."""
    path, ideas = ROOT / session / "results" / "ideas.json", read_ideas(session)[1]
    runs = [(name, seed) for name, idea in ideas.items() for seed in range(idea.seeds)]
    rows = {(row["idea"], row["seed"]): row for row in (json.loads(path.read_text()) if path.exists() else [])}
    rows = {run: row for run, row in rows.items()
            if run in runs and experiment.full_recipe(row) == as_json(ideas[run[0]].recipe)}
    with concurrent.futures.ProcessPoolExecutor(count_cores(), multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(try_idea, session, *run) for run in runs if run not in rows]
        for job in concurrent.futures.as_completed(jobs):
            row = job.result()
            rows[row["idea"], row["seed"]] = row
            print(f"{row['accuracy']:.2f} %  {row['seconds']:.0f} s  {row['idea']}, seed {row['seed']}", flush=True)
            write(path, json.dumps([rows[run] for run in runs if run in rows], indent=1) + "\n")


def try_idea(session: str, name: str, seed: int) -> dict:
    """Train one idea on one thread, and return what came out, and how."""
    import common.setup  # for the allocator

    torch.set_num_threads(1)
    data, ideas = read_ideas(session)
    idea = ideas[name]
    train, held_out = hold_out(load(data)[0], HELD_OUT)
    network = experiment.build(idea.make_network, seed, train)
    history = training.fit(network, train, held_out, idea.recipe, seed, log=lambda line: None)
    last = history["curve"][-1]
    return {"idea": name, "start": idea.start, "seed": seed, "params": count_parameters(network),
            "accuracy": last["test_accuracy"], "loss": last["test_loss"], "train_accuracy": last["train_accuracy"],
            "seconds": sum(row["seconds"] for row in history["curve"]), **history["machine"],
            "git_commit": experiment.git_commit(), "recipe": as_json(idea.recipe)}


def as_json(recipe: Recipe) -> dict:
    """Return a recipe as a JSON file has it."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))
