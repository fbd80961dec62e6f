"""Results as Markdown tables and sentences, for a notebook's cells: every number comes from a result."""

import inspect
import json
import statistics
from pathlib import Path

from IPython.display import Markdown
from torch import nn

from common.anatomy import blocks, count_parameters, multiply_accumulates, torchsummary_table
from common.receptive_field import Row
from common.results import difference, mean_and_deviation, summarize_session
from common.session import Session


def markdown(head: str, rows: list[tuple], align: str = "") -> str:
    """Return a table in Markdown: `head` has the columns' names with | between; `align` a letter each, l or r."""
    names = [name.strip() for name in head.split("|")]
    rules = [{"l": ":---", "r": "---:"}.get(letter, "---") for letter in align.ljust(len(names))]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (names, rules, *rows))


def target_table(result: dict) -> Markdown:
    """Return the table of a result's targets, with a tick or a cross for each."""
    return Markdown(markdown("target | limit | reached | ", [
        (t["name"], t["limit"], number(t["value"]), "✓" if t["met"] else "✗") for t in result["targets"]]))


def summary_table(summaries: list[dict]) -> Markdown:
    """Return the table of models, one row for each of `summaries` (see `common.results.summarize`)."""
    head = "model | parameters | receptive field | epochs | train, % | test accuracy, % | seeds | worst seed, %"
    return Markdown(markdown(head, [
        (title(s), f"{s['params']:,}", number(s["receptive_field"]), s["epochs"], f"{s['train_accuracy']:.2f}",
         accuracy(s), s["n"], f"{s['worst']:.2f}") for s in summaries]))


def gap(summary: dict) -> float:
    """Return the generalization gap in points: how much more of the training images are classified correctly.

    Both are measured in evaluation mode on plain images after the last epoch (see `common.training.fit`).
    """
    return statistics.fmean(run["curve"][-1]["fit_accuracy"] - run["accuracy"] for run in summary["results"])


def gap_table(summaries: list[dict]) -> Markdown:
    """Return the table of training and test accuracy by the same measure, and of their gap."""
    return Markdown(markdown("model | parameters | epochs | training, % | test, % | gap, points | seeds", [
        (title(s), f"{s['params']:,}", s["epochs"], f"{s['mean'] + gap(s):.2f}", accuracy(s), f"{gap(s):+.2f}", s["n"])
        for s in summaries], "lrrrrrr"))


def receptive_field_table(table: list[Row]) -> Markdown:
    """Return the table of `common.receptive_field.receptive_field`, in pixels, as Markdown; "3x5" is height x width."""
    head = ("layer | RF in | size in | jump in | stride | padding | kernel | dilation | effective kernel | RF out "
            "| size out | jump out")
    return Markdown(markdown(head, [["x".join(map(str, cell)) if isinstance(cell, tuple) else cell for cell in row]
                                    for row in table], " " + "r" * 11))


def full_table(model: nn.Module, shape: tuple[int, int, int]) -> Markdown:
    """Return torchsummary's table of `model` for images of `shape` (C, H, W), folded."""
    return Markdown("<details><summary>every layer (torchsummary)</summary>\n\n"
                    f"```\n{torchsummary_table(model, shape)}\n```\n\n</details>")


def block_table(model: nn.Module, shape: tuple[int, int, int]) -> Markdown:
    """Return the table of a network by block (see `common.anatomy.blocks`), for images of `shape` (C, H, W)."""
    rows = [(row["name"], " x ".join(map(str, row["output"] or ())), *(row[key] for key in ("params", "macs")))
            for row in blocks(model, shape)]
    total = ("**total**", "", sum(row[2] for row in rows), sum(row[3] for row in rows))
    return Markdown(markdown("block | output | parameters | multiply-accumulates", [
        (name, output, f"{params:,}", f"{macs:,}") for name, output, params, macs in (*rows, total)], "llrr"))


def source_code(*parts) -> Markdown:
    """Return the code of functions or classes of the course, as it stands in their module, to read it in place."""
    texts = [f"`{part.__module__}`\n```python\n{inspect.getsource(part).rstrip()}\n```" for part in parts]
    return Markdown("\n\n".join(texts))


