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
# # S7.1 Structure: what a convolution does, and what it costs
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S7_mnist/1_structure.ipynb)
#
# **You will learn** what a convolution computes, what it costs in parameters and in arithmetic, what 1x1 convolutions,
# pooling and global average pooling are for, how far a network sees, and what a training loop is.
#
# **You need** Python, and to have seen tensors and autograd of PyTorch once.
#
# **It takes** about a minute of computing on two CPU cores as it stands: with `preset = "quick"` you train the linear
# network, and the skeleton by a loop of your own; the other results are read. The text speaks of the full runs over
# several seeds, which you see where the notebook comes with its outputs.
#
# **Next** S7.2 brings the network under the budget and asks what batch norm and dropout are worth.

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
import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from common import experiment, plots, tables, training
from common.anatomy import blocks, count_parameters, multiply_accumulates
from common.data import MEAN, STD, normalize
from common.exercises import check
from common.layers import Network
from common.models import s7
from common.receptive_field import receptive_field
from common.targets import Target
from common.training import Recipe

run = experiment.start("S7_mnist", "1_structure", preset, seed, epochs, output)
shape = (1, 28, 28)  # channels, height, width of an image
budget, goal = run.session.target("params"), run.session.goal

# %% [markdown]
# ## The data
#
# MNIST: 28 x 28 grey images of handwritten digits, 60,000 for training and 10,000 for testing. The test images are
# for reporting only: no network and no recipe of the course was chosen by its test accuracy.

# %%
data = train_set, test_set = run.data("mnist")
plots.samples(train_set.images, train_set.labels, train_set.classes)

# %% [markdown]
# Most pixels are black. Networks train better on inputs with a mean of 0 and a standard deviation of 1, so each pixel
# $x$ becomes $(x - \mu) / \sigma$, with the mean and the standard deviation of all training pixels.

# %%
pixels = train_set.images / 255
print(f"measured: mean {pixels.mean():.4f}, standard deviation {pixels.std():.4f}")
print(f"used:     mean {MEAN['mnist'][0]:.4f}, standard deviation {STD['mnist'][0]:.4f}")
assert torch.allclose(normalize(pixels[:100], "mnist"), (pixels[:100] - MEAN["mnist"][0]) / STD["mnist"][0])

# %% [markdown]
# ## Two networks to start from
#
# The simplest classifier that learns is **linear**: each class has one weight for each pixel and a bias, and the class
# with the largest sum wins. At the other end stands a **fully connected** classifier behind four convolutions, the
# kind of network that most courses begin with. (*ReLU* sets negative values to zero; without it several layers in a row
# would be one linear map.)
#
# Which of the two fits the budget, and does one of them reach the goal? Here are budget and goal; decide before you
# go on.

# %%
print("the budget: fewer than", budget.limit, "parameters; the goal:", goal.limit, "% of the test images")


# %%
def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))


def fully_connected():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3), nn.ReLU(), nn.Conv2d(128, 256, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256 * 4 * 4, 50), nn.ReLU(), nn.Linear(50, 10),
    )


for make_network in (linear, fully_connected):
    print(f"{make_network.__name__}: {tables.cost(make_network(), shape)}")

# %%
plots.diagram(fully_connected(), shape)

# %% [markdown]
# ### Target
#
# The linear classifier has to show how far one gets without looking at shapes. What the data allow when parameters cost
# nothing, the fully connected network shows: its authors report 99.19 % after 20 epochs.

# %% [markdown]
# ### Result
#
# A `Recipe` holds everything about a training run: how many epochs (times through all images), the learning rate `lr`,
# the size of a batch. What happens inside comes further down, under *The training loop*. `train_or_read` trains the
# network, or reads the result where the course has it already; `over_seeds` gathers the runs with other random seeds,
# which begin with other weights and see the images in another order.

# %%
linear_recipe = run.recipe(Recipe(epochs=4, lr=0.01, schedule="one_cycle"), quick_epochs=1)
linear_result, _ = run.train_or_read("linear", linear, linear_recipe, data, [budget, goal])

# %%
large_recipe = run.recipe(Recipe(epochs=20, lr=0.1, batch_size=512, schedule="one_cycle"))
large_result, _ = run.train_or_read("fully_connected", fully_connected, large_recipe, data, [])

# %%
of_linear, of_large = run.over_seeds(linear_result), run.over_seeds(large_result)
tables.summary_table([of_linear, of_large])

