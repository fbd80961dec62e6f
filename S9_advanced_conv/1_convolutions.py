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
# # S9.1 Convolutions: what each sees and what it costs
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S9_advanced_conv/1_convolutions.ipynb)
#
# **You will learn** what a stride, a dilation, groups and a depthwise separable convolution change: what an output
# pixel sees, how many weights that takes, and what it costs in multiplications and in seconds, which isn't the same.
#
# **You need** S7.1 for convolution, receptive field and multiply-accumulates, and S8.3 for separable convolutions,
# which are taken apart here.
#
# **The assignment** of this session: at least 85 % on CIFAR-10 with fewer than 200,000 parameters, in four stages C1 to
# C4 without max-pooling, with a depthwise separable and a dilated convolution, a receptive field of more than 44
# pixels, global average pooling, a linear layer, and three transforms of albumentations.
#
# **It takes** a minute of computing on two CPU cores. Nothing is trained here.
#
# **Next** S9.2 is about images: albumentations, and whether they help.

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
from functools import partial

import torch
import torch.nn.functional as F
from IPython.display import Markdown
from torch import nn

from common import anatomy, data, experiment, plots, tables, timing
from common.exercises import check
from common.models import s9
from common.pretrained import pretrained
from common.receptive_field import receptive_field, window

run = experiment.start("S9_advanced_conv", "1_convolutions", preset, seed, epochs, output)
device = "cuda" if torch.cuda.is_available() else "cpu"
inputs, outputs, side = 32, 64, 32
shape = (inputs, side, side)


# %% [markdown]
# ## The depthwise separable convolution
#
# A 3x3 convolution does two things at once: it looks at a window of 3 x 3 pixels, and it mixes all input channels. For
# $I$ inputs and $O$ outputs that takes $9 I O$ weights. A **depthwise separable** convolution does one after the other.
# First one 3x3 filter for each channel by itself (depthwise), then a 1x1 convolution that mixes the channels
# (pointwise): $9 I + I O$ weights. Here it is by hand.

# %%
def depthwise(x, filters):
    """One 3x3 filter (C, 3, 3) for each channel of the maps x (N, C, H, W), with a border of zeros."""
    bordered = F.pad(x, (1, 1, 1, 1))
    height, width = x.shape[2:]
    return sum(filters[:, row, col, None, None] * bordered[:, :, row:row + height, col:col + width]
               for row in range(3) for col in range(3))


def pointwise(x, weights):
    """A weighted sum of the channels at each position; weights (O, C)."""
    return torch.einsum("oc,nchw->nohw", weights, x)


x = torch.randn(2, 4, 6, 6)
by_library = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.Conv2d(4, 8, 1, bias=False))
by_hand = pointwise(depthwise(x, by_library[0].weight[:, 0]), by_library[1].weight[:, :, 0, 0])
torch.testing.assert_close(by_hand, by_library(x))

# %% [markdown]
# What is that worth? Divide the one by the other:
#
# $$\frac{9 I + I O}{9 I O} = \frac{1}{O} + \frac{1}{9}$$
#
# The number of inputs cancels out. The second term, a ninth, comes from the 1x1 convolution and stays; the first one is
# the depthwise part and vanishes as channels increase. How many times fewer weights do you expect at 512 channels?
#
# Between the plain and the depthwise convolution lies the one with $g$ **groups**: it mixes the channels of each group
# only, and has $9 I O / g$ weights. With as many groups as channels, in and out, it is depthwise. Two groups are two
# convolutions side by side:

# %%
weights = torch.randn(8, 2, 3, 3)  # each output sees two of the four inputs
halves = F.conv2d(x[:, :2], weights[:4], padding=1), F.conv2d(x[:, 2:], weights[4:], padding=1)
torch.testing.assert_close(torch.cat(halves, dim=1), F.conv2d(x, weights, padding=1, groups=2))

# %%
channels = [16, 32, 64, 128, 256, 512]


def share(layer, n):
    return anatomy.count_parameters(layer) / (9 * n * n)