def cost(model: nn.Module, shape: tuple[int, int, int]) -> str:
    """Say what `model` costs for an image of `shape` (C, H, W)."""
    macs = multiply_accumulates(model, shape)
    said = f"{macs / 1e6:.1f} million" if macs > 1e5 else f"{macs:,}"
    return f"{count_parameters(model):,} parameters, {said} multiply-accumulates an image"


def difference_table(comparisons: list[tuple[dict, dict]]) -> str:
    """Return the table, in Markdown, of pairs of summaries: what each one gains over the other."""
    rows = [(title(one), title(other), found.n, f"{found.mean:+.2f}",
             f"{found.low:+.2f} to {found.high:+.2f}" if found.n > 1 else "", found.verdict)
            for one, other in comparisons if (found := difference(one, other)).n]
    return markdown(" | against | pairs of seeds | difference, points | 95 % interval | ", rows, "llrrll")


def describe_baseline(baseline: dict) -> str:
    """Return how one of a session's baselines is called: its number of parameters, and its norm where it has one."""
    return f"{baseline['params']:,}" + (f" {baseline['norm']}" if "norm" in baseline else "")


def session_points(about: Session) -> list[dict]:
    """Return a session's baselines and published networks as points for `common.plots.parameters_against_accuracy`.

    Of results with as many parameters and the same norm the most accurate stands for all: the others are of other
    recipes, or ablations. Where the budget says nothing of epochs, each number of epochs has its own. Left out are
    networks of more than twice the budget or far below the goal, such as the first ones of a session: they would press
    all that is close to the goal into a corner.
    """
    points = [{"name": describe_baseline(baseline), "std": None, "source": True, **baseline}
              for baseline in about.baselines]
    same = ("params", "norm") + ("epochs",) * all(limit.key != "epochs" for limit in about.budget)
    summaries = sorted(summarize_session(about.name), key=lambda summary: summary["mean"])
    points += map(summary_point, {tuple(s[key] for key in same): s for s in summaries}.values())
    most, least = 2 * about.target("params").limit, about.goal.limit - 0.5
    return [point for point in points if point["params"] <= most and point["accuracy"] > least]


def summary_point(summary: dict) -> dict:
    """Return a summary as such a point."""
    return {"name": title(summary), "params": summary["params"], "accuracy": summary["mean"], "std": summary["std"],
            "source": False}


def title(row: dict) -> str:
    """Return the name of a result or a summary: its model, and its norm where it has one."""
    return row["model"].replace("_", " ") + (f", {row['norm']}" if row["norm"] else "")


def accuracy(summary: dict) -> str:
    """Return the mean test accuracy over seeds with its standard deviation, where there is more than one."""
    return mean_and_deviation([run["accuracy"] for run in summary["results"]])


def number(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def ideas_table(path: Path, *starts: str) -> Markdown:
    """Return the table of the ideas at `path`, which `tools/ideas.py` tried, each beside the one that it starts from.

    Where `starts` are given, those alone are shown that start from one of them.
    """
    tried: dict[str, list[dict]] = {}
    for row in json.loads(path.read_text()):
        if not starts or row["start"] in starts:
            tried.setdefault(row["idea"], []).append(row)
    rows, has_loss = [], any("loss" in runs[0] for runs in tried.values())  # the first ideas were judged without it
    for idea, runs in tried.items():
        start, said = runs[0]["start"], ("", "")
        if idea != start:
            pairs = difference({"results": runs}, {"results": tried[start]})
            interval = f" ({pairs.low:+.2f} to {pairs.high:+.2f})" if pairs.n > 1 else ""
            said = f"{pairs.mean:+.2f}{interval}", pairs.verdict if pairs.n > 1 else "one seed"
        measured = [f"{statistics.fmean(run['loss'] for run in runs):.4f}" if "loss" in runs[0] else ""] * has_loss
        accuracy = statistics.fmean(run["accuracy"] for run in runs)
        rows.append((idea, len(runs), f"{runs[0]['params']:,}", *measured, f"{accuracy:.2f}", *said))
    head = (f"idea | seeds | parameters | {'held-out loss | ' * has_loss}held-out accuracy, % "
            "| difference with the same seeds, points | ")
    return Markdown(markdown(head, rows, "lrr" + "r" * has_loss + "rr"))
