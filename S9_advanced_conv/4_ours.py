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
# # S9.4 Our own network: strides, dilation, and weights that are used again
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S9_advanced_conv/4_ours.ipynb)
#
# The layout C1 C2 C3 C4 O without max-pooling, within the budget: where resolution falls, a stride does it, or a
# dilation makes it unnecessary. After the first layer all convolutions are depthwise separable, and some are used twice
# in a row.

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
import dataclasses

import torch
from IPython.display import Markdown, display

from common import anatomy, experiment, grad_cam, layers, plots, recipes, results, tables
from common.augmentation import BRIEF, augment
from common.models import s9
from common.receptive_field import measure_field, receptive_field
from common.targets import Target
from common.training import find_misclassified, predict

run = experiment.start("S9_advanced_conv", "4_ours", preset, seed, epochs, output)
shape = (3, 32, 32)

# %% [markdown]
# ## The data, as the networks see it

# %%
data = train_set, test_set = run.data("cifar10")
generator = torch.Generator(train_set.images.device).manual_seed(seed)
plots.samples(augment(train_set.images[:20] / 255, generator, BRIEF), train_set.labels, train_set.classes, rows=2)

# %% [markdown]
# ## Strides or dilation
#
# C1 works at 32 x 32 pixels, C2 at 16 x 16, C3, which ends with a dilated convolution, at 8 x 8. For C4 there are two
# ways to see further: a stride, after which it has 4 x 4 positions, or a dilation of 2 in all its layers, with which it
# keeps its 8 x 8. The receptive field grows about alike, the number of parameters is the same to the last, and the work
# is not. Ours takes the stride; the other is not trained here. With it, the checkerboard of notebook S9.1 would come
# back: four layers of dilation 2 on top of each other.

# %%
variants = {"C4 with a stride (ours)": s9.ours, "C4 with dilation": s9.dilated}
rows = []
for name, make_model in variants.items():
    last, (height, width) = receptive_field(make_model(), shape)[-1], measure_field(make_model(), shape)
    macs = anatomy.multiply_accumulates(make_model(), shape)
    rows.append(f"| {name} | {anatomy.count_parameters(make_model()):,} | {last.size_in} x {last.size_in} "
                f"| {last.rf_in} | {height} x {width} | {macs / 1e6:.1f} |")
Markdown("\n".join(["| | parameters | last map | receptive field before the average | measured by the gradient "
                    "| million multiply-accumulates |", "| --- | ---: | ---: | ---: | ---: | ---: |", *rows]))

# %%
plots.receptive_field_growth({name: receptive_field(make_model(), shape) for name, make_model in variants.items()}, 32)

# %% [markdown]
# ## Ours
#
# ### Target
#
# The brief's every line, checked by the run, and more than it asks in accuracy: the source's network reaches 85.28 % in
# 25 epochs by its authors' account; ours, by our recipe, should reach 89 in no more.

# %%
tables.source_code(s9.four_blocks, s9.ours, layers.SeparableConv)

# %%
brief = [*run.session.budget, Target("epochs", "<=", 25),
         run.at_least(89.0)]
print(anatomy.torchsummary_table(s9.ours(), shape))

# %%
for kind, names in anatomy.layer_kinds(s9.ours()).items():
    print(f"{kind}: {', '.join(names) or 'none'}")

# %%
tables.receptive_field_table(receptive_field(s9.ours(), shape))

# %% [markdown]
# ### Result

# %%
recipe = run.recipe(recipes.S9, quick_epochs=8)
ours, ours_model = run.train_or_read("ours", s9.ours, recipe, data, brief)

# %%
plots.curves({"ours": run.over_seeds(ours)}, target=run.session.goal.limit)

# %%
tables.target_table(ours)

# %% [markdown]
# Which class it takes for which:

# %%
predictions = predict(ours_model, test_set).argmax(1)
plots.confusion_matrix(test_set.labels, predictions, test_set.classes)

# %% [markdown]
# What it gets wrong, most confident mistakes first:

# %%
mistakes = find_misclassified(ours_model, test_set)
plots.misclassified(test_set.images, mistakes, test_set.classes)

# %% [markdown]
# Grad-CAM at the last map: which of its 4 x 4 positions speak for the predicted class. Each position could see the
# whole image (91 pixels), so the map says where the evidence arrived, and only roughly where it came from. First images
# that it gets right, then its most confident mistakes.

# %%
last_map = ours_model[-4]  # C4, before the average
right = (predictions == test_set.labels).nonzero().flatten()[:8]
grad_cam.show(ours_model, last_map, test_set, right, predictions, "predicted rightly")

# %%
wrong = torch.tensor([mistake.index for mistake in mistakes[:8]], dtype=int)
grad_cam.show(ours_model, last_map, test_set, wrong, predictions, "predicted wrongly, most confident first")

# %% [markdown]
# ### Analysis

# %%
ours_summary = run.over_seeds(ours)
theirs = results.published_summary("S9_advanced_conv/3_inverted_bottlenecks", "inverted_bottlenecks")
display(Markdown(
    f"{ours['params']:,} parameters reach {tables.accuracy(ours_summary)} % (n = {ours_summary['n']}) after "
    f"{ours['epochs']} epochs; the network {tables.first_epoch(ours_summary, run.session.goal.limit)}. "
    f"{tables.generalization_gap(ours, ours_model, train_set)} "
    f"The source's network by the same recipe (S9.3): {tables.accuracy(theirs)} % after {theirs['epochs']} epochs "
    f"(n = {theirs['n']}) with {theirs['params']:,} parameters; since epochs and parameters differ, the network's own "
    "share in what is gained isn't shown."
))

# %% [markdown]
# ## What three ingredients bring
#
# ### Target
#
# The same network on a short schedule, four epochs of 15,000 images, and then each time with one ingredient taken out:
# SGD for all weights in place of Muon, labels of full certainty in place of smoothed ones, and images as they are in
# place of varied ones. Several seeds each, the same for all. In so few epochs the transforms should cost: they make the
# task harder, and pay only once the network begins to learn its images by heart.

# %%
short = run.recipe(dataclasses.replace(recipes.S9, epochs=4, train_images=15_000))
variants = {"ours_short": {}, "ours_short_sgd": {"muon": 0.0}, "ours_short_hard_labels": {"label_smoothing": 0.0},
            "ours_short_no_augmentation": {"augmentation": ()}}

# %% [markdown]
# ### Result

# %%
within = [run.session.target("params")]
ablated = [run.over_seeds(run.train_or_read(
    name, s9.ours, dataclasses.replace(short, **change), data, within)[0])
    for name, change in variants.items()]

# %%
plots.per_seed({tables.title(row): [one["accuracy"] for one in row["results"]] for row in ablated})

# %% [markdown]
# ### Analysis

# %%
display(Markdown(tables.difference_table([(row, ablated[0]) for row in ablated[1:]])))
display(Markdown(tables.verdicts(ablated[1:], ablated[0]) + " The fewer pairs of seeds, the wider the intervals."))
