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
# # S7.3 Augmentation and the learning rate: a network of our own
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S7_mnist/3_augmentation.ipynb)
#
# **You will learn** how images are varied a whole batch at a time, what a learning-rate schedule does, what an
# exponential moving average of the weights is, and how far a network gets that shares its weights.
#
# **You need** S7.2.
#
# **It takes** about five minutes of computing on two CPU cores as it stands (`preset = "quick"`).
#
# **Next** S7.4 is your turn.

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
import math
from functools import partial

import torch
import torch.nn.functional as F
from IPython.display import Markdown
from torch import nn

from common import experiment, layers, plots, tables, training
from common.augmentation import affine, augment
from common.claims import better, undecided
from common.exercises import check
from common.models import s7
from common.optim import average_weights, make_schedule
from common.receptive_field import measure_field
from common.results import epochs_until
from common.targets import Target
from common.training import Recipe, predict

run = experiment.start("S7_mnist", "3_augmentation", preset, seed, epochs, output)
shape = (1, 28, 28)
budget, goal = run.session.budget, run.session.goal

# %% [markdown]
# ## Data augmentation
#
# A digit that is turned, moved, stretched or slanted a little is still that digit. **Data augmentation** draws such a
# change anew for each image and each epoch, so the network never sees the same image twice. It is the one regularizer
# that knows something about the task.
#
# All four changes are linear maps of the plane. Each pixel of the new image takes its value from the place in the old
# one that a 2 x 3 matrix says; for a turn by the angle $\alpha$
#
# $$\begin{pmatrix} x_{old} \\ y_{old} \end{pmatrix} =
# \begin{pmatrix} \cos\alpha & \sin\alpha & 0 \\ -\sin\alpha & \cos\alpha & 0 \end{pmatrix}
# \begin{pmatrix} x \\ y \\ 1 \end{pmatrix}$$
#
# With a matrix for each image a whole batch is turned in two calls, on a GPU too.

# %%
data = train_set, test_set = run.data("mnist")


def rotate(images, degrees):
    """Turn each of `images` (N, C, H, W) by its own angle, `degrees` (N,)."""
    angle = degrees * math.pi / 180
    zero = torch.zeros_like(angle)
    matrix = torch.stack([angle.cos(), angle.sin(), zero, -angle.sin(), angle.cos(), zero], 1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)  # where each pixel comes from
    return F.grid_sample(images, grid, align_corners=False)  # between pixels: bilinear


device = train_set.images.device
images = train_set.images[:64] / 255
draws = torch.Generator(device).manual_seed(seed)
degrees = 14 * torch.rand(64, generator=draws, device=device) - 7
assert torch.allclose(rotate(images, degrees), affine(images, draws.manual_seed(seed), rotate=7.0), atol=1e-5)

# %% [markdown]
# `affine` of `common.augmentation` does all four at once. A recipe names its steps as data. How much is too much? A
# change must leave the label true; look at many draws before you train with them.

# %%
rotation = (("affine", {"rotate": 7.0}),)
variation = (("affine", {"shift": 0.08, "scale": 0.1, "rotate": 8.0, "shear": 6.0}),)
few = torch.arange(10).repeat(3)  # the same ten images, drawn three times
varied = augment(train_set.images[few] / 255, draws, variation)
plots.samples(varied, train_set.labels[few], train_set.classes, title="shifted, scaled, rotated, sheared: three draws")


# %% [markdown]
# ## The learning rate
#
# A large learning rate moves fast and never settles: each step is taken on one batch, and its noise is as large as the
# step. A small one settles, slowly, wherever it happens to be. So the rate should change. Four ways:
#
# - **constant**;
# - **step**: divided by ten every few epochs;
# - **plateau**: divided by ten when the loss on held-out training images has not improved for two epochs;
# - **one cycle** (Smith and Topin, 2018): from zero up to a peak and down to zero again. The warm-up lets the network
#   bear a high peak.
#
# Three of them are functions of the step $t$ of $T$ alone:

