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
# # S9.2 Augmentation: three transforms, by albumentations and by ourselves
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S9_advanced_conv/2_augmentation.ipynb)
#
# A network that sees the same 50,000 images again and again learns them by heart. Mirrored, moved and partly covered
# images are new ones, for nothing but time: how much time is this notebook's question. The three transforms of the
# brief by the library albumentations, an image at a time on the CPU, and the same three as arithmetic on a whole
# batch.

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
import statistics
import time

import torch
from IPython.display import Markdown

from common import experiment, plots
from common.augmentation import BRIEF, BRIEF_BATCHED, augment
from common.data import MEAN

run = experiment.start("S9_advanced_conv", "2_augmentation", preset, seed, epochs, output)
train_set, _ = run.data("cifar10")
generator = torch.Generator(train_set.images.device).manual_seed(seed)

# %% [markdown]
# ## The three transforms
#
# `HorizontalFlip` mirrors half of the images. `ShiftScaleRotate` moves half of them by up to a tenth of the side, makes
# them up to a tenth larger or smaller and turns them by up to 10 degrees. `CoarseDropout` covers a square of 16 x 16
# pixels, a quarter of the image, again in half of them. What is covered, and what comes in at the border, has the
# colour of the data set's mean: after normalization it is nearly zero.
#
# A trap: albumentations is given bytes, so that a fill of 0.47, meant as the mean, is black. The mean in bytes:

# %%
print("mean, of 1:  ", *(f"{value:.4f}" for value in MEAN["cifar10"]))
print("mean, of 255:", *(round(255 * value) for value in MEAN["cifar10"]))
measured = (train_set.images / 255).mean((0, 2, 3))
print("measured on the training images at hand:", *(f"{value:.4f}" for value in measured))

# %%
for step, options in BRIEF:
    print(step, *options["transforms"], sep="\n  ")
print(*BRIEF_BATCHED, sep="\n")

# %% [markdown]
# ## Before and after

# %%
count = 10
before = train_set.images[:count] / 255
labels = train_set.labels[:count]
plots.samples(before, labels, train_set.classes, rows=1, title="before")

# %%
again = before.repeat(3, 1, 1, 1)
plots.samples(augment(again, generator, BRIEF), labels.repeat(3), train_set.classes, rows=3,
              title="by albumentations, drawn three times")

# %%
plots.samples(augment(again, generator, BRIEF_BATCHED), labels.repeat(3), train_set.classes, rows=3,
              title="by the batch, drawn three times")

# %% [markdown]
# ## The same distribution?
#
# The draws differ, what they are drawn from should not. A mark of many augmented copies of one image is their mean. Two
# such means differ even when both are drawn by albumentations: that is the yardstick. (`tests/test_augmentation.py`
# measures more: it recovers flip, shift, scale, angle and hole from thousands of images, one by one, and compares. It
# showed that `ShiftScaleRotate` scales width and height by factors of their own, and moves by whole pixels only.)

# %%
copies = before[:1].expand(2048 if preset != "smoke" else 128, -1, -1, -1)
first, second, ours = (augment(copies, generator, steps).mean(0) for steps in (BRIEF, BRIEF, BRIEF_BATCHED))
print(f"largest difference of two mean images, both by albumentations: {(first - second).abs().max():.3f} of 1")
print(f"one by albumentations, one by the batch:                       {(first - ours).abs().max():.3f} of 1")


# %% [markdown]
# ## What they cost
#
# Milliseconds an image, both ways in turn, five times.

# %%
def milliseconds(steps, images) -> float:
    start = time.perf_counter()
    augment(images, generator, steps).sum().item()  # a GPU is waited for
    return 1000 * (time.perf_counter() - start) / len(images)


batch = train_set.images[:128] / 255
times = {"albumentations": [], "batched": []}
for _ in range(6):
    for name, steps in (("albumentations", BRIEF), ("batched", BRIEF_BATCHED)):
        times[name].append(milliseconds(steps, batch))
times = {name: values[1:] for name, values in times.items()}  # the first time, libraries wake up
Markdown("\n".join(["| | ms an image, median | lowest | highest | s an epoch of 50,000 |",
                    "| --- | ---: | ---: | ---: | ---: |",
                    *(f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} | {max(values):.3f} "
                      f"| {50 * statistics.median(values):.1f} |" for name, values in times.items())]))

# %%
ratio = statistics.median(times["albumentations"]) / statistics.median(times["batched"])
pairs = [a / b for a, b in zip(times["albumentations"], times["batched"], strict=True)]
threads = torch.get_num_threads()
Markdown(f"Here, with {threads} thread{'s' if threads > 1 else ''}, the library takes {ratio:.1f} times as long as the "
         f"batched form (pair by pair {min(pairs):.1f} to {max(pairs):.1f}). The networks of this session are "
         "trained with it all the same, as the brief asks; its price is in their seconds.")