separable, shares = {}, {"depthwise separable": {}, "2 groups": {}, "4 groups": {}, "8 groups": {}}
for n in channels:
    depthwise_filters, mix = nn.Conv2d(n, n, 3, groups=n, bias=False), nn.Conv2d(n, n, 1, bias=False)
    separable[n] = share(nn.Sequential(depthwise_filters, mix), n)
    shares["depthwise separable"][n] = [100 * separable[n]]
    for groups in (2, 4, 8):
        shares[f"{groups} groups"][n] = [100 * share(nn.Conv2d(n, n, 3, groups=groups, bias=False), n)]
plots.against(shares, "channels, in and out", "weights, % of a plain 3x3",
              lines={"1/9": dict.fromkeys(channels, 100 / 9)})

# %% [markdown]
# The separable convolution soon comes close to a ninth (at 512 channels it has 8.8 times fewer weights than the plain
# one), and no number of channels takes it below that. Eight groups are cheap as well, but no weight leads from one
# group to another: the next layer has to mix them.
#
# ## What they cost
#
# Each layer below turns 32 channels into 64, on a map of 32 x 32 pixels. A 3x3 convolution has $9 \cdot 32$ weights for
# each of its 64 outputs, and uses each weight once for every output pixel. A **stride** of 2 leaves out every other row
# and column of the output. A **dilation** of 2 moves the nine weights apart and leaves a gap of one pixel between
# neighbours: it is a 5x5 convolution, most of whose weights are 0 and never multiplied.

# %%
weights = torch.randn(8, 4, 3, 3)
plain = F.conv2d(x, weights, padding=1)
torch.testing.assert_close(plain[:, :, ::2, ::2], F.conv2d(x, weights, padding=1, stride=2))

spread = torch.zeros(8, 4, 5, 5)
spread[:, :, ::2, ::2] = weights
torch.testing.assert_close(F.conv2d(x, spread, padding=2), F.conv2d(x, weights, padding=2, dilation=2))

# %% [markdown]
# With $g$ groups and a stride $s$, on a map of $H$ times $W$ pixels, the **multiply-accumulates** of one image are
#
# $$\frac{9 I O}{g} \cdot \frac{H W}{s^2}$$
#
# The dilation isn't in it. Multiplications can be counted on paper, but what you wait for is time. So the table has
# both: the multiplications of one image, forward only, and the time of one step, forward and back, for 64 images on the
# machine that ran this notebook, with numbers of 32 bits (*fp32*). (Each layer is timed in five rounds, and the fastest
# counts: other programs can only make a step slower.) Before you look: the separable convolution needs about an eighth
# of the 3x3's multiplications, $(9 I + I O) H W$. How many times faster will it be?

# %%
convolutions = {
    "3x3": nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
    "3x3, stride 2": nn.Conv2d(inputs, outputs, 3, padding=1, stride=2, bias=False),
    "3x3, dilation 2": nn.Conv2d(inputs, outputs, 3, padding=2, dilation=2, bias=False),
    "3x3, 8 groups": nn.Conv2d(inputs, outputs, 3, padding=1, groups=8, bias=False),
    "depthwise separable": nn.Sequential(nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
                                         nn.Conv2d(inputs, outputs, 1, bias=False)),
    "1x1": nn.Conv2d(inputs, outputs, 1, bias=False),
}


def step(layer, images):
    layer(images).sum().backward()


# channels_last: each pixel's channels side by side in memory, which most layers compute faster
images = torch.randn(64, *shape, device=device).to(memory_format=torch.channels_last).requires_grad_()
macs = {name: anatomy.multiply_accumulates(layer, shape) for name, layer in convolutions.items()}
times = timing.milliseconds({name: partial(step, layer.to(device, memory_format=torch.channels_last), images)
                             for name, layer in convolutions.items()}, seconds=0.1 if preset == "smoke" else 1)
head = "convolution | parameters | multiply-accumulates | % of the 3x3's | milliseconds a step | % of the 3x3's time"
Markdown(tables.markdown(head, [
    (name, f"{anatomy.count_parameters(layer):,}", f"{macs[name] / 1e6:.2f} M", f"{macs[name] / macs['3x3']:.0%}",
     f"{times[name]:.1f}", f"{times[name] / times['3x3']:.0%}") for name, layer in convolutions.items()], "lrrrrr"))

