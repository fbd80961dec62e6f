"""Results as Markdown tables, for a notebook's cells: every number comes from a result."""

import inspect
import json
import math
import statistics
from pathlib import Path
from typing import NamedTuple

from IPython.display import Markdown
from scipy import stats
from torch import nn

from common import results
from common.data import ROOT, Dataset
from common.experiment import count_parameters, multiply_accumulates, summary
from common.receptive_field import Row, receptive_field
from common.results import mean_epoch_until
from common.training import evaluate


def targets(result: dict) -> Markdown:
    """Return the table of a result's targets, with a tick or a cross for each."""
    rows = [f"| {t['name']} | {t['limit']} | {number(t['value'])} | {'✓' if t['met'] else '✗'} |"
            for t in result["targets"]]
    return Markdown("\n".join(["| target | limit | reached | |", "| --- | --- | --- | --- |", *rows]))


def side_by_side(summaries: list[dict]) -> Markdown:
    """Return the table of models, one row for each of `summaries` (see `common.results.summary`)."""
    head = "| model | parameters | receptive field | epochs | train, % | test accuracy, % | seeds | worst seed, % |"
    rows = [f"| {title(s)} | {s['params']:,} | {s['receptive_field']} | {s['epochs']} | {s['train_accuracy']:.2f} "
            f"| {accuracy(s)} | {s['n']} | {s['worst']:.2f} |" for s in summaries]
    return Markdown("\n".join([head, "| --- " * 8 + "|", *rows]))


def receptive_fields(table: list[Row]) -> Markdown:
    """Return the table of `common.receptive_field.receptive_field`, in pixels, as Markdown; "3x5" is height x width."""
    head = ("layer", "RF in", "size in", "jump in", "stride", "padding", "kernel", "dilation", "effective kernel",
            "RF out", "size out", "jump out")
    rows = [" | ".join("x".join(map(str, cell)) if isinstance(cell, tuple) else str(cell) for cell in row)
            for row in table]
    return Markdown("\n".join([f"| {' | '.join(head)} |", "| --- " + "| ---: " * (len(head) - 1) + "|",
                               *(f"| {row} |" for row in rows)]))


def network(model: nn.Module, shape: tuple[int, int, int]) -> Markdown:
    """Print torchsummary's table of `model` for images of `shape` (C, H, W); return that of its receptive fields."""
    print(summary(model, shape))
    return receptive_fields(receptive_field(model, shape))


def source(*parts) -> Markdown:
    """Return the code of functions or classes of the course, as it stands in their module, to read it in place."""
    texts = [f"`{part.__module__}`\n```python\n{inspect.getsource(part).rstrip()}\n```" for part in parts]
    return Markdown("\n\n".join(texts))


def cost(model: nn.Module, shape: tuple[int, int, int]) -> str:
    """Say what `model` costs for an image of `shape` (C, H, W)."""
    return (f"{count_parameters(model):,} parameters, {multiply_accumulates(model, shape) / 1e6:.1f} million "
            "multiply-accumulates an image")


def gain(result: dict, other: dict) -> str:
    """Say how much more of the test images are right in `result` than in `other`; both results, or both summaries.

    Of summaries the runs with the same seed are compared (see `paired`).
    """
    if "mean" not in result:
        return f"{result['accuracy'] - other['accuracy']:+.2f} points"
    pairs = paired(result, other)
    if pairs.n == 0:
        return f"{result['mean'] - other['mean']:+.2f} points"
    if pairs.n == 1:
        return f"{pairs.mean:+.2f} points (one seed)"
    return (f"{pairs.mean:+.2f} points ({pairs.n} pairs of seeds, 95 % interval {pairs.low:+.2f} to {pairs.high:+.2f}: "
            f"{pairs.verdict})")


def published(notebook: str, model: str, norm: str | None = None) -> dict:
    """Return the summary (see `common.results.summary`) of a published model, over all its seeds.

    Raises ValueError where there is no such result.
    """
    session, _, name = notebook.partition("/")
    found = [run for run in results.read(ROOT / session / "results" / name)
             if (run["model"], run["norm"]) == (model, norm)]
    if not found:
        raise ValueError(f"{notebook} has no published result of {model}{f', {norm}' if norm else ''}")
    return results.summary(found)[0]


class Paired(NamedTuple):
    """The difference between two models, seed by seed."""

    n: int
    mean: float  # points
    low: float  # the interval's ends; not a number for fewer than two pairs
    high: float

    @property
    def verdict(self) -> str:
        """What may be said of it: "better" and "worse" only where the interval excludes 0."""
        if self.n < 2:
            return "one seed says nothing"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "no clear difference"


