"""A network of the reader's own: a look at it before training, its training, and its place beside the course's."""

import contextlib
import copy
import io
import itertools
import statistics
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from IPython.display import Markdown
from matplotlib.figure import Figure
from torch import nn
from torch.utils.benchmark import Timer

from common import anatomy, experiment, plots, results, tables, targets
from common.data import Dataset
from common.experiment import Experiment
from common.precision import Precision, choose
from common.receptive_field import field_before_average
from common.training import DivergedError, Recipe, make_batches, try_network

Data = tuple[Dataset, Dataset]


def verdict(run: Experiment, make_network, recipe: Recipe, data: Data) -> Markdown:
    """Return, before any training, what `make_network()` and `recipe` cost, with what the budget allows.

    Where it isn't a network for the images of `data`, that is said in a sentence.
    """
    try:
        network, known = look(run, make_network, recipe, data)
        shape = tuple(data[0].images.shape[1:])
        work, field = anatomy.multiply_accumulates(network, shape), find_field(network, shape)
        seconds = seconds_of_an_epoch(network, recipe, data[0])
    except Exception as error:  # a reader's network may do anything
        return Markdown(f"✗ {explain(error)}")
    rows = [("multiply-accumulates an image", tables.number(work), "", ""),
            ("seconds of the steps of an epoch on this machine, about", f"{seconds:.0f}", "", ""),
            ("receptive field before a global average, pixels", tables.number(field), "", "")]
    for limit in run.session.budget:
        rows.append((targets.NAMES[limit.key], tables.number(known[limit.key]), f"{limit.relation} {limit.limit:,}",
                     "✓" if limit.is_met(known[limit.key]) else "✗"))
    goal = run.session.goal
    rows.append((targets.NAMES[goal.key], "after training", f"{goal.relation} {goal.limit:,}", ""))
    table = tables.markdown(" | your network | asked for | ", rows, "lrl")
    return Markdown(table + "\n\nIt returns probabilities: leave the softmax out, the loss has one." * gives_shares(
        network, data[0]))


def train(run: Experiment, make_network, recipe: Recipe, data: Data, name: str = "my_network") -> dict | None:
    """Train `make_network()` and return its result; None, and a sentence, where that can't be done.

    What was trained before with the same recipe is read. Another network, or another recipe, gets the next free name:
    `name` with a number behind it. What is over budget isn't trained. Nor is anything where results would be among the
    course's published ones (preset full without an output).
    """
    made, published = run.folders()
    if made == published:
        print('Nothing is trained here: the preset "full" is for the results of the course. Set preset = "quick", or '
              "name a folder as output, and your network is trained.")
        return None
    try:
        network, known = look(run, make_network, recipe, data)
        targets.check_budget(run.session.budget, known)
        name = free_name(run, name, network, recipe, data)
        limits = [*run.session.budget, run.session.goal]
        return run.train_or_read(name, make_network, recipe, data, limits)[0]
    except Exception as error:  # a reader's network may do anything
        print(f"no result: {explain(error)}")
        return None


def tries(run: Experiment) -> Markdown:
    """Return the table of the reader's own networks that are kept, the newest last.

    The held-out accuracy, to choose by, is the mean over the seeds of a recipe that holds images out.
    """
    kept = read_tries(run)
    if not kept:
        return Markdown("No network of your own is kept yet.")
    rows = [(tables.title(row), f"{row['params']:,}", row["epochs"], held_out_cell(row), tables.accuracy(row), row["n"],
             "✓" if all(target["met"] for one in row["results"] for target in one["targets"]) else "✗") for row in kept]
    head = "network | parameters | epochs | held-out accuracy, % | test accuracy, % | seeds | target met"
    table = tables.markdown(head, rows, "lrrrrrr")
    return Markdown(f"{table}\n\nThey are kept in `{run.folders()[0]}`.")


def held_out_cell(row: dict) -> str:
    """Return the mean accuracy of a summary's runs on held-out images, in percent, or "" where none were held out."""
    found = [one["curve"][-1].get("validation_accuracy") for one in row["results"]]
    return "" if None in found else f"{statistics.fmean(found):.2f}"


