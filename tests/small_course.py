"""A course of one session and two tiny notebooks in a folder of its own, for the tests of tools/."""

import shutil
from pathlib import Path

import nbformat

from common import files
from tools import notebooks

NOTEBOOK = '''\
# %% [markdown]
# # A tiny notebook
#
# It trains a linear classifier on 64 random images.

# %% tags=["setup"]

# %% tags=["parameters"]
preset: str = "quick"  # which
seed: int = 0  # random seed
epochs: int = None  # how long
output: str = ""  # where

# %%
import base64

import torch
from IPython.display import Image
from torch import nn

from common import experiment
from common.data import Dataset
from common.training import Recipe

run = experiment.start("S7_mnist", "{name}", preset, seed, epochs, output)

# %%
pixels = torch.randint(256, (64, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
data = [Dataset("mnist", pixels, torch.arange(64) % 10, tuple("0123456789"))] * 2


def net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


result, trained = run.train_or_read(
    "net", net, run.recipe(Recipe(epochs=2, lr=0.01, batch_size=32)), data, [*run.session.budget, run.session.goal])

# %% tags=["figure-curves"]
Image(base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="))
'''
SESSION = '''\
title = "Tiny"
learn = "little"
closing = "2_second"
comparisons = [["2_second/net", "1_first/net"]]
budget = {params = "< 8000", epochs = "< 15"}
goal = {accuracy = ">= 5.0"}
baselines = [{params = 7850, accuracy = 92.0, link = "https://example.org/linear"}]

[notebooks.1_first]
results.net = {seeds = 1, weights = 1}

[notebooks.2_second]
after = ["1_first"]
results.net = {seeds = 2, weights = 1}
'''
README = "# Course\n\n<!-- generated: results S7_mnist -->\nold\n<!-- end: results S7_mnist -->\n\nprose\n"
HAVE_ROOT = ("common.files", "common.session", "common.results", "common.experiment", "tools.notebooks", "tools.runner",
             "tools.publisher", "tools.readmes", "tools.freshness")


def make(folder: Path) -> Path:
    """Make the course in `folder`, with notebooks S7_mnist/1_first and S7_mnist/2_second; `work_on` it to use it."""
    for name in ("common", "tools", "profiles"):
        shutil.copytree(files.ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "CITATION.cff", "hubconf.py", "requirements.txt", "Snakefile"):
        shutil.copy(files.ROOT / name, folder)
    (folder / "S7_mnist").mkdir()
    (folder / "README.md").write_text(README)
    (folder / "S7_mnist/session.toml").write_text(SESSION)
    for name in ("1_first", "2_second"):
        (folder / f"S7_mnist/{name}.py").write_text(NOTEBOOK.replace("{name}", name))
    return folder


def work_on(folder: Path, monkeypatch) -> Path:
    """Let common and tools in this process work on the course in `folder`, and its pairs be in step."""
    for module in HAVE_ROOT:
        monkeypatch.setattr(f"{module}.ROOT", folder)
    monkeypatch.setattr("tools.front.figures", dict)  # which are of the course's own results
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebooks.sync()
    return folder


def change(path: Path, what) -> None:
    """Let `what` change the .ipynb at `path`."""
    notebook = nbformat.read(path, as_version=4)
    what(notebook)
    nbformat.write(notebook, path)


def edit(path: Path, *changes: tuple[str, str]) -> None:
    """Replace texts in a file, such as a notebook's .py, and sync."""
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    notebooks.sync()
