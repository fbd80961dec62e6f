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
# second spends more of the budget where it helps. The third adds batch norm and dropout, which cost next to
# nothing. Each is trained once: a tenth of a point between two of them may be chance.

# %% tags=["setup"] cellView="form" jupyter={"source_hidden": true}
# @title Set-up: find the course, or fetch it where only this notebook is
import os, pathlib, sys
places = [pathlib.Path(place) for place in (os.environ.get("JPY_SESSION_NAME", ""), "here", "small-cnn-course/here")]
root = next((up for place in places for up in place.resolve().parents if (up / "common" / "setup.py").is_file()), None)
if not root and os.system("git clone -q --depth 1 https://github.com/owner/small-cnn-course small-cnn-course"):
    sys.exit("The course can't be fetched from https://github.com/owner/small-cnn-course: is there a network, and git?")
sys.path.insert(0, str(root or pathlib.Path("small-cnn-course").resolve()))
import common.setup

# %% tags=["parameters"]
preset: str = "quick"  # smoke (seconds, for tests), quick (a short schedule) or full (as the outputs below)
seed: int = 0  # random seed of the run
epochs: int = None  # training epochs; None: as the preset says
output: str = ""  # folder for the results, in Colab one like /content/drive/MyDrive/course; empty: below the course

# %%
import torch
from IPython.display import Markdown, display

from common import experiment, plots, tables
from common.models import s7
from common.targets import Target
from common.training import Recipe, predict

run = experiment.start("S7_mnist", "2_regularization", preset, seed, epochs, output)
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
budget, goal = run.session.budget, run.session.goal

# %% [markdown]
# ## Reduced
#
# ### Target
#
# The skeleton with about half of its channels, within the budget. Above 98.5 %, or the cut went too deep.

# %%
tables.source_code(s7.reduced)

# %%
reduced_target = [*budget, Target("accuracy", ">=", 98.5)]
tables.describe_network(s7.reduced(), shape)

# %% [markdown]
# ### Result

# %%
reduced, reduced_model = run.train_or_read("reduced", s7.reduced, recipe, data, reduced_target)

# %%
plots.curves({"reduced": reduced["curve"]})

# %%
tables.target_table(reduced)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{reduced['params']:,} parameters reach {tables.accuracy(run.over_seeds(reduced))} %. On the training images the "
    f"accuracy is {reduced['train_accuracy']:.2f} %, which is {reduced['train_accuracy'] - reduced['accuracy']:+.2f} "
    f"points from the test set's. "
    + (f"For {stuck} epochs it only guessed: a network without a norm may take long to find its first direction. "
       if (stuck := sum(row["test_accuracy"] < 15 for row in reduced["curve"])) else "")
    + f"{budget[0].limit - reduced['params']:,} parameters of the budget are still unused."
))

# %% [markdown]
# ## Rebalanced
#
# ### Target
#
# More parameters for the second block: there the map is 12 pixels wide and smaller, so a channel is cheap
# to compute, and what it sees is already a piece of a digit. Above 98.7 %, still within the budget.

# %%
tables.source_code(s7.rebalanced)

# %%
rebalanced_target = [*budget, Target("accuracy", ">=", 98.7)]
tables.describe_network(s7.rebalanced(), shape)

# %% [markdown]
# ### Result

# %%
rebalanced, rebalanced_model = run.train_or_read("rebalanced", s7.rebalanced, recipe, data, rebalanced_target)

# %%
plots.curves({"reduced": reduced["curve"], "rebalanced": rebalanced["curve"]})

# %%
tables.target_table(rebalanced)

# %% [markdown]
# ### Analysis

# %%
before, after = run.over_seeds(reduced), run.over_seeds(rebalanced)
display(Markdown(
    f"{rebalanced['params'] - reduced['params']:,} more parameters, and the accuracy goes from "
    f"{tables.accuracy(before)} % to {tables.accuracy(after)} % (n = {before['n']} and {after['n']}). The target of "
    f"this session, {goal.limit} %, is still {goal.limit - after['mean']:.2f} points away, with "
    f"{budget[0].limit - rebalanced['params']:,} parameters left."
))

# %% [markdown]
# ## Regularized
#
# ### Target
#
# Each 3x3 convolution is followed by ReLU, batch norm and a dropout of 5 %. The 1x1 convolutions stay bare: they only
# mix. Batch norm adds two parameters a channel. It should train faster, and to more than 99 %.

# %%
tables.source_code(s7.regularized_conv, s7.regularized)

# %%
regularized_target = [*budget, Target("accuracy", ">=", 99.0)]
tables.describe_network(s7.regularized(), shape)

# %% [markdown]
# ### Result

# %%
regularized, regularized_model = run.train_or_read(
    "regularized", s7.regularized, recipe, data, regularized_target)

# %%
plots.curves({"reduced": reduced["curve"], "rebalanced": rebalanced["curve"], "regularized": regularized["curve"]})

# %%
tables.target_table(regularized)

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
    f"accuracy from {tables.accuracy(after)} % to {tables.accuracy(final)} % (n = {after['n']} and {final['n']}). "
    "After its first "
    f"epoch the network with batch norm is right on {regularized['curve'][0]['test_accuracy']:.2f} % of the test "
    f"images, the one without on {rebalanced['curve'][0]['test_accuracy']:.2f} %. With dropout the training accuracy, "
    f"{regularized['train_accuracy']:.2f} %, is measured on a handicapped network, and so it can lie below the "
    "test accuracy. What is left is in the data: the next notebook varies it."
))

# %% [markdown]
# ## Side by side

# %%
tables.summary_table([before, after, final])
