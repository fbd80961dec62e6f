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
# # S8.1 Normalization: what a norm computes, and which one when
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S8_norms/1_normalization.ipynb)
#
# **You will learn** what batch norm, group norm and layer norm compute, written by hand; what a norm learns and what it
# only measures; why `eval()` matters; what small batches do to batch norm; and which norm to choose when.
#
# **You need** session 7.
#
# **It takes** about five minutes of computing on two CPU cores as it stands: `preset = "quick"` trains four networks
# for one epoch and reads the other results. The text speaks of the full runs over several seeds, which you see where
# the notebook comes with its outputs.
#
# **Next** S8.2 looks at the layout of the networks.

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
from dataclasses import replace
from functools import partial

import torch
from IPython.display import Markdown
from torch import nn

from common import experiment, plots, tables
from common.exercises import check
from common.layers import make_norm
from common.models import s8
from common.results import difference, held_out, published_summary
from common.training import Recipe, evaluate, make_batches, predict

run = experiment.start("S8_norms", "1_normalization", preset, seed, epochs, output)
shape = (3, 32, 32)
budget, goal = run.session.budget, run.session.goal
names = {"bn": "batch norm", "gn": "group norm", "ln": "layer norm"}
eps = 1e-5

# %% [markdown]
# ## What is taken together
#
# A layer of a network outputs a batch of feature maps $x$ of shape (N, C, H, W): N images, C channels, H x W positions.
# A **normalization layer** takes some of these values together, measures their mean and their variance, and makes the
# mean 0 and the variance 1. In training the norms differ in one point only: *which* values they take together. In the
# picture a cell is one channel of one image, a whole map; cells of one colour share a mean and a variance.

# %%
plots.normalized_together()


# %% [markdown]
# - **Batch norm** normalizes over (N, H, W): one channel of all images of the batch.
# - **Group norm** normalizes over (C/G, H, W): a group of neighbouring channels of one image. The number of groups G
#   must divide the number of channels.
# - **Layer norm** normalizes over (C, H, W): all channels of one image. It is group norm with one group.
#
# Look at the rows. With group and layer norm each image has colours of its own: what happens to an image doesn't
# depend on the others. Batch norm's colours run across images: it ties the images of a batch to each other. Nearly
# everything in this notebook follows from that.
#
# ## The formula
#
# Let $S$ be the set of values that share a mean. For every $x_i$ in $S$
#
# $$\mu = \frac{1}{|S|} \sum_{j \in S} x_j \qquad \sigma^2 = \frac{1}{|S|} \sum_{j \in S} (x_j - \mu)^2 \qquad
# y_i = \gamma_c \, \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta_c$$
#
# $\epsilon$ is a small number that keeps the root away from 0. The scale $\gamma_c$ and the shift $\beta_c$ are
# learned, one of each for every channel $c$: if a mean of 0 isn't what the next layer wants, the network can say so.

# %%
def moments(x, dims):
    """Mean and variance over `dims`, which stay as dimensions of size 1."""
    mean = x.mean(dims, keepdim=True)
    return mean, ((x - mean) ** 2).mean(dims, keepdim=True)


def normalize(x, mean, variance):
    return (x - mean) / (variance + eps).sqrt()


def scale_and_shift(x, scale, shift):
    return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def layer_norm(x, scale, shift):
    return scale_and_shift(normalize(x, *moments(x, (1, 2, 3))), scale, shift)


