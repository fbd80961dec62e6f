"""A course of two tiny notebooks in a folder of its own, for the tests of what runs and publishes notebooks."""

import shutil
from pathlib import Path

from common import notebooks
from common.grid import Published

HEADER = """\
# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

"""
NOTEBOOK = HEADER + '''\
# %% [markdown]
# # A tiny notebook
#
# It trains nothing.

# %% tags=["setup"]

# %% tags=["parameters"]
preset: str = "quick"  # which
seed: int = 0  # random seed
epochs: int = None  # how long (papermill can not read "int | None")
train: str = "missing"  # what is read
output: str = ""  # where

# %%
import json

folder = ROOT / (f"{session}/results" if preset == "full" else f"runs/{preset}/{session}/results") / "{name}"
path = folder / f"net-seed{seed}.json"
print("train", train)

# %%
accuracy = 99.0 + seed / 10
if epochs == 0:
    raise ValueError("epochs=0 is not a whole number of at least 1\\nsecond line")
if train == "never":
    fresh = path.exists() and json.loads(path.read_text())["accuracy"] == accuracy
    assert fresh, "no result; `make results` makes it"
elif not path.exists() or json.loads(path.read_text())["accuracy"] != accuracy:
    row = {"epoch": 1, "lr": 0.1, "train_loss": 0.1, "train_accuracy": 98.0, "test_loss": 0.1,
           "test_accuracy": accuracy, "seconds": 1.0}
    folder.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".pt").touch()
    path.write_text(json.dumps({
        "session": "{session}", "notebook": "{name}", "model": "net", "norm": None, "seed": seed, "preset": preset,
        "params": 7000, "receptive_field": 28, "epochs": 1, "max_epochs": 1, "accuracy": accuracy,
        "train_accuracy": 98.0, "curve": [row], "seconds": 1.0,
        "targets": [{"name": "test accuracy, %", "limit": ">= 99", "value": accuracy, "met": accuracy >= 99}]}))

# %%
# plots.curves( and plots.misclassified(
import base64

from IPython.display import Image

Image(base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="))
'''
GRID = """
GRID = {"S7_mnist/1_first": Published(1, 1, ("net",)), "S7_mnist/2_second": Published(2, 1, ("net",))}
"""
README = "# Course\n\n<!-- generated: results S7_mnist -->\nold\n<!-- end: results S7_mnist -->\n\nprose\n"


def make(folder: Path, monkeypatch) -> Path:
    """Make the course in `folder`, with notebooks S7_mnist/1_first and S7_mnist/2_second, and let common work on it."""
    shutil.copytree(notebooks.ROOT / "common", folder / "common", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt", "Snakefile"):
        shutil.copy(notebooks.ROOT / name, folder)
    shutil.copytree(notebooks.ROOT / "profiles", folder / "profiles")
    with (folder / "common" / "grid.py").open("a") as file:  # for Snakemake, which is a process of its own
        file.write(GRID)
    (folder / "README.md").write_text(README)
    for name in ("1_first", "2_second"):
        write(folder, f"S7_mnist/{name}")
    for module in ("notebooks", "runner", "publisher"):
        monkeypatch.setattr(f"common.{module}.ROOT", folder)
    monkeypatch.setattr("common.runner.CLOSING", ["S7_mnist/2_second"])
    monkeypatch.setattr("common.grid.GRID", {"S7_mnist/1_first": Published(1, 1, ("net",)),
                                             "S7_mnist/2_second": Published(2, 1, ("net",))})
    notebooks.sync()
    return folder


def write(folder: Path, name: str, text: str = NOTEBOOK) -> None:
    session, notebook = name.split("/")
    path = folder / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text.replace("{session}", session).replace("{name}", notebook))
