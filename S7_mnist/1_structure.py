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
from common.data import MEAN, STD, normalize
from common.receptive_field import receptive_field
from common.targets import Target
from common.training import Recipe, predict

run = experiment.start("S7_mnist", "1_structure", preset, seed, epochs, train, output, resume)

# %% [markdown]
# ## The data
#
# MNIST: 28 x 28 grey images of handwritten digits, 60,000 to train on and 10,000 to test on. The whole set fits into
# memory as one tensor of bytes a split, so a batch is an index into it and no loader is needed.

# %%
data = train_set, test_set = run.data("mnist")
print("training images", tuple(train_set.images.shape), "test images", tuple(test_set.images.shape))
plots.samples(train_set.images, train_set.labels, train_set.classes)

# %%
plots.class_counts(train_set.labels, train_set.classes)

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

# %%
plots.image(train_set.images, train_set.labels, train_set.classes, index=0)

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
report.source(models.Network, models.conv, models.mix, models.structure)

# %% [markdown]
# The first table below has the size of each layer's output and its parameters, the second its **receptive field** (RF):
# how many pixels of the image, in a row, one value of its output depends on. **Jump** is the distance, in pixels, of
# two neighbouring values. Both grow from layer to layer: RF out = RF in + (kernel - 1) x jump in, and a stride
# multiplies the jump. So the second 3x3 convolution sees 3 + 2 x 1 = 5 pixels, and the first one after the pool, where
# the jump is 2, sees 8 + 2 x 2 = 12. It may get larger than the image: the rest is padding, or cut off at the border.

# %%
structure_target = [Target("accuracy", ">=", 95.0), Target("epochs", "<", 15)]
report.network(models.structure(), (1, 28, 28))

# %% [markdown]
# ### Result
#
# SGD with momentum. For a network without a norm the first steps are the dangerous ones, so the rate begins near zero,
# rises for a fifth of the steps and falls back to zero: one cycle, of which notebook S7.3 says more.

# %%
structure_recipe = run.recipe(Recipe(epochs=2, lr=0.01, nesterov=False, schedule="one_cycle"))
structure, structure_model = run.run("structure", models.structure, structure_recipe, data, structure_target, seeds=1)

# %%
report.targets(structure)

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
report.source(models.skeleton)

# %%
skeleton_target = [Target("params", "<", 20_000), Target("accuracy", ">=", 98.5), Target("epochs", "<", 15)]
report.network(models.skeleton(), (1, 28, 28))

# %% [markdown]
# ### Result
#
# At a constant learning rate, as the sources of this course train it; nothing makes its first steps safer.

# %%
skeleton_recipe = run.recipe(Recipe(epochs=14, lr=0.01, nesterov=False))
skeleton, skeleton_model = run.run("skeleton", models.skeleton, skeleton_recipe, data, skeleton_target, seeds=1)

# %%
plots.curves({"structure": structure["curve"], "skeleton": skeleton["curve"]})

# %%
report.targets(skeleton)

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
    "structure": receptive_field(models.structure(), (1, 28, 28)),
    "skeleton": receptive_field(models.skeleton(), (1, 28, 28)),
}, input_size=28)

# %%
report.side_by_side([run.over_seeds(structure), run.over_seeds(skeleton)])