def group_norm(x, scale, shift, groups=2):
    n, c, h, w = x.shape
    by_group = x.view(n, groups, c // groups, h, w)
    by_group = normalize(by_group, *moments(by_group, (2, 3, 4)))
    return scale_and_shift(by_group.view(n, c, h, w), scale, shift)


# %% [markdown]
# Is that all? torch's layers must give the same output, and the same gradients for the input, the scale and the shift.
# The channels of the test have very different scales. Gradients need a loss; `y.sin().sum()` is one in which every
# value counts differently. (`y.sum()` would be a poor test. Batch norm's gradient would be 0, for each channel of its
# output has the same sum, whatever the input is.)

# %%
torch.manual_seed(0)
x = torch.randn(16, 8, 5, 5) * torch.arange(1, 9).view(1, 8, 1, 1) + 3
x.requires_grad_()


def assert_same(by_hand, layer):
    """Assert that both give the same output, and the same gradients of the input, the scale and the shift."""
    inputs = x, layer.weight, layer.bias
    mine, torchs = by_hand(*inputs), layer(x)
    torch.testing.assert_close(mine, torchs, rtol=1e-4, atol=1e-4)
    my_gradients = torch.autograd.grad(mine.sin().sum(), inputs)
    torchs_gradients = torch.autograd.grad(torchs.sin().sum(), inputs)
    torch.testing.assert_close(my_gradients, torchs_gradients, rtol=1e-3, atol=1e-3)


def with_random_parameters(layer):
    """`layer` with a scale that isn't 1 and a shift that isn't 0: else nobody would notice if one were forgotten."""
    nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
    return layer


assert_same(layer_norm, with_random_parameters(nn.GroupNorm(1, 8)))
for groups in (1, 2, 4):
    assert_same(partial(group_norm, groups=groups), with_random_parameters(nn.GroupNorm(groups, 8)))


# %% [markdown]
# ## Batch norm has a memory
#
# Batch norm needs more than the formula. In training it takes the mean of the batch. In evaluation there may be no
# batch: a user brings one image. So in training it also keeps **running statistics**, exponential moving averages of
# the batches' means and variances, and in evaluation it normalizes by those:
#
# $$\mu_{\text{run}} \leftarrow (1 - m) \, \mu_{\text{run}} + m \, \mu_{\text{batch}}$$
#
# $m$ is called `momentum` in torch, and has nothing to do with the optimizer's. `register_buffer` makes a tensor part
# of the network that is saved with it but not trained.

# %%
class BatchNorm(nn.Module):
    def __init__(self, channels, momentum=0.1):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("running_variance", torch.ones(1, channels, 1, 1))
        self.momentum = momentum

    def forward(self, x):
        if self.training:
            mean, variance = moments(x, (0, 2, 3))
            n = x.numel() / x.shape[1]
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)  # the formula above
                self.running_variance.lerp_(variance * n / (n - 1), self.momentum)
        else:
            mean, variance = self.running_mean, self.running_variance
        return scale_and_shift(normalize(x, mean, variance), self.weight, self.bias)


by_hand, by_library = BatchNorm(8), with_random_parameters(nn.BatchNorm2d(8))
by_hand.weight, by_hand.bias = by_library.weight, by_library.bias
for _ in range(3):  # in training mode, where each call moves the memory
    assert_same(lambda x, *parameters: by_hand(x), by_library)
torch.testing.assert_close(by_hand.running_mean.flatten(), by_library.running_mean)
torch.testing.assert_close(by_hand.running_variance.flatten(), by_library.running_var)
by_hand.eval(), by_library.eval()
assert_same(lambda x, *parameters: by_hand(x), by_library)


# %% [markdown]
# (Why $n / (n - 1)$? The mean of a sample lies a little closer to the sample than the true mean does, so a sample's
# variance comes out a little too small. torch corrects the one that it remembers, and not the one that it divides by.)
#
# ## Measured or learned?
#
# The norms measure different numbers of means and variances, and a common mistake is to count those as parameters. They
# are not: a **statistic** is computed anew from each batch, a **parameter** is learned. All three norms have the same
# parameters, two a channel. The table counts both, for all norms of the network that we are going to train and a batch
# of 128 images.

# %%
def count(norm, images=128):
    """How many statistics the norms of a network take from a batch, how many of them they keep, what they learn."""
    found = [m for m in s8.plain(norm).modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)]
    taken = sum(2 * m.num_features if norm == "bn" else 2 * images * m.num_groups for m in found)
    kept = sum(m.running_mean.numel() + m.running_var.numel() for m in found if norm == "bn")
    return taken, kept, sum(p.numel() for m in found for p in m.parameters())


Markdown(tables.markdown(
    "norm | statistics of a batch | kept for evaluation | learned parameters",
    [(f"{names[norm]}: {formula}", *(f"{number:,}" for number in count(norm))) for norm, formula in
     {"bn": "$2C$ a layer", "gn": "$2NG$ a layer, here with $G = 2$ groups", "ln": "$2N$ a layer"}.items()], "lrrr"))

# %% [markdown]
# That holds for layer norm as it is used here, with one scale and one shift a channel. `nn.LayerNorm((C, H, W))` over a
# map learns them for *every value of the map*. In the same network that would be:

# %%
maps = []
network = s8.plain("ln")
for module in network.modules():
    if isinstance(module, nn.GroupNorm):
        module.register_forward_hook(lambda module, inputs, output: maps.append(output[0].numel()))
network(torch.zeros(1, *shape))
print(f"{2 * sum(maps):,} parameters of norms alone, where the budget is {budget[0].limit:,}")

# %% [markdown]
# ## No bias before a norm
#
# A bias adds the same number to a whole channel. Batch norm then takes the channel's mean away, and the bias with it:
# its gradient is 0 (up to rounding), and it is a parameter that does nothing. That is why convolutions before batch
# norm are written with `bias=False`; the shift $\beta$ does the bias's work.