# %% [markdown]
# Divide 100 % by a share, and you have how many times cheaper or faster a layer is. Eight groups and the separable
# convolution both multiply about an eighth as often as the 3x3, and neither is eight times faster. Probably because the
# maps have to be read and written, whatever is multiplied, and because a library computes some kinds of layers better
# than others. On this machine eight groups take much longer than the separable convolution, although they multiply
# slightly less. A count of multiplications shows none of that. **Measure seconds before you call a network fast.**
# Parameters are another matter: they are what this session counts.

# %%
run.claims(
    ("At 512 channels a separable convolution has 8.8 times fewer weights.", round(1 / separable[512], 1) == 8.8),
    ("The 3x3 multiplies more than seven and a half times as often as the separable convolution.",
     macs["3x3"] > 7.5 * macs["depthwise separable"]),
    ("Its share of the 3x3's time is larger than its share of the multiplications, and so is that of eight groups.",
     all(times[name] / times["3x3"] > macs[name] / macs["3x3"] for name in ("depthwise separable", "3x3, 8 groups"))),
    ("Eight groups multiply less than the separable convolution, and take one and a half times as long, or longer.",
     times["3x3, 8 groups"] > 1.5 * times["depthwise separable"]
     and macs["3x3, 8 groups"] < macs["depthwise separable"]),
    ("The formula counts what the tool counts.",
     all(macs[name] == 9 * inputs * outputs // groups * side**2 // stride**2 for name, groups, stride in (
         ("3x3", 1, 1), ("3x3, stride 2", 1, 2), ("3x3, dilation 2", 1, 1), ("3x3, 8 groups", 8, 1)))),
    ("A dilation changes neither parameters nor multiplications.",
     macs["3x3, dilation 2"] == macs["3x3"] and anatomy.count_parameters(convolutions["3x3, dilation 2"])
     == anatomy.count_parameters(convolutions["3x3"])),
)

# %% [markdown]
# ## What one output pixel sees
#
# Its **footprint**: the input pixels on which it depends, found by the gradient. (The weights are random: the darker a
# pixel, the more it counts here.) The square around a footprint is the **window**. The dilated convolution has the
# window of a 5x5 and looks at nine of its pixels. (A convolution with groups is left out: it has the footprint of the
# plain 3x3.)

# %%
for layer in convolutions.values():
    layer.cpu()
plots.footprints({name: window(layer, shape) for name, layer in convolutions.items() if name != "3x3, 8 groups"})


# %% [markdown]
# The stride looks like the plain 3x3: a pixel sees the same. What changes is how far its *neighbour* is. Here are the
# footprints of two outputs side by side, one blue and one orange; what both see is dark.

# %%
def sees(layer, row, col, shape=shape):
    """The input pixels on which the output at (row, col) depends, as a mask; `shape` is that of the input."""
    x = torch.ones(1, *shape, requires_grad=True)
    gradient, = torch.autograd.grad(layer(x)[0, :, row, col].sum(), x)
    return gradient[0].abs().sum(0) > 0


neighbours = {name: (sees(convolutions[name], 8, 8), sees(convolutions[name], 8, 9))
              for name in ("3x3", "3x3, stride 2", "3x3, dilation 2", "1x1")}
plots.neighbours(neighbours)

# %% [markdown]
# With a stride the two overlap in one column; with a dilation they have no pixel in common, though their windows
# overlap. Remember that for the checkerboard below.

# %%
common_pixels = {name: int((one & other).sum()) for name, (one, other) in neighbours.items()}
run.claims(
    ("Neighbours share six pixels with the 3x3, three with a stride of 2.",
     common_pixels["3x3"] == 6 and common_pixels["3x3, stride 2"] == 3),
    ("With a dilation of 2 they share none.", common_pixels["3x3, dilation 2"] == 0),
)


# %% [markdown]
# ## How far a stack of them sees
#
# Four layers of each. A stride doubles the **jump**, the distance on the input between two neighbouring output pixels,
# so all later layers take steps twice as large: with a stride in every layer the receptive field grows exponentially.
# Dilations that double do the same: with 1, 2, 4, 8 the curve is that of the strides, point for point. A stack of 1x1
# convolutions never sees more than one pixel.
#
# A kernel of $k$ pixels with dilation $d$ spans $d (k - 1) + 1$ pixels, its *effective kernel*. So S7.1's arithmetic of
# the receptive field $r$ and the jump $j$ becomes
#
# $$r \leftarrow r + d (k - 1) \, j \qquad j \leftarrow j \, s$$

