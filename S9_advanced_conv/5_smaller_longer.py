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
# # S9.5 Budgets: fewer parameters, more epochs
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S9_advanced_conv/5_smaller_longer.ipynb)
#
# **You will learn** what halving the parameters costs in accuracy; to predict by a power law what more epochs bring,
# and to doubt it; and two kinds of regularization by hand: weight decay and mixup.
#
# **You need** S9.4 for the network, S7.2 for overfitting.
#
# **It takes** about two minutes of computing on two CPU cores as it stands: `preset = "quick"` trains the smaller
# network for two epochs and reads the other results. The text speaks of the full runs.
#
# **Next** In S9.6 you design a network of your own.

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

import torch
import torch.nn.functional as F
from IPython.display import Markdown
from torch import nn

from common import experiment, plots, recipes, tables
from common.anatomy import count_parameters, multiply_accumulates
from common.exercises import check
from common.models import s9
from common.results import held_out, published_summary
from common.targets import Target

run = experiment.start("S9_advanced_conv", "5_smaller_longer", preset, seed, epochs, output)
shape = (3, 32, 32)
data = train_set, test_set = run.data("cifar10")


# %% [markdown]
# ## Fewer parameters
#
# ### Target
#
# Most weights of our network are in its 1x1 convolutions, each of which has inputs times outputs. So with $w$
# times as many channels everywhere a network has about
#
# $$P(w) \approx w^2 \, P(1)$$
#
# parameters. Compare the formula with the true numbers:

# %%
def scaled(width):
    """Our network with `width` times its channels, in steps of four."""
    return s9.four_blocks(tuple(4 * round(width * channels / 4) for channels in s9.CHANNELS), stride=2)


assert count_parameters(scaled(1)) == count_parameters(s9.ours())
Markdown(tables.markdown("width | parameters | of ours | width squared | multiply-accumulates", [
    (width, f"{params:,}", f"{params / count_parameters(scaled(1)):.0%}", f"{width**2:.0%}",
     f"{multiply_accumulates(scaled(width), shape) / 1e6:.1f} M")
    for width in (1, 0.7, 0.5, 0.35) for params in [count_parameters(scaled(width))]], "lrrrr"))

# %% [markdown]
# The formula is a little too low, and more so for small networks. Depthwise filters, norms, the first convolution and
# the linear layer grow with $w$ only, so their share rises when a network shrinks.

# %%
formula = {width: width**2 * count_parameters(scaled(1)) / count_parameters(scaled(width))
           for width in (0.7, 0.5, 0.35)}
run.claims(
    ("What it predicts is too low, by less than a sixth.", all(5 / 6 < part < 1 for part in formula.values())),
    ("It gets worse as the network gets smaller.", formula[0.7] > formula[0.5] > formula[0.35]),
)

# %% [markdown]
# With 0.7 times its channels the network has fewer than 100,000 parameters. It should reach at least 89 % after 25
# epochs. How much is lost?

# %%
small_limits = [*run.session.budget, Target("params", "<", 100_000), Target("epochs", "<=", 25),
                run.at_least(89.0)]
assert count_parameters(scaled(0.7)) == count_parameters(s9.half_size())
tables.block_table(s9.half_size(), shape)

# %% [markdown]
# ### Result

# %%
recipe = run.recipe(recipes.S9, quick_epochs=2)
half_result, _ = run.train_or_read("half_size", s9.half_size, recipe, data, small_limits)
half, ours = run.over_seeds(half_result), published_summary("S9_advanced_conv/4_ours", "ours")

# %% tags=["figure-curves"]
plots.curves({"half the parameters": half, "ours (S9.4)": ours}, target=small_limits[-1].limit)

# %%
tables.summary_table([half, ours])

# %%
tables.target_table(half_result)