# %%
conv, images = nn.Conv2d(3, 8, 3), torch.randn(16, 3, 9, 9)
normed = nn.BatchNorm2d(8)(conv(images))
torch.testing.assert_close(normed, nn.BatchNorm2d(8)(conv(images) - conv.bias.view(1, -1, 1, 1)))
bias_gradient, = torch.autograd.grad(normed.sin().sum(), conv.bias)
print(f"largest gradient of a bias before batch norm: {bias_gradient.abs().max():.0e}")

# %% [markdown]
# Does that hold for group norm, too? Predict, then look. Several channels share a mean there, and their biases differ.

# %%
bias_gradient, = torch.autograd.grad(nn.GroupNorm(2, 8)(conv(images)).sin().sum(), conv.bias)
print(f"before group norm: {bias_gradient.abs().max():.0e}")

# %% [markdown]
# Before group or layer norm a bias does something: it moves the channels of a group against each other before they are
# normalized together. Networks with these norms usually leave it out all the same; whether that costs anything isn't
# measured here.

# %% [markdown]
# ## A network with each norm, and without
#
# ### Target
#
# The network, `plain`, has the layout of this session (S8.2 is about it): 3x3 convolutions of 16 and 32 channels, a
# norm and ReLU after each. `make_norm` is a switch from a name to torch's layer; where the norm is `nn.Identity`, there
# is none. (`mix` is a 1x1 convolution, `ReluDropout` is ReLU here, and `Network` an `nn.Sequential` that flattens its
# output.)
#
# Two epochs of SGD on all training images, without augmentation. That is no way to a good accuracy. It is a way to see
# which network learns how fast.

# %%
tables.source_code(s8.plain, s8.blocks, s8.conv_norm_relu, make_norm)

# %%
plots.diagram(s8.plain("bn"), shape)

# %% [markdown]
# Each of them may need a learning rate of its own, so comparing them at one rate would be unfair. The peak of each was
# chosen on 10,000 training images that were held out, one run each; the test images have no part in it. Without a norm
# the initial weights matter much more. torch draws the weights of a convolution with a standard deviation of
# $1 / \sqrt{3n}$, where $n$ = inputs x kernel x kernel; He et al. (2015) show that before a ReLU it takes
# $\sqrt{2 / n}$ for the values to stay as large from layer to layer. So there are two rows without a norm.

# %%
tried = held_out("S8_norms")


def peaks_tried(optimizer, name):
    """The held-out accuracy with each peak that was tried."""
    start = f"plain, {name}, {optimizer}peak "
    return {float(idea.removeprefix(start)): accuracy for idea, accuracy in tried.items() if idea.startswith(start)}


def table_of_peaks(optimizer, *rows):
    peaks = sorted({peak for name in rows for peak in peaks_tried(optimizer, name)})
    cells = [(name, *(f"{found[peak]:.2f}" if peak in found else "" for peak in peaks))
             for name in rows for found in [peaks_tried(optimizer, name)]]
    head = " | ".join(["held-out accuracy, %", *(f"{optimizer}peak {peak}" for peak in peaks)])
    return Markdown(tables.markdown(head, cells, "l" + "r" * len(peaks)))


table_of_peaks("", "no norm", "no norm, He's initial weights", *names.values())


# %% [markdown]
# Look for the largest number of each row. Batch norm tolerates the largest learning rates, and it hardly matters there
# which one is taken. Group and layer norm want smaller ones, and without a norm and with He's initial weights the rate
# must be smaller still. With torch's initial weights and no norm hardly anything is learned in two epochs at any of the
# rates.

# %%
def no_norm():
    network = s8.plain(nn.Identity)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)  # He's
    return network


data = train_set, test_set = run.data("cifar10")
cycle = Recipe(epochs=2, lr=0.1, schedule="one_cycle")
peaks = {"no norm, He's initial weights": 0.01, "batch norm": 0.1, "group norm": 0.03, "layer norm": 0.03}
assert all(max(row, key=row.get) == peaks[name] for name in peaks for row in [peaks_tried("", name)])

# %% [markdown]
# ### Result

# %%
he = "no norm, He's initial weights"
result, _ = run.train_or_read("no_norm_sgd", no_norm, run.recipe(replace(cycle, lr=peaks[he])), data, [*budget])
with_sgd = {"no norm": run.over_seeds(result)}
for norm, name in names.items():
    recipe = run.recipe(replace(cycle, lr=peaks[name]))
    result, _ = run.train_or_read("plain_sgd", partial(s8.plain, norm), recipe, data, [*budget], norm=norm)
    with_sgd[name] = run.over_seeds(result)


