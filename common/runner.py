"""Runs notebooks with papermill: one, the closing ones of every session, or all that is published."""

import ast
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from common import grid, notebooks, results
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
    own = f"-seed{seed}" if isinstance(seed, int) else ""
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


def all_results(seeds: int | None = None, profile: str | None = None, chosen: str = "") -> bool:
    """Make every published result that is missing or stale, and run every notebook once more to show all its seeds.

    Snakemake does it, by the Snakefile, on all cores or as `profile` says: it sees what is missing. What is stale only
    the notebooks themselves can say, so they are asked first. Safe to stop and start again. `seeds` replaces the number
    of each notebook's seeds; `chosen` are the names of the notebooks, all where it is empty. Returns whether all went
    well.
    """
    names = [notebooks.known(name) for name in chosen.split()] or notebooks.names()
    if problems := notebooks.pairs_differ():
        raise CourseError(f"{problems[0]}; run `make sync` first")
    if importlib.util.find_spec("snakemake") is None:
        raise CourseError("the grid of results needs Snakemake: pip install -r requirements-grid.txt")
    if profile:
        tried = subprocess.run([sys.executable, "-m", "snakemake", "--profile", profile, "--list-rules"], cwd=ROOT,
                               capture_output=True, text=True)
        if tried.returncode:
            raise CourseError(f"Snakemake can't use the profile {profile}: {tried.stderr.strip().splitlines()[-1]}")
    again = [rule for name in names for rule in outdated(name, seeds)]
    now = time.time()
    for file in (ROOT / made for cell in grid.cells(names, seeds) for made in cell.makes):
        if file.exists():
            os.utime(file, (now, now))  # a clone gives times at random, and a newer input would be a reason to run
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6
    where = ["--profile", profile] if profile else ["--cores", "all", "--resources", f"mem_mb={memory}"]
    command = [sys.executable, "-m", "snakemake", *where, "--nolock"]  # a lock would outlive a kill
    command += ["--config", f"notebooks={' '.join(names)}", *([f"seeds={seeds}"] if seeds else [])]
    command += ["--forcerun", *again] if again else []
    snakemake = subprocess.Popen(command, cwd=ROOT)
    try:
        return snakemake.wait() == 0
    except KeyboardInterrupt:  # it was told, too, and stops its cells
        snakemake.wait()
        raise


def outdated(name: str, seeds: int | None = None) -> list[str]:
    """Return the rules to run again for notebook `name`: none where its results are those of today's code.

    The run that finds out is kept as the notebook's own.
    """
    print(f"== {name}: are its results those of today's code?", flush=True)
    shown = executed(name, "full")
    trial = shown.with_suffix(".trial.ipynb")
    try:
        notebooks.execute(ROOT / f"{name}.ipynb", trial, {"preset": "full", "train": "never"})
    except CourseError as error:
        print(error, flush=True)
        return [*(cell.name for cell in grid.cells([name], seeds) if cell.notebook == name), grid.rule(name, "shown")]
    trial.replace(shown)
    return []