# %% [markdown]
# (The receptive field, how far a network sees, is explained below. The table counts convolutions and pools only; a
# linear layer on the whole map sees the whole image. "train" is the mean accuracy of the batches while they were
# trained on; S7.2 has a better measure.)

# %%
tables.block_table(fully_connected(), shape)

# %% [markdown]
# ### Analysis
#
# The linear classifier is inside the budget and far from the goal: it can't do better than compare each image with ten
# fixed templates. The other network sees shapes. It gets about where its authors got it, near the goal and with no run
# past it, and pays in two places: a convolution between many channels, and a linear layer that has a weight for each
# value of the last map. Together they hold most of the parameters. So more parameters are not what is missing. This
# session keeps what the convolutions do, makes them narrow, and gets rid of that linear layer.

# %%
largest = sorted(block["params"] for block in blocks(fully_connected(), shape))[-2:]
run.claims(
    ("The linear classifier keeps to the budget and misses the goal.",
     count_parameters(linear()) < budget.limit and of_linear["mean"] < goal.limit),
    ("The fully connected network is more accurate by over five points, and misses the goal, too.",
     of_large["mean"] > of_linear["mean"] + 5 and max(r["accuracy"] for r in of_large["results"]) < goal.limit),
    ("The fully connected network is more than seventy times over the budget.",
     count_parameters(fully_connected()) > 70 * budget.limit),
    ("Two of its layers hold more than four fifths of its parameters.",
     sum(largest) > 0.8 * count_parameters(fully_connected())),
)


# %% [markdown]
# ## What a convolution computes
#
# A convolution slides a small window over the image. At each position it multiplies what is in the window by the same
# weights and adds it up. An image comes as one or more *channels* (grey has one, colour three); what comes out has
# channels, too, each of them a *map* of one feature. For output channel $o$ at row $r$ and column $c$:
#
# $$y_{o,\,r,\,c} = \sum_{i=1}^{C_{in}} \sum_{u=0}^{k-1} \sum_{v=0}^{k-1} w_{o,\,i,\,u,\,v} \; x_{i,\,r+u,\,c+v}$$
#
# The same weights at every position: a stroke is recognized wherever it is drawn, and the number of parameters doesn't
# depend on the size of the image. Below, the sum over the window is a loop over its $k \times k$ places. The letters of
# `einsum` are those of the formula, with $n$ for the image in the batch.

# %%
def convolve(x, weight):
    """Convolve images (N, inputs, H, W) with `weight` (outputs, inputs, k, k), without padding."""
    outputs, _, k, _ = weight.shape
    height, width = x.shape[2] - k + 1, x.shape[3] - k + 1
    y = torch.zeros(len(x), outputs, height, width)
    for u in range(k):
        for v in range(k):
            window = x[:, :, u : u + height, v : v + width]
            y += torch.einsum("nirc,oi->norc", window, weight[:, :, u, v])
    return y


x, weight = torch.randn(2, 3, 28, 28), torch.randn(5, 3, 3, 3)
assert torch.allclose(convolve(x, weight), F.conv2d(x, weight), atol=1e-4)
print("28 x 28 pixels become", tuple(convolve(x, weight).shape[2:]))

# %% [markdown]
# A window of 3 x 3 fits 26 times into 28 pixels, so the map shrinks by 2. *Padding* with a frame of $p = (k - 1) / 2$
# zeros keeps its size, and a *stride* $s$ moves the window by more than one pixel at a time:
#
# $$H_{out} = \left\lfloor \frac{H + 2p - k}{s} \right\rfloor + 1$$

# %%
for height, k, p, s in ((28, 3, 0, 1), (28, 3, 1, 1), (28, 5, 2, 2), (27, 2, 0, 2)):
    out = nn.Conv2d(1, 1, k, stride=s, padding=p)(torch.zeros(1, 1, height, height)).shape[2]
    assert out == (height + 2 * p - k) // s + 1

# %% [markdown]
# What such weights can find is seen best with weights made by hand. Change them and run the cell again.

# %%
filters = torch.tensor([
    [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],  # dark above, bright below: upper edges
    [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],  # left edges
    [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],  # a point that differs from those around it
    [[1 / 9, 1 / 9, 1 / 9]] * 3,  # the mean: a blur
])[:, None]
digit = train_set.images[:1].cpu() / 255
found = convolve(digit, filters)[0]
plots.maps([digit[0, 0], *found], ["the image", "upper edges", "left edges", "outline", "blur"])

