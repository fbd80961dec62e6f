"""Checkpoints: all that a training run needs to go on from the end of an epoch as if it had never been stopped."""

import io
import zipfile
from pathlib import Path

import torch
from torch import Generator

from common import files, results


def write(path: Path, about: dict, history: dict, parts: dict, generator: Generator) -> None:
    """Write a checkpoint to `path`, whole or not at all.

    `about` says whose it is; `history` is what the run has to tell so far, in lists and dicts; `parts` are the objects
    with a state_dict (model, optimizer, ...), or None; `generator` draws order and augmentation. The state of torch's
    own generators, which dropout draws from, is kept too.
    """
    content = io.BytesIO()
    # Only for a run on a GPU: to ask for it starts CUDA, after which no forked process can use it.
    cuda = torch.cuda.get_rng_state_all() if generator.device.type == "cuda" else []
    torch.save({"about": about, "history": history, "generator": generator.get_state(),
                "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
                "parts": {name: part.state_dict() for name, part in parts.items() if part is not None}}, content)
    files.write(path, content.getvalue())


def find_unfinished(path: Path, about: dict, log) -> dict | None:
    """Return the checkpoint at `path` for `restore`, or None where there is none of the run that `about` describes.

    Which it is goes to `log`. The file is read as tensors, numbers and texts, and runs no code.
    """
    if not path.exists():
        return None
    try:
        damaged = zipfile.ZipFile(path).testzip()  # torch.load doesn't compare the checksums
        saved = {} if damaged else torch.load(path, "cpu", weights_only=True)
        other = [key for key in about if saved["about"].get(key) != about[key]]
        if other == ["output"] and results.same_output(about["output"], saved["about"]["output"], tolerance=0.02):
            other = []  # another GPU, say
    except Exception:  # a damaged file fails in many ways
        log(f"the checkpoint {path} is not used: it is damaged")
        return None
    if other:
        log(f"the checkpoint {path} is not used: it is of a run with another {' and '.join(other)}")
        return None
    log(f"goes on from {path} after epoch {len(saved['history']['curve'])}")
    return saved


def restore(saved: dict, parts: dict, generator: Generator) -> None:
    """Set `parts` and every generator to what a checkpoint says."""
    for name, state in saved["parts"].items():
        parts[name].load_state_dict(state)
    generator.set_state(saved["generator"])
    torch.set_rng_state(saved["random"]["cpu"])
    torch.cuda.set_rng_state_all(saved["random"]["cuda"][: torch.cuda.device_count()])