# %% [markdown]
# ### Analysis
#
# Half of the parameters cost between one and two points; in mistakes that is about a sixth more. Is it chance? The
# smaller network was trained with three seeds and ours with five, and the worst of ours is ahead of the best of the
# smaller. If both were equally good, the three would be the last of the eight in only one of 56 cases. (Look at the
# dashed lines, too: the smaller network knows fewer of its training images.)

# %%
small = published_summary("S9_advanced_conv/5_smaller_longer", "half_size")
run.claims(
    ("With fewer than 100,000 parameters each seed reaches 89 %.", small["params"] < 100_000 and small["worst"] >= 89),
    ("Between the means are one to two points.", 1 < ours["mean"] - small["mean"] < 2),
    ("Each of its three seeds is behind each of our five.", (small["n"], ours["n"]) == (3, 5)
     and max(one["accuracy"] for one in small["results"]) < ours["worst"]),
    ("It makes about a sixth more mistakes.", abs((100 - small["mean"]) / (100 - ours["mean"]) - 7 / 6) < 0.04),
    ("Of 2,500 training images each of the smaller networks gets more wrong than any of ours.",
     max(one["curve"][-1]["fit_accuracy"] for one in small["results"])
     < min(one["curve"][-1]["fit_accuracy"] for one in ours["results"])),
)


# %% [markdown]
# ## How much do more epochs bring?
#
# ### Target
#
# In many fields of deep learning the error falls with the number of training examples by a **power law** (Hestness et
# al., 2017). Let us try one for the number $n$ of epochs, where each $n$ is a schedule with a cycle of its own (and not
# a point on the curve of one run):
#
# $$\text{error}(n) \approx a \, n^{-b} \quad \text{or} \quad \log \text{error}(n) \approx \log a - b \log n$$
#
# That is a line where both axes are logarithmic. If it holds, short runs tell what a long one will bring, before it is
# paid for. When the transforms were chosen (S9.2) our network had ten epochs in one run and 25 in another, with nearly
# the same transforms: a flip, and a shift by up to four pixels. Both had 40,000 images, and were asked about the other
# 10,000. Put the line through these two, and read off what it says of more epochs.

# %%
def power_law(first, second):
    """Return a and b of error = a * epochs**-b through two points (epochs, error)."""
    (epochs, error), (more_epochs, less_error) = first, second
    b = math.log(error / less_error) / math.log(more_epochs / epochs)
    return error * epochs**b, b


assert power_law((1, 8), (4, 2)) == (8, 1)  # halved whenever the epochs double

# %%
tried = held_out("S9_advanced_conv")
errors = {10: 100 - tried["crop and flip"], 25: 100 - tried["25 epochs: flip and shift"]}
a, b = power_law(*errors.items())
law = {epochs: a * epochs**-b for epochs in (5, 10, 25, 50, 100)}
print(f"error = {a:.1f} * epochs ** -{b:.2f}")

# %% [markdown]
# ### Result

# %%
plots.against({"trained": {epochs: [error] for epochs, error in errors.items()}}, "epochs", "held-out images wrong (%)",
              lines={"the line through both": law}, log=True)

# %%
Markdown(tables.markdown("epochs | accuracy by the line, % | trained, %", [
    (epochs, f"{100 - error:.1f}", f"{100 - errors[epochs]:.2f}" if epochs in errors else "")
    for epochs, error in law.items()], "rrr"))


# %% [markdown]
# How sure is it? With $r = \log \tfrac{100}{25} / \log \tfrac{25}{10}$ the line through the errors $e_{10}$ and
# $e_{25}$ says
#
# $$\log e_{100} = (1 + r) \log e_{25} - r \log e_{10}$$
#
# So the relative standard errors of both (S9.2) count $1 + r$ times and $r$ times, and they add up in squares.

# %%
def standard_error(error, images=10_000):
    return (error * (100 - error) / images) ** 0.5


r = math.log(100 / 25) / math.log(25 / 10)
relative = {epochs: standard_error(error) / error for epochs, error in errors.items()}
at_100 = law[100] * math.hypot((1 + r) * relative[25], r * relative[10])
print(f"after 100 epochs by the line: {law[100]:.1f} ± {at_100:.1f} % wrong")

