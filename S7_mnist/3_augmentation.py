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
# # S7.3 Augmentation and the learning rate: our own network reaches the goal
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S7_mnist/3_augmentation.ipynb)
#
# The regularized network stays as it is; what changes is what it is shown and how fast it learns. First small rotations
# and, as its source has it, a learning rate that drops when it stops paying; then shifts, scales and shears, and one
# cycle again, with a peak six times as high. At the end our own networks: one that spends the budget otherwise, one
# that needs far less.

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
from functools import partial

import torch
from IPython.display import Markdown, display

from common import experiment, layers, plots, tables
from common.augmentation import augment
from common.models import s7
from common.receptive_field import measure_field
from common.targets import Target
from common.training import Recipe, predict

run = experiment.start("S7_mnist", "3_augmentation", preset, seed, epochs, output)
shape = (1, 28, 28)
budget, goal = run.session.budget, run.session.goal

# %% [markdown]
# ## The data, and how it is varied
#
# A digit that is turned, moved, stretched or slanted a little is still that digit. Drawing such a change anew for each
# image and each epoch means that the network never sees the same image twice. The changes are made for a whole batch
# at once: each image gets a 2 x 3 matrix, and one resampling does all four.

# %%
data = train_set, test_set = run.data("mnist")
plots.samples(train_set.images, train_set.labels, train_set.classes, rows=2, title="as they are")

# %%
rotation = (("affine", {"rotate": 7.0}),)
variation = (("affine", {"shift": 0.08, "scale": 0.1, "rotate": 8.0, "shear": 6.0}),)
few = torch.arange(10).repeat(3)  # the same ten images, drawn three times
draws = torch.Generator(train_set.images.device).manual_seed(seed)
varied = augment(train_set.images[few] / 255, draws, variation)
plots.samples(varied, train_set.labels[few], train_set.classes, title="shifted, scaled, rotated, sheared: three draws")

# %% [markdown]
# ## Regularized, rotated: a rate that drops on a plateau
#
# ### Target
#
# The 7,280-parameter network of the last notebook, shown digits rotated by up to 7 degrees. The learning rate is
# divided by ten when the loss on 5,000 held-out training images has not improved for two epochs: on held-out
# images and not on the test set, which would no longer be one if it chose anything. At least 99.2 %.

# %%
rotated_target = [*budget, Target("accuracy", ">=", 99.2)]
rotated_recipe = run.recipe(Recipe(epochs=14, lr=0.05, schedule="plateau", validation=5000, augmentation=rotation))
tables.describe_network(s7.regularized(), shape)

# %% [markdown]
# ### Result

# %%
regularized_rotated, _ = run.train_or_read(
    "regularized_rotated", s7.regularized, rotated_recipe, data, rotated_target)

# %%
plots.curves({"rotated": regularized_rotated["curve"]})

# %%
tables.target_table(regularized_rotated)

# %% [markdown]
# ### Analysis

# %%
rates = [row["lr"] for row in regularized_rotated["curve"]]
drops = [row["epoch"] for row, before in zip(regularized_rotated["curve"][1:], rates, strict=False)
         if row["lr"] < before]
display(Markdown(
    f"The network reaches {tables.accuracy(run.over_seeds(regularized_rotated))} %. The rate dropped "
    + (f"before epoch {' and '.join(map(str, drops))}" if drops else "not once")
    + ": a plateau must first be seen before it can be left, and the epochs spent on it are paid for. "
    f"It is right on {regularized_rotated['train_accuracy']:.2f} % of the rotated training images and on "
    f"{regularized_rotated['accuracy']:.2f} % of the test images"
    + (": the training images are now the harder ones."
       if regularized_rotated["train_accuracy"] < regularized_rotated["accuracy"] else ".")
))

# %% [markdown]
# ## Regularized, one cycle
#
# ### Target
#
# The same network without its dropout, because varied images are hard enough; all four variations; a learning rate
# that rises for a fifth of the training and then falls to zero, and a running average of the weights, which is what
# is evaluated. The session's goal, within its budget.

# %%
without_dropout = partial(s7.regularized, dropout=0.0)
one_cycle_target = [*budget, goal]
one_cycle_recipe = run.recipe(Recipe(
    epochs=14, lr=0.3, schedule="one_cycle", average=0.99, augmentation=variation,
))

# %% [markdown]
# ### Result

# %%
regularized_one_cycle, _ = run.train_or_read(
    "regularized_one_cycle", without_dropout, one_cycle_recipe, data, one_cycle_target)

# %%
plots.curves({"rotated, plateau": regularized_rotated["curve"], "varied, one cycle": regularized_one_cycle["curve"]})

# %%
tables.target_table(regularized_one_cycle)

# %% [markdown]
# ### Analysis

