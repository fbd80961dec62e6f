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
# # S7.2 Under the budget: fewer channels, spent better, then regularized
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S7_mnist/2_regularization.ipynb)
#
# Three networks of the same layout, each one step from the one before. The first asks how few channels will do. The
# second spends more of the 8,000 parameters where it helps. The third adds batch norm and dropout, which cost next to
# nothing. Each is trained once: a tenth of a point between two of them may be chance.

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
import torch
from IPython.display import Markdown, display

from common import experiment, models, plots, report
from common.targets import Target
from common.training import Recipe, predict

run = experiment.start("S7_mnist", "2_regularization", preset, seed, epochs, train, output, resume)
shape = (1, 28, 28)

# %% [markdown]
# ## The data

# %%
data = train_set, test_set = run.data("mnist")
plots.samples(train_set.images, train_set.labels, train_set.classes, rows=2)

# %% [markdown]
# All three are trained alike, so that only the network differs: SGD with momentum, one cycle of the learning rate,
# which helps a network without a norm through its first steps, no augmentation.

# %%
recipe = run.recipe(Recipe(epochs=14, lr=0.05, nesterov=False, schedule="one_cycle"))
budget = [Target("params", "<", 8000), Target("epochs", "<", 15)]

# %% [markdown]
# ## Reduced
#
# ### Target
#
# The skeleton with about half of its channels, under 8,000 parameters. Above 98.5 %, or the cut went too deep.

# %%
report.source(models.reduced)

# %%
reduced_target = [*budget, Target("accuracy", ">=", 98.5)]
report.network(models.reduced(), shape)

# %% [markdown]
# ### Result

# %%
reduced, reduced_model = run.run("reduced", models.reduced, recipe, data, reduced_target, seeds=1)

# %%
plots.curves({"reduced": reduced["curve"]})

# %%
report.targets(reduced)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{reduced['params']:,} parameters reach {report.accuracy(run.over_seeds(reduced))} %. On the training images the "
    f"accuracy is {reduced['train_accuracy']:.2f} %, which is {reduced['train_accuracy'] - reduced['accuracy']:+.2f} "
    f"points from the test set's. "
    + (f"For {stuck} epochs it only guessed: a network without a norm may take long to find its first direction. "
       if (stuck := sum(row["test_accuracy"] < 15 for row in reduced["curve"])) else "")
    + f"{8000 - reduced['params']:,} parameters of the budget are still unused."
))

# %% [markdown]
# ## Rebalanced
#
# ### Target
#
# More parameters for the second block: there the map is 12 pixels wide and smaller, so a channel is cheap
# to compute, and what it sees is already a piece of a digit. Above 98.7 %, still under 8,000.

# %%
report.source(models.rebalanced)

# %%
rebalanced_target = [*budget, Target("accuracy", ">=", 98.7)]
report.network(models.rebalanced(), shape)

# %% [markdown]
# ### Result

# %%
rebalanced, rebalanced_model = run.run("rebalanced", models.rebalanced, recipe, data, rebalanced_target, seeds=1)

# %%
plots.curves({"reduced": reduced["curve"], "rebalanced": rebalanced["curve"]})

# %%
report.targets(rebalanced)

# %% [markdown]
# ### Analysis

# %%
before, after = run.over_seeds(reduced), run.over_seeds(rebalanced)
display(Markdown(
    f"{rebalanced['params'] - reduced['params']:,} more parameters, and the accuracy goes from "
    f"{report.accuracy(before)} % to {report.accuracy(after)} % (n = {before['n']} and {after['n']}). The target of "
    f"this session, 99.4 %, is still {99.4 - after['mean']:.2f} points away, with "
    f"{8000 - rebalanced['params']:,} parameters left."
))

# %% [markdown]
# ## Regularized
#
# ### Target
#
# Each 3x3 convolution is followed by ReLU, batch norm and a dropout of 5 %. The 1x1 convolutions stay bare: they only
# mix. Batch norm adds two parameters a channel. It should train faster, and to more than 99 %.

# %%
report.source(models.regularized_conv, models.regularized)

# %%
regularized_target = [*budget, Target("accuracy", ">=", 99.0)]
report.network(models.regularized(), shape)

# %% [markdown]
# ### Result

# %%
regularized, regularized_model = run.run(
    "regularized", models.regularized, recipe, data, regularized_target, seeds=1)

# %%
plots.curves({"reduced": reduced["curve"], "rebalanced": rebalanced["curve"], "regularized": regularized["curve"]})

# %%
report.targets(regularized)

# %% [markdown]
# What it gets wrong, most confident mistakes first:

# %%
confidence, predictions = torch.softmax(predict(regularized_model, test_set), 1).max(1)
plots.misclassified(test_set.images, test_set.labels, predictions, test_set.classes, confidence)

# %%
plots.confusion_matrix(test_set.labels, predictions, test_set.classes)

# %% [markdown]
# ### Analysis

# %%
final = run.over_seeds(regularized)
display(Markdown(
    f"Batch norm and dropout together cost {regularized['params'] - rebalanced['params']} parameters and moved the "
    f"accuracy from {report.accuracy(after)} % to {report.accuracy(final)} % (n = {after['n']} and {final['n']}). "
    "After its first "
    f"epoch the network with batch norm is right on {regularized['curve'][0]['test_accuracy']:.2f} % of the test "
    f"images, the one without on {rebalanced['curve'][0]['test_accuracy']:.2f} %. With dropout the training accuracy, "
    f"{regularized['train_accuracy']:.2f} %, is measured on a handicapped network, and so it can lie below the "
    "test accuracy. What is left is in the data: the next notebook varies it."
))

# %% [markdown]
# ## Side by side

# %%
report.side_by_side([before, after, final])
