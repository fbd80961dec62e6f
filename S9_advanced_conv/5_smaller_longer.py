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
# # S9.5 Smaller, and longer
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S9_advanced_conv/5_smaller_longer.ipynb)
#
# Two questions that a budget raises. What does our network lose with half of the parameters? And what does it gain with
# more time?

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

from common import anatomy, experiment, grad_cam, plots, recipes, results, tables
from common.models import s9
from common.receptive_field import measure_field
from common.targets import Target
from common.training import find_misclassified, predict

run = experiment.start("S9_advanced_conv", "5_smaller_longer", preset, seed, epochs, output)
shape = (3, 32, 32)
data = train_set, test_set = run.data("cifar10")

# %% [markdown]
# ## Half size
#
# ### Target
#
# Most parameters are in C3 and C4. With 112 and 168 channels there in place of 160 and 256, and all else as in notebook
# S9.4, fewer than 100,000 are left: at least 87 % after 25 epochs.

# %%
small_brief = [*run.session.budget, Target("params", "<", 100_000), Target("epochs", "<=", 25),
               Target("accuracy", ">=", 87.0)]
print("Receptive field before the global average, measured (pixels that have a gradient, on an image large enough): "
      "{} x {}".format(*measure_field(s9.half_size(), shape)))
print(anatomy.torchsummary_table(s9.half_size(), shape))

# %% [markdown]
# ### Result

# %%
half_size, _ = run.train_or_read("half_size", s9.half_size, run.recipe(recipes.S9, quick_epochs=2), data, small_brief)

# %%
plots.curves({"half size": run.over_seeds(half_size)}, target=run.session.goal.limit)

# %%
tables.target_table(half_size)


# %% [markdown]
# ### Analysis

# %%
def against(found: dict) -> str:
    return (f"{tables.gain(found, ours_summary)} from the network of notebook S9.4, published with "
            f"{tables.accuracy(ours_summary)} % (n = {ours_summary['n']}) after {ours_summary['epochs']} epochs")


ours_summary = results.published_summary("S9_advanced_conv/4_ours", "ours")
half_size_summary = run.over_seeds(half_size)
macs, macs_of_ours = (anatomy.multiply_accumulates(m, shape) / 1e6 for m in (s9.half_size(), s9.ours()))
display(Markdown(
    f"{half_size['params']:,} parameters and {macs:.1f} million multiply-accumulates (S9.4: {macs_of_ours:.1f} "
    f"million) reach {tables.accuracy(half_size_summary)} % (n = {half_size_summary['n']}), "
    f"{against(half_size_summary)}."
))

# %% [markdown]
# ## Ours, longer
#
# ### Target
#
# The network of notebook S9.4 and its recipe, with 80 epochs for the same cycle; a hundred are allowed. At least 91 %.

# %% [markdown]
# ### Result

# %%
long_brief = [*run.session.budget, Target("epochs", "<=", 100), Target("accuracy", ">=", 91.0)]
recipe = run.recipe(dataclasses.replace(recipes.S9, epochs=80), quick_epochs=4)
ours_longer, ours_longer_model = run.train_or_read("ours_longer", s9.ours, recipe, data, long_brief)

# %% tags=["figure-curves"]
plots.curves({"half size": half_size_summary, "ours (S9.4)": ours_summary, "ours, longer": run.over_seeds(ours_longer)},
             target=run.session.goal.limit)

# %%
tables.target_table(ours_longer)

# %%
predictions = predict(ours_longer_model, test_set).argmax(1)
plots.confusion_matrix(test_set.labels, predictions, test_set.classes)

# %% tags=["figure-misclassified"]
mistakes = find_misclassified(ours_longer_model, test_set)
plots.misclassified(test_set.images, mistakes, test_set.classes)

# %%
wrong = torch.tensor([mistake.index for mistake in mistakes[:8]], dtype=int)
grad_cam.show(ours_longer_model, ours_longer_model[-4], test_set, wrong, predictions,
              "predicted wrongly, most confident first")

# %% [markdown]
# ### Analysis

# %%
ours_longer_summary = run.over_seeds(ours_longer)
display(Markdown(
    f"{tables.accuracy(ours_longer_summary)} % after {ours_longer['epochs']} epochs (n = {ours_longer_summary['n']}), "
    f"{against(ours_longer_summary)}. "
    f"{tables.generalization_gap(ours_longer, ours_longer_model, train_set)}"
))