# %%
def spread(summary):
    return [result["accuracy"] for result in summary["results"]]


plots.per_seed({name: spread(summary) for name, summary in with_sgd.items()})

# %%
pairs = [("batch norm", "no norm"), ("group norm", "no norm"), ("layer norm", "no norm"), ("batch norm", "group norm")]


def differences(found):
    return {f"{one} against {other}": difference(found[one], found[other]) for one, other in pairs}


plots.differences(differences(with_sgd), "difference in test accuracy after two epochs of SGD (points)")


# %% [markdown]
# ### Analysis
#
# Every run with a norm is ahead of every run without, and those with batch norm are far ahead of all: batch norm's lead
# over group norm is larger than group norm's lead over no norm. Between group and layer norm there is little. How sure
# is that? For batch and layer norm against none the interval excludes 0; for group norm three seeds leave a wide one
# that doesn't. The claims are of another kind here: each run of the one is ahead of each run of the other. By chance,
# three against three do that once in twenty times.
#
# And a part of the gap to the network without a norm may be due to biases, which it doesn't have, and the others have
# as shifts.

# %%
def ahead(one, other):
    """Whether the worst run of `one` is more accurate than the best run of `other`."""
    return min(spread(one)) > max(spread(other))


run.claims(
    ("Each norm is ahead of none.", all(ahead(with_sgd[name], with_sgd["no norm"]) for name in names.values())),
    ("Batch norm is ahead of group norm and of layer norm.",
     all(ahead(with_sgd["batch norm"], with_sgd[name]) for name in ("group norm", "layer norm"))),
    ("Its lead over group norm is larger than group norm's lead over none.",
     difference(with_sgd["batch norm"], with_sgd["group norm"]).mean
     > difference(with_sgd["group norm"], with_sgd["no norm"]).mean),
    ("From a peak of 0.03 to one of 0.3 batch norm loses less than a held-out point, group norm more than ten.",
     abs(tried["plain, batch norm, peak 0.03"] - tried["plain, batch norm, peak 0.3"]) < 1
     and tried["plain, group norm, peak 0.03"] - tried["plain, group norm, peak 0.3"] > 10),
)

# %% [markdown]
# ## The same with another optimizer
#
# ### Target
#
# Is that lead batch norm's, or is it what SGD makes of it? Try another optimizer. **Muon** makes its steps equally long
# in all directions of a weight matrix; S8.3 explains it. Here it matters only that it learns faster. It has a peak rate
# of its own, chosen in the same way, for each norm. (Batch norm is best at the largest peak that was tried. A still
# larger one may be better.)

# %%
table_of_peaks("Muon, ", "no norm, He's initial weights", *names.values())

# %%
peaks_of_muon = {"no norm, He's initial weights": 0.02, "batch norm": 0.1, "group norm": 0.05, "layer norm": 0.05}
assert all(max(row, key=row.get) == peaks_of_muon[name] for name in peaks for row in [peaks_tried("Muon, ", name)])


def recipe_of(name):
    return replace(cycle, lr=peaks[name], muon=peaks_of_muon[name])


# %% [markdown]
# ### Result

# %%
result, _ = run.train_or_read("no_norm", no_norm, run.recipe(recipe_of(he), quick_epochs=1), data, [*budget])
found, trained = {"no norm": run.over_seeds(result)}, {}
for norm, name in names.items():
    result, trained[name] = run.train_or_read("plain", partial(s8.plain, norm),
                                              run.recipe(recipe_of(name), quick_epochs=1), data, [*budget], norm=norm)
    found[name] = run.over_seeds(result)
if preset == "quick":  # whose schedule is half as long; from here on the text speaks of the published ones
    found = {"no norm": published_summary("S8_norms/1_normalization", "no_norm"),
             **{name: published_summary("S8_norms/1_normalization", "plain", norm) for norm, name in names.items()}}

# %%
plots.per_seed({name: spread(summary) for name, summary in found.items()})

# %%
plots.differences(differences(found), "difference in test accuracy after two epochs with Muon (points)")

# %% [markdown]
# ### Analysis
#
# Muon lifts all four, and batch norm least. The order at both ends is the same: batch norm first, no norm last. But
# batch norm's lead is now less than half of what it was, over group norm and over none.
#
# So what is a norm worth? There is no answer without the optimizer. One reading of the figures: a norm makes a network
# easier to train, and Muon needs less of that help. Another: from 70 % on each further point is harder than from 50 %.
# (Batch norm could also regularize: the noise of its means is a kind of augmentation. Two epochs can't show that, and
# it isn't measured here.)
#
# From here on all networks of this notebook are trained with Muon.

