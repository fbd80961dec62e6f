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
# # S9.1 Five convolutions: what each sees and what it costs
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S9_advanced_conv/1_convolutions.ipynb)
#
# Standard, strided, dilated, depthwise separable and 1x1: five ways to make one map from another. They differ in what
# an output pixel sees, in how many weights they have and in how much they compute. No training here; everything is
# exact, and takes seconds.

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
from collections import OrderedDict

import torch
from IPython.display import Markdown
from torch import nn

from common import anatomy, experiment, plots, tables
from common.receptive_field import receptive_field, window

run = experiment.start("S9_advanced_conv", "1_convolutions", preset, seed, epochs, output)
torch.manual_seed(seed)
inputs, outputs, side = 32, 64, 32

# %% [markdown]
# ## What they cost
#
# All five make 64 channels of 32, from a map of 32 x 32 pixels. A 3x3 convolution has 9 x 32 weights for each of its 64
# outputs, and uses each weight once for every output pixel. The others save in different places: a stride leaves out
# output pixels, the separable one takes the 3x3 window and the mixing of channels apart, and 1x1 has no window at all.
# A dilation saves nothing; it moves the nine weights apart.

# %%
separable = OrderedDict(depthwise=nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
                        pointwise=nn.Conv2d(inputs, outputs, 1, bias=False))
convolutions = {
    "3x3": nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
    "3x3, stride 2": nn.Conv2d(inputs, outputs, 3, padding=1, stride=2, bias=False),
    "3x3, dilation 2": nn.Conv2d(inputs, outputs, 3, padding=2, dilation=2, bias=False),
    "depthwise separable": nn.Sequential(separable),
    "1x1": nn.Conv2d(inputs, outputs, 1, bias=False),
}
standard = convolutions["3x3"]
shape = (inputs, side, side)
rows = []
for name, layer in convolutions.items():
    out = tuple(layer(torch.zeros(1, *shape)).shape[1:])
    macs = anatomy.multiply_accumulates(layer, shape)
    rows.append(f"| {name} | {' x '.join(map(str, out))} | {anatomy.count_parameters(layer):,} | {macs / 1e6:.2f} "
                f"| {macs / anatomy.multiply_accumulates(standard, shape):.0%} |")
Markdown("\n".join(["| convolution | output, C x H x W | parameters | million multiply-accumulates | of the 3x3 |",
                    "| --- | --- | ---: | ---: | ---: |", *rows]))

# %% [markdown]
# ## What one output pixel sees
#
# Its *footprint*: the input pixels on which it depends, found by the gradient. A stride doesn't change what a pixel
# sees, only how far its neighbour is. The dilated convolution sees as far as a 5x5, through nine holes. (The weights
# are random: the darker a pixel, the more it counts here.)

# %%
plots.footprints({name: window(layer, shape) for name, layer in convolutions.items()})


# %% [markdown]
# ## How far a stack of them sees
#
# Four layers of each. A stride doubles the *jump*, the distance on the input between two neighbouring output pixels,
# so that everything after it takes twice as large steps: the view grows exponentially. With dilation it is made to
# grow by hand: with dilations of 1, 2, 4, 8 the curve is that of the strides, point for point. 1x1 convolutions see
# one pixel for ever.

# %%
def stack(*layers: dict) -> nn.Sequential:
    """3x3 convolutions of one channel; each of `layers` says what is special about one."""
    return nn.Sequential(*(nn.Conv2d(1, 1, 3, **{"padding": options.get("dilation", 1), "bias": False, **options})
                           for options in layers))


stacks = {
    "3x3": stack({}, {}, {}, {}),
    "dilation 2 in every layer": stack(*[{"dilation": 2}] * 4),
    "dilations 1, 2, 4, 8": stack(*({"dilation": d} for d in (1, 2, 4, 8))),
    "stride 2 in every layer": stack(*[{"stride": 2}] * 4),
    "1x1": nn.Sequential(*(nn.Conv2d(1, 1, 1, bias=False) for _ in range(4))),
}
fields = {name: receptive_field(layers, (1, 64, 64)) for name, layers in stacks.items()}
plots.receptive_field_growth(fields)

# %%
tables.receptive_field_table(fields["dilations 1, 2, 4, 8"])

# %% [markdown]
# ## The checkerboard
#
# Dilations of 2 on top of each other look only at every second pixel, for ever: each output pixel knows a part of
# its window, its neighbour knows another part, and the two never meet. With dilations of 1, 2, 3 a stack sees as
# far and leaves no hole. After Wang et al., "Understanding Convolution for Semantic Segmentation",
# 2018.

# %%
boards = {f"dilations {', '.join(map(str, dilations))}": stack(*({"dilation": d} for d in dilations))
          for dilations in ((1, 1, 1), (2, 2, 2), (1, 2, 3))}
footprints = {name: window(layers, (1, 64, 64)) for name, layers in boards.items()}
plots.footprints(footprints, size=15)

# %%
rows = []
for name, seen in footprints.items():
    pixels, width = int((seen > 0).sum()), receptive_field(boards[name], (1, 64, 64))[-1].rf_out
    rows.append(f"| {name} | {width} x {width} | {pixels} | {pixels / width**2:.0%} |")
Markdown("\n".join(["| three layers | window, pixels | pixels seen | of the window |", "| --- | ---: | ---: | ---: |",
                    *rows]))

# %% [markdown]
# ## What follows for the session
#
# - A separable convolution keeps the mix of the channels and pays for the window once a channel: the more channels,
#   the smaller the window's share.
# - A stride in place of a max-pool is a layer that learns what to keep, and all that comes after it costs a quarter.
# - A dilation sees as far as a stride would make the next layer see, and keeps all positions: nothing is saved.