# %%
def field(layers):
    """The receptive field, in pixels, of a stack of convolutions (kernel, stride, dilation)."""
    size, jump = 1, 1
    for kernel, stride, dilation in layers:
        size, jump = size + dilation * (kernel - 1) * jump, jump * stride
    return size


def conv(stride=1, dilation=1):
    """A 3x3 convolution of one channel."""
    return nn.Conv2d(1, 1, 3, stride, padding=dilation, dilation=dilation, bias=False)


stacks = {
    "3x3": nn.Sequential(*(conv() for _ in range(4))),
    "dilation 2 in every layer": nn.Sequential(*(conv(dilation=2) for _ in range(4))),
    "dilations 1, 2, 4, 8": nn.Sequential(*(conv(dilation=d) for d in (1, 2, 4, 8))),
    "stride 2 in every layer": nn.Sequential(*(conv(stride=2) for _ in range(4))),
    "1x1": nn.Sequential(*(nn.Conv2d(1, 1, 1, bias=False) for _ in range(4))),
}
fields = {name: receptive_field(layers, (1, 64, 64)) for name, layers in stacks.items()}
assert field((3, 1, d) for d in (1, 2, 4, 8)) == fields["dilations 1, 2, 4, 8"][-1].rf_out
assert field([(3, 2, 1)] * 4) == fields["stride 2 in every layer"][-1].rf_out
plots.receptive_field_growth(fields)

# %% [markdown]
# The table of S7.1, with a column for the dilation and one for the effective kernel:

# %%
tables.receptive_field_table(fields["dilations 1, 2, 4, 8"])

# %% [markdown]
# ## The checkerboard
#
# Dilations of 2 on top of each other look at every second pixel only, along rows and along columns: at little more
# than a quarter of their window. The neighbour of an output pixel looks at others: the two have no pixel in common.
# With dilations of 1, 2, 3 a stack sees as far and leaves no hole (Wang et al., 2018). Nor do dilations of 2 after one
# plain layer. (After a plain layer a dilation of 4 leaves some: try it.)

# %%
boards = {f"dilations {', '.join(map(str, dilations))}": nn.Sequential(*(conv(dilation=d) for d in dilations))
          for dilations in ((1, 1, 1), (2, 2, 2), (1, 2, 3), (1, 2, 2, 2))}
footprints = {name: window(layers, (1, 64, 64)) for name, layers in boards.items()}
plots.footprints(footprints, size=15)

# %%
seen = {name: (int((found > 0).sum()), receptive_field(boards[name], (1, 64, 64))[-1].rf_out)
        for name, found in footprints.items()}
Markdown(tables.markdown("layers | window, pixels | pixels seen | of the window", [
    (name, f"{width} x {width}", pixels, f"{pixels / width**2:.0%}")
    for name, (pixels, width) in seen.items()], "lrrr"))

# %%
only_dilated = boards["dilations 2, 2, 2"]
in_common = sees(only_dilated, 32, 32, (1, 64, 64)) & sees(only_dilated, 32, 33, (1, 64, 64))
run.claims(
    ("With dilations of 2, 2, 2 neighbours have no pixel in common.", not in_common.any()),
    ("One plain layer closes all holes of dilations of 2.",
     seen["dilations 1, 2, 2, 2"][0] == seen["dilations 1, 2, 2, 2"][1] ** 2),
    ("Dilations 2, 2, 2 and 1, 2, 3 have a window of the same size.",
     seen["dilations 2, 2, 2"][1] == seen["dilations 1, 2, 3"][1]),
    ("The first sees less than a third of it, the second all of it.",
     seen["dilations 2, 2, 2"][0] < seen["dilations 2, 2, 2"][1] ** 2 / 3
     and seen["dilations 1, 2, 3"][0] == seen["dilations 1, 2, 3"][1] ** 2),
)