# %% [markdown]
# ### Analysis
#
# Each doubling of the epochs takes away the same part of the mistakes, about an eighth, so the epochs get dearer and
# dearer. That is what the law says, if it holds, and two points can't show that: a line fits any two. Nor do they say
# it exactly. Each point has a standard error of about 0.3, from the number of held-out images alone, and at 100
# epochs that has become more than twice as much. To test the law, train the network for 50 epochs in the same way. S9.6
# lets you: `s9.ours`, the recipe of S9.4 with `validation=10_000`, and `GENTLE` with the hole's `p` at 0.
#
# On a longer schedule the network meets each training image more often. How well does it know them after 25 epochs?
# Here are training and test images, measured in the same way: unchanged, after the last epoch (2,500 training images,
# for the time).

# %%
last = [(one["seed"], one["curve"][-1]) for one in ours["results"]]
Markdown(tables.markdown("seed | training images, % | test images, % | gap", [
    (seed, f"{row['fit_accuracy']:.2f}", f"{row['test_accuracy']:.2f}",
     f"{row['fit_accuracy'] - row['test_accuracy']:.2f}") for seed, row in last], "rrrr"))

# %% [markdown]
# It knows nearly all of them. There is little left to learn from these images as they are, and a longer schedule shows
# them still more often. That is a reason to doubt what the line promises for 100 epochs.

# %%
run.claims(
    ("A doubling of the epochs takes away about an eighth of the mistakes, by the line.",
     abs(1 - 2**-b - 1 / 8) < 0.01),
    ("Each point has a standard error of about 0.3, and what the line says of 100 epochs more than twice that.",
     all(round(standard_error(error), 1) == 0.3 for error in errors.values())
     and at_100 > 2 * max(map(standard_error, errors.values()))),
    ("After 25 epochs each of our runs is right about more than 98 % of its training images, and less than 92 % of the "
     "test images.", all(row["fit_accuracy"] > 98 and row["test_accuracy"] < 92 for _, row in last)),
)


# %% [markdown]
# ## What a long schedule needs
#
# The better the network knows its training images, the wider the gap to the test images can get. That is when
# regularization should pay. Label smoothing, dropout and augmentation you know. Here are two more by hand; the first is
# L2 of S7.2, written as a step.
#
# **Weight decay** shrinks every weight by the factor $1 - \eta \lambda$ at each step, where $\eta$ is the learning
# rate. For SGD without momentum:
#
# $$w \leftarrow w - \eta \, (g + \lambda w)$$

# %%
def decayed_step(w, gradient, rate, decay):
    return w - rate * (gradient + decay * w)


weight = nn.Parameter(torch.randn(5))
weight.grad = torch.randn(5)
by_hand = decayed_step(weight.detach().clone(), weight.grad, rate=0.1, decay=0.01)
torch.optim.SGD([weight], lr=0.1, weight_decay=0.01).step()
torch.testing.assert_close(weight.detach(), by_hand)


# %% [markdown]
# **Mixup** (Zhang et al., 2018) trains on mixtures: a share $s$ of one image and the rest of another, with the labels
# mixed in the same way. $s$ is drawn for each batch, from a beta distribution with two equal parameters $\alpha$: for
# $\alpha = 1$ all shares from 0 to 1 are equally likely, for a smaller one most are near 0 or 1, so most mixtures are
# nearly one image. Below the share is 0.6.
#
# $$\tilde x = s \, x_i + (1 - s) \, x_j \qquad \tilde y = s \, y_i + (1 - s) \, y_j$$
#
# Like label smoothing (S8.3), it leaves no target quite certain.

# %%
def mixup(images, labels, share, order, classes=10):
    """Mix each image and its label with that of another place in the batch."""
    targets = F.one_hot(labels, classes).float()
    return share * images + (1 - share) * images[order], share * targets + (1 - share) * targets[order]


