"""Checkpoints: all that a training run needs to go on from the end of an epoch as if it had never been stopped."""

import io
import zipfile
from pathlib import Path

import torch
from torch import Generator

from common import results


def save(path: Path, about: dict, parts: dict, generator: Generator, history: dict) -> None:
    """Write a checkpoint to `path`, whole or not at all.

    `about` says whose it is, `parts` are the objects with a state_dict (model, optimizer, schedule, average),
    `generator` draws order and augmentation, and `history` is what the run has to tell so far: plain numbers in lists
    and dicts. The state of torch's own generators, which dropout draws from, is kept too.
    """
    content = io.BytesIO()
    torch.save({"about": about, "history": history, "generator": generator.get_state(), "random": random_states(),
                "parts": {name: part.state_dict() for name, part in parts.items()}}, content)
    results.write(path, content.getvalue())


def restore(path: Path, about: dict, parts: dict, generator: Generator) -> dict | None:
    """Set `parts` and every generator to what the checkpoint at `path` says, and return its history.

    None, and nothing is changed, where there is no such file, where it is damaged, or where it belongs to a run that
    `about` doesn't describe. The file can't run code: it is read as tensors, numbers and texts only.
    """
    if not path.exists():
        return None
    try:
        if zipfile.ZipFile(path).testzip():  # torch.load doesn't compare the checksums
            return None
        saved = torch.load(path, "cpu", weights_only=True)
        if saved["about"] != about:
            return None
        states = {name: saved["parts"][name] for name in parts}
        history, own, random = saved["history"], saved["generator"], saved["random"]
    except Exception:  # a damaged file fails in many ways
        return None
    for name, part in parts.items():
        part.load_state_dict(states[name])
    generator.set_state(own)
    torch.set_rng_state(random["cpu"])
    if "cuda" in random:
        torch.cuda.set_rng_state_all(random["cuda"])
    return history


def random_states() -> dict:
    cuda = {"cuda": torch.cuda.get_rng_state_all()} if torch.cuda.is_available() else {}
    return {"cpu": torch.get_rng_state(), **cuda}
