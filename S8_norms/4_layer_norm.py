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
# # S8.4 Layer norm: the whole map at once
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S8_norms/4_layer_norm.ipynb)
#
# Layer norm takes one mean and one deviation over all channels and positions of an image. Which scale and shift follow
# decides whether it fits the budget: two for each channel, two for each value of the map, or none.

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
from torch import nn

from common import anatomy, experiment, plots, recipes, tables
from common.layers import make_norm
from common.models import s8
from common.targets import Target
from common.training import Recipe, find_misclassified, predict

run = experiment.start("S8_norms", "4_layer_norm", preset, seed, epochs, output)
shape = (3, 32, 32)
budget, goal = run.session.budget, run.session.goal

# %% [markdown]
# ## What is normalized
#
# Over C, H and W: every image by itself, which is group norm with one group. `nn.LayerNorm` over a map of C x H x W
# computes the same, but learns a scale and a shift for *every value of the map*, 2 x C x H x W of them. In the network
# with 49,746 parameters that alone would be:

# %%
maps = torch.randn(4, 8, 16, 16)
full_map = nn.LayerNorm((8, 16, 16), elementwise_affine=False)
same = torch.allclose(full_map(maps), make_norm("ln", 8, affine=False)(maps), atol=1e-5)
print("GroupNorm(1, C) and LayerNorm((C, H, W)), both without scale and shift, agree:", same)
rows = [row for row in anatomy.layer_table(s8.budgeted("ln"), shape) if row["layer"].startswith("GroupNorm")]
channels, values = (sum(2 * torch.Size(row["output"][:k]).numel() for row in rows) for k in (1, 3))
others = anatomy.count_parameters(s8.budgeted("ln")) - channels
Markdown("\n".join([
    "| scale and shift | in the norms | the network | within the budget |", "| --- | ---: | ---: | :--- |",
    *(f"| {name} | {count:,} | {others + count:,} | {'✓' if budget[0].is_met(others + count) else '✗'} |"
      for name, count in [
        ("for each channel: `GroupNorm(1, C)`", channels),
        ("for each value of the map: `nn.LayerNorm((C, H, W))`", values),
        ("none: `elementwise_affine=False`", 0)])]))

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
# 37,664 parameters, a learning rate of 0.01 and a dropout of 1 %; its source reports 69.59 % at its best epoch. At
# least 60 % after eight epochs.

# %%
brief = [*budget, Target("accuracy", ">=", 60.0)]
make_widened_input = partial(s8.widened_input, "ln", dropout=0.01)
tables.describe_network(make_widened_input(), shape)

# %% [markdown]
# ### Result
#
# A constant rate, unvaried images and eight epochs, as in notebook S8.2.

# %%
widened_recipe = run.recipe(Recipe(epochs=8, lr=0.01), quick_epochs=3)
widened_input, _ = run.train_or_read("widened_input", make_widened_input, widened_recipe, data, brief, norm="ln")

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
# A norm after every convolution, the transitions included, and a learning rate that rises and falls in one cycle. Its
# peak is 0.01, a tenth of the other norms', as in the sources: compare them with care. The norms have no scale
# and shift, as in the source, so 512 parameters fewer than the 47,876 with the other norms. Its source reports 77.93 %.

# %%
make_transitions = partial(s8.transitions, "ln")
tables.describe_network(make_transitions(), shape)

# %% [markdown]
# ### Result

# %%
transitions_recipe = run.recipe(Recipe(epochs=8, lr=0.01, schedule="one_cycle"), quick_epochs=3)
transitions, _ = run.train_or_read("transitions", make_transitions, transitions_recipe, data, brief, norm="ln")

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
# 49,746 parameters; its source reports 78.10 %. The recipe is that of notebook S8.2, unchanged: at least 79.0 %.

# %%
recipe = run.recipe(recipes.S8, quick_epochs=3)
make_budgeted = partial(s8.budgeted, "ln")
tables.describe_network(make_budgeted(), shape)

# %% [markdown]
# ### Result

# %%
budgeted_target = [*budget, run.at_least(79.0)]
budgeted, _ = run.train_or_read("budgeted", make_budgeted, recipe, data, budgeted_target, norm="ln")

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
# ## Widened input, with our recipe
#
# ### Target
#
# The network of 37,664 parameters missed the session's 70 % in its source with layer norm. With the recipe of the last
# section, and unchanged otherwise, at least 74 %.

# %% [markdown]
# ### Result

# %%
again_target = [*budget, run.at_least(74.0)]
widened_input_our_recipe, _ = run.train_or_read(
    "widened_input_our_recipe", make_widened_input, recipe, data, again_target, norm="ln")

# %%
plots.curves({"as in its source": run.over_seeds(widened_input),
              "with our recipe": run.over_seeds(widened_input_our_recipe)},
             target=goal.limit)

# %%
tables.target_table(widened_input_our_recipe)

# %% [markdown]
# ### Analysis

# %%
again_summary, widened_summary = run.over_seeds(widened_input_our_recipe), run.over_seeds(widened_input)
display(Markdown(
    f"{tables.accuracy(again_summary)} % after {widened_input_our_recipe['epochs']} epochs (n = {again_summary['n']}) "
    f"with the same norm; with its source's recipe {tables.accuracy(widened_summary)} % after "
    f"{widened_input['epochs']} (n = {widened_summary['n']})"
    + (": it was the recipe that held it back." if again_summary["worst"] > widened_input["accuracy"] else ".")
))

# %% [markdown]
# ## Ours
#
# ### Target
#
# The network with residual adds of notebook S8.2, whose every norm is now layer norm: at least 83.0 %.

# %%
make_ours = partial(s8.ours, "ln")
tables.describe_network(make_ours(), shape)

# %% [markdown]
# ### Result

# %%
ours_target = [*budget, run.at_least(83.0)]
ours, ours_model = run.train_or_read("ours", make_ours, recipe, data, ours_target, norm="ln")

# %%
plots.curves({"budgeted": run.over_seeds(budgeted), "ours": run.over_seeds(ours)}, target=goal.limit)

# %%
tables.target_table(ours)

# %% [markdown]
# What it gets wrong, most confident mistakes first:

# %%
mistakes = find_misclassified(ours_model, test_set)
plots.misclassified(test_set.images, mistakes, test_set.classes, name="layer norm")

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
tables.summary_table([run.over_seeds(result) for result in (
    widened_input, transitions, budgeted, widened_input_our_recipe, ours)])
