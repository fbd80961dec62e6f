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
# # S8.1 The layout: three blocks, two transitions, and a budget
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S8_norms/1_layout.ipynb)
#
# Colour images of real things, 32 pixels wide: CIFAR-10 is much harder than digits. The layout is given: C1 C2 c3 P1
# C4 C5 C6 c7 P2 C8 C9 C10 GAP c11, where C is a 3x3 convolution, c a 1x1 convolution that takes channels away, and P a
# max-pool. What is free is how many channels each gets. Six ways to choose, two without a budget and four within the
# session's, each trained for one epoch only: enough to see what a choice costs and what it brings.

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
from IPython.display import Markdown, display

from common import experiment, plots, tables
from common.data import MEAN, STD, normalize
from common.layers import mix
from common.models import s8
from common.receptive_field import receptive_field
from common.targets import Target
from common.training import Recipe

run = experiment.start("S8_norms", "1_layout", preset, seed, epochs, output)
shape = (3, 32, 32)

# %% [markdown]
# ## The data
#
# CIFAR-10: 32 x 32 colour images of ten classes, 50,000 to train on and 10,000 to test on.

# %%
data = train_set, test_set = run.data("cifar10")
print("training images", tuple(train_set.images.shape), "test images", tuple(test_set.images.shape))
print("classes:", ", ".join(train_set.classes))
plots.samples(train_set.images, train_set.labels, train_set.classes)

# %% [markdown]
# Each colour channel is normalized by its own mean and standard deviation over all pixels of all training images.
# (A deviation of (0.2023, 0.1994, 0.2010), which many repositories use, is the mean of the images' own deviations:
# another, smaller number.)

# %%
pixels = train_set.images / 255
for channel, name in enumerate(("red", "green", "blue")):
    values = pixels[:, channel]
    print(f"{name:5}  mean {values.mean():.4f}, standard deviation {values.std():.4f}; "
          f"used: {MEAN['cifar10'][channel]:.4f}, {STD['cifar10'][channel]:.4f}; "
          f"mean of the images' own deviations: {values.flatten(1).std(1).mean():.4f}")
normalized = normalize(pixels[:10_000], "cifar10")
print(f"normalized: mean {normalized.mean():.3f}, standard deviation {normalized.std():.3f}")

# %% [markdown]
# ## Six networks, trained alike
#
# Batch norm, images padded and cropped at random and mirrored half of the time, one cycle of the learning rate. One
# epoch and one seed each tell whether a network learns; a difference of a point between two may be chance.
#
# They are of two families. The first and the last, `unbudgeted` and `budgeted`, have convolutions with bias, ReLU
# before the norm and padding everywhere. The four between have no bias, the norm before ReLU, 5 % dropout, and but for
# the last of them no padding in their first layers. So compare channels within a family.

# %%
recipe = run.recipe(Recipe(
    epochs=1, lr=0.1, schedule="one_cycle", augmentation=(("crop", {"padding": 4}), ("flip", {})),
))
budget = run.session.budget
learns = Target("accuracy", ">=", 45.0)

# %% [markdown]
# ## Unbudgeted
#
# ### Target
#
# 32 channels in every 3x3 convolution, 16 after each transition. Does the layout learn? More than 45 % after one
# epoch says yes.

# %%
tables.source_code(s8.conv_relu_norm, s8.unbudgeted)

# %%
tables.describe_network(s8.unbudgeted(), shape)

# %% [markdown]
# ### Result

# %%
unbudgeted, _ = run.train_or_read("unbudgeted", s8.unbudgeted, recipe, data, [learns], norm="bn")

# %%
tables.target_table(unbudgeted)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{tables.cost(s8.unbudgeted(), shape)}. "
    f"{unbudgeted['accuracy']:.2f} % after {unbudgeted['epochs']} epoch: the layout "
    + ("learns. " if unbudgeted["targets"][-1]["met"] else "learns more slowly than hoped. ")
    + f"It is {max(unbudgeted['params'] - budget[0].limit, 0):,} parameters over the budget."
))

# %% [markdown]
# ## Wide
#
# ### Target
#
# Up to 128 channels: 16 and 32 without padding, then 32, 64, 128, then 64, 32, 32. Does width pay?

# %%
tables.source_code(s8.conv_norm_relu, mix, s8.blocks, s8.wide)

# %%
tables.describe_network(s8.wide(), shape)

# %% [markdown]
# ### Result

