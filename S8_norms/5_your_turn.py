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
# # S8.5 Your turn: a network of your own
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S8_norms/5_your_turn.ipynb)
#
# Now you design the network: one that stays within the session's budget and reaches its target with each of the three
# norms. The one below is within the budget and misses the target. Change it, look at the verdict, train it, and see
# where it stands beside the networks of the course.
#
# **You need** what notebooks S8.1 to S8.4 have shown.
#
# **It takes** as long as you train: the verdict says how many seconds the steps of an epoch take on your machine. A GPU
# helps: in Colab, choose one under Runtime, Change runtime type.

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
from dataclasses import replace
from functools import partial

from IPython.display import Markdown, display
from torch import nn

from common import experiment, plots, tables, your_turn
from common.training import Recipe

run = experiment.start("S8_norms", "5_your_turn", preset, seed, epochs, output)
data = train_set, test_set = run.data("cifar10")
plots.samples(train_set.images, train_set.labels, train_set.classes, rows=1)


# %% [markdown]
# ## 1. The norms
#
# Functions from a number of channels to a layer: `norm(32)` makes one for 32 channels. Add norms of your own, such as
# group norm with other groups; without any norm, `nn.Identity` takes its place. Each one in the list is trained.

# %%
def group_norm(channels):
    return nn.GroupNorm(2, channels)


def layer_norm(channels):
    return nn.GroupNorm(1, channels)


norms = {"batch_norm": nn.BatchNorm2d, "group_norm": group_norm, "layer_norm": layer_norm}


# %% [markdown]
# ## 2. The network
#
# A function that makes a new network with the norm that it is given. It takes images (N, 3, 32, 32) and returns ten
# numbers for each. The assignment asks for the layout C1 C2 c3 P1 C4 C5 C6 c7 P2 C8 C9 C10 GAP c11; the one below keeps
# to it and leaves more than half of the parameters unspent. The verdict counts parameters and epochs; the layout it
# doesn't check.

# %%
def conv(inputs, outputs, norm):
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), norm(outputs), nn.ReLU()]


def my_network(norm) -> nn.Module:
    return nn.Sequential(
        *conv(3, 8, norm), *conv(8, 16, norm),
        nn.Conv2d(16, 8, 1), nn.MaxPool2d(2),  # 16 x 16
        *conv(8, 16, norm), *conv(16, 16, norm), *conv(16, 16, norm),
        nn.Conv2d(16, 8, 1), nn.MaxPool2d(2),  # 8 x 8
        *conv(8, 16, norm), *conv(16, 16, norm), *conv(16, 24, norm),
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 10, 1), nn.Flatten(),
    )


# %% [markdown]
# ## 3. The recipe
#
# All norms start with the same one. Their best learning rates differ (S8.1): the last lines give one norm a rate of its
# own. `Recipe??` in a cell lists everything that you can set; these are the ones to begin with. The epochs are set
# here, 20 at the most; a number in the parameters cell above overrides them.

# %%
recipe = run.recipe(Recipe(
    epochs=3,
    batch_size=128,
    lr=0.03,  # the peak of the schedule
    schedule="constant",  # or "one_cycle"
    augmentation=(),  # for example (("crop", {"padding": 4}), ("flip", {}))
    average=0.0,  # decay of the moving average (EMA) of the weights, such as 0.99; 0: none
    label_smoothing=0.0,
    muon=0.0,  # the peak rate of Muon for all convolutions but depthwise ones, such as 0.05; 0: SGD trains all
    validation=0,  # so many training images are held out to choose by, such as 5000
))
recipes = dict.fromkeys(norms, recipe)
recipes["group_norm"] = replace(recipe, lr=0.03)  # change it, or add such a line for another norm

# %% [markdown]
# ## 4. The verdict, before any training

# %%
for name, norm in norms.items():
    display(Markdown(f"**{name.replace('_', ' ')}**"), your_turn.verdict(run, partial(my_network, norm), recipes[name],
                                                                         data))

# %%
tables.block_table(my_network(nn.BatchNorm2d), tuple(train_set.images.shape[1:]))

# %% [markdown]
# ## 5. Training
#
# A network over budget isn't trained: the budget is the game. Change the network or the recipe, and it is trained
# and kept under the next free name. Another seed is kept under the same name, and the tables then show the mean. Run
# the cell again without a change, and the result is read.

# %%
mine = {}
for name, norm in norms.items():
    print(name)
    if result := your_turn.train(run, partial(my_network, norm), recipes[name], data, f"my_{name}"):
        mine[name] = result

# %%
if mine:
    display(plots.curves({tables.title(result): run.over_seeds(result) for result in mine.values()},
                         target=run.session.goal.limit), *map(tables.target_table, mine.values()))

# %% [markdown]
# ## 6. Your tries so far, and the course's networks

# %%
your_turn.tries(run)

# %%
your_turn.compare(run)

# %% [markdown]
# A dot of the course is a mean over several seeds, and yours is one run: before you call a small difference real, train
# both with `seed` 1 and 2 as well. And choosing the best of many tries by its test accuracy flatters it. For a fair
# number set `validation=5000` in the recipe and choose by the held-out accuracy, which the table then shows; the test
# accuracy of the one that you chose is the number to report.
#
# ## What to try
#
# 1. **The rate.** Find the best constant rate for each norm, by factors of about three: 0.01, 0.03, 0.1, 0.3. Which
#    norm tolerates the largest? Write down what you expect first.
# 2. **The recipe.** One cycle, augmentation, EMA, Muon, one after the other. Which step gains most, and is it the same
#    for all norms?
# 3. **The layout.** Spend the rest of the budget: on wider transitions, early, or late? Change one thing at a time.
# 4. **Two norms in one network.** Batch norm in the first block and group norm in the others, or the other way round:
#    which order would you bet on?
# 5. **No norm.** Reach the goal with `nn.Identity`. It needs He's initial weights (`no_norm` in S8.1 sets them) and a
#    rate of its own.
#
# Set `output` in the parameters cell to a folder on your Google Drive, such as `/content/drive/MyDrive/course`, to keep
# your networks when Colab's runtime ends.
