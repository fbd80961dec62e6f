"""The trained networks that the repository has."""

import importlib

import torch
from torch import nn

from common import anatomy, results
from common.files import ROOT

SHAPES = {"S7": (1, 28, 28), "S8": (3, 32, 32), "S9": (3, 32, 32)}  # a session's images


def pretrained(notebook: str, model: str, norm: str | None = None, seed: int = 0) -> nn.Module:
    """Return a trained network of the course, ready to classify: pretrained("S8_norms/4_three_norms", "ours", "bn").

    `notebook` is the one that trained it, `model` the name of the result. Its input is normalized
    (`common.data.normalize`). Raises ValueError where there are no such weights, where their hash isn't the recorded
    one, or where today's code has another network of that name.
    """
    session, _, name = notebook.removesuffix(".ipynb").partition("/")
    folder = ROOT / session / "results" / name
    path = folder / f"{results.result_name(model.replace(' ', '_'), norm)}-seed{seed}.json"
    if not path.with_suffix(".pt").exists():
        known = sorted(f"{file.parent.relative_to(ROOT)}/{file.stem}".replace("/results", "")
                       for file in ROOT.glob("S*/results/*/*.pt"))
        raise ValueError(f"{notebook} has no weights of {path.stem} (model, norm, seed); there are: {', '.join(known)}")
    result = results.read(path)
    weights, made_by, number = results.read_weights(result), result["network"], session.split("_")[0]
    try:
        network = getattr(importlib.import_module(f"common.models.{number.lower()}"), made_by["name"])(
            **made_by["arguments"])
        network.load_state_dict(weights)
        if anatomy.layer_table(network, SHAPES[number]) != result["layers"]:
            raise ValueError("its layers are others")
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"today's code has another network than {path}: {str(error).splitlines()[0]}") from None
    return network.eval().to(memory_format=torch.channels_last)  # as it was evaluated after training