# %% [markdown]
# In a network plain layers usually come first. Then no pixel of the *image* is missed, for each position of the map on
# which the dilated layers work has already seen its neighbours' pixels. Of that *map* an output sees only every second
# row and column, about a quarter of the positions.
#
# ## What a trained network looks at
#
# All that was the *theoretical* receptive field: the pixels that can have an influence. How much influence do they
# have? The **effective receptive field** (Luo et al., 2016) is the size of the gradient of one position of a map with
# respect to each input pixel, averaged over images. For the map's channels $A_k$, the position $(p, q)$, images
# $x^{(n)}$ and their channels $c$:
#
# $$E(h, w) = \frac{1}{N} \sum_{n=1}^{N} \sum_c
# \left| \frac{\partial \sum_k A_k^{(n)}(p, q)}{\partial x^{(n)}_c(h, w)} \right|$$
#
# Take the network of S9.4. C1 to C4 are its four stages; here are its layers, with the stride and the dilation of the
# depthwise ones:

# %%
for number, layer in enumerate(s9.ours()):
    depthwise_part = getattr(layer, "depthwise", None)
    print(number, type(layer).__name__, [tuple(p.shape) for p in layer.parameters() if p.dim() > 1] or "",
          f"stride {depthwise_part.stride[0]}, dilation {depthwise_part.dilation[0]}" if depthwise_part else "",
          "used twice" if len(getattr(layer, "norms", ())) == 2 else "")

# %% [markdown]
# Three layers are used twice in a row, with the same weights (S9.4 says why), so each counts twice in the receptive
# field. Layer 8, a dilated separable convolution of 160 channels, ends C3. A position of its map can see 51 x 51
# pixels, more than the image has. For comparison, three networks that aren't trained. Their batch norms first need the
# mean and the variance of real images; one pass in training mode records them. Where will most of the gradient be? And
# does a trained network look further than these, or less far?

# %%
test_set = data.load("cifar10")[1]
images = data.normalize(test_set.images[:200].cpu() / 255, "cifar10")


def untrained(seed):
    """The network of S9.4 with first weights, whose norms have measured the images."""
    torch.manual_seed(seed)
    network = s9.ours()
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = None  # record the mean over all passes, so that one pass is enough
    with torch.no_grad():
        network.train()(images)
    return network


def effective_field(network, layers):
    """How strongly the central position after so many layers depends on each input pixel, a map (H, W)."""
    x = images.clone().requires_grad_()
    maps = nn.Sequential(*list(network)[:layers]).eval()(x)
    centre = maps.shape[2] // 2
    # in evaluation mode images don't influence one another: the gradient of the sum has each image's own
    gradient, = torch.autograd.grad(maps[:, :, centre, centre].sum(), x)
    return gradient.abs().sum(1).mean(0)


networks = {f"untrained, seed {k}": untrained(k) for k in range(3)}
networks["trained"] = pretrained("S9_advanced_conv/4_ours", "ours").cpu()
effective = {name: effective_field(network, 9) for name, network in networks.items()}
plots.maps(torch.stack(list(effective.values())), list(effective))


# %% [markdown]
# Bright is a large gradient, in each picture on a scale of its own, so compare shapes and not brightness. To put a
# number on the shape, count the pixels that together hold half of it, beginning with the brightest:

# %%
def pixels_with(field, part):
    """The fewest pixels that hold this part of the field."""
    largest_first = field.flatten().sort(descending=True).values.cumsum(0)
    return int((largest_first < part * field.sum()).sum()) + 1


half = {name: pixels_with(field, 0.5) for name, field in effective.items()}
Markdown(tables.markdown("network | pixels that hold half of the gradient | of the image", [
    (name, pixels, f"{pixels / 1024:.0%}") for name, pixels in half.items()], "lrr"))

# %% [markdown]
# Before training about a fifth of the image holds half of the gradient. (Luo et al. give the reason: many ways lead
# through the network to the central pixels, and few to the outer ones.) In the trained network the bright core is
# smaller, but the dim surroundings hold more: half of the gradient takes a quarter of the image. By this measure it
# looks a little further. (Counting says how spread out it is; exercise 6 measures how far from the centre. One trained
# network: another seed might look less far.) Were all pixels equal it would take half of the image, 512 pixels. So the
# receptive field above 44 that the assignment asks for says what a position *can* see, and little about what it looks
# at.

