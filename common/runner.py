"""Runs notebooks with papermill: one, the closing ones of every session, or all that is published."""

import ast
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from common import notebooks, results
from common.notebooks import ROOT, CourseError

# The notebook of each session in which our network meets the session's target: what `make run` runs.
CLOSING = ["S7_mnist/3_augmentation", "S8_norms/5_side_by_side", "S9_advanced_conv/4_ours"]


def value(text: str):
    """Return a parameter given on the command line as Python has it (5, None, True), or else as text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def notebook(name: str, parameters: dict) -> None:
    """Run one notebook into runs/<preset>/, its lines on the terminal; raises CourseError as `execute` does."""
    name = notebooks.known(name)
    preset = str(parameters.get("preset") or "quick")
    if not preset.isidentifier():  # what is typed becomes a folder's name; `experiment.start` knows the presets
        raise CourseError(f"unknown preset {preset!r}")
    if parameters.get("output"):
        output = Path(str(parameters["output"])).expanduser().resolve()  # the notebook runs in another folder
        parameters = {**parameters, "output": str(output)}
    if problem := notebooks.pair_differs(name):
        print(f"note: {problem}; the .ipynb is what runs, and `make sync` makes it anew from the .py", flush=True)
    notebooks.execute(ROOT / f"{name}.ipynb", executed(name, preset, parameters.get("seed")), parameters, sys.stdout)


def executed(name: str, preset: str, seed: object = None) -> Path:
    """Return where a notebook's run is left; one with a seed is kept apart, since many may run at a time."""
    own = "" if seed is None else f"-seed{seed}"
    return ROOT / "runs" / preset / f"{name}{own}.ipynb"


def run() -> bool:
    """Run the closing notebooks in the quick preset and print what they reached; return whether all targets are met."""
    start, failures, rows = time.monotonic(), [], []
    for name in CLOSING:
        print(f"== {name}, preset quick", flush=True)
        try:
            notebook(name, {"preset": "quick"})
        except CourseError as error:
            failures.append(str(error))
        else:
            rows += [row for result in closing_results(name) for row in target_rows(result)]
    head = ("session", "model", "target", "limit", "reached", "met")
    if rows:
        print("\n" + "\n".join(table(head, rows)))
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    print(f"\ntotal time: {minutes} min {seconds} s; executed notebooks and results: runs/quick/")
    for line in failures:
        print(line, file=sys.stderr)
    if not rows and not failures:
        print("no target was checked: the notebooks wrote no result under runs/quick/", file=sys.stderr)
    return bool(rows) and not failures and all(row[-1] == "yes" for row in rows)


def closing_results(name: str) -> list[dict]:
    """Return what notebook `name` left for its default seed in the quick preset."""
    session, notebook = name.split("/")
    found = results.read(ROOT / "runs" / "quick" / session / "results" / notebook)
    return [result for result in found if result["seed"] == 0]


def target_rows(result: dict) -> Iterator[tuple[str, ...]]:
    for target in result["targets"]:
        reached = target["value"]
        name = result["model"] + (f", {result['norm']}" if result["norm"] else "")
        yield (result["session"], name, target["name"], str(target["limit"]),
               f"{reached:,}" if isinstance(reached, int) else f"{reached:.2f}", "yes" if target["met"] else "NO")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return the lines of a plain-text table."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, tuple("-" * width for width in widths), *rows]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def all_results(seeds: int | None = None) -> list[str]:
    """Make every published result that is missing or stale, and run every notebook once more to show all seeds.

    Safe to stop and start again: a notebook reads what is there already. `seeds` replaces the number of each
    notebook's seeds. Returns a line for everything that failed.
    """
    if problems := notebooks.pairs_differ():
        raise CourseError(f"{problems[0]}; run `make sync` first")
    failures = []
    for name in notebooks.names():
        runs = [(f"{name}-seed{seed}", {"preset": "full", "seed": seed})
                for seed in range(seeds or SEEDS.get(name, 1))]
        for out, parameters in [*runs, (name, {"preset": "full", "train": "never"})]:
            print(f"== {out}", flush=True)
            try:
                notebooks.execute(ROOT / f"{name}.ipynb", ROOT / "runs" / "full" / f"{out}.ipynb", parameters,
                                  sys.stdout)
            except CourseError as error:
                print(error, flush=True)
                failures.append(str(error))
    return failures
