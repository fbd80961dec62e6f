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
# # S7.2 Regularization: what batch norm and dropout are worth
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S7_mnist/2_regularization.ipynb)
#
# **You will learn** how to measure overfitting, what batch norm and dropout compute, how to find out which of two
# ingredients helps, what L1 and L2 do, and where in a network parameters help most.
#
# **You need** S7.1.
#
# **It takes** about five minutes of computing on two CPU cores as it stands: `preset = "quick"` trains short schedules,
# one seed. The text speaks of the full runs over several seeds, which you see where the notebook comes with its
# outputs.
#
# **Next** S7.3 varies the data and the learning rate.

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
import itertools
from dataclasses import replace

import torch
import torch.nn.functional as F
from IPython.display import Markdown
from torch import nn

from common import experiment, plots, tables, training
from common.anatomy import blocks, multiply_accumulates
from common.claims import better, undecided
from common.exercises import check
from common.layers import Dropout, Network
from common.models import s7
from common.results import published_summary
from common.targets import Target
from common.training import Recipe

run = experiment.start("S7_mnist", "2_regularization", preset, seed, epochs, output)
shape = (1, 28, 28)
budget, goal = run.session.budget, run.session.goal
data = train_set, test_set = run.data("mnist")


# %% [markdown]
# ## The network under the budget
#
# The skeleton of the last notebook with fewer channels, half as many in most layers: fewer than 8,000 parameters. Two
# switches say what follows each 3x3 convolution: batch norm, dropout, both or neither. This notebook is about those
# switches.

# %%
def conv(inputs, outputs, norm, p, padding=0):
    """A 3x3 convolution, ReLU, and what the switches say."""
    layers = [nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False), nn.ReLU()]
    if norm:
        layers.append(nn.BatchNorm2d(outputs))
    if p:
        layers.append(Dropout(p))
    return layers


def network(norm, p, widths=(8, 16, 14, 16, 8)):
    a, b, c, d, e = widths
    return Network(
        *conv(1, a, norm, p), *conv(a, b, norm, p),
        nn.Conv2d(b, 10, 1, bias=False), nn.MaxPool2d(2),
        *conv(10, c, norm, p), *conv(c, d, norm, p), *conv(d, e, norm, p),
        *conv(e, 16, norm, p, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 10, 1, bias=False),
    )


def plain():
    return network(norm=False, p=0)


def batch_norm():
    return network(norm=True, p=0)


def dropout():
    return network(norm=False, p=0.05)


def regularized():
    return network(norm=True, p=0.05)


assert str(regularized()) == str(s7.regularized())
plots.diagram(regularized(), shape)

# %%
tables.block_table(regularized(), shape)

# %% [markdown]
# ## Overfitting
#
# A network **overfits** where it knows its training images better than it understands digits: the training error goes
# on falling while the test error stops, or rises. The difference of the two is the **generalization gap**. Both have to
# be measured in the same way, after the epoch, on plain images, in evaluation mode. A running average of the batches as
# they were trained on won't do: it is taken while the weights still change and while dropout is on. (To save time the
# training accuracy is that of the first twentieth of the training images: 3,000, or 100 where only 2,000 are trained
# on. So it is known to one or two tenths of a point only. In the figures no mistake at all is drawn at 0.005 %.)
#
# When does it overfit? Take the network with batch norm, and show it all of the training images, or only 2,000 of them.
# What do you expect of the two gaps?
#
# ### Result

# %%
few = Recipe(epochs=60, lr=0.05, nesterov=False, schedule="one_cycle", train_images=2000)
few_result, _ = run.train_or_read("few_images", batch_norm, run.recipe(few, quick_epochs=20), data, [])

# %%
recipe = run.recipe(Recipe(epochs=14, lr=0.05, nesterov=False, schedule="one_cycle"), quick_epochs=2)
batch_norm_result, _ = run.train_or_read(
    "batch_norm", batch_norm, recipe, data, [*budget, Target("accuracy", ">=", 99.0)])

# %%
few_images, with_norm = run.over_seeds(few_result), run.over_seeds(batch_norm_result)
plots.curves({"2,000 images": few_images}, target=goal.limit)