# %%
wide, _ = run.train_or_read("wide", s8.wide, recipe, data, [learns], norm="bn")

# %%
tables.target_table(wide)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{tables.cost(s8.wide(), shape)}. "
    f"{wide['accuracy']:.2f} %, {tables.gain(wide, unbudgeted)} from the "
    f"network above, which is of the other family, with {wide['params'] / unbudgeted['params']:.1f} times its "
    "parameters. "
    f"{max(row['params'] for row in wide['layers']) / wide['params']:.0%} of them are in one "
    "convolution, from 64 to 128 channels."
))

# %% [markdown]
# ## Narrowed
#
# ### Target
#
# The wide network with half the channels or fewer after its first block: under the budget.

# %%
tables.source_code(s8.narrowed)

# %%
tables.describe_network(s8.narrowed(), shape)

# %% [markdown]
# ### Result

# %%
narrowed, _ = run.train_or_read("narrowed", s8.narrowed, recipe, data, [*budget, learns], norm="bn")

# %%
tables.target_table(narrowed)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{tables.cost(s8.narrowed(), shape)}. "
    f"{narrowed['accuracy']:.2f} %, {tables.gain(narrowed, wide)} from the wide "
    f"one, with {narrowed['params'] / wide['params']:.0%} of its parameters. Transitions down to 8 channels are "
    "narrow: all that the next block learns about the image must pass through them."
))

# %% [markdown]
# ## Evened out
#
# ### Target
#
# 32 channels all through the second block in place of 16, 32, 64: the same work spread more evenly.

# %%
tables.source_code(s8.evened_out)

# %%
tables.describe_network(s8.evened_out(), shape)

# %% [markdown]
# ### Result

# %%
evened_out, _ = run.train_or_read("evened_out", s8.evened_out, recipe, data, [*budget, learns], norm="bn")

# %%
tables.target_table(evened_out)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{tables.cost(s8.evened_out(), shape)}. "
    f"{evened_out['accuracy']:.2f} %, {tables.gain(evened_out, narrowed)} from the "
    f"narrowed one with {narrowed['params'] - evened_out['params']:,} parameters fewer."
))

# %% [markdown]
# ## Widened input
#
# ### Target
#
# 32 channels from the first layer on, with padding: the map stays 32 pixels wide where the details are.

# %%
tables.source_code(s8.widened_input)

# %%
tables.describe_network(s8.widened_input(), shape)

# %% [markdown]
# ### Result

# %%
widened_input, _ = run.train_or_read("widened_input", s8.widened_input, recipe, data, [*budget, learns], norm="bn")

# %%
tables.target_table(widened_input)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{tables.cost(s8.widened_input(), shape)}. "
    f"{widened_input['accuracy']:.2f} %, {tables.gain(widened_input, evened_out)} from "
    f"the one before, for {widened_input['params'] - evened_out['params']:,} parameters. Parameters are "
    "not the only cost: a channel at full resolution has few parameters and takes many operations."
))

# %% [markdown]
# ## Budgeted
#
# ### Target
#
# The first network with fewer channels at the start of its first two blocks, and 16 channels through the transitions.

# %%
tables.source_code(s8.budgeted)

# %%
tables.describe_network(s8.budgeted(), shape)

# %% [markdown]
# ### Result

# %%
budgeted, _ = run.train_or_read("budgeted", s8.budgeted, recipe, data, [*budget, learns], norm="bn")

# %%
tables.target_table(budgeted)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{tables.cost(s8.budgeted(), shape)}. "
    f"{budgeted['accuracy']:.2f} %, {tables.gain(budgeted, unbudgeted)} from the "
    f"first network. {budget[0].limit - budgeted['params']:,} parameters are left."
))

# %% [markdown]
# ## Side by side

# %%
plots.receptive_field_growth({
    "unbudgeted, budgeted": receptive_field(s8.budgeted(), shape),
    "wide, narrowed, evened out": receptive_field(s8.narrowed(), shape),
    "widened input": receptive_field(s8.widened_input(), shape),
}, input_size=shape)

# %%
found = [unbudgeted, wide, narrowed, evened_out, widened_input, budgeted]
plots.parameters_against_accuracy([
    {"name": result["model"].replace("_", " "), "params": result["params"], "accuracy": result["accuracy"],
     "std": None, "source": False} for result in found])

# %%
tables.summary_table([run.over_seeds(result) for result in found])