def compare(run: Experiment) -> Figure:
    """Return the session's figure, accuracy against parameters, with a star on each of the reader's own networks.

    Those that are more than two points below the goal are left out: they would press the others together.
    """
    kept, goal = read_tries(run), run.session.goal.limit
    own = [tables.summary_point(row) for row in kept if row["mean"] > goal - 2]
    limits = (run.session.target("params").limit, goal)
    figure = plots.parameters_against_accuracy([*tables.session_points(run.session), *own], limits)
    for point in own:
        figure.axes[0].plot(point["params"], point["accuracy"], "*", color=plots.COLOURS[2], markersize=15, zorder=3)
    if kept:
        low = f"; {len(kept) - len(own)} far below the goal left out" * (len(own) < len(kept))
        figure.axes[0].set_title(f"stars: your own networks{low}")
    return figure


def seconds_of_an_epoch(network: nn.Module, recipe: Recipe, train: Dataset) -> float:
    """Return about how long the steps of an epoch take on this machine, forward and back: the fastest of three.

    What isn't in it: augmentation, the optimizer and the evaluation after the epoch.
    """
    device = train.images.device
    network = copy.deepcopy(network).train().to(device, memory_format=torch.channels_last)
    precision = Precision(choose(device, train.name), device.type, fp32_steps=0)
    plain = replace(recipe, augmentation=(), alternating_flip=False)
    images, labels = next(make_batches(train, plain, torch.Generator(device).manual_seed(0)))
    batches = (len(train[:recipe.train_images].labels) - recipe.validation) // recipe.batch_size

    def step():
        with precision.autocast():
            logits = network(images)
        F.cross_entropy(logits.float(), labels).backward()

    timer = Timer("step()", globals={"step": step}, num_threads=torch.get_num_threads())
    return batches * min(timer.timeit(1).mean for _ in range(3))


def find_field(network: nn.Module, shape: tuple[int, int, int]) -> int | None:
    """Return how far a network sees in front of a global average, in pixels, or None where that can't be followed."""
    try:
        return field_before_average(network, shape)
    except ValueError:
        return None


def gives_shares(network: nn.Module, train: Dataset) -> bool:
    """Whether a network's outputs for an image are positive and add up to 1."""
    outputs = try_network(network, train)
    return bool((outputs >= 0).all() and abs(outputs.sum() - 1) < 1e-4)


def look(run: Experiment, make_network, recipe: Recipe, data: Data) -> tuple[nn.Module, dict]:
    """Return a new network, and what targets may ask of it and its recipe before training."""
    network = experiment.build(make_network, run.seed, data[0])
    with contextlib.redirect_stdout(io.StringIO()):  # the table says that a receptive field is unknown
        return network, experiment.before_training(network, recipe, tuple(data[0].images.shape[1:]))


def explain(error: Exception) -> str:
    """Return the first line of an error, with its kind where it isn't one of the course's own sentences."""
    said = str(error).partition("\n")[0]
    own = isinstance(error, ValueError | MemoryError | targets.BudgetError | DivergedError)
    return said if own and said else f"{type(error).__name__}: {said}"


def free_name(run: Experiment, name: str, network: nn.Module, recipe: Recipe, data: Data) -> str:
    """Return `name`, or the first of it with a number whose results, of any seed, are of this network and recipe."""
    layers = anatomy.layer_table(network, tuple(data[0].images.shape[1:]))
    seen = experiment.what_is_seen(network, data)

    def is_other(path: Path) -> bool:
        own_seed = path.stem.endswith(f"-seed{run.seed}")  # with another one it computes something else
        return experiment.staleness(path, layers, recipe, seen if own_seed else None) is not None

    for number in itertools.count(1):
        candidate = name if number == 1 else f"{name}_{number}"
        if not any(map(is_other, run.folders()[0].glob(f"{candidate}-seed*.json"))):
            if number > 1:
                print(f"{name} is another network, or has another recipe: this one is {candidate}")
            return candidate


def read_tries(run: Experiment) -> list[dict]:
    """Return the summaries of the reader's own networks, over their seeds, the newest last."""
    def newest(row: dict) -> float:
        return max(Path(one["path"]).stat().st_mtime for one in row["results"])

    return sorted(results.summarize(results.read_all(run.folders()[0])), key=newest)