ten = torch.arange(10)
order = ten.roll(1)
mixed, targets = mixup(train_set.images[:10] / 255, train_set.labels[:10], 0.6, order)
assert torch.allclose(targets.sum(1), torch.ones(10, device=targets.device))
plots.samples((255 * mixed).byte(), train_set.labels[:10], train_set.classes, rows=1,
              title="60 % of an image with this label, 40 % of the one before it")

# %% [markdown]
# Do they help this network on a schedule of 50 or 100 epochs? Try it in S9.6, on held-out images and on the long
# schedule: what is best on a short one needn't be best there (S9.2).
#
# ## Exercises
#
# **1.** A network has 190,000 parameters, nearly all in 1x1 convolutions. By what must its channels be multiplied, to
# leave 50,000?

# %% tags=["exercise"]
factor = ...
check("S9.5.1", factor)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# factor = (50_000 / 190_000) ** 0.5
# ```
#
# About half: half the inputs and half the outputs leave a quarter of the weights.
# </details>
#
# **2.** After 10 epochs a network is wrong in 14 % of the cases, after 40 in 10 %. Write what the power law says of
# the error after `epochs` epochs, in percent.

# %% tags=["exercise"]
def predicted(epochs):
    ...


check("S9.5.2", predicted)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# import math
#
# def predicted(epochs):
#     b = math.log(14 / 10) / math.log(40 / 10)
#     return 14 * (epochs / 10) ** -b
# ```
#
# From two points a line can always be drawn. Whether the law holds, only a third tells.
# </details>
#
# **3.** Write mixup's loss of one image: `log_probabilities` are the logarithms of what the network gives each class,
# `first` and `second` the two labels, and `share` is that of the first.

# %% tags=["exercise"]
def mixed_loss(log_probabilities, first, second, share):
    ...


check("S9.5.3", mixed_loss)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def mixed_loss(log_probabilities, first, second, share):
#     return -(share * log_probabilities[first] + (1 - share) * log_probabilities[second])
# ```
#
# The cross-entropy with the mixed label. Label smoothing does the same: it mixes the label with all classes.
# </details>
#
# **4.** After 4 epochs a network is right about 80 % of its training images and 78 % of the test images, both as they
# are and in evaluation mode. What helps it most: "stronger regularization", "more epochs" or "fewer parameters"?

# %% tags=["exercise"]
helps = ...
check("S9.5.4", helps)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# helps = "more epochs"
# ```
#
# It doesn't know its training images yet, so there is nothing to regularize.
# </details>
#
# **5.** Write a network for images (3, 32, 32) with fewer than 25,000 parameters, a receptive field above 44 pixels
# before the average (`field_before_average` of `common.receptive_field` tells it), a depthwise and a dilated
# convolution, and no max-pool.

# %% tags=["exercise"]
def tiny():
    ...


check("S9.5.5", tiny)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def separable(inputs, outputs, stride=1, dilation=1):
#     return [nn.Conv2d(inputs, inputs, 3, stride, dilation, dilation, groups=inputs, bias=False),
#             nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
#
# def tiny():
#     return nn.Sequential(
#         *separable(3, 16), *separable(16, 32), *separable(32, 32, stride=2), *separable(32, 48),
#         *separable(48, 64, stride=2), *separable(64, 64), *separable(64, 64, dilation=2), *separable(64, 90),
#         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(90, 10))
# ```
#
# Train it in S9.6: how far does it get?
# </details>
#
# ## References
#
# - Hestness et al., [Deep learning scaling is predictable, empirically](https://arxiv.org/abs/1712.00409), 2017.
# - Zhang et al., [mixup: beyond empirical risk minimization](https://arxiv.org/abs/1710.09412), 2018.
# - Krogh and Hertz, [A simple weight decay can improve
#   generalization](https://papers.nips.cc/paper/563-a-simple-weight-decay-can-improve-generalization), 1991.
#
# **Next:** [S9.6 Your turn](6_your_turn.ipynb).
