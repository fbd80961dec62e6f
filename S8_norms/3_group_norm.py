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
# # S8.3 Group norm: each image by itself
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S8_norms/3_group_norm.ipynb)
#
# Group norm takes the mean and deviation of a group of channels, in each image by itself. No image knows of another,
# training and evaluation do the same, and a batch may be as small as one. Two groups here; the same four networks.

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
from functools import partial

import torch
from IPython.display import Markdown, display

from common import experiment, models, plots, recipes, report
from common.layers import make_norm
from common.targets import Target
from common.training import Recipe, predict

run = experiment.start("S8_norms", "3_group_norm", preset, seed, epochs, train, output, resume)
shape = (3, 32, 32)
budget = [Target("params", "<", 50_000), Target("epochs", "<=", 20)]

# %% [markdown]
# ## What is normalized
#
# Over H, W and the channels of one group: every image by itself. The number of groups must divide the number of
# channels. It changes neither the number of parameters nor what evaluation does.

# %%
maps = torch.randn(64, 8, 16, 16) * torch.arange(1, 9).view(1, 8, 1, 1) + 3
norm = make_norm("gn", 8, groups=2)
by_group = norm(maps).view(64, 2, -1)
print(f"by image and group, after: means {by_group.mean(2).abs().max():.1e} at most, deviations "
      f"{by_group.std(2).min():.2f} to {by_group.std(2).max():.2f}")
print(f"an image by itself comes out the same: {torch.allclose(norm(maps)[:1], norm(maps[:1]), atol=1e-6)}")
try:
    make_norm("gn", 10, groups=4)
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# ## The data
#
# Our recipe pads a training image by 4 pixels, crops it back at a random place, and mirrors it in every other epoch.

# %%
data = train_set, test_set = run.data("cifar10")
plots.samples(train_set.images, train_set.labels, train_set.classes, rows=2)

# %% [markdown]
# ## The network with the wide start
#
# ### Target
#
# 37,664 parameters, a learning rate of 0.1 and a dropout of 1 %; its source reports 72.46 % at its best epoch. At
# least 60 % after eight epochs.

# %%
brief = [*budget, Target("accuracy", ">=", 60.0)]
widened_input = partial(models.widened_input, "gn", dropout=0.01)
report.network(widened_input(), shape)

# %% [markdown]
# ### Result
#
# A constant rate, unvaried images and eight epochs, as in notebook S8.2.

# %%
widened_recipe = run.recipe(Recipe(epochs=8, lr=0.1), quick_epochs=3)
widened, _ = run.run("widened_input", widened_input, widened_recipe, data, brief, norm="gn", seeds=1)

# %%
plots.curves({"widened input": widened["curve"]})

# %%
report.targets(widened)

# %% [markdown]
# ### Analysis

# %%
def too_short(result) -> str:
    return "" if result["targets"][-1]["met"] else ": it misses its target, eight epochs at its rate are too few"


display(Markdown(
    f"{widened['accuracy']:.2f} % on the test images after {widened['epochs']} epochs, "
    f"{widened['train_accuracy']:.2f} % on the training images{too_short(widened)}."
))

# %% [markdown]
# ## Norms after the transitions too
#
# ### Target
#
# 47,876 parameters: a norm after every convolution, the transitions included, and a learning rate that rises and falls
# in one cycle. Its source reports 73.99 %.

# %%
transitions = partial(models.transitions, "gn")
report.network(transitions(), shape)

# %% [markdown]
# ### Result

# %%
transitions_recipe = run.recipe(Recipe(epochs=8, lr=0.1, schedule="one_cycle"), quick_epochs=3)
after_all, _ = run.run("transitions", transitions, transitions_recipe, data, brief, norm="gn", seeds=1)

# %%
plots.curves({"widened input": widened["curve"], "transitions": after_all["curve"]})

# %%
report.targets(after_all)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{after_all['accuracy']:.2f} %, {report.gain(after_all, widened)} from the network above{too_short(after_all)}."
))

# %% [markdown]
# ## Under the budget, with our recipe
#
# ### Target
#
# 49,746 parameters; its source reports 77.59 %. The recipe is that of notebook S8.2, unchanged: at least 79.0 %.

# %%
recipe = run.recipe(recipes.S8, quick_epochs=3)
budgeted = partial(models.budgeted, "gn")
report.network(budgeted(), shape)

# %% [markdown]
# ### Result

# %%
budgeted_target = [*budget, Target("accuracy", ">=", 70.0 if preset == "quick" else 79.0)]
dense, dense_model = run.run("budgeted", budgeted, recipe, data, budgeted_target, norm="gn")

# %%
plots.curves({"transitions": after_all["curve"], "budgeted": dense["curve"]})

# %%
report.targets(dense)

# %% [markdown]
# ### Analysis

# %%
dense_summary = run.over_seeds(dense)
display(Markdown(
    f"{report.accuracy(dense_summary)} % (n = {dense_summary['n']}). "
    f"{report.learned_by_heart(dense, dense_model, train_set)}"
))

# %% [markdown]
# ## Our own network
#
# ### Target
#
# The network with residual adds of notebook S8.2, whose every norm is now group norm: at least 83.5 %.

# %%
ours = partial(models.residual, "gn")
report.network(ours(), shape)

# %% [markdown]
# ### Result

# %%
ours_target = [*budget, Target("accuracy", ">=", 70.0 if preset == "quick" else 83.5)]
own, own_model = run.run("ours", ours, recipe, data, ours_target, norm="gn")

# %%
plots.curves({"budgeted": dense["curve"], "ours": own["curve"]})

# %%
report.targets(own)

# %% [markdown]
# What it gets wrong, most confident mistakes first:

# %%
confidence, predictions = torch.softmax(predict(own_model, test_set), 1).max(1)
plots.misclassified(test_set.images, test_set.labels, predictions, test_set.classes, confidence, name="group norm")

# %%
plots.confusion_matrix(test_set.labels, predictions, test_set.classes)

# %% [markdown]
# ### Analysis

# %%
summary = run.over_seeds(own)
display(Markdown(
    f"{report.accuracy(summary)} % (n = {summary['n']}), {report.gain(summary, dense_summary)} from the network of "
    f"plain convolutions above with the same recipe; it {report.first_epoch(summary, 70)}. "
    f"Ours: {report.cost(ours(), shape)}; the other: {report.cost(budgeted(), shape)}."
))

# %% [markdown]
# ## Side by side

# %%
report.side_by_side([run.over_seeds(result) for result in (widened, after_all, dense, own)])
