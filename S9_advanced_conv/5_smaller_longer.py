# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # S9.5 Smaller, and longer
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S9_advanced_conv/5_smaller_longer.ipynb)
#
# Two questions that a budget raises. What does our network lose with half of the parameters? And what does it gain with
# more time?

# %% tags=["setup"]
# Set-up, the same cell in every notebook: it finds the course's code, or fetches it where only this notebook is.
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

URL = "https://github.com/owner/small-cnn-course"
clone = Path.cwd() / "small-cnn-course"
folders = [Path.cwd(), *Path.cwd().parents, clone]
ROOT = next((folder for folder in folders if (folder / "common" / "experiment.py").is_file()), None)


def shell(*command: str, hint: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{hint} ({(done.stderr.strip() or command[0]).splitlines()[-1]})")


if ROOT is None:
    shell("git", "clone", "--depth", "1", URL, str(clone), hint=f"no {URL}: is that right, and a network there?")
    ROOT = clone
if ROOT == clone:  # install what is missing, but leave torch and whatever else is there as it is
    needed = re.findall(r"^([\w-]+)(\S*)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    missing = [name + versions for name, versions in needed
               if name not in ("torch", "torchvision") and importlib.util.find_spec(name) is None]
    if missing:
        shell(sys.executable, "-m", "pip", "install", *missing, hint=f"can't install {', '.join(missing)}")
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# %% tags=["parameters"]
preset: str = "quick"  # smoke (seconds, for tests), quick (what `make run` does) or full (as the outputs below)
seed: int = 0  # random seed of the run
epochs: int = None  # training epochs; None: as the preset says
train: str = "missing"  # missing: read fresh results, train the others; always: train again; never: only read
output: str = ""  # folder for the results, in Colab one like /content/drive/MyDrive/course; empty: below the course
resume: bool = True  # go on where a run was stopped; False: train from the start

# %%
import dataclasses

import torch
from IPython.display import Markdown, display

from common import experiment, grad_cam, models, plots, recipes, report
from common.receptive_field import measured
from common.targets import S9_BRIEF, Target
from common.training import predict

run = experiment.start("S9_advanced_conv", "5_smaller_longer", preset, seed, epochs, train, output, resume)
shape = (3, 32, 32)
data = train_set, test_set = run.data("cifar10")

# %% [markdown]
# ## Half of the parameters
#
# ### Target
#
# Most parameters are in C3 and C4. With 112 and 168 channels there in place of 160 and 256, and all else as in notebook
# S9.4, fewer than 100,000 are left: at least 87 % after 25 epochs.

# %%
small_brief = [*S9_BRIEF, Target("params", "<", 100_000), Target("epochs", "<=", 25), Target("accuracy", ">=", 87.0)]
print("Receptive field before the global average, measured (pixels that have a gradient, on an image large enough): "
      "{} x {}".format(*measured(models.half_size(), shape)))
print(experiment.summary(models.half_size(), shape))

# %% [markdown]
# ### Result

# %%
small, small_model = run.run("half_size", models.half_size, run.recipe(recipes.S9, quick_epochs=2), data, small_brief)

# %%
plots.curves({"half size": small["curve"]})

# %%
report.targets(small)

# %% [markdown]
# ### Analysis

# %%
def against(found: dict) -> str:
    return (f"{report.gain(found, ours)} from the network of notebook S9.4, published with {report.accuracy(ours)} % "
            f"(n = {ours['n']}) after {ours['epochs']} epochs")


ours, small_summary = report.published("S9_advanced_conv/4_ours", "ours"), run.over_seeds(small)
macs, macs_of_ours = (experiment.multiply_accumulates(m, shape) / 1e6 for m in (small_model, models.strided()))
display(Markdown(
    f"{small['params']:,} parameters and {macs:.1f} million multiply-accumulates (S9.4: {macs_of_ours:.1f} million) "
    f"reach {report.accuracy(small_summary)} % (n = {small_summary['n']}), {against(small_summary)}. "
    f"{report.learned_by_heart(small, small_model, train_set)}"
))

# %% [markdown]
# ## More time
#
# ### Target
#
# The network of notebook S9.4 and its recipe, with 80 epochs for the same cycle; a hundred are allowed. At least 91 %.

# %% [markdown]
# ### Result

# %%
long_brief = [*S9_BRIEF, Target("epochs", "<=", 100), Target("accuracy", ">=", 91.0)]
recipe = run.recipe(dataclasses.replace(recipes.S9, epochs=80), quick_epochs=4)
longer, longer_model = run.run("longer", models.strided, recipe, data, long_brief)

# %%
plots.curves({"half size": small["curve"], "ours (S9.4)": ours["results"][0]["curve"], "longer": longer["curve"]})

# %%
report.targets(longer)

# %%
confidence, predictions = torch.softmax(predict(longer_model, test_set), 1).max(1)
plots.per_class_accuracy(test_set.labels, predictions, test_set.classes)

# %%
plots.confusion_matrix(test_set.labels, predictions, test_set.classes)

# %%
plots.misclassified(test_set.images, test_set.labels, predictions, test_set.classes, confidence)

# %%
wrong = (predictions != test_set.labels).nonzero().flatten()
wrong = wrong[confidence[wrong].argsort(descending=True)][:8]
grad_cam.show(longer_model, longer_model[-4], test_set, wrong, predictions, "predicted wrongly, most confident first")

# %% [markdown]
# ### Analysis

# %%
long_summary = run.over_seeds(longer)
display(Markdown(
    f"{report.accuracy(long_summary)} % after {longer['epochs']} epochs (n = {long_summary['n']}), "
    f"{against(long_summary)}. "
    f"{report.learned_by_heart(longer, longer_model, train_set)}"
))