# %%
plots.curves({"all images": with_norm}, target=goal.limit)

# %%
tables.gap_table([few_images, with_norm])


# %% [markdown]
# ### Analysis
#
# With few images the training error falls to zero and the test error stops early: a large gap. With all of them the gap
# is a fraction of that. But look at the two errors on the logarithmic axis: the training error is still only a part of
# the test error. Even with fewer than 8,000 parameters there is something for regularization to do, if not much.
#
# ## Batch norm
#
# Batch norm takes the values of one channel in all images of the batch and at all positions, brings them to a mean of
# 0 and a variance of 1, and lets the network choose scale and shift anew (Ioffe and Szegedy, 2015):
#
# $$y = \gamma\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta$$
#
# $\mu$ and $\sigma^2$ come from the batch; $\gamma$ and $\beta$, one of each a channel, are learned. In evaluation a
# running average of the batches' statistics takes the place of $\mu$ and $\sigma^2$, so that the answer for an image
# doesn't depend on the others.

# %%
def normalize_batch(x, scale, shift, eps=1e-5):
    """Batch norm of maps (N, C, H, W) in training mode; scale and shift are (C,)."""
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    return scale.view(1, -1, 1, 1) * (x - mean) / (variance + eps).sqrt() + shift.view(1, -1, 1, 1)


x = 3 + 5 * torch.randn(128, 16, 12, 12)
norm = nn.BatchNorm2d(16).train()
nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)  # at 1 and 0 they would change nothing
assert torch.allclose(normalize_batch(x, norm.weight, norm.bias), norm(x), atol=1e-4)

running = 0.9 * torch.zeros(16) + 0.1 * x.mean((0, 2, 3))  # momentum 0.1, from 0
assert torch.allclose(norm.running_mean, running, atol=1e-5)


# %% [markdown]
# Why do the convolutions have `bias=False`? Exercise 1 asks.
#
# What does it do to a network? Watch each block in the first steps of training: how large are the values that it hands
# on, and how large is the gradient of its weights? Predict both for the network without a norm. (You may skip the code
# that looks inside; the pictures are what counts.)