# %%
run.claims(
    ("A position of layer 8's map can see 51 pixels.",
     receptive_field(nn.Sequential(*list(s9.ours())[:9]), (3, 32, 32))[-1].rf_out == 51),
    ("Before training half of the gradient comes from about a fifth of the image.",
     all(abs(pixels / 1024 - 1 / 5) < 0.03 for name, pixels in half.items() if name != "trained")),
    ("In the trained network it comes from about a quarter, more than in each of the others.",
     abs(half["trained"] / 1024 - 1 / 4) < 0.02 and max(half, key=half.get) == "trained"),
    ("In all of them it comes from less than a third.", max(half.values()) < 1024 / 3),
)

# %% [markdown]
# ## Exercises
#
# **1.** What is the smallest number of output channels with which a separable convolution has at least eight times
# fewer weights than a plain 3x3?

# %% tags=["exercise"]
outputs_needed = ...
check("S9.1.1", outputs_needed)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# outputs_needed = 72
# ```
#
# $1/O + 1/9 \le 1/8$ holds from $O = 72$ on. It never reaches nine times fewer.
# </details>
#
# **2.** How many weights does a 3x3 convolution from 64 channels to 128 have with 8 groups, without bias?

# %% tags=["exercise"]
grouped_weights = ...
check("S9.1.2", grouped_weights)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# grouped_weights = 9 * 64 * 128 // 8
# ```
#
# Each of the 128 outputs looks at its group's 8 inputs only.
# </details>
#
# **3.** Along one row, a 3x3 convolution with dilation $d$ looks at the places $-d$, 0 and $d$ from its own; in a stack
# these steps add up. Write a function that returns how many different pixels of a row a stack with these `dilations`
# sees.

# %% tags=["exercise"]
def pixels_in_a_row(dilations):
    ...


check("S9.1.3", pixels_in_a_row)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def pixels_in_a_row(dilations):
#     seen = {0}
#     for d in dilations:
#         seen = {pixel + offset for pixel in seen for offset in (-d, 0, d)}
#     return len(seen)
# ```
#
# With (2, 2, 2) that is 7 of 13.
# </details>
#
# **4.** Dilations of 1, 2, 4, 8 see 31 pixels of a row, without a gap. Find another set of four different dilations
# that sees exactly these 31. (It may share numbers with this one. Your function of exercise 3 can try sets for you.)

# %% tags=["exercise"]
four_dilations = ...
check("S9.1.4", four_dilations)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# four_dilations = (1, 2, 3, 9)
# ```
#
# They have to add up to 15, for the window is $1 + 2 \cdot 15$. Their order doesn't matter. There are three more such
# sets: (1, 2, 5, 7), (1, 3, 4, 7) and (1, 3, 5, 6).
# </details>
#
# **5.** A layer in the middle of a network has a stride of 2. You take the stride away, and give all later 3x3 layers a
# dilation of 2 in its place, so that they see as far as before. How many times as many multiplications do these later
# layers have now? (Think of the size of their maps.)

# %% tags=["exercise"]
times_as_many = ...
check("S9.1.5", times_as_many)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# times_as_many = 4
# ```
#
# Their maps are twice as high and twice as wide. S9.4 counts it for a whole network. There the layer that loses its
# stride is dilated, too.
# </details>
#
# **6.** Write a function that returns which fraction of an effective receptive field `effective` (H, W) is inside the
# central square of `size` x `size` pixels. H, W and `size` are even.

# %% tags=["exercise"]
def central_part(effective, size):
    ...


check("S9.1.6", central_part)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def central_part(effective, size):
#     top, left = ((length - size) // 2 for length in effective.shape)
#     return effective[top:top + size, left:left + size].sum() / effective.sum()
# ```
#
# Try it on the fields above, with 16: if all pixels counted equally, it would be a quarter.
# </details>
#
# ## References
#
# - Chollet, [Xception](https://arxiv.org/abs/1610.02357), 2017: depthwise separable convolutions.
# - Yu and Koltun, [Multi-scale context aggregation by dilated convolutions](https://arxiv.org/abs/1511.07122), 2016.
# - Wang et al., [Understanding convolution for semantic segmentation](https://arxiv.org/abs/1702.08502), 2018: the
#   checkerboard.
# - Luo et al., [Understanding the effective receptive field](https://arxiv.org/abs/1701.04128), 2016.
#
# **Next:** [S9.2 Augmentation](2_augmentation.ipynb).