# %% [markdown]
# ### What it costs
#
# A convolution without bias from $C_{in}$ to $C_{out}$ channels whose output map has $H \times W$ positions needs
#
# $$\text{parameters} = k^2 \, C_{in} \, C_{out} \qquad
# \text{multiply-accumulates} = k^2 \, C_{in} \, C_{out} \, H \, W$$
#
# Parameters are what a budget counts; multiply-accumulates (MACs) are the arithmetic. Twice the channels on both sides
# make four times the parameters. A larger map costs arithmetic and not one parameter more.

# %%
layer = nn.Conv2d(16, 32, 3, padding=1, bias=False)
assert count_parameters(layer) == 3 * 3 * 16 * 32
assert multiply_accumulates(layer, (16, 28, 28)) == 3 * 3 * 16 * 32 * 28 * 28
for size in (28, 14, 7):
    macs = multiply_accumulates(layer, (16, size, size))
    print(f"map of {size:2} x {size:2}: {count_parameters(layer):,} parameters, {macs:9,} MACs")

# %% [markdown]
# ## 1x1 convolutions and pooling
#
# Three more parts make a network small.
#
# - A **1x1 convolution** is a linear layer applied to the channels at each position by itself. It sees no neighbours;
#   it mixes channels, and so brings their number down cheaply.
# - **Max-pooling** keeps the largest value of each 2 x 2 square. The map has half the side, and a 3x3 window of what
#   follows covers twice the distance.
# - **Global average pooling** (GAP) replaces each map by its mean. What is left is one number a channel, whatever the
#   size of the map, so the classifier behind it needs no weight for each position.
#
# Each is a line of code:

# %%
x, mix = torch.randn(2, 16, 12, 12), nn.Conv2d(16, 10, 1, bias=False)
by_hand = torch.einsum("nirc,oi->norc", x, mix.weight[:, :, 0, 0])
assert torch.allclose(by_hand, mix(x), atol=1e-5)

pooled = x.reshape(2, 16, 6, 2, 6, 2).amax((3, 5))
assert torch.equal(pooled, F.max_pool2d(x, 2))

mean = x.mean((2, 3), keepdim=True)
assert torch.allclose(mean, F.adaptive_avg_pool2d(x, 1), atol=1e-6)
assert torch.allclose(mix(mean), mix(x).mean((2, 3), keepdim=True), atol=1e-5)  # the order of the two doesn't matter

# %%
outline = found[2].relu()
plots.maps([outline, F.max_pool2d(outline[None], 2)[0], F.max_pool2d(outline[None], 4)[0]],
           ["outline, 26 x 26", "max-pool 2 x 2", "once more"])


# %% [markdown]
# ## How far a network sees
#
# The **receptive field** of a value is the part of the image that it depends on. A digit can't be told from a part of
# it that is too small, so a network for 28 x 28 pixels should see most of them. Go from layer to layer with two
# numbers, the field $r$ and the *jump* $j$, the distance in pixels between two neighbouring values of a map:
#
# $$r \leftarrow r + (k - 1)\, j \qquad j \leftarrow j \cdot \text{stride}$$

# %%
def field(layers):
    """The receptive field after each of `layers`, pairs (kernel size, stride)."""
    r, j, fields = 1, 1, []
    for kernel, stride in layers:
        r, j = r + (kernel - 1) * j, j * stride
        fields.append(r)
    return fields


layers = [(3, 1), (3, 1), (2, 2), (3, 1), (3, 1)]  # two 3x3 convolutions, a pool, two more convolutions
network = nn.Sequential(*(nn.MaxPool2d(2) if stride == 2 else nn.Conv2d(1, 1, kernel) for kernel, stride in layers))
assert field(layers) == [row.rf_out for row in receptive_field(network, shape)]
print("receptive field after each layer, in pixels:", field(layers))


# %% [markdown]
# After the pool each 3x3 convolution adds four pixels instead of two. `receptive_field` makes this table for any
# network; the course uses it from here on.
#
# ## The structure
#
# ### Target
#
# The first layout: two blocks of 3x3 convolutions that widen up to 128 channels; between them a *transition*, a
# max-pool and a 1x1 convolution that brings the channels down; at the end a 7x7 convolution as large as the map. No
# thought of size yet. The question is only whether it learns. (`Network` is an `nn.Sequential` that flattens what comes
# out.)

