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
# max-pool. What is free is how many channels each gets. Six ways to choose, two without a budget and four under 50,000
# parameters, each trained for one epoch only: enough to see what a choice costs and what it brings.

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
from IPython.display import Markdown, display

from common import experiment, models, plots, report
from common.data import MEAN, STD, normalize
from common.receptive_field import receptive_field
from common.targets import Target
from common.training import Recipe

run = experiment.start("S8_norms", "1_layout", preset, seed, epochs, train, output, resume)
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

# %%
plots.class_counts(train_set.labels, train_set.classes)

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

# %%
plots.image(train_set.images, train_set.labels, train_set.classes, index=4)

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
budget = [Target("params", "<", 50_000), Target("epochs", "<=", 20)]
learns = Target("accuracy", ">=", 45.0)

# %% [markdown]
# ## Without a budget
#
# ### Target
#
# 32 channels in every 3x3 convolution, 16 after each transition. Does the layout learn? More than 45 % after one
# epoch says yes.

# %%
report.source(models.conv_relu_norm, models.unbudgeted)

# %%
report.network(models.unbudgeted(), shape)

# %% [markdown]
# ### Result

# %%
unbudgeted, _ = run.run("unbudgeted", models.unbudgeted, recipe, data, [learns], norm="bn", seeds=1)

# %%
report.targets(unbudgeted)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{report.cost(models.unbudgeted(), shape)}. "
    f"{unbudgeted['accuracy']:.2f} % after {unbudgeted['epochs']} epoch: the layout "
    + ("learns. " if unbudgeted["targets"][-1]["met"] else "learns more slowly than hoped. ")
    + f"It is {max(unbudgeted['params'] - 50_000, 0):,} parameters over the budget."
))

# %% [markdown]
# ## Wider still
#
# ### Target
#
# Up to 128 channels: 16 and 32 without padding, then 32, 64, 128, then 64, 32, 32. Does width pay?

# %%
report.source(models.conv_norm_relu, models.mix, models.wide)

# %%
report.network(models.wide(), shape)

# %% [markdown]
# ### Result

# %%
wide, _ = run.run("wide", models.wide, recipe, data, [learns], norm="bn", seeds=1)

# %%
report.targets(wide)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{report.cost(models.wide(), shape)}. "
    f"{wide['accuracy']:.2f} %, {report.gain(wide, unbudgeted)} from the "
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
report.source(models.narrowed)

# %%
report.network(models.narrowed(), shape)

# %% [markdown]
# ### Result

# %%
narrowed, _ = run.run("narrowed", models.narrowed, recipe, data, [*budget, learns], norm="bn", seeds=1)

# %%
report.targets(narrowed)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{report.cost(models.narrowed(), shape)}. "
    f"{narrowed['accuracy']:.2f} %, {report.gain(narrowed, wide)} from the wide "
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
report.source(models.evened_out)

# %%
report.network(models.evened_out(), shape)

# %% [markdown]
# ### Result

# %%
evened_out, _ = run.run("evened_out", models.evened_out, recipe, data, [*budget, learns], norm="bn", seeds=1)

# %%
report.targets(evened_out)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{report.cost(models.evened_out(), shape)}. "
    f"{evened_out['accuracy']:.2f} %, {report.gain(evened_out, narrowed)} from the "
    f"narrowed one with {narrowed['params'] - evened_out['params']:,} parameters fewer."
))

# %% [markdown]
# ## A wider start
#
# ### Target
#
# 32 channels from the first layer on, with padding: the map stays 32 pixels wide where the details are.

# %%
report.source(models.widened_input)

# %%
report.network(models.widened_input(), shape)

# %% [markdown]
# ### Result

# %%
widened_input, _ = run.run("widened_input", models.widened_input, recipe, data, [*budget, learns], norm="bn", seeds=1)

# %%
report.targets(widened_input)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{report.cost(models.widened_input(), shape)}. "
    f"{widened_input['accuracy']:.2f} %, {report.gain(widened_input, evened_out)} from "
    f"the one before, for {widened_input['params'] - evened_out['params']:,} parameters. Parameters are "
    "not the only cost: a channel at full resolution has few parameters and takes many operations."
))

# %% [markdown]
# ## Under the budget
#
# ### Target
#
# The first network with fewer channels at the start of its first two blocks, and 16 channels through the transitions.

# %%
report.source(models.budgeted)

# %%
report.network(models.budgeted(), shape)

# %% [markdown]
# ### Result

# %%
budgeted, _ = run.run("budgeted", models.budgeted, recipe, data, [*budget, learns], norm="bn", seeds=1)

# %%
report.targets(budgeted)

# %% [markdown]
# ### Analysis

# %%
display(Markdown(
    f"{report.cost(models.budgeted(), shape)}. "
    f"{budgeted['accuracy']:.2f} %, {report.gain(budgeted, unbudgeted)} from the "
    f"first network. {50_000 - budgeted['params']:,} parameters are left."
))

# %% [markdown]
# ## Side by side

# %%
plots.receptive_field_growth({
    "unbudgeted, budgeted": receptive_field(models.budgeted(), shape),
    "wide, narrowed, evened out": receptive_field(models.narrowed(), shape),
    "widened input": receptive_field(models.widened_input(), shape),
}, input_size=shape)

# %%
found = [unbudgeted, wide, narrowed, evened_out, widened_input, budgeted]
plots.parameters_against_accuracy([
    {"name": result["model"].replace("_", " "), "params": result["params"], "accuracy": result["accuracy"],
     "std": None, "source": False} for result in found])

# %%
report.side_by_side([run.over_seeds(result) for result in found])
