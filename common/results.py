"""Results on disk: one JSON a run, written whole, and summaries over seeds."""

import contextlib
import glob
import hashlib
import io
import json
import os
import statistics
import time
from itertools import groupby
from pathlib import Path

PRESETS = {"smoke": "seconds, for tests", "quick": "what `make run` does", "full": "what is published"}
ABANDONED = 600  # seconds after which a file that is being written isn't any more


def write(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` in one step: a reader, or a crash, sees the old file or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):  # by a process that was killed
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime > ABANDONED:
                left.unlink()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:  # which place is full, or can't be written
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def load(path: Path) -> dict:
    """Return the result at `path`, with its "path" added; raises ValueError naming a file that is no result."""
    try:
        return {**json.loads(path.read_text()), "path": str(path)}
    except (ValueError, TypeError) as error:  # no text, no JSON, or no dict
        raise ValueError(f"{path} is not a result ({error}); delete it and run again") from None


def weights(result: dict) -> dict:
    """Return the weights beside a result (see `load`), a state_dict; nothing but tensors is read from the file.

    Raises ValueError where the file is missing or isn't the one that belongs to the result.
    """
    import torch  # takes seconds: only where it is used

    path = Path(result["path"]).with_suffix(".pt")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror}): its weights are missing "
                         "(the repository has those of the first seeds)") from None
    if sha256(content) != result.get("weights_sha256"):
        raise ValueError(f"{path} is not what {Path(result['path']).name} was saved with: its weights are damaged")
    return torch.load(io.BytesIO(content), "cpu", weights_only=True)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read(folder: Path) -> list[dict]:
    """Return every result below `folder` (see `load`), in the order of their paths."""
    return [load(path) for path in sorted(Path(folder).rglob("*-seed*.json"))]


def identity(result: dict) -> tuple:
    """What runs with different seeds have in common."""
    return tuple(result[key] or "" for key in ("session", "notebook", "model", "norm", "preset", "epochs"))


def epochs_until(result: dict, accuracy: float) -> int | None:
    """Return the first epoch whose test accuracy is at least `accuracy` percent, or None."""
    return next((row["epoch"] for row in result["curve"] if row["test_accuracy"] >= accuracy), None)


def mean_epoch_until(runs: list[dict], accuracy: float) -> tuple[float | None, int]:
    """Return the mean of `epochs_until` over the runs that reached `accuracy` (None: none did), and their number."""
    epochs = [epoch for run in runs if (epoch := epochs_until(run, accuracy))]
    return (statistics.fmean(epochs) if epochs else None), len(epochs)


def summary(results: list[dict]) -> list[dict]:
    """Summarise results over their seeds: a dict for each model.

    Keys: session, notebook, model, norm, preset, params, receptive_field, epochs, n, mean, std (the sample's standard
    deviation, None for one seed) and worst, all of the test accuracy in percent after the last epoch, train_accuracy
    (its mean), seconds (the mean of a run), and results (the runs themselves).
    """
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