# %%
def conv(inputs, outputs, padding=0):
    return nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False), nn.ReLU()


def structure():
    return Network(
        *conv(1, 32), *conv(32, 64), *conv(64, 128),
        nn.MaxPool2d(2), nn.Conv2d(128, 32, 1, bias=False),
        *conv(32, 64), *conv(64, 128),
        nn.Conv2d(128, 10, 1, bias=False), nn.Conv2d(10, 10, 7, bias=False),
    )


structure_target = [Target("accuracy", ">=", 95.0), run.session.target("epochs")]
plots.diagram(structure(), shape)

# %%
tables.block_table(structure(), shape)


# %% [markdown]
# ## The skeleton
#
# ### Target
#
# The same plan with channels that rise to 32 only; the transition mixes before it pools, and global average pooling
# stands in for the 7x7 convolution. A tenth of the parameters. Which of its convolutions will cost the most arithmetic?
# Write your guess down before you look at the tables.

# %%
def skeleton():
    return Network(
        *conv(1, 16), *conv(16, 32),
        nn.Conv2d(32, 10, 1, bias=False), nn.MaxPool2d(2),
        *conv(10, 16), *conv(16, 32), *conv(32, 16), *conv(16, 16, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 10, 1, bias=False),
    )


assert str(skeleton()) == str(s7.skeleton())
skeleton_target = [Target("params", "<", 20_000), Target("accuracy", ">=", 90.0), run.session.target("epochs")]
plots.diagram(skeleton(), shape)

# %%
tables.block_table(skeleton(), shape)

# %%
tables.full_table(skeleton(), shape)

# %% [markdown]
# ## The training loop
#
# Training is one loop. Take a batch of images, let the network compute its *logits* (a score for each class), measure
# the loss, let autograd find its gradient for every weight, and move the weights a small step against it. The loss is
# the cross-entropy: with logits $z$ and the true class $t$,
#
# $$L = -\log \frac{e^{z_t}}{\sum_k e^{z_k}} = \log \sum_k e^{z_k} - z_t$$

# %%
z, t = torch.randn(8, 10), torch.randint(10, (8,))
by_hand = (z.exp().sum(1).log() - z[torch.arange(8), t]).mean()  # of eight images
assert torch.allclose(by_hand, F.cross_entropy(z, t))


# %% [markdown]
# The step is that of SGD with **momentum**. It doesn't follow the gradient $g$ of one batch alone, but a running sum
# $v$, in which earlier gradients count less and less ($\eta$ is the learning rate):
#
# $$v \leftarrow 0.9 \, v + g \qquad w \leftarrow w - \eta \, v$$
#
# (`nesterov=True`, a recipe's default, is a variant that looks a step ahead: S8.3.)

# %%
def train(model, batches, optimizer):
    """Train `model` once over `batches`; return the loss of each and the share of images classified correctly."""
    model.train()
    losses, correct, total = [], 0, 0
    for images, labels in batches:
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()  # gradients add up unless they are cleared
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        correct += (logits.argmax(1) == labels).sum().item()
        total += len(labels)
    return losses, 100 * correct / total


@torch.no_grad()
def test(model, images, labels):
    """Return the accuracy of `model` in percent, in evaluation mode."""
    model.eval()
    predictions = [model(part).argmax(1) for part in normalize(images / 255, "mnist").split(1000)]
    return 100 * (torch.cat(predictions) == labels).float().mean().item()


def make_batches(images, labels, batch_size=128):
    """Yield normalized batches in random order."""
    for index in torch.randperm(len(images)).to(images.device).split(batch_size):
        yield normalize(images[index] / 255, "mnist"), labels[index]


# %% [markdown]
# It trains the skeleton for one epoch, once over all training images.

