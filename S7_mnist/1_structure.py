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
# # S7.1 The structure: a layout first, its size second
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S7_mnist/1_structure.ipynb)
#
# A network is designed in two questions. *Can this arrangement of layers learn the task at all?* is answered with
# as many channels as we like. *How much of it is needed?* comes after. Here a generous structure answers the first
# one, and a skeleton, the same layout with few channels, begins to answer the second.

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

from common import experiment, layers, plots, tables
from common.data import MEAN, STD, normalize
from common.models import s7
from common.receptive_field import receptive_field
from common.targets import Target
from common.training import Recipe, predict

run = experiment.start("S7_mnist", "1_structure", preset, seed, epochs, output)

# %% [markdown]
# ## The data
#
# MNIST: 28 x 28 grey images of handwritten digits, 60,000 to train on and 10,000 to test on. The whole set fits into
# memory as one tensor of bytes a split, so a batch is an index into it and no loader is needed.

# %%
data = train_set, test_set = run.data("mnist")
print("training images", tuple(train_set.images.shape), "test images", tuple(test_set.images.shape))
plots.samples(train_set.images, train_set.labels, train_set.classes)

# %% [markdown]
# Most pixels are black. The network sees the pixels with the mean of the training set taken away and divided by its
# standard deviation.

# %%
pixels = train_set.images / 255
print(f"pixels: mean {pixels.mean():.4f}, standard deviation {pixels.std():.4f}")
print(f"used:   mean {MEAN['mnist'][0]:.4f}, standard deviation {STD['mnist'][0]:.4f}")
normalized = normalize(pixels, "mnist")
print(f"normalized: mean {normalized.mean():.3f}, standard deviation {normalized.std():.3f}, "
      f"from {normalized.min():.2f} to {normalized.max():.2f}")

# %% [markdown]
# ## The structure
#
# ### Target
#
# Two blocks of 3x3 convolutions that widen up to 128 channels. Between them stands a transition: a max-pool, and a
# 1x1 convolution that mixes 128 channels down to 32. At the end a 1x1 convolution leaves ten, and a 7 x 7 convolution
# sees the whole map. No budget: the question is only whether the layout learns, and a look or two at each image should
# be enough to tell.

# %%
tables.source_code(layers.Network, s7.conv, layers.mix, s7.structure)

# %% [markdown]
# The first table below has the size of each layer's output and its parameters, the second its **receptive field** (RF):
# how many pixels of the image, in a row, one value of its output depends on. **Jump** is the distance, in pixels, of
# two neighbouring values. Both grow from layer to layer: RF out = RF in + (kernel - 1) x jump in, and a stride
# multiplies the jump. So the second 3x3 convolution sees 3 + 2 x 1 = 5 pixels, and the first one after the pool, where
# the jump is 2, sees 8 + 2 x 2 = 12. It may get larger than the image: the rest is padding, or cut off at the border.

# %%
structure_target = [Target("accuracy", ">=", 95.0), run.session.target("epochs")]
tables.describe_network(s7.structure(), (1, 28, 28))

# %% [markdown]
# ### Result
#
# SGD with momentum. For a network without a norm the first steps are the dangerous ones, so the rate begins near zero,
# rises for a fifth of the steps and falls back to zero: one cycle, of which notebook S7.3 says more.

# %%
structure_recipe = run.recipe(Recipe(epochs=2, lr=0.01, nesterov=False, schedule="one_cycle"))
structure, structure_model = run.train_or_read("structure", s7.structure, structure_recipe, data, structure_target)

# %%
tables.target_table(structure)

# %% [markdown]
# ### Analysis

# %%
parameters = [layer["params"] for layer in structure["layers"]]
display(Markdown(
    f"{structure['accuracy']:.2f} % after {structure['epochs']} epochs; a guess has 10 %. "
    + ("The layout learns. " if structure["targets"][0]["met"] else "The target is missed. ") +
    f"It has {structure['params']:,} parameters, and {sum(sorted(parameters)[-2:]) / sum(parameters):.0%} of them sit "
    "in the two convolutions from 64 to 128 channels. A 3x3 convolution costs 9 x inputs x outputs: to halve "
    "the channels is to quarter the cost. The last convolution alone, 7 x 7, takes "
    f"{parameters[-1]:,} parameters to do what an average over the map does with none."
))

# %% [markdown]
# ## The skeleton
#
# ### Target
#
# The same plan, two blocks and a transition, with channels that rise to 32 only; the transition mixes before it
# pools, and global average pooling (GAP) stands in for the 7 x 7 convolution. A tenth of the parameters; does it still
# learn?

# %%
tables.source_code(s7.skeleton)

# %%
skeleton_target = [Target("params", "<", 20_000), Target("accuracy", ">=", 98.5), run.session.target("epochs")]
tables.describe_network(s7.skeleton(), (1, 28, 28))

# %% [markdown]
# ### Result
#
# At a constant learning rate, as the sources of this course train it; nothing makes its first steps safer.

# %%
skeleton_recipe = run.recipe(Recipe(epochs=14, lr=0.01, nesterov=False))
skeleton, skeleton_model = run.train_or_read("skeleton", s7.skeleton, skeleton_recipe, data, skeleton_target)

# %%
plots.curves({"structure": structure["curve"], "skeleton": skeleton["curve"]})

# %%
tables.target_table(skeleton)

# %% [markdown]
# What it gets wrong, most confident mistakes first:

# %%
confidence, predictions = torch.softmax(predict(skeleton_model, test_set), 1).max(1)
plots.misclassified(test_set.images, test_set.labels, predictions, test_set.classes, confidence)

# %% [markdown]
# ### Analysis

# %%
gap = skeleton["train_accuracy"] - skeleton["accuracy"]
display(Markdown(
    f"With {structure['params'] / skeleton['params']:.0f} times fewer parameters the skeleton reaches "
    f"{skeleton['accuracy']:.2f} % in {skeleton['epochs']} epochs, the structure {structure['accuracy']:.2f} % in "
    f"{structure['epochs']}. On the images it trained on the skeleton is right in {skeleton['train_accuracy']:.2f} % "
    f"of the cases, {gap:+.2f} points from the test set. "
    + ("It has begun to learn its training images by heart, so that regularization will have something to do."
       if gap > 0.2 else "There is hardly a gap: it does not learn by heart what it is shown.")
))

# %% [markdown]
# ## Side by side

# %%
plots.receptive_field_growth({
    "structure": receptive_field(s7.structure(), (1, 28, 28)),
    "skeleton": receptive_field(s7.skeleton(), (1, 28, 28)),
}, input_size=28)

# %%
tables.summary_table([run.over_seeds(structure), run.over_seeds(skeleton)])
