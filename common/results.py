"""Results on disk: one JSON a run; summaries over seeds, and differences between them."""

import hashlib
import io
import json
import math
import statistics
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from common.files import ROOT
from common.targets import NAMES


def read(path: Path) -> dict:
    """Return the result at `path`, with its "path" added.

    Raises ValueError naming a file that is no result, or one that contradicts itself because it was edited.
    """
    try:
        result = {**json.loads(path.read_text()), "path": str(path)}
        problem = contradiction(result)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"{path} is not a result ({type(error).__name__}: {error}); delete it and run again") from None
    if problem:
        raise ValueError(f"{path} was edited: {problem}; delete it and run again")
    return result


def contradiction(result: dict) -> str | None:
    """Say what in a result doesn't follow from its curve, its layers and its file's name; None where all does."""
    curve = result["curve"]
    follows = {"accuracy": curve[-1]["test_accuracy"], "train_accuracy": curve[-1]["train_accuracy"],
               "epochs": len(curve), "seconds": sum(row["seconds"] for row in curve),
               "params": sum(row["params"] for row in result["layers"])}
    wrong = [f"its {key} is {result[key]}, which should be {value}" for key, value in follows.items()
             if result[key] != value]
    if Path(result["path"]).stem != f"{result_name(result['model'], result['norm'])}-seed{result['seed']}":
        wrong.append("its name isn't its model's, norm's and seed's")
    return "; ".join(wrong) or None


def result_name(model: str, norm: str | None) -> str:
    """Return how a result is called in file names and in session.toml: its model, and its norm where it has one."""
    return f"{model}-{norm}" if norm else model


def read_weights(result: dict) -> dict:
    """Return the weights beside a result (see `read`), a state_dict; nothing but tensors is read from the file.

    Raises ValueError where the file is missing or isn't the one that belongs to the result.
    """
    import torch  # takes seconds: only where it is used

    path = Path(result["path"]).with_suffix(".pt")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror}): its weights are missing") from None
    if sha256(content) != result.get("weights_sha256"):
        raise ValueError(f"{path} is not what {Path(result['path']).name} was saved with: its weights are damaged")
    return torch.load(io.BytesIO(content), "cpu", weights_only=True)


def same_output(now: list[str], then: list[str], tolerance: float) -> bool:
    """Whether both logits (see `common.training.first_output`) can be one network's, on machines that round otherwise.

    Some GPUs keep three digits of what a convolution multiplies. `tolerance` is a part of the largest logit.
    """
    now, then = ([float(logit) for logit in logits] for logits in (now, then))
    return max(abs(a - b) for a, b in zip(now, then, strict=True)) <= tolerance * max(map(abs, now))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_all(folder: Path) -> list[dict]:
    """Return every result below `folder` (see `read`), in the order of their paths."""
    return [read(path) for path in sorted(Path(folder).rglob("*-seed*.json"))]


def epochs_until(result: dict, accuracy: float) -> int | None:
    """Return the first epoch whose test accuracy is at least `accuracy` percent, or None."""
    return next((row["epoch"] for row in result["curve"] if row["test_accuracy"] >= accuracy), None)


def mean_epoch_until(runs: list[dict], accuracy: float) -> tuple[float | None, int]:
    """Return the mean of `epochs_until` over the runs that reached `accuracy` (None: none did), and their number."""
    epochs = [epoch for run in runs if (epoch := epochs_until(run, accuracy))]
    return (statistics.fmean(epochs) if epochs else None), len(epochs)


def summarize(results: list[dict]) -> list[dict]:
    """Summarise results over their seeds: a dict for each model.

    Keys: session, notebook, model, norm, preset, params, receptive_field, epochs, n, mean, std (the sample's standard
    deviation, None for one seed) and worst, all of the test accuracy in percent after the last epoch, train_accuracy
    (its mean), seconds (the mean of a run), and results (the runs themselves).
    """
    def identity(run: dict) -> tuple:
        return tuple(run[key] or "" for key in ("session", "notebook", "model", "norm", "preset", "epochs"))

    rows = []
    for _, runs in groupby(sorted(results, key=identity), key=identity):
        runs = sorted(runs, key=lambda run: run["seed"])
        accuracies = [run["accuracy"] for run in runs]
        same = {key: runs[0][key] for key in ("session", "notebook", "model", "norm", "preset", "params",
                                              "receptive_field", "epochs")}
        rows.append({**same, "n": len(runs), "mean": statistics.fmean(accuracies),
                     "std": statistics.stdev(accuracies) if len(runs) > 1 else None, "worst": min(accuracies),
                     "train_accuracy": statistics.fmean(run["train_accuracy"] for run in runs),
                     "seconds": statistics.fmean(run["seconds"] for run in runs),
                     "results": runs})
    return rows


def summarize_session(session: str) -> list[dict]:
    """Return the summaries (see `summarize`) of a session's published results, by notebook and then by accuracy.

    Runs that have no accuracy to reach, such as those on a short schedule, are left out.
    """
    found = [run for run in read_all(ROOT / session / "results")
             if any(target["name"] == NAMES["accuracy"] for target in run["targets"])]
    return sorted(summarize(found), key=lambda row: (row["notebook"], row["mean"]))


def mean_and_deviation(accuracies: list[float]) -> str:
    """Return "99.45 ± 0.03": the mean over seeds and, where there is more than one, the sample's standard deviation."""
    deviation = f" ± {statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    return f"{statistics.fmean(accuracies):.2f}{deviation}"


def published_summary(notebook: str, model: str, norm: str | None = None) -> dict:
    """Return the summary (see `summarize`) of a published model over all its seeds.

    `notebook` is the one that trained it, such as "S9_advanced_conv/4_ours". Raises ValueError where it has no such
    result.
    """
    session, _, name = notebook.partition("/")
    found = [run for run in read_all(ROOT / session / "results" / name) if (run["model"], run["norm"]) == (model, norm)]
    if not found:
        raise ValueError(f"{notebook} has no published result of {result_name(model, norm)}")
    return summarize(found)[0]


def held_out(session: str) -> dict[str, float]:
    """Return the accuracy of each idea of a session on held-out images, in percent, the mean over its seeds."""
    rows = json.loads((ROOT / session / "results" / "ideas.json").read_text())
    seeds: dict[str, list[float]] = {}
    for row in rows:
        seeds.setdefault(row["idea"], []).append(row["accuracy"])
    return {idea: statistics.fmean(accuracies) for idea, accuracies in seeds.items()}


class Difference(NamedTuple):
    """The difference between the test accuracies of two models, seed by seed."""

    n: int  # pairs of runs with the same seed
    mean: float  # points
    low: float  # the ends of the 95 % interval; not a number for fewer than two pairs
    high: float

    @property
    def verdict(self) -> str:
        """What may be said of it: "better" and "worse" only where the interval excludes 0."""
        if self.n < 2:
            return "one seed says nothing"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "no clear difference"


def difference(one: dict, other: dict) -> Difference:
    """Compare the runs of two summaries seed by seed: their mean difference, and its 95 % interval by Student's t."""
    from scipy import stats  # takes a second

    before = {run["seed"]: run["accuracy"] for run in other["results"]}
    pairs = [run["accuracy"] - before[run["seed"]] for run in one["results"] if run["seed"] in before]
    if len(pairs) < 2:
        return Difference(len(pairs), *pairs or [math.nan], math.nan, math.nan)
    return Difference(len(pairs), statistics.fmean(pairs), *stats.ttest_1samp(pairs, 0).confidence_interval(0.95))