# %%
run.claims(
    ("Muon is ahead of SGD with each norm and without.", all(ahead(found[name], with_sgd[name]) for name in found)),
    ("The network with batch norm gains less than half of what any other gains.",
     all(2 * difference(found["batch norm"], with_sgd["batch norm"]).mean < difference(found[name], with_sgd[name]).mean
         for name in found if name != "batch norm")),
    ("Each norm is ahead of none.", all(ahead(found[name], found["no norm"]) for name in names.values())),
    ("Batch norm's lead over group norm and over none is less than half of what it is with SGD.",
     all(difference(found["batch norm"], found[name]).mean
         < difference(with_sgd["batch norm"], with_sgd[name]).mean / 2 for name in ("group norm", "no norm"))),
)


# %% [markdown]
# ## What if somebody forgets `eval()`?
#
# A network in training mode normalizes by the batch at hand. Suppose that a trained network is put to use and nobody
# calls `eval()`. Which of the three norms cares, and when does it hurt most? Predict, then look: the same networks
# classify 2,048 test images, once in evaluation mode, and in training mode with batches of several sizes. (It is done
# on a copy, for in training mode the running statistics would move.)

# %%
def in_training_mode(model, size, images=2048):
    """Accuracy in percent on the first test images, when the norms see batches of `size`."""
    model, part = copy.deepcopy(model).train(), test_set[:images]
    batches = make_batches(part, Recipe(epochs=1, lr=0, batch_size=size), torch.Generator(part.images.device))
    with torch.no_grad():
        hits = [(model(inputs).argmax(1) == labels).float().mean() for inputs, labels in batches]
    return 100 * torch.stack(hits).mean().item()


sizes = (128, 16, 4, 2, 1)
forgotten = {name: [in_training_mode(model, size) for size in sizes] for name, model in trained.items()}
remembered = {name: evaluate(model, test_set[:2048])[1] for name, model in trained.items()}
Markdown(tables.markdown(
    "accuracy on 2,048 test images, % | `eval()` | " + " | ".join(f"forgotten, batches of {size}" for size in sizes),
    [(name, *(f"{value:.2f}" for value in (remembered[name], *forgotten[name]))) for name in trained],
    "l" + "r" * (1 + len(sizes))))

# %% [markdown]
# Group and layer norm compute the same in both modes: nothing happens. (This network has no dropout, which needs
# `eval()` with every norm, S7.2.) Batch norm loses, and the more the smaller the
# batch; with 128, as in training, hardly anything. Why? Now an image's output depends on its random neighbours, and the
# network was never trained for the means of so few of them. With a single image batch norm normalizes each map by
# itself, and the network does no better than a guess. (A network that is trained in that way can do far
# better: see instance norm below. So what fails is the mismatch.)

# %%
run.claims(
    ("Group and layer norm give the same in both modes.",
     all(abs(accuracy - remembered[name]) < 0.1 for name in ("group norm", "layer norm")
         for accuracy in forgotten[name])),
    ("Batch norm loses the more the smaller the batch.",
     forgotten["batch norm"] == sorted(forgotten["batch norm"], reverse=True)),
    ("With batches of two it loses more than ten points.", forgotten["batch norm"][-2] < remembered["batch norm"] - 10),
    ("With batches of 128 it loses less than three.", forgotten["batch norm"][0] > remembered["batch norm"] - 3),
)

# %% [markdown]
# ## How far is a batch's mean from the truth?
#
# The mean of a batch is an estimate, and the fewer images there are, the worse it is. Each image has a mean of its own;
# if those have the standard deviation $\sigma_{\text{img}}$, the mean of $N$ independent images is typically
# $\sigma_{\text{img}} / \sqrt{N}$ away from the true one: four times the images, half the distance. (Not
# $\sigma / \sqrt{N H W}$: the pixels of one image depend on each other.) Here is the first norm of the
# trained network: how far are the means of small batches from that of 2,048 images, measured in standard deviations of
# the channel?

# %%
norm = next(module for module in trained["batch norm"].modules() if isinstance(module, nn.BatchNorm2d))
before = []
hook = norm.register_forward_pre_hook(lambda module, inputs: before.append(inputs[0].detach()))
predict(trained["batch norm"], test_set[:2048], batch_size=2048)
hook.remove()
true_mean, true_variance = moments(before[0], (0, 2, 3))
distances = {}
for size in (2, 4, 8, 16, 32, 64, 128):
    means = torch.stack([part.mean((0, 2, 3), keepdim=True) for part in before[0].split(size)])
    distances[size] = ((means - true_mean) / true_variance.sqrt()).abs().mean().item()