def paired(one: dict, other: dict) -> Paired:
    """Compare the runs of two summaries seed by seed: their mean difference, and its 95 % interval by Student's t."""
    before = {run["seed"]: run["accuracy"] for run in other["results"]}
    pairs = [run["accuracy"] - before[run["seed"]] for run in one["results"] if run["seed"] in before]
    if len(pairs) < 2:
        return Paired(len(pairs), *pairs or [math.nan], math.nan, math.nan)
    return Paired(len(pairs), statistics.fmean(pairs), *stats.ttest_1samp(pairs, 0).confidence_interval(0.95))


def differences(comparisons: list[tuple[dict, dict]]) -> str:
    """Return the table, in Markdown, of pairs of summaries: what each one gains over the other (see `paired`)."""
    lines = ["| | against | pairs of seeds | difference, points | 95 % interval | |",
             "| :--- | :--- | ---: | ---: | :--- | :--- |"]
    for one, other in comparisons:
        if (pairs := paired(one, other)).n:
            interval = f"{pairs.low:+.2f} to {pairs.high:+.2f}" if pairs.n > 1 else ""
            lines.append(f"| {title(one)} | {title(other)} | {pairs.n} | {pairs.mean:+.2f} | {interval} | "
                         f"{pairs.verdict} |")
    return "\n".join(lines)


def verdicts(summaries: list[dict], other: dict) -> str:
    """Say in words which of `summaries` are worse than `other`, which better, and of which it isn't clear."""
    found: dict[str, list[str]] = {"worse": [], "better": [], "no clear difference": [], "one seed says nothing": []}
    for row in summaries:
        found[paired(row, other).verdict].append(title(row))
    said = [f"{verdict}: {', '.join(names)}" for verdict, names in found.items() if names]
    return f"Against {title(other)}, {'; '.join(said)}."


def title(row: dict) -> str:
    """Return the name of a result or a summary: its model, and its norm where it has one."""
    return row["model"].replace("_", " ") + (f", {row['norm']}" if row["norm"] else "")


def accuracy(summary: dict) -> str:
    """Return the mean test accuracy over seeds with its standard deviation, where there is more than one."""
    return f"{summary['mean']:.2f}" + (f" ± {summary['std']:.2f}" if summary["std"] is not None else "")


def first_epoch(summary: dict, accuracy: float) -> str:
    """Return in words after how many epochs the runs first reached `accuracy` percent: their mean, and how many did."""
    mean, runs = mean_epoch_until(summary["results"], accuracy)
    if mean is None:
        return f"never reached {accuracy} %"
    return f"first reached {accuracy} % after {mean:.1f} epochs" + (
        f" in {runs} of {summary['n']} runs" if runs < summary["n"] else "")


def learned_by_heart(result: dict, model: nn.Module, train_set: Dataset) -> str:
    """Say how much better the trained `model` of `result` knows its training images, varied or not, than the test's."""
    unchanged = evaluate(model, train_set)[1]
    return (f"With seed {result['seed']} it is right in {result['accuracy']:.2f} % of the test images; on the varied "
            f"training images, as they were met in the last epoch, in {result['train_accuracy']:.2f} %; on the same "
            f"images unchanged in {unchanged:.2f} %, {unchanged - result['accuracy']:+.2f} points from the test's.")


def number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def ideas(path: Path) -> Markdown:
    """Return the table of what `S8_norms/ideas.py` tried and kept at `path`, each beside the recipe as it is."""
    tried: dict[str, dict] = {}
    for row in json.loads(path.read_text()):
        tried.setdefault(row["idea"], {"results": []})["results"].append(row)
    lines = ["| the recipe, with | held-out accuracy, % | seeds | as it is, same seeds, % | difference, points | |",
             "| :--- | ---: | ---: | ---: | ---: | :--- |"]
    for idea, found in tried.items():
        norm = idea.partition(",")[0]
        first = norm if norm in ("group norm", "layer norm") else next(iter(tried))
        mean, pairs = statistics.fmean(row["accuracy"] for row in found["results"]), paired(found, tried[first])
        said = " | | " if idea == first else f"{mean - pairs.mean:.2f} | {pairs.mean:+.2f}" + (
            f" ({pairs.low:+.2f} to {pairs.high:+.2f}) | {pairs.verdict}" if pairs.n > 1 else " | one seed")
        lines.append(f"| {idea} | {mean:.2f} | {len(found['results'])} | {said} |")
    return Markdown("\n".join(lines))
