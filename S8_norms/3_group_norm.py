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

from common import experiment, plots, recipes, tables
from common.layers import make_norm
from common.models import s8
from common.targets import Target
from common.training import Recipe, find_misclassified, predict

run = experiment.start("S8_norms", "3_group_norm", preset, seed, epochs, output)
shape = (3, 32, 32)
budget, goal = run.session.budget, run.session.goal

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
# ## Widened input
#
# ### Target
#
# 37,664 parameters, a learning rate of 0.1 and a dropout of 1 %; its source reports 72.46 % at its best epoch. At
# least 60 % after eight epochs.

# %%
brief = [*budget, Target("accuracy", ">=", 60.0)]
make_widened_input = partial(s8.widened_input, "gn", dropout=0.01)
tables.describe_network(make_widened_input(), shape)

# %% [markdown]
# ### Result
#
# A constant rate, unvaried images and eight epochs, as in notebook S8.2.

# %%
widened_recipe = run.recipe(Recipe(epochs=8, lr=0.1), quick_epochs=3)
widened_input, _ = run.train_or_read("widened_input", make_widened_input, widened_recipe, data, brief, norm="gn")

# %%
plots.curves({"widened input": run.over_seeds(widened_input)}, target=goal.limit)

# %%
tables.target_table(widened_input)


# %% [markdown]
# ### Analysis

# %%
def too_short(result) -> str:
    return "" if result["targets"][-1]["met"] else ": it misses its target, eight epochs at its rate are too few"


display(Markdown(
    f"{widened_input['accuracy']:.2f} % on the test images after {widened_input['epochs']} epochs, "
    f"{widened_input['train_accuracy']:.2f} % on the training images{too_short(widened_input)}."
))

# %% [markdown]
# ## Transitions: a norm after them too
#
# ### Target
#
# 47,876 parameters: a norm after every convolution, the transitions included, and a learning rate that rises and falls
# in one cycle. Its source reports 73.99 %.

# %%
make_transitions = partial(s8.transitions, "gn")
tables.describe_network(make_transitions(), shape)

# %% [markdown]
# ### Result

# %%
transitions_recipe = run.recipe(Recipe(epochs=8, lr=0.1, schedule="one_cycle"), quick_epochs=3)
transitions, _ = run.train_or_read("transitions", make_transitions, transitions_recipe, data, brief, norm="gn")

# %%
plots.curves({"widened input": run.over_seeds(widened_input),
              "transitions": run.over_seeds(transitions)},
             target=goal.limit)

# %%
tables.target_table(transitions)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{transitions['accuracy']:.2f} %, {tables.gain(transitions, widened_input)} from the network above"
    f"{too_short(transitions)}."
))

# %% [markdown]
# ## Budgeted, with our recipe
#
# ### Target
#
# 49,746 parameters; its source reports 77.59 %. The recipe is that of notebook S8.2, unchanged: at least 79.0 %.

# %%
recipe = run.recipe(recipes.S8, quick_epochs=3)
make_budgeted = partial(s8.budgeted, "gn")
tables.describe_network(make_budgeted(), shape)

# %% [markdown]
# ### Result

# %%
budgeted_target = [*budget, run.at_least(79.0)]
budgeted, _ = run.train_or_read("budgeted", make_budgeted, recipe, data, budgeted_target, norm="gn")

# %%
plots.curves({"transitions": run.over_seeds(transitions), "budgeted": run.over_seeds(budgeted)}, target=goal.limit)

# %%
tables.target_table(budgeted)

# %% [markdown]
# ### Analysis

# %%
budgeted_summary = run.over_seeds(budgeted)
Markdown(f"{tables.accuracy(budgeted_summary)} % (n = {budgeted_summary['n']}).")

# %% [markdown]
# ## Ours
#
# ### Target
#
# The network with residual adds of notebook S8.2, whose every norm is now group norm: at least 83.5 %.

# %%
make_ours = partial(s8.ours, "gn")
tables.describe_network(make_ours(), shape)

# %% [markdown]
# ### Result

# %%
ours_target = [*budget, run.at_least(83.5)]
ours, ours_model = run.train_or_read("ours", make_ours, recipe, data, ours_target, norm="gn")

# %%
plots.curves({"budgeted": run.over_seeds(budgeted), "ours": run.over_seeds(ours)}, target=goal.limit)

# %%
tables.target_table(ours)

# %% [markdown]
# What it gets wrong, most confident mistakes first:

# %%
mistakes = find_misclassified(ours_model, test_set)
plots.misclassified(test_set.images, mistakes, test_set.classes, name="group norm")

# %%
predictions = predict(ours_model, test_set).argmax(1)
plots.confusion_matrix(test_set.labels, predictions, test_set.classes)

# %% [markdown]
# ### Analysis

# %%
ours_summary = run.over_seeds(ours)
display(Markdown(
    f"{tables.accuracy(ours_summary)} % (n = {ours_summary['n']}), {tables.gain(ours_summary, budgeted_summary)} from "
    f"the network of plain convolutions above with the same recipe; it {tables.first_epoch(ours_summary, goal.limit)}. "
    f"Ours: {tables.cost(make_ours(), shape)}; the other: {tables.cost(make_budgeted(), shape)}."
))

# %% [markdown]
# ## Side by side

# %%
tables.summary_table([run.over_seeds(result) for result in (widened_input, transitions, budgeted, ours)])