plots.against({"measured": {size: [value] for size, value in distances.items()}},
              "images in a batch", "distance (standard deviations of the channel)",
              lines={r"proportional to $1/\sqrt{N}$": {size: distances[2] * (2 / size) ** 0.5 for size in distances}},
              log=True)

# %%
run.claims(("Four times the images halve the distance, to within a fifth.",
            all(0.4 < distances[4 * size] / distances[size] < 0.6 for size in (2, 4, 8, 16))))


# %% [markdown]
# ## Small batches: ghost batches
#
# So batch norm should get worse when batches are small. The obvious experiment trains with batches of 2, 4, 8 ...
# images. But then the number of steps changes as well, and with it the best learning rate: whatever comes out, nobody
# knows why. **Ghost batches** (Hoffer et al., 2017) separate the two. Each step still has 128 images; only batch norm
# looks at a few of them at a time. All ghost batches train at batch norm's peak rates; with rates of their own the
# small ones might lose less.

# %%
class GhostBatchNorm(nn.BatchNorm2d):
    """Batch norm that takes the statistics of so many `images` at a time."""

    def __init__(self, channels, images):
        super().__init__(channels, momentum=0.1 * images / 128)  # a step moves the memory 128 / images times
        self.images = images

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        batch_norm = super().forward
        return torch.cat([batch_norm(part) for part in x.split(self.images)])


ghost, whole = GhostBatchNorm(8, images=4), nn.BatchNorm2d(8)
torch.testing.assert_close(ghost(x)[4:8], whole(x[4:8]))  # the second ghost batch, as if it were alone

# %% [markdown]
# ### Result

# %%
ghosts = {}
for images in (2, 4, 8, 16, 32):
    result, _ = run.train_or_read(f"ghost_{images}", partial(s8.plain, partial(GhostBatchNorm, images=images)),
                                  run.recipe(recipe_of("batch norm")), data, [*budget])
    ghosts[images] = run.over_seeds(result)

# %%
plots.against({"batch norm, 128 images a step": {**{images: spread(summary) for images, summary in ghosts.items()},
                                                 128: spread(found["batch norm"])}},
              "images that share a mean", "test accuracy (%)",
              bands={name: spread(found[name]) for name in ("group norm", "layer norm")})

# %% [markdown]
# ### Analysis
#
# Here is what small batches do; all else is equal, the learning rate included. With two images batch norm is behind
# group and layer norm; with four it is level with layer norm; from eight on it is ahead of both, and from sixteen on
# little is left to gain.
#
# Why does it hurt to share a mean with few others? In training, the output of an image depends on its random
# neighbours: a noisy mean and a noisy variance are noise in every layer. A later layer of this network has
# maps of 7 x 7, so two images give it fewer than a hundred values a channel, and those are alike. And in evaluation the
# running statistics, which average over many small batches, are not what the network saw in training.
#
# Batches of two are no invention: of large images, as for detection or in medicine, no more may fit into a GPU's
# memory. That is what group norm was made for. By this figure one would choose it, or layer norm, where only two images
# share a mean.

# %%
run.claims(
    ("With two images that share a mean, batch norm is behind group norm and behind layer norm.",
     ahead(found["group norm"], ghosts[2]) and ahead(found["layer norm"], ghosts[2])),
    ("With eight, and from there on, it is ahead of both.",
     all(ahead(ghosts[images], found[name]) for images in (8, 16, 32) for name in ("group norm", "layer norm"))),
    ("With four its mean is within a point of layer norm's.",
     abs(ghosts[4]["mean"] - found["layer norm"]["mean"]) < 1),
    ("Each doubling up to sixteen raises the mean.",
     all(ghosts[images]["mean"] < ghosts[2 * images]["mean"] for images in (2, 4, 8))),
    ("From sixteen to 128 the mean rises by less than a point.",
     found["batch norm"]["mean"] - ghosts[16]["mean"] < 1),
)


# %% [markdown]
# ## How many groups?
#
# Group norm has one number to choose. With one group it is layer norm. With as many groups as channels it is called
# **instance norm** (Ulyanov et al., 2016): every map by itself. What lies between? All of them train at the peak rates
# of two groups.

# %%
def instance_norm(x, scale, shift):
    return scale_and_shift(normalize(x, *moments(x, (2, 3))), scale, shift)


assert_same(instance_norm, with_random_parameters(nn.GroupNorm(8, 8)))

