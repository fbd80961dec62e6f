"""Checkpoints: all that a training run needs to go on from the end of an epoch as if it had never been stopped."""

import io
import zipfile
from pathlib import Path

import torch
from torch import Generator

from common import results


def save(path: Path, about: dict, history: dict, parts: dict, generator: Generator) -> None:
    """Write a checkpoint to `path`, whole or not at all.

    `about` says whose it is, `history` is what the run has to tell so far: plain numbers and texts in lists and dicts.
    `parts` are the objects with a state_dict (model, optimizer, schedule, average), `generator` draws order and
    augmentation. The state of torch's own generators, which dropout draws from, is kept too.
    """
    content = io.BytesIO()
    torch.save({"about": about, "history": history, "generator": generator.get_state(), "random": random_states(),
                "parts": {name: part.state_dict() for name, part in parts.items()}}, content)
    results.write(path, content.getvalue())


def load(path: Path, about: dict) -> dict:
    """Return the checkpoint at `path`, for `restore`; the file is read as tensors, numbers and texts, and runs no code.

    Raises ValueError where it is damaged, or belongs to a run that `about` doesn't describe.
    """
    try:
        damaged = zipfile.ZipFile(path).testzip()  # torch.load doesn't compare the checksums
        saved = None if damaged else torch.load(path, "cpu", weights_only=True)
        missing = saved is None or {"about", "history", "generator", "random", "parts"} - saved.keys()
    except Exception:  # a damaged file fails in many ways
        missing = True
    if missing:
        raise ValueError("it is damaged")
    if other := [key for key in about if saved["about"].get(key) != about[key]]:
        raise ValueError(f"it is of another {' and '.join(other)}")
    return saved


def restore(saved: dict, parts: dict, generator: Generator) -> None:
    """Set `parts` and every generator to what a checkpoint (see `load`) says."""
    for name, part in parts.items():
        part.load_state_dict(saved["parts"][name])
    generator.set_state(saved["generator"])
    torch.set_rng_state(saved["random"]["cpu"])
    if "cuda" in saved["random"]:
        torch.cuda.set_rng_state_all(saved["random"]["cuda"])


def random_states() -> dict:
    cuda = {"cuda": torch.cuda.get_rng_state_all()} if torch.cuda.is_available() else {}
    return {"cpu": torch.get_rng_state(), **cuda}