# %%
torch.manual_seed(seed)
model = skeleton().to(train_set.images.device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
losses, accuracy = train(model, make_batches(train_set.images, train_set.labels), optimizer)
print(f"loss of the first batch {losses[0]:.3f}, of the last {losses[-1]:.3f}")
print(f"test accuracy after one epoch: {test(model, test_set.images, test_set.labels):.2f} %")
plots.lines({"skeleton": losses}, "training step", "cross-entropy loss")

# %% [markdown]
# From here on `fit` of `common.training` trains. Its inner loop does the same, as the next cell checks; around it `fit`
# adds what a published number needs: a schedule for the learning rate, an evaluation after every epoch, a checkpoint to
# go on from, a stop with a reason where the loss is no longer a number.

# %%
recipe = Recipe(epochs=1, lr=0.05)
batches = list(make_batches(train_set.images[:2560], train_set.labels[:2560]))
ours, theirs = model, copy.deepcopy(model)
optimizers = [torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9) for network in (ours, theirs)]
(losses, accuracy), (their_losses, their_accuracy) = (
    train(ours, batches, optimizers[0]), training.train_epoch(theirs, batches, optimizers[1], recipe))
assert torch.allclose(torch.tensor(losses), torch.tensor(their_losses), rtol=1e-3)

# %% [markdown]
# ## Structure and skeleton, trained alike
#
# ### Result
#
# Both get the same recipe and the same number of epochs. The learning rate rises from near zero and falls back to it
# (*one cycle*; notebook S7.3 has more): without a normalization layer a large step is dangerous, above all at the
# beginning. (The published runs of these two and of the linear network are older ones, in numbers of 16 bits, so yours
# will differ a little.)

# %%
recipe = run.recipe(Recipe(epochs=3, lr=0.03, nesterov=False, schedule="one_cycle"))
structure_result, _ = run.train_or_read("structure", structure, recipe, data, structure_target)

# %%
skeleton_result, skeleton_model = run.train_or_read("skeleton", skeleton, recipe, data, skeleton_target)

# %%
trained = [run.over_seeds(result) for result in (structure_result, skeleton_result)]
plots.curves({tables.title(summary): summary for summary in trained}, target=goal.limit)

# %%
tables.target_table(structure_result)

# %%
tables.target_table(skeleton_result)

# %% [markdown]
# Which digits does the skeleton still get wrong? The most confident mistakes first, with their place in the test set.

# %%
mistakes = training.find_misclassified(skeleton_model, test_set)
plots.misclassified(test_set.images, mistakes, test_set.classes)

# %% [markdown]
# ### Analysis
#
# Both layouts can learn. The structure is ahead after equally many epochs. (More than the number of channels differs
# between them, so this doesn't say which of the changes costs how much.) But look at the price. Most of what the
# structure spends stands in the convolutions between 64 and 128 channels, because the cost grows with the product of
# the two. And its last convolution has a weight for each position, where an average needs none.
#
# The band of the skeleton is wide for a reason: one of its runs is dead. Its loss is exactly $\log 10$, that of ten
# equal scores. (Where all are equal the first class wins, so it calls every image a 0.) Some layer has come to give a
# negative number to every ReLU, for every image. Then nothing but zeros goes on from there, and no gradient comes back,
# so it never recovers. Another seed, and it works. The next notebook looks at this closely.
#
# The skeleton is still more than twice the budget. The next notebook cuts it down, and brings it closer to the goal at
# the same time.

# %%
block_params = {name: [block["params"] for block in blocks(make(), shape)]
                for name, make in (("structure", structure), ("skeleton", skeleton))}
skeletons = sorted(result["accuracy"] for result in trained[1]["results"])
seconds = [summary["seconds"] / summary["epochs"] for summary in trained]
run.claims(
    ("The structure is ahead of the skeleton after equally many epochs, with every seed.",
     trained[0]["worst"] > skeletons[-1]),
    ("The run of the skeleton that guesses after the last epoch has a loss of log 10.",
     all(abs(result["curve"][-1]["test_loss"] - math.log(10)) < 1e-5
         for result in trained[1]["results"] if result["accuracy"] < 20)),
    ("One run of the skeleton still guesses after the last epoch; the others are ahead of the linear classifier.",
     sum(accuracy < 20 for accuracy in skeletons) == 1
     and sum(accuracy > of_linear["mean"] for accuracy in skeletons) == len(skeletons) - 1),
    ("The skeleton has less than a tenth of the structure's parameters, and of its arithmetic.",
     10 * trained[1]["params"] < trained[0]["params"]
     and 10 * multiply_accumulates(skeleton(), shape) < multiply_accumulates(structure(), shape)),
    ("An epoch of the skeleton takes less than a quarter of the time.", 4 * seconds[1] < seconds[0]),
    ("Two convolutions hold more than half of the structure's parameters.",
     sum(sorted(block_params["structure"])[-2:]) > trained[0]["params"] / 2),
    ("The skeleton is still over the budget.", trained[1]["params"] >= 2 * budget.limit),
)