# %% [markdown]
# ### Result

# %%
groups = {1: found["layer norm"], 2: found["group norm"]}
for number in (4, 8, 16):
    result, _ = run.train_or_read(f"groups_{number}", partial(s8.plain, partial(nn.GroupNorm, number)),
                                  run.recipe(recipe_of("group norm")), data, [*budget])
    groups[number] = run.over_seeds(result)

# %%
result, _ = run.train_or_read("instance_norm", partial(s8.plain, lambda channels: nn.GroupNorm(channels, channels)),
                              run.recipe(recipe_of("group norm")), data, [*budget])
instance = run.over_seeds(result)
plots.against({"group norm": {number: spread(summary) for number, summary in groups.items()}},
              "groups", "test accuracy (%)",
              bands={"batch norm": spread(found["batch norm"]), "instance norm": spread(instance)})

# %% [markdown]
# ### Analysis
#
# From one group to eight the number hardly matters. Instance norm, where each map is normalized by itself, is the
# worst, on average even behind no norm, at a rate that was chosen for another. (At 16 groups two of the eight layers
# are instance norm already, for they have 16 channels.) A likely reason: it wipes out how strong a channel is in an
# image, and that says something about what the image shows. So group norm has one more number to choose, but any small
# one will do. (Wu and He found the best with 32 groups in networks of up to 2,048 channels, or with 16 channels a
# group.)

# %%
run.claims(
    ("From one to eight groups all means lie within a point and a half.",
     max(groups[k]["mean"] for k in (1, 2, 4, 8)) - min(groups[k]["mean"] for k in (1, 2, 4, 8)) < 1.5),
    ("Each of them is ahead of instance norm.", all(ahead(groups[k], instance) for k in (1, 2, 4, 8))),
)


# %% [markdown]
# ## The other layer norm
#
# Two things are called layer norm. In a convolutional network it often means what we had so far, one mean over
# channels *and* positions. In a transformer, and in ConvNeXt (Liu et al., 2022), each position is normalized by
# itself, over its channels: one word of a sentence, or one pixel of a map, doesn't know of the others. It trains at
# layer norm's peak rates here.

# %%
class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels at each position."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def layer_norm_2d(x, scale, shift):
    return scale_and_shift(normalize(x, *moments(x, (1,))), scale, shift)


assert_same(layer_norm_2d, with_random_parameters(LayerNorm2d(8)))

# %%
recipe = run.recipe(recipe_of("layer norm"))
result, _ = run.train_or_read("layer_norm_2d", partial(s8.plain, LayerNorm2d), recipe, data, [*budget])
positions = run.over_seeds(result)
tables.summary_table([found["layer norm"], positions])

# %%
Markdown(tables.difference_table([(positions, found["layer norm"])]))

# %% [markdown]
# In this network normalizing each position by itself is worse than normalizing the whole map. A likely reason: it takes
# away how strong an edge is at one place compared with another. But ConvNeXt does well with it on images, so this may
# be a matter of this network.

# %%
run.claims(
    ("Layer norm over the whole map is better here than over the channels at each position.",
     ahead(found["layer norm"], positions)),
)

# %% [markdown]
# ## Which norm when
#
# | | batch norm | group norm | layer norm |
# | :--- | :--- | :--- | :--- |
# | normalizes over | N, H, W | C/G, H, W | C, H, W (or C alone) |
# | in evaluation | running statistics, needs `eval()` | as in training | as in training |
# | an image's output depends on the others | in training | no | no |
# | to choose | nothing | the number of groups | nothing, but two things have the name |
#
# **Batch norm.** Advantages: it learns fastest, most of all with SGD, and tolerates the largest learning rates (both
# measured above). In evaluation it is one multiplication and one addition a value, and where it directly follows a
# convolution it can be folded into that (S7.2, exercise 4): it costs nothing then. Disadvantages: it needs batches that
# are large enough (the ghost batches), it has two modes that can be confused (`eval()`), and an image's output in
# training depends on the others. Use it for convolutional networks on images, where eight or more of them share a mean,
# to go by this network.
#
# **Group norm.** Advantages: no image knows of another, so its output depends on no batch, and there is one mode only
# (measured above, in evaluation; none was trained in small batches here). Disadvantages: it learned more slowly here
# than batch norm with large batches, it computes a mean and a variance in evaluation, too, and has a number to choose.
# Use it where few images fit into a batch.
#
# **Layer norm.** The same, without the number. Here it is level with group norm. Use it over the channels at each
# position in transformers and other networks for sequences, whose batches have sentences of different lengths. None of
# that is measured here, nor are large images, detection, or training on several GPUs, where batch norm sees only the
# share of each.

