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
# # S9.6 Your turn: a network of your own
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S9_advanced_conv/6_your_turn.ipynb)
#
# Now you design the network. This session's assignment requires more than the earlier ones: besides the parameters a
# receptive field, certain kinds of layers, and three transforms by albumentations. The network below has all that; its
# recipe, three epochs at a constant rate, is only a start. How far is it from 85 %? Change it, look at the verdict,
# train it, and see where it stands beside the networks of the course.
#
# **You need** what notebooks S9.1 to S9.5 have shown, and the recipe of S8.3.
#
# **It takes** as long as you train: the verdict says how many seconds the steps of an epoch take on your machine. The
# transforms and the test after each epoch come on top. A GPU helps: in Colab, choose one under Runtime, Change runtime
# type.

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
from common.augmentation import GENTLE
from common.training import Recipe

run = experiment.start("S9_advanced_conv", "6_your_turn", preset, seed, epochs, output)
data = train_set, test_set = run.data("cifar10")
plots.samples(train_set.images, train_set.labels, train_set.classes, rows=1)


# %% [markdown]
# ## 1. The network
#
# A function that returns a new network. It takes images (N, 3, 32, 32) and returns ten numbers for each. `conv` and
# `separable` return lists of layers, and the `*` before them puts these into the network one by one. The verdict looks
# for layers, so use `nn.AdaptiveAvgPool2d(1)` for the global average: it can't see a `mean` or a max-pool that is a
# function in a `forward` of your own. What you can change:
#
# - **where the map gets smaller**: a stride early saves most of the arithmetic, and loses detail;
# - **dilation**, which looks further and keeps the map as it is; mind the checkerboard of S9.1;
# - **separable convolutions**, which have a sixth of the weights at 16 outputs and nearly a ninth at many (S9.1), so
#   that the budget pays for more channels;
# - **where the channels are**: most parameters are where the channels are many;
# - residual adds, shared weights (`common.layers.SeparableConv` has both), inverted bottlenecks.

# %%
def conv(inputs, outputs, stride=1, dilation=1):
    return [nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(outputs), nn.ReLU()]


def separable(inputs, outputs, dilation=1):
    return [nn.Conv2d(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def my_network() -> nn.Module:
    return nn.Sequential(
        *conv(3, 16), *conv(16, 16, stride=2),  # C1: 16 x 16
        *conv(16, 32), *conv(32, 32, stride=2),  # C2: 8 x 8
        *separable(32, 64), *conv(64, 64, dilation=2),  # C3
        *separable(64, 64),  # C4
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )


# %% [markdown]
# ## 2. The recipe
#
# `Recipe??` in a cell lists everything that you can set; these are the ones to begin with. `GENTLE` has pairs of a name
# of albumentations and its options. `print(GENTLE)` shows them; copy that, and add transforms of your own:
# `(("albumentations", {"transforms": (("HorizontalFlip", {"p": 0.5}), ...)}),)`. A number in the parameters cell above
# overrides the epochs.

# %%
recipe = run.recipe(Recipe(
    epochs=3,
    batch_size=128,
    lr=0.03,  # the rate; with "one_cycle" its peak
    schedule="constant",  # or "one_cycle"
    augmentation=GENTLE,  # flip, shift and a small hole, by albumentations; `BRIEF`, beside it, is stronger (S9.2)
    average=0.0,  # decay of the moving average (EMA) of the weights, such as 0.99; 0: none
    label_smoothing=0.0,
    mixup=0.0,  # mixes pairs of images (S9.5), with shares that are drawn by this number, such as 0.2; 0: none
    weight_decay=0.0,  # such as 0.0005, and with Muon 0.005 (S9.5); 0: none
    muon=0.0,  # the peak rate of Muon, such as 0.05, for all weights but those of depthwise layers and norms; 0: SGD
    validation=0,  # so many training images are held out to choose by, such as 5000
))

# %% [markdown]
# ## 3. The verdict, before any training

# %%
your_turn.verdict(run, my_network, recipe, data)

# %% [markdown]
# Where do the parameters stand, and where is the work?

# %%
tables.block_table(my_network(), tuple(train_set.images.shape[1:]))

# %% [markdown]
# ## 4. Training
#
# A network that misses a line of the assignment isn't trained. Change the network or the recipe, and it is trained and
# kept under the next free name. Another seed is kept under the same name, and the tables then show the mean. Run the
# cell again without a change, and the result is read. In the log `lr` is the rate with which an epoch begins. (In the
# page as it is stored nothing was trained.)

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
# A dot with a bar is a mean over several seeds, one without is a single run. Yours are stars: single runs, until you
# train other seeds. Before you call a small difference real, train both with `seed` 1 and 2 as well. (What is more than
# two points below the goal is left out of the figure.) For a fair number set `validation=5000` and choose by the
# held-out accuracy, which the table then shows; the test accuracy of the one that you chose is the number to report.
# (Such a try learns from 5,000 images fewer than the course's networks.)
#
# ## What to try
#
# 1. **The recipe first.** One cycle (with a peak of 0.3, as in S8.3), Muon, EMA, label smoothing, one after the other.
#    How far does this network get without any change to its layers?
# 2. **Without augmentation.** Is the network better or worse without it, after three epochs, and after fifteen? The
#    assignment asks for three transforms, so keep their names and set the `p` of each to 0.0: then they change nothing.
# 3. **A dilation for a stride.** Take the stride at the end of C2 away and double the dilation of all layers after it,
#    so that the receptive field stays. How much longer does an epoch take, and is the network better?
# 4. **A stride one stage later.** Move the stride at the end of C2 to the end of C3. Predict what it does to the
#    receptive field before the average, to the multiply-accumulates and to the accuracy. Then look at the verdict, and
#    train it.
# 5. **The channels.** Spend what is left of the budget at the front or at the back. Predict which is better, and what
#    it costs in time.
# 6. **Half the budget.** Reach the target with fewer than 100,000 parameters.
#
# Set `output` in the parameters cell to a folder on your Google Drive, such as `/content/drive/MyDrive/course`, to keep
# your networks when Colab's runtime ends.
