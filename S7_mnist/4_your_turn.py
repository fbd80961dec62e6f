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
# # S7.4 Your turn: a network of your own
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S7_mnist/4_your_turn.ipynb)
#
# Now you design the network. It has to stay within the session's budget and should reach its target. The one below
# stays within the budget and misses the target: change it, look at the verdict, train it, and see where it stands
# beside the networks of the course.
#
# **You need** what notebooks S7.1 to S7.3 have shown.
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
from IPython.display import display
from torch import nn

from common import experiment, plots, tables, your_turn
from common.training import Recipe

run = experiment.start("S7_mnist", "4_your_turn", preset, seed, epochs, output)
data = train_set, test_set = run.data("mnist")
plots.samples(train_set.images, train_set.labels, train_set.classes, rows=1)


# %% [markdown]
# ## 1. The network
#
# A function that returns a new network. Any `nn.Module` will do, made of torch's layers or of your own, as long as it
# takes images (N, 1, 28, 28) and returns ten numbers for each. What you can change:
#
# - **widths**: a 3x3 convolution has 9 x inputs x outputs weights, so doubling the channels costs four times as much;
# - **where to pool**: after a pool each convolution sees twice as far and does a quarter of the work, but fine strokes
#   are gone if you pool too early;
# - **1x1 convolutions**, which make the channels fewer before the next 3x3 convolution;
# - **batch norm** (`nn.BatchNorm2d`) behind a 3x3 convolution and its ReLU, for two parameters a channel;
# - **global average pooling** at the end, which needs no parameters where a large linear layer needs thousands.

# %%
def my_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(),  # 26 x 26
        nn.Conv2d(8, 16, 3), nn.ReLU(),  # 24 x 24
        nn.MaxPool2d(2),  # 12 x 12
        nn.Conv2d(16, 16, 3), nn.ReLU(),  # 10 x 10
        nn.Conv2d(16, 16, 3), nn.ReLU(),  # 8 x 8
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 10),
    )


# %% [markdown]
# ## 2. The recipe
#
# How it is trained. `common.training.Recipe` lists everything that you can set; these are the ones to begin with.

# %%
recipe = run.recipe(Recipe(
    epochs=8,
    batch_size=128,
    lr=0.01,  # the peak of the schedule
    schedule="constant",  # or "step", or "one_cycle"
    augmentation=(),  # for example (("affine", {"shift": 0.08, "rotate": 8.0}),)
    average=0.0,  # decay of the moving average (EMA) of the weights, such as 0.99; 0: none
    label_smoothing=0.0,
))

# %% [markdown]
# ## 3. The verdict, before any training

# %%
your_turn.verdict(run, my_network, recipe, data)

# %% [markdown]
# Where do the parameters stand?

# %%
tables.block_table(my_network(), tuple(train_set.images.shape[1:]))

# %% [markdown]
# ## 4. Training
#
# A network over budget isn't trained: the budget is the game. Each network that is trained is kept under a name of its
# own, and one that you have trained before with the same recipe is read, not trained again.

# %%
mine = your_turn.train(run, my_network, recipe, data)

# %%
if mine:
    display(plots.curves({tables.title(mine): run.over_seeds(mine)}, target=run.session.goal.limit),
            tables.target_table(mine))

# %% [markdown]
# ## 5. Your tries so far, and the course's networks

# %%
your_turn.tries(run)

# %%
your_turn.compare(run)

# %% [markdown]
# Every dot of the course is a mean over seeds, with its standard deviation; the squares are what the authors of other
# networks report of their best epoch. Choosing the best of many tries by its test accuracy flatters it: for a fair
# number, choose on held-out training images (`validation=5000` in the recipe) and look at the test set once. One run
# of yours can be lucky: before you believe a small difference, train the
# same network with two more seeds (`seed` in the parameters cell); the table then shows their mean.
#
# ## What to try
#
# 1. **Batch norm.** Put `nn.BatchNorm2d` behind each 3x3 convolution and its ReLU, and raise the learning rate. Does
#    the training curve, or only the test curve, get better?
# 2. **The recipe.** Keep your network. Vary the digits, let the rate follow one cycle and average the weights, one
#    after the other. Which step gains most? Write down what you expect before you train.
# 3. **Half the budget.** Reach the target with half of the parameters that are allowed. Notebook S7.3 has two ideas for
#    that, separable convolutions and using one convolution several times; 1x1 convolutions are a third.
#
# ## Keep your networks
#
# Results are kept below the course's folder, in `runs/`. In Colab that folder is gone when the runtime ends. Set
# `output` in the parameters cell to a folder on your Google Drive, such as `/content/drive/MyDrive/course`, and run the
# notebook from the top: Colab asks for access, and your results and weights are written there and found again next
# time.