# %%
def watch(make_network, steps=40):
    """Train for some steps; return how large the output of each block is and the gradient of its weights, a row a step.

    The size of an output is its standard deviation, that of a gradient its norm; a block is a 3x3 convolution and what
    follows it.
    """
    torch.manual_seed(seed)
    model, outputs, gradients = make_network().to(train_set.images.device), [], []
    convolutions = [layer for layer in model if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
    for layer, after in itertools.pairwise([*model, None]):
        if isinstance(layer, nn.ReLU | nn.BatchNorm2d) and not isinstance(after, nn.BatchNorm2d):
            layer.register_forward_hook(lambda layer, inputs, output: outputs[-1].append(output.std().item()))
    batches = training.make_batches(train_set, recipe, torch.Generator(train_set.images.device).manual_seed(seed))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for images, labels in itertools.islice(batches, steps):
        outputs.append([])
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        gradients.append([layer.weight.grad.norm().item() for layer in convolutions])
        optimizer.step()
    return torch.tensor(outputs), torch.tensor(gradients)


seen = {make.__name__.replace("_", " "): watch(make) for make in (plain, batch_norm)}
plots.block_by_block({name: outputs for name, (outputs, _) in seen.items()}, "standard deviation of outputs")

# %%
plots.block_by_block({name: gradients for name, (_, gradients) in seen.items()}, "norm of the weights' gradient")

# %% [markdown]
# Without a norm the outputs shrink by a factor at each block, and the gradients are small: hardly anything moves at
# first. (The factor comes from PyTorch's initial weights, which leave about $\sqrt{1/6} = 0.41$ of the size after a
# convolution and its ReLU. S8.1 tries others, which keep it.) With batch norm every block hands on values of the same
# size, whatever the weights are, and the gradients are large enough to learn from in every block.

# %% [markdown]
# ## Dropout
#
# Dropout sets each value to zero with probability $p$, anew in every step, and multiplies the others by $1 / (1 - p)$,
# so that the mean stays (Srivastava et al., 2014). No value can rely on another one being there. In evaluation it does
# nothing.
#
# $$y = \frac{m \odot x}{1 - p}, \qquad m_i \in \{0, 1\}, \quad P(m_i = 0) = p$$

# %%
x, p = torch.randn(64, 16, 12, 12), 0.25
torch.manual_seed(0)
y = nn.Dropout(p)(x)
mask = (y != 0).float()  # what was kept
assert torch.allclose(y, mask * x / (1 - p))
print(f"dropped: {1 - mask.mean():.3f}; mean before {x.mean():+.4f}, after {y.mean():+.4f}")
assert torch.equal(nn.Dropout(p).eval()(x), x)

# %% [markdown]
# The course's own `Dropout` draws its random bits faster on a CPU. (It rounds $p$ to a 256th, and computes the same
# otherwise.)
#
# ## Which of the two helps?
#
# ### Target
#
# Batch norm and dropout are often added in one step, and then nobody knows which of them did it. So four networks: with
# neither (`plain`), with one, with the other, with both (`regularized`). All else is equal, but for batch norm's 156
# parameters; the rate wasn't tuned for any of them. More than 99 % is asked of the last; predict the order of the four
# before you look.

# %% [markdown]
# ### Result

# %%
accuracy_99 = Target("accuracy", ">=", 99.0)
plain_result, _ = run.train_or_read("plain", plain, recipe, data, [*budget])

# %%
dropout_result, _ = run.train_or_read("dropout", dropout, recipe, data, [*budget])

# %%
regularized_result, _ = run.train_or_read("regularized", regularized, recipe, data, [*budget, accuracy_99])

# %%
without, with_dropout, with_both = (run.over_seeds(r) for r in (plain_result, dropout_result, regularized_result))
four = {tables.title(summary): summary for summary in (without, with_dropout, with_norm, with_both)}
plots.curves(four, target=goal.limit)

# %%
if preset == "quick":  # whose schedule is short; from here on the text speaks of the published runs
    four = {name: published_summary("S7_mnist/2_regularization", name.replace(" ", "_")) for name in four}
    without, with_dropout, with_norm, with_both = four.values()
    few_images = published_summary("S7_mnist/2_regularization", "few_images")
tables.gap_table(list(four.values()))

# %% [markdown]
# Training is random: another seed gives another accuracy. So each network is trained with several seeds, and two
# networks are compared seed by seed, for the runs with the same seed saw the images in the same order. The **95 %
# interval** below is the range in which the true mean difference lies by Student's t, nineteen times of twenty; a
# difference counts only where it excludes 0.

# %%
Markdown(tables.difference_table([
    (with_both, with_norm), (with_both, with_dropout), (with_norm, without), (with_dropout, without)]))

# %% [markdown]
# Two of the intervals are useless, and one run is to blame. `plain` failed with one seed: see each run by itself.

# %%
seeds = [result["seed"] for result in with_both["results"]]
Markdown(tables.markdown(" | ".join(["test accuracy, %", *(f"seed {number}" for number in seeds)]), [
    (name, *(f"{result['accuracy']:.2f}" for result in summary["results"])) for name, summary in four.items()]))

# %%
tables.target_table(regularized_result)

# %% [markdown]
# ### Analysis
#
# One run of `plain` is dead: after the last epoch it says one digit in ten right, as a guess would, and its loss is
# exactly $\log 10$, that of ten equal scores. It had begun to learn. Then, while the rate rose, some layer came to give
# a negative number to every ReLU, for every image, and behind it there is neither signal nor gradient (S7.1). The small
# signal of the pictures above can't be the whole cause: from the same first weights the run with dropout learned. A
# mean over such a run describes nothing, so the claims below are about each pair of runs with the same seed.
#
# Batch norm and dropout do different things, and the table tells them apart by the training accuracy. Batch norm raises
# it, together with the test accuracy; the network is past the others after a single epoch, and it learns with every
# seed (as the one with dropout does): batch norm makes the network *easier to train*. Dropout lowers the training
# accuracy and narrows the gap: it *regularizes*. That is worth something in the test accuracy, without batch norm and
# beside it; but it is the smaller of the two gains.

# %%
first = {name: [r["curve"][0]["test_accuracy"] for r in summary["results"]] for name, summary in four.items()}
accuracy, train_accuracy = ({name: {r["seed"]: r["curve"][-1][key] for r in summary["results"]}
                             for name, summary in four.items()} for key in ("test_accuracy", "fit_accuracy"))
failed = [seed for seed, reached in accuracy["plain"].items() if reached < 20]


def gains(one, other):
    """What `one` has more than `other`, in points, with each seed with which `plain` learned."""
    return [accuracy[one][seed] - accuracy[other][seed] for seed in accuracy["plain"] if seed not in failed]


norm_gains = gains("batch norm", "plain"), gains("regularized", "dropout")
dropout_gains = gains("dropout", "plain"), gains("regularized", "batch norm")
run.claims(
    ("One run of the plain network never learns; all others of the four are right in more than 98 %.",
     len(failed) == 1 and sum(a < 98 for runs in accuracy.values() for a in runs.values()) == 1),
    ("Where it learns: batch norm raises the test accuracy with every seed, without dropout and with it.",
     all(found and min(found) > 0 for found in norm_gains)),
    ("It raises the accuracy on the training images too: easier optimization.",
     min(train_accuracy["batch norm"].values()) > max(train_accuracy["plain"].values())),
    ("After one epoch every run with batch norm is ahead of every run without.",
     min(first["batch norm"] + first["regularized"]) > max(first["plain"] + first["dropout"])),
    ("Dropout is a gain with every seed, without batch norm and beside it.",
     all(found and min(found) > 0 for found in dropout_gains)),
    ("Beside batch norm its interval excludes 0.", better(with_both, with_norm)),
    ("Batch norm is worth more than twice as much, in both places.",
     all(sum(norm) > 2 * sum(dropped) for norm, dropped in zip(norm_gains, dropout_gains, strict=True))),
    ("With both, every run reaches the session's goal.", with_both["worst"] >= goal.limit),
    ("Dropout beside batch norm lowers the training accuracy of every run.",
     max(train_accuracy["regularized"].values()) < min(train_accuracy["batch norm"].values())),
    ("It makes the gap less than half as large.", tables.gap(with_both) < tables.gap(with_norm) / 2),
    ("On few images the gap is more than four times that on all of them.",
     tables.gap(few_images) > 4 * tables.gap(with_norm)),
)

# %% [markdown]
# ## L1 and L2
#
# Two older regularizers keep weights small by adding them to the loss:
#
# $$L_2:\; L + \frac{\lambda}{2} \sum_i w_i^2 \qquad L_1:\; L + \lambda \sum_i |w_i|$$
#
# With plain SGD, L2 is the same as **weight decay**: its gradient is $\lambda w$, so every step takes the same share of
# each weight away. L1 takes the same amount from each, which sends small ones towards zero.

# %%
w = torch.randn(5, requires_grad=True)
data_loss, decay = (w.sum() - 1) ** 2, 0.01
l2, = torch.autograd.grad(data_loss + decay / 2 * (w**2).sum(), w, retain_graph=True)
l1, = torch.autograd.grad(data_loss + decay * w.abs().sum(), w, retain_graph=True)
plain_gradient, = torch.autograd.grad(data_loss, w)
assert torch.allclose(l2, plain_gradient + decay * w)  # what SGD's weight_decay adds
assert torch.allclose(l1, plain_gradient + decay * w.sign())

# %% [markdown]
# Do they help the network with batch norm? On all images, and on the few, where there is a gap to close. The strengths
# are not tuned: 1e-5 for L1, and for L2 5e-4, which is common, and ten times that on the few images. (A batch norm
# behind a convolution undoes the size of its weights, so penalties can do less here than in a network without.)

# %%
l1_result, _ = run.train_or_read("l1", batch_norm, replace(recipe, l1=1e-5), data, [*budget])

# %%
l2_result, _ = run.train_or_read("l2", batch_norm, replace(recipe, weight_decay=5e-4), data, [*budget])

# %%
few_recipe = run.recipe(few, quick_epochs=20)
few_l2_result, _ = run.train_or_read("few_images_l2", batch_norm, replace(few_recipe, weight_decay=5e-3), data, [])

# %%
few_dropout_result, _ = run.train_or_read("few_images_dropout", regularized, few_recipe, data, [])

# %%
with_l1, with_l2, few_l2, few_dropout = (
    run.over_seeds(result) for result in (l1_result, l2_result, few_l2_result, few_dropout_result))
if preset == "quick":
    with_l1, with_l2, few_l2, few_dropout = (published_summary("S7_mnist/2_regularization", name)
                                             for name in ("l1", "l2", "few_images_l2", "few_images_dropout"))
tables.gap_table([with_norm, with_l1, with_l2, with_both, few_images, few_l2, few_dropout])

# %%
Markdown(tables.difference_table([
    (with_l1, with_norm), (with_l2, with_norm), (few_l2, few_images), (few_dropout, few_images)]))

# %% [markdown]
# ### Analysis
#
# On all images these seeds show no difference for either penalty. On few images the training error is zero (of the 100
# that are looked at) whatever is done, and the gap stays: at these strengths neither weight decay nor dropout makes up
# for missing data. The next notebook makes new images out of those that are there.

# %%
run.claims(
    ("On all images the intervals of L1 and L2 include 0.",
     undecided(with_l1, with_norm) and undecided(with_l2, with_norm)),
    ("On few images all training images that are looked at are classified correctly, with and without regularization.",
     all(r["curve"][-1]["fit_accuracy"] == 100 for row in (few_images, few_l2, few_dropout) for r in row["results"])),
    ("There the gap stays above two points with weight decay, and with dropout.",
     min(tables.gap(few_l2), tables.gap(few_dropout)) > 2),
)


# %% [markdown]
# ## Where to spend the parameters
#
# The network has a first block of two convolutions on large maps, a pool, and a second block of four. The one above,
# with batch norm, spends most of its parameters late. `early` has the same number of parameters, to the last one, and
# spends nearly half of them in the first block. On a large map the same weights cost more arithmetic, but a budget of
# parameters doesn't ask for that. Which one is better?
#
# ### Result

# %%
def early():
    return network(norm=True, p=0, widths=(12, 26, 10, 8, 10))


for make_network in (batch_norm, early):
    first_block = sum(block["params"] for block in blocks(make_network(), shape)[:3])
    print(f"{make_network.__name__}: {tables.cost(make_network(), shape)}; {first_block:,} in front of the pool")

# %%
early_result, _ = run.train_or_read("early", early, recipe, data, [*budget])

# %%
spent_early = run.over_seeds(early_result)
plots.curves({"batch norm (spent late)": with_norm, "early": spent_early}, target=goal.limit)

# %%
if preset == "quick":
    spent_early = published_summary("S7_mnist/2_regularization", "early")
Markdown(tables.difference_table([(with_norm, spent_early)]))

# %% [markdown]
# ### Analysis
#
# These seeds can't tell the two apart, and spending early takes more arithmetic. So nothing measured here speaks for
# spending parameters where maps are large, and the arithmetic speaks against it.

# %%
run.claims(
    ("The interval of the difference includes 0.", undecided(with_norm, spent_early)),
    ("Spent early, the same number of parameters takes more than one and a half times the arithmetic.",
     multiply_accumulates(early(), shape) > 1.5 * multiply_accumulates(batch_norm(), shape)),
)

# %% [markdown]
# ## Side by side
#
# All networks of this notebook on all training images:

# %%
everything = [without, with_dropout, with_norm, with_both, with_l1, with_l2, spent_early]
tables.summary_table(everything)

# %%
plots.per_seed({tables.title(summary): [r["accuracy"] for r in summary["results"]] for summary in everything})

# %% [markdown]
# An interval over seeds covers the chance of training only. The test set is a sample, too, and another ten thousand
# digits would give other numbers. For an accuracy $a$ on $n$ images the standard error is $\sqrt{a (1 - a) / n}$:

# %%
share = goal.limit / 100
print(f"standard error of {goal.limit} %: {100 * (share * (1 - share) / len(test_set.labels)) ** 0.5:.2f} points")

# %% [markdown]
# Two networks are tested on the same images. What is hard for both cancels, so their difference is surer than it would
# be on two separate test sets.
#
# ## Exercises
#
# **1.** A convolution is followed by batch norm. What does a bias in the convolution do: "nothing", "helps" or "hurts"?

# %% tags=["exercise"]
bias_before_norm = ...
check("S7.2.1", bias_before_norm)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# bias_before_norm = "nothing"
# ```
#
# The bias is a constant in each channel; batch norm takes the channel's mean away, and the constant with it. Here ReLU
# stands between the two, so a bias would do something: it moves the place where ReLU cuts. From the second convolution
# on the shift of the norm before does much the same.
# </details>
#
# **2.** How many parameters does batch norm add to this session's network, behind convolutions of 8, 16, 14, 16, 8 and
# 16 channels?

# %% tags=["exercise"]
added_parameters = ...
check("S7.2.2", added_parameters)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# added_parameters = 2 * (8 + 16 + 14 + 16 + 8 + 16)
# ```
#
# A scale and a shift a channel. The running mean and variance are no parameters: they are measured, not trained.
# </details>
#
# **3.** The accuracy on the training images is measured with dropout switched on. Compared to the same weights in
# evaluation mode, is it "lower", "higher" or "the same"?

# %% tags=["exercise"]
measured_with_dropout = ...
check("S7.2.3", measured_with_dropout)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# measured_with_dropout = "lower"
# ```
#
# Part of what the network computes with is missing. That is why a training accuracy from the training loop says little
# about overfitting.
# </details>
#
# **4.** Write batch norm in evaluation mode: `mean` and `variance` are the running ones, `scale` and `shift` the
# learned ones, all of shape (C,).

# %% tags=["exercise"]
def evaluate_norm(x, mean, variance, scale, shift, eps=1e-5):
    ...


check("S7.2.4", evaluate_norm)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def evaluate_norm(x, mean, variance, scale, shift, eps=1e-5):
#     factor = scale / (variance + eps).sqrt()
#     return x * factor.view(1, -1, 1, 1) + (shift - mean * factor).view(1, -1, 1, 1)
# ```
#
# In evaluation batch norm is one multiplication and one addition a channel, so it can be folded into a convolution that
# stands next to it.
# </details>
#
# **5.** Write dropout in training mode, given the `mask` of what is kept (1) and dropped (0), and the probability `p`
# of dropping.

# %% tags=["exercise"]
def drop(x, mask, p):
    ...


check("S7.2.5", drop)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def drop(x, mask, p):
#     return x * mask / (1 - p)
# ```
#
# Because the scale is right in training, nothing is left to do in evaluation.
# </details>
#
# **6.** The data give a weight no gradient, and there is no momentum. SGD with a learning rate of 0.1 takes 1,000 steps
# with L2, $\lambda = 0.01$. Which part of the weight is left, from 0 to 1?

# %% tags=["exercise"]
part_left = ...
check("S7.2.6", part_left)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# part_left = (1 - 0.1 * 0.01) ** 1000
# ```
#
# A bit more than a third, of a large weight and of a small one. L1 takes the same amount from each: 0.001 a step, so a
# weight of 0.5 would be 0 after 500 steps.
# </details>
#
# ## References
#
# - Ioffe and Szegedy, [Batch normalization](https://arxiv.org/abs/1502.03167), 2015; Santurkar et al., [How does batch
#   normalization help optimization?](https://arxiv.org/abs/1805.11604), 2018.
# - Srivastava et al., [Dropout](https://jmlr.org/papers/v15/srivastava14a.html), 2014.
# - Loshchilov and Hutter, [Decoupled weight decay regularization](https://arxiv.org/abs/1711.05101), 2019: where L2 and
#   weight decay differ.
#
# **Next:** [S7.3 Augmentation and the learning rate](3_augmentation.ipynb) varies the data, and spends
# the budget otherwise.