# %%
before, after = run.over_seeds(regularized_rotated), run.over_seeds(regularized_one_cycle)
display(Markdown(
    f"The same {regularized_one_cycle['params']:,} parameters: {tables.accuracy(before)} % with the plateau, "
    f"{tables.accuracy(after)} % with one cycle (n = {before['n']} and {after['n']}). With one cycle the network "
    f"{tables.first_epoch(after, goal.limit)}; with the plateau it {tables.first_epoch(before, goal.limit)}. "
    "The high rate in the middle moves fast; the fall to zero settles. The average of the weights does in the middle "
    "of training some of what the fall does at its end. Which of the changes (schedule, peak, variation, average, no "
    "dropout, no images held out) brought how much, two networks can't say."
))

# %% [markdown]
# ## Ours
#
# ### Target
#
# The same budget, spent otherwise. A 3x3 convolution has 9 x inputs x outputs parameters. Taken apart into a
# **depthwise** one, a 3x3 filter for each channel by itself, and a 1x1 convolution, which mixes the channels, it has
# 9 x inputs + inputs x outputs (notebook S9.1 looks at it closely): far fewer for as many channels. And a
# convolution may be used more than once: after each pool stands one that is applied four times in a row, its input
# added each time, so the network is deep where it has few weights. The table below shows them with 0 parameters from
# the second use on. What is saved in parameters is paid in time.

# %%
tables.source_code(s7.narrow, s7.ours, layers.SeparablePool, layers.Repeated)

# %%
ours_target = [*budget, goal]
print("Receptive field before the global average, measured (pixels of the image that have a gradient): {} x {}".format(
    *measure_field(s7.ours(), shape)))
tables.describe_network(s7.ours(), shape)

# %% [markdown]
# ### Result
#
# The recipe of the network above, with a longer average of the weights (0.998 in place of 0.99).

# %%
ours_recipe = run.recipe(
    Recipe(epochs=14, lr=0.3, schedule="one_cycle", average=0.998, augmentation=variation), quick_epochs=8,
)
ours, ours_model = run.train_or_read("ours", s7.ours, ours_recipe, data, ours_target)

# %%
plots.curves({"regularized, one cycle": regularized_one_cycle["curve"], "ours": ours["curve"]})

# %%
tables.target_table(ours)

# %% [markdown]
# What it gets wrong, most confident mistakes first:

# %% tags=["figure-misclassified"]
confidence, predictions = torch.softmax(predict(ours_model, test_set), 1).max(1)
plots.misclassified(test_set.images, test_set.labels, predictions, test_set.classes, confidence)

# %%
plots.confusion_matrix(test_set.labels, predictions, test_set.classes)

# %% [markdown]
# ### Analysis

# %%
ours_summary = run.over_seeds(ours)
display(Markdown(
    f"{ours['params']:,} parameters, {tables.accuracy(ours_summary)} % (n = {ours_summary['n']}, worst seed "
    f"{ours_summary['worst']:.2f} %), {tables.gain(ours_summary, after)} from the network above. "
    f"It {tables.first_epoch(ours_summary, goal.limit)}. "
    f"{(predictions != test_set.labels).sum()} of {len(test_set.labels):,} test images are wrong; look at them above "
    "before you ask for more."
))

# %% [markdown]
# ## Smallest
#
# ### Target
#
# How far down does the goal hold? The same network with fewer channels and three repetitions: under 5,000 parameters.

# %%
smallest_target = [Target("params", "<", 5000), *budget, goal]
tables.describe_network(s7.smallest(), shape)

# %% [markdown]
# ### Result

# %%
smallest_recipe = run.recipe(Recipe(
    epochs=14, lr=0.3, schedule="one_cycle", average=0.998, augmentation=variation,
))
smallest, _ = run.train_or_read("smallest", s7.smallest, smallest_recipe, data, smallest_target)

# %%
plots.curves({"ours": ours["curve"], "smallest": smallest["curve"]})

# %%
tables.target_table(smallest)

# %% [markdown]
# ### Analysis

# %%
smallest_summary = run.over_seeds(smallest)
display(Markdown(
    f"{smallest['params']:,} parameters, {smallest['params'] / budget[0].limit:.0%} of the budget, reach "
    f"{tables.accuracy(smallest_summary)} % (n = {smallest_summary['n']}, worst seed "
    f"{smallest_summary['worst']:.2f} %): the goal "
    f"{'still holds' if smallest_summary['mean'] >= goal.limit else 'does not hold'} here. On the varied training "
    f"images it is right in {smallest_summary['train_accuracy']:.2f} % of the cases, the larger network in "
    f"{ours_summary['train_accuracy']:.2f} %: "
    f"{ours_summary['train_accuracy'] - smallest_summary['train_accuracy']:+.2f} points. On the test images the larger "
    f"one gains {tables.gain(ours_summary, smallest_summary)} for {ours['params'] / smallest['params'] - 1:.0%} "
    "more parameters."
))

# %% [markdown]
# ## Side by side

# %% tags=["figure-curves"]
plots.curves({tables.title(result): result["curve"]
              for result in (regularized_rotated, regularized_one_cycle, ours, smallest)})

# %%
summaries = [before, after, ours_summary, smallest_summary]
plots.per_seed({tables.title(s): [r["accuracy"] for r in s["results"]] for s in summaries})

# %%
tables.summary_table(summaries)