# %%
def constant(t, total, peak):
    return peak


def step(t, total, peak, drops=3):
    return peak * 0.1 ** (t * drops // total)


def one_cycle(t, total, peak, warmup=0.2):
    progress = (t + 1) / (total + 1)  # neither the first nor the last step has a rate of zero
    return peak * min(progress / warmup, (1 - progress) / (1 - warmup))


def rates_of(recipe, total):
    """The rates that `make_schedule` of `common.optim`, which `fit` uses, gives the steps of one epoch."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.lr)
    schedule, rates = make_schedule(optimizer, recipe, total), []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


total, peak = 300, 0.3
rates = {schedule.__name__.replace("_", " "): [schedule(t, total, peak) for t in range(total)]
         for schedule in (constant, step, one_cycle)}
expected = rates_of(Recipe(epochs=1, lr=peak, schedule="one_cycle"), total)
assert torch.allclose(torch.tensor(rates["one cycle"]), torch.tensor(expected))
plots.lines(rates, "training step", "learning rate")

# %% [markdown]
# The fourth can't be drawn beforehand: it depends on how training goes.
#
# ## Plateau: the network of the last notebook, on rotated digits
#
# ### Target
#
# The 7,280-parameter network with batch norm and dropout, as its authors train it: digits rotated by up to 7 degrees
# and a learning rate that drops on a plateau. It is judged on 5,000 held-out training images, not on the test set,
# which would no longer be one if it chose anything. At least 99.2 %.

# %%
rotated_target = [*budget, Target("accuracy", ">=", 99.2)]
rotated_recipe = run.recipe(Recipe(epochs=14, lr=0.05, schedule="plateau", validation=5000, augmentation=rotation))
tables.block_table(s7.regularized(), shape)

# %% [markdown]
# ### Result

# %%
regularized_rotated, _ = run.train_or_read(
    "regularized_rotated", s7.regularized, rotated_recipe, data, rotated_target)

# %%
before = run.over_seeds(regularized_rotated)
plots.curves({"rotated, plateau": before}, target=goal.limit)

# %% [markdown]
# What drives the rate is the loss on the held-out images. The rate falls after two epochs that bring no better one:

# %%
plots.lines({"held-out loss": [row["validation_loss"] for row in regularized_rotated["curve"]],
             "learning rate": [row["lr"] for row in regularized_rotated["curve"]]}, "epoch", "loss, rate")

# %%
tables.target_table(regularized_rotated)


# %% [markdown]
# ### Analysis
#
# The scheduler can react only after the plateau, so it wastes epochs at a rate that no longer helps. And with fewer
# than fifteen epochs in all, there is not much time to waste.
#
# ## The average of the weights
#
# At a high rate the weights jump around a good place. An **exponential moving average** (EMA) follows them slowly, and
# is evaluated in their place:
#
# $$\bar{w} \leftarrow d\,\bar{w} + (1 - d)\, w$$
#
# With $d = 0.99$ it averages over about the last hundred steps. Below, one weight of the network and its average, over
# the first steps at a constant rate.

# %%
def follow(average, value, decay):
    return decay * average + (1 - decay) * value


torch.manual_seed(seed)
model = s7.regularized(dropout=0.0).to(device)
recipe = run.recipe(Recipe(epochs=1, lr=0.1))
optimizer, averaged = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), average_weights(model, decay=0.95)
weight, average, path, smooth = model[0].weight, None, [], []
for images, labels in list(training.make_batches(train_set[:20_000], recipe, draws)):
    training.train_epoch(model, [(images, labels)], optimizer, recipe, averaged=averaged)
    steps = len(path)  # the decay grows from zero, so that the random start is soon forgotten
    average = follow(average, weight, min(0.95, (1 + steps) / (10 + steps))) if steps else weight
    average = average.detach().clone()
    path.append(weight[0, 0, 1, 1].item())
    smooth.append(average[0, 0, 1, 1].item())
assert torch.allclose(average, averaged.module[0].weight, atol=1e-5)
plots.lines({"a weight": path, "its average": smooth}, "training step", "value")

# %% [markdown]
# ## One cycle
#
# ### Target
#
# The same network without its dropout, because varied images are hard enough; all four variations; one cycle with a
# peak six times as high; and the average of the weights. The session's goal, within its budget.

# %%
without_dropout = partial(s7.regularized, dropout=0.0)
one_cycle_target = [*budget, goal]
one_cycle_recipe = run.recipe(Recipe(
    epochs=14, lr=0.3, schedule="one_cycle", average=0.99, augmentation=variation,
))

# %% [markdown]
# ### Result

# %%
regularized_one_cycle, _ = run.train_or_read(
    "regularized_one_cycle", without_dropout, one_cycle_recipe, data, one_cycle_target)

# %%
after = run.over_seeds(regularized_one_cycle)
plots.curves({"rotated, plateau": before, "varied, one cycle": after}, target=goal.limit)

# %%
tables.target_table(regularized_one_cycle)

# %% [markdown]
# ### Analysis
#
# The same parameters, and the goal is reached. Six things changed between the two: the schedule, its peak, the
# variation, the average, the dropout, and the held-out images that are now trained on. Which of them did it, two
# networks can't say; and the older one has run with one seed only. But remember S7.2: there this network reached the
# goal with one cycle alone, on plain images. So the schedule is the first suspect, not the variation.
#
# ## Ours
#
# ### Target
#
# The same budget, spent otherwise. A 3x3 convolution has $9 \, C_{in} C_{out}$ parameters. Split into a **depthwise**
# one, a 3x3 filter for each channel by itself, and a 1x1 convolution, which mixes the channels, it has
#
# $$9\, C_{in} + C_{in}\, C_{out}$$
#
# That is far fewer for as many channels; notebook S9.1 looks at it closely. And weights may be used more than once
# (**weight sharing**): after each pool the same block is applied four times, its input added each time. The network is
# deep where it has few weights. What is saved in parameters is paid in time.

# %%
tables.source_code(s7.narrow, s7.ours, layers.SeparablePool, layers.Repeated)

# %%
plots.diagram(s7.ours(), shape)

# %%
tables.block_table(s7.ours(), shape)

# %%
tables.full_table(s7.ours(), shape)

# %%
ours_target = [*budget, goal]
print("receptive field before the global average, measured on an image large enough: {} x {} pixels".format(
    *measure_field(s7.ours(), shape)))

# %% [markdown]
# It is larger than the image, so every value of the last map depends on the whole digit.
#
# ### Result
#
# The recipe of the network above, with a longer average of the weights.

# %%
ours_recipe = run.recipe(
    Recipe(epochs=14, lr=0.3, schedule="one_cycle", average=0.998, augmentation=variation), quick_epochs=8,
)
ours, ours_model = run.train_or_read("ours", s7.ours, ours_recipe, data, ours_target)

# %%
tables.target_table(ours)

# %% [markdown]
# What it gets wrong, the most confident mistakes first. Cover the captions: which digits would you have got right?

# %% tags=["figure-misclassified"]
plots.misclassified(test_set.images, training.find_misclassified(ours_model, test_set), test_set.classes)

# %%
plots.confusion_matrix(test_set.labels, predict(ours_model, test_set).argmax(1), test_set.classes)

# %% [markdown]
# ## Smallest
#
# ### Target
#
# How far down does the goal hold? The same network with fewer channels and three repetitions: under 5,000 parameters.

# %%
smallest_target = [Target("params", "<", 5000), *budget, goal]
tables.block_table(s7.smallest(), shape)

# %% [markdown]
# ### Result

# %%
smallest_recipe = run.recipe(Recipe(
    epochs=14, lr=0.3, schedule="one_cycle", average=0.998, augmentation=variation,
))
smallest, _ = run.train_or_read("smallest", s7.smallest, smallest_recipe, data, smallest_target)

# %%
tables.target_table(smallest)

# %% [markdown]
# ## Side by side

# %% tags=["figure-curves"]
of_ours, of_smallest = run.over_seeds(ours), run.over_seeds(smallest)
summaries = [before, after, of_ours, of_smallest]
plots.curves({tables.title(summary): summary for summary in summaries}, target=goal.limit)

# %%
plots.per_seed({tables.title(s): [r["accuracy"] for r in s["results"]] for s in summaries})

# %%
tables.summary_table(summaries)

# %%
Markdown(tables.difference_table([(of_ours, after), (of_smallest, after), (of_ours, of_smallest)]))

# %% [markdown]
# ### Analysis
#
# With one cycle, variation and an average every seed of all three networks reaches the goal. Ours can't be told from
# the plain network on these seeds; it is better than the smallest, by less than a tenth of a point. The smallest
# keeps to the goal as well, with fewer than two thirds of the parameters allowed.

# %%
run.claims(
    ("Every seed with one cycle reaches the goal.",
     min(summary["worst"] for summary in summaries[1:]) >= goal.limit),
    ("The smallest network, too, reaches it on average, with fewer than two thirds of the parameters allowed.",
     of_smallest["mean"] >= goal.limit and 3 * of_smallest["params"] < 2 * budget[0].limit),
    ("Ours is better than the smallest, by less than a tenth of a point.",
     better(of_ours, of_smallest) and of_ours["mean"] - of_smallest["mean"] < 0.1),
    ("These seeds can't tell ours from the plain network.", undecided(of_ours, after)),
    ("The network with a plateau never had the goal's accuracy after any epoch.",
     not epochs_until(regularized_rotated, goal.limit)),
)

# %% [markdown]
# ## Exercises

# %% [markdown]
# **S7.3.1** Which digits must not be turned by 180 degrees in augmentation: "0 and 8", "1 and 7", "2 and 5" or "6 and
# 9"?

# %% tags=["exercise"]
not_turned = ...
check("S7.3.1", not_turned)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# not_turned = "6 and 9"
# ```
#
# Each would read as the other, with the wrong label.
# </details>

# %% [markdown]
# **S7.3.2** The peak rate is 0.3; it is reached from 0 in a straight line over the first 20 % of 1,000 steps. What is
# the rate at step 100?

# %% tags=["exercise"]
rate = ...
check("S7.3.2", rate)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# rate = 0.3 * 100 / 200
# ```
#
# The warm-up takes 200 steps, and half of them are over.
# </details>

# %% [markdown]
# **S7.3.3** An exponential moving average has a decay of 0.998. After how many steps has it forgotten half of a
# weight's old value?

# %% tags=["exercise"]
steps = ...
check("S7.3.3", steps)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# steps = 346
# ```
#
# 0.998 ** n = 0.5 for n = log 0.5 / log 0.998.
# </details>

# %% [markdown]
# **S7.3.4** Write the learning rate at `step` of `steps`: in a straight line from 0 to `peak` during the part `warmup`
# of training, then down to 0 as half a cosine.

# %% tags=["exercise"]
def one_cycle(step, steps, peak, warmup=0.2):
    ...


check("S7.3.4", one_cycle)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# import math
#
# def one_cycle(step, steps, peak, warmup=0.2):
#     rise = warmup * steps
#     if step < rise:
#         return peak * step / rise
#     return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))
# ```
#
# The course's own schedule falls in a straight line instead.
# </details>

# %% [markdown]
# **S7.3.5** Write the exponential moving average of a list of values: the list of averages after each value, the first
# of which is the first value.

# %% tags=["exercise"]
def ema(values, decay):
    ...


check("S7.3.5", ema)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def ema(values, decay):
#     averages = values[:1]
#     for value in values[1:]:
#         averages.append(decay * averages[-1] + (1 - decay) * value)
#     return averages
# ```
#
# Old values fade by the factor `decay` a step.
# </details>