# %% [markdown]
# ## Exercises
#
# **1.** Group norm with four groups stands in a network that is trained with batches of 32 images. How many statistics
# (means and variances) does this one layer take from a batch?

# %% tags=["exercise"]
statistics_of_groups = ...
check("S8.1.1", statistics_of_groups)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# statistics_of_groups = 2 * 32 * 4
# ```
#
# A mean and a variance for each of four groups of each of 32 images. None of them is a parameter: they are forgotten
# after the step. [A public solution](https://github.com/prarthananbhat/ERA/tree/master/Session_8) of this session's
# assignment counts them as parameters, and notes that the count "should have changed".
# </details>
#
# **2.** Write group norm without scale and shift, in five lines or fewer, without looking above.

# %% tags=["exercise"]
def my_group_norm(x, groups, eps=1e-5):
    ...


check("S8.1.2", my_group_norm)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def my_group_norm(x, groups, eps=1e-5):
#     by_group = x.reshape(len(x), groups, -1)  # all values of a group in a row
#     mean, variance = by_group.mean(2, keepdim=True), by_group.var(2, correction=0, keepdim=True)
#     return ((by_group - mean) / (variance + eps).sqrt()).view(x.shape)
# ```
#
# Channels that stand next to each other form a group, so after `reshape` one row holds exactly the values of one group.
# </details>
#
# **3.** How many groups make group norm of 32 channels the same as instance norm?

# %% tags=["exercise"]
groups_of_instance_norm = ...
check("S8.1.3", groups_of_instance_norm)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# groups_of_instance_norm = 32
# ```
#
# One channel a group. The other end, one group of all channels, is layer norm.
# </details>
#
# **4.** Batch norm in training mode gets a batch of a single image with maps of 1 x 1 pixel. One channel has the value
# 7. By the formula, what comes out of it, before scale and shift?

# %% tags=["exercise"]
single_value = ...
check("S8.1.4", single_value)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# single_value = 0
# ```
#
# A single value is its own mean: whatever it was, nothing of it is left. torch raises an error rather than return
# zeros. This happens in practice where a network pools its map to one pixel, has a norm after that, and the last
# batch of an epoch holds one image.
# </details>
#
# **5.** How many times more images must a batch have for its mean to be four times closer to the true one?

# %% tags=["exercise"]
times_more_images = ...
check("S8.1.5", times_more_images)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# times_more_images = 4**2
# ```
#
# The distance goes with $1 / \sqrt{N}$.
# </details>
#
# **6.** You have a trained network with batch norm and without dropout, batches of two, and an author who has forgotten
# `eval()`. Which change would have made the program right, even without `eval()`: "group norm", "larger batches" or "a
# smaller momentum"?

# %% tags=["exercise"]
remedy = ...
check("S8.1.6", remedy)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# remedy = "group norm"
# ```
#
# It computes the same in both modes. Larger batches lessen the harm and don't remove it, as the table above shows; the
# momentum changes the memory, which nobody asks in training mode.
# </details>
#
# **7.** Write the other layer norm, over the channels at each position, without scale and shift.

# %% tags=["exercise"]
def my_layer_norm_2d(x, eps=1e-5):
    ...


check("S8.1.7", my_layer_norm_2d)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def my_layer_norm_2d(x, eps=1e-5):
#     mean, variance = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
#     return (x - mean) / (variance + eps).sqrt()
# ```
#
# Nothing has to be moved: the mean over dimension 1 leaves one value for each image and position.
# </details>
#
# ## References
#
# - Ioffe and Szegedy, [Batch normalization](https://arxiv.org/abs/1502.03167), 2015; Ba, Kiros and Hinton, [Layer
#   normalization](https://arxiv.org/abs/1607.06450), 2016; Ulyanov et al., [Instance
#   normalization](https://arxiv.org/abs/1607.08022), 2016; Wu and He, [Group
#   normalization](https://arxiv.org/abs/1803.08494), 2018.
# - Hoffer, Hubara and Soudry, [Train longer, generalize better](https://arxiv.org/abs/1705.08741), 2017: ghost batches.
# - He et al., [Delving deep into rectifiers](https://arxiv.org/abs/1502.01852), 2015: first weights for ReLU.
# - Liu et al., [A ConvNet for the 2020s](https://arxiv.org/abs/2201.03545), 2022: layer norm over channels at each
#   position in a convolutional network.
#
# **Next:** [S8.2 Layouts](2_layouts.ipynb) asks how to spend fewer than 50,000 parameters.