# %% [markdown]
# ## Side by side

# %%
plots.receptive_field_growth({"structure": receptive_field(structure(), shape),
                              "skeleton": receptive_field(skeleton(), shape)}, input_size=28)

# %%
tables.summary_table([of_linear, *trained])

# %% [markdown]
# The receptive field of the skeleton is larger than the image because its last step is the global average,
# which sees the whole map; before it, the field is what the figure shows one layer earlier.

# %% [markdown]
# ## Exercises
#
# Answer before you look. Put your answer in place of `...` and run the cell.
#
# **1.** Two 3x3 convolutions in a row see as much as one 5x5. All have 16 input and 16 output channels and no bias. How
# many parameters more does the one 5x5 need than the two 3x3 together?

# %% tags=["exercise"]
more_parameters = ...
check("S7.1.1", more_parameters)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# more_parameters = 5 * 5 * 16 * 16 - 2 * (3 * 3 * 16 * 16)
# ```
#
# The same receptive field for 18 in place of 25 weights a pair of channels, and a ReLU more in between. That is why
# small networks are built of 3x3 convolutions.
# </details>
#
# **2.** What is the receptive field after 3x3 convolution, 3x3 convolution, 2x2 pool with stride 2, 3x3 convolution?
# Work it out by hand, then check with `field`.

# %% tags=["exercise"]
pixels_seen = ...
check("S7.1.2", pixels_seen)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# pixels_seen = 1 + 2 * 1 + 2 * 1 + 1 * 1 + 2 * 2
# ```
#
# The pool sees two neighbours at a jump of one, and doubles the jump for the convolution behind it.
# </details>
#
# **3.** The second convolution of the skeleton costs the most arithmetic. How many multiply-accumulates more would it
# need with padding 1, so that its map stays as large as what it takes?

# %% tags=["exercise"]
more_macs = ...
check("S7.1.3", more_macs)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# more_macs = 3 * 3 * 16 * 32 * (26 * 26 - 24 * 24)
# ```
#
# It takes maps of 26 x 26, and without padding returns 24 x 24. Padding costs no parameter, and arithmetic at each
# position that is kept.
# </details>
#
# **4.** Write a function that returns what a convolution costs: the number of parameters and of multiply-accumulates of
# one without bias whose output map is `height` x `width`.

# %% tags=["exercise"]
def conv_cost(inputs, outputs, kernel, height, width):
    ...


check("S7.1.4", conv_cost)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def conv_cost(inputs, outputs, kernel, height, width):
#     parameters = kernel**2 * inputs * outputs
#     return parameters, parameters * height * width
# ```
#
# Each weight is used once at each position of the output map.
# </details>
#
# **5.** Design a network for these images with fewer than 1,000 parameters that sees at least 20 pixels before its
# global average, and returns ten logits an image. It need not be trained.

# %% tags=["exercise"]
def tiny():
    ...


check("S7.1.5", tiny)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def tiny():
#     return nn.Sequential(
#         nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 8, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2),
#         nn.Conv2d(8, 4, 1, bias=False), nn.Conv2d(4, 8, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2),
#         nn.Conv2d(8, 4, 1, bias=False), nn.Conv2d(4, 4, 3, bias=False), nn.ReLU(),
#         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10),
#     )
# ```
#
# Early pools make every later layer see farther, and 1x1 convolutions keep the 3x3 ones cheap.
# </details>
#
# ## References
#
# - LeCun, Bottou, Bengio and Haffner, [Gradient-based learning applied to document
#   recognition](http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf), 1998: MNIST, and convolutional networks on it.
# - Lin, Chen and Yan, [Network in network](https://arxiv.org/abs/1312.4400), 2013: 1x1 convolutions and global average
#   pooling.
# - Araujo, Norris and Sim, [Computing receptive fields of convolutional neural
#   networks](https://distill.pub/2019/computing-receptive-fields), 2019.
# - Dumoulin and Visin, [A guide to convolution arithmetic for deep learning](https://arxiv.org/abs/1603.07285), 2016.
#
# **Next:** [S7.2 Regularization](2_regularization.ipynb) cuts the skeleton down to the budget, and finds out what batch
# norm and dropout are worth.
