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
# # S8.3 Recipe: from SGD to a network of our own
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S8_norms/3_recipe.ipynb)
#
# **You will learn** what label smoothing, alternating flips and the Muon optimizer do, each by hand; how separable
# convolutions and shared weights make room in a budget; what SiLU changes; and how to find out which ingredient a
# recipe needs.
#
# **You need** S7.3 for the one-cycle schedule, the average of the weights (EMA), separable convolutions and shared
# weights; S8.1 for the norms; and S8.2 for the layout.
#
# **It takes** about two minutes of computing on two CPU cores as it stands: `preset = "quick"` trains one network on a
# short schedule and reads the other results. The text speaks of the full runs over several seeds, which you see where
# the notebook comes with its outputs.
#
# **Next** S8.4 trains the network with each norm.

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
import json
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from IPython.display import Markdown
from torch import nn

from common import augmentation, experiment, layers, optim, plots, recipes, tables
from common.anatomy import count_parameters, multiply_accumulates
from common.claims import better, undecided
from common.exercises import check
from common.files import ROOT
from common.models import s8
from common.results import difference, held_out, published_summary
from common.training import make_batches

run = experiment.start("S8_norms", "3_recipe", preset, seed, epochs, output)
shape = (3, 32, 32)
budget, goal = run.session.budget, run.session.goal
data = train_set, test_set = run.data("cifar10")


# %% [markdown]
# ## Augmentation: crops and flips
#
# What may change in a photo of a car without making it something else? It may stand a little further left, and it may
# look the other way. So each image is shifted by up to four pixels: it gets a border of four pixels, a mirror image of
# what lies inside, and a window of the old size is cut out at random.
#
# Mirroring is usually left to chance: each image is flipped with probability 1/2, anew in every epoch. Then half of all
# images show the *same* side in two epochs in a row. **Alternating flips** (Jordan, 2024) don't leave it to chance: an
# image is flipped in every other epoch, so two consecutive epochs always show both sides. (Which images start out
# flipped is random in Jordan's version, and depends on their place in the data set in ours.)

# %%
def crop(image, generator, padding=4):
    """Shift one image (C, H, W) by up to `padding` pixels."""
    _, height, width = image.shape
    bordered = F.pad(image[None], (padding,) * 4, mode="reflect")[0]
    top, left = torch.randint(2 * padding + 1, (2,), generator=generator, device=image.device)
    return bordered[:, top:top + height, left:left + width]


def flip_in_turn(image, index, epoch):
    """Mirror the image at place `index` of the data set in every other epoch."""
    return image.flip(2) if (index + epoch) % 2 == 1 else image


one = train_set.images[:1].float()
same_draws = torch.Generator(one.device)
assert torch.equal(crop(one[0], same_draws.manual_seed(seed)), augmentation.crop(one, same_draws.manual_seed(seed))[0])

index = torch.arange(4, device=train_set.images.device)
for epoch in (1, 2):
    by_hand = torch.stack([flip_in_turn(image, place, epoch) for place, image in enumerate(train_set.images[:4])])
    assert torch.equal(by_hand, augmentation.alternating_flip(train_set.images[:4], index, epoch))

# %%
generator = torch.Generator(train_set.images.device).manual_seed(0)
draws = torch.stack([flip_in_turn(crop(train_set.images[place].float(), generator), place, epoch)
                     for place in (1, 4) for epoch in range(1, 11)])
plots.samples(draws.byte(), train_set.labels[[1, 4]].repeat_interleave(10), train_set.classes, rows=2,
              title="two images in ten epochs")


# %% [markdown]
# ## Label smoothing
#
# Cross-entropy with **hard labels** asks for a probability of 1 for the true class. A network can only approach that
# with ever larger logits; and where a training label is wrong, it is pushed to be sure of that. **Label smoothing**
# (Szegedy et al., 2016) asks for less: the true class $y$ gets $1 - s$, and $s$ is shared out evenly among all $K$
# classes. ($[k = y]$ is 1 for the true class and 0 for the others.)
#
# $$q_k = (1 - s) \, [k = y] + \frac{s}{K} \qquad L = -\sum_k q_k \log p_k$$

# %%
def smoothed_loss(logits, labels, s=0.1):
    classes = logits.shape[1]
    asked = (1 - s) * F.one_hot(labels, classes) + s / classes
    return -(asked * logits.log_softmax(1)).sum(1).mean()


logits, labels = torch.randn(8, 10), torch.randint(10, (8,))
torch.testing.assert_close(smoothed_loss(logits, labels), F.cross_entropy(logits, labels, label_smoothing=0.1))
asked = torch.tensor([0.91] + [0.01] * 9)
print(f"with s = 0.1 the true class gets {asked[0]:.2f}, each other one {asked[1]:.2f}; "
      f"the loss can't fall below {-(asked * asked.log()).sum():.2f}")

# %% [markdown]
# The last line is why a training loss with label smoothing must not be drawn beside a plain test loss: its floor isn't
# 0.
#
# ## Muon
#
# SGD doesn't step against the gradient $G$ alone, but against its **momentum**, a running sum of past gradients,
# $B \leftarrow 0.9 \, B + G$. (Nesterov's variant, which is used here, steps against $M = G + 0.9 \, B$: it looks one
# step ahead.)
#
# Every matrix has a **singular value decomposition** (SVD), $M = \sum_i s_i \, u_i v_i^\top$, with unit vectors $u_i$
# that are orthogonal to each other, and so are the $v_i$. The **singular values** $s_i$ say how far $M$ goes in each
# direction (`torch.linalg.svd` computes them all). In the momentum of a network a few of them are large and most are
# small. So most of a step goes into a few directions.
#
# **Muon** (Jordan et al., 2024) steps by $\sum_i u_i v_i^\top$: the same directions, all of the same length. (Of all
# matrices with that property this is the one nearest to $M$; its rows, or its columns, are orthogonal.) It doesn't need
# the decomposition for that. Instead it applies a polynomial again and again until every singular value is near 1. For
# a matrix $X$ the update
#
# $$X \leftarrow a X + b \, (X X^\top) X + c \, (X X^\top)^2 X$$
#
# changes each singular value $s$ to $a s + b s^3 + c s^5$ and keeps the directions (a Newton-Schulz iteration).
# Jordan's coefficients are chosen for speed: after five rounds all but the tiniest values lie between about 0.7 and
# 1.1, and they go on jumping there. Exactly 1 isn't needed.

# %%
a, b, c = 3.4445, -4.7750, 2.0315


def orthogonalize(matrix, rounds=5):
    x = matrix / (matrix.norm() + 1e-7)  # its square is the sum of all s^2: now none is above 1
    for _ in range(rounds):
        gram = x @ x.T
        x = a * x + b * gram @ x + c * gram @ gram @ x
    return x


matrix = torch.randn(32, 144)
torch.testing.assert_close(orthogonalize(matrix), optim.orthogonalize(matrix), rtol=1e-3, atol=1e-4)

# %% [markdown]
# Here is the momentum of a real convolution, after 20 steps of SGD, before and after.

# %%
torch.manual_seed(seed)
model = s8.budgeted("bn")
sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
generator = torch.Generator(train_set.images.device).manual_seed(seed)
model.to(train_set.images.device)
for _, (images, labels) in zip(range(20), make_batches(train_set, recipes.S8, generator), strict=False):
    sgd.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    sgd.step()
weight = model[3].weight  # of C2, as a matrix of outputs x (inputs * 9)
momentum = sgd.state[weight]["momentum_buffer"].flatten(1)
before, after = (torch.linalg.svdvals(m.float().cpu()) for m in (momentum, orthogonalize(momentum)))
plots.lines({"momentum, relative to the largest": (before / before[0]).tolist(), "after five rounds": after.tolist()},
            "place in order of size (the same place needn't be the same direction)", "singular value")


# %% [markdown]
# After five rounds the directions count nearly the same, where before they differed by much more. Here is one step of
# Muon. A weight of shape (outputs, inputs, k, k) counts as a matrix of outputs x (inputs x k x k). One with more rows
# than columns takes a longer step, by the root of their ratio; that is Jordan's choice.

# %%
def muon_step(weight, gradient, buffer, lr, momentum=0.9):
    buffer.mul_(momentum).add_(gradient)
    matrix = (gradient + momentum * buffer).flatten(1)  # M above
    rows, columns = matrix.shape
    weight.sub_(lr * max(1, rows / columns) ** 0.5 * orthogonalize(matrix).view_as(weight))


by_hand, by_library = nn.Conv2d(8, 16, 1, bias=False), nn.Conv2d(8, 16, 1, bias=False)
by_library.load_state_dict(by_hand.state_dict())
optimizer = optim.Muon([{"params": [by_library.weight], "orthogonal": True}], lr=0.05, momentum=0.9)
buffer = torch.zeros_like(by_hand.weight)
with torch.no_grad():
    for _ in range(2):
        gradient = torch.randn_like(by_hand.weight)
        by_library.weight.grad = gradient.clone()
        optimizer.step()
        muon_step(by_hand.weight, gradient, buffer, lr=0.05)
torch.testing.assert_close(by_hand.weight, by_library.weight, rtol=1e-3, atol=1e-4)

# %% [markdown]
# The length of a step doesn't depend on the length of the gradients any more: were all of them ten times as large, the
# steps would be the same. So Muon needs a learning rate of its own. Here all plain and 1x1 convolutions are trained by
# it (Jordan leaves out the first and the last layer); norms stay with SGD, and so do depthwise filters, which are a
# list of separate filters and map no channel to another.

# %%
run.claims(
    ("Half of the momentum's directions are less than a fifth as long as the longest.",
     (before < before[0] / 5).double().mean() >= 0.5),
    ("After five rounds all are between 0.5 and 1.3.", 0.5 < after.min() and after.max() < 1.3),
)


# %% [markdown]
# ## The network: separable, residual, shared
#
# Two ideas from S7.3 give the layout of S8.2 more channels for the same parameters. A **depthwise separable**
# convolution, a 3x3 filter for each channel and a 1x1 mix of the channels, costs $9 C + C^2$ weights in place of $9
# C^2$. **Shared weights** let C4, C5 and C6 be one convolution that is used three times, and C8, C9 and C10 another.
# And the assignment asks to add one layer to another: a **residual** block (He et al., 2016) adds its input to its
# output, $y = x + f(x)$, so it only has to learn what to change. Its gradient has a straight way back, for $\partial y
# / \partial x$ contains a 1. (Here a ReLU follows the sum and lets the gradient through where $y$ is positive. In S7.3
# few runs without the add could show no loss.)

# %%
class Block(nn.Module):
    """One depthwise 3x3 and one 1x1 convolution, used several `times`, each time with a norm of its own."""

    def __init__(self, channels, times):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(times))

    def forward(self, x):
        for norm in self.norms:
            x = F.relu(x + norm(self.pointwise(self.depthwise(x))))
        return x


by_hand, by_library, x = Block(8, times=3), layers.SeparableConv(8, 8, times=3), torch.randn(2, 8, 6, 6)
for norm in by_hand.norms:  # each of its own, or the comparison couldn't tell them apart
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
by_library.load_state_dict(by_hand.state_dict())
torch.testing.assert_close(by_hand(x), by_library(x))

# %% [markdown]
# In the diagram below these are the two blocks "separable conv" that keep their channels: each is used three times, and
# adds its input each time. Two more departures from the layout: the pools take the average, and stand before the 1x1
# convolution (its norm and ReLU follow): an average and a weighted sum may change places, and the sum then runs over a
# quarter of the pixels. And the 1x1 convolutions make *more* channels, up to 160, where the layout made fewer:
# separable convolutions can afford them.

# %%
plots.diagram(s8.shared("bn"), shape)

# %%
tables.block_table(s8.shared("bn"), shape)

# %%
Markdown(tables.markdown("network | parameters | multiply-accumulates", [
    (name, f"{count_parameters(make()):,}", f"{multiply_accumulates(make(), shape) / 1e6:.1f} M")
    for name, make in {"plain convolutions (S8.2)": s8.budgeted, "separable, nothing shared": s8.unshared,
                       "separable, shared": s8.shared}.items()], "lrr"))

# %% [markdown]
# ## What each ingredient brings
#
# ### Target
#
# Here is the whole recipe:

# %%
whole = recipes.S8
Markdown(tables.markdown("part | value", [
    ("images in a batch", whole.batch_size),
    ("SGD with Nesterov's momentum of 0.9, for norms and depthwise filters: peak of the rate", whole.lr),
    ("Muon, for plain and 1x1 convolutions: peak of the rate", whole.muon),
    ("schedule of both rates", whole.schedule.replace("_", " ")),
    ("label smoothing", whole.label_smoothing),
    ("EMA of the weights: decay", whole.average),
    ("augmentation", "crops (a border of 4 pixels), alternating flips"),
    ("epochs, in S8.4", whole.epochs)]))

# %% [markdown]
# (The rates that are printed while a network trains are SGD's.) An ablation: the recipe on a short schedule, four
# epochs of 15,000 images, and then each time with one ingredient taken out. SGD for all weights in place of Muon, at
# the peak rate that was best for it on held-out images (one run each, in the table further down); hard labels; random
# flips; no average of the weights (EMA); and nothing shared, with fewer channels to stay within the budget. Five seeds
# each. Which one will be missed most?

# %%
make_shared = partial(s8.shared, "bn")
short = replace(recipes.S8, epochs=4, train_images=15_000)
random_flip = (*short.augmentation, ("flip", {"p": 0.5}))
variants = {
    "shared_short_sgd": (make_shared, replace(short, muon=0.0, lr=0.1)),
    "shared_short_hard_labels": (make_shared, replace(short, label_smoothing=0.0)),
    "shared_short_random_flip": (make_shared, replace(short, alternating_flip=False, augmentation=random_flip)),
    "shared_short_no_ema": (make_shared, replace(short, average=0.0)),
    "unshared_short": (partial(s8.unshared, "bn"), short),
}

# %% [markdown]
# ### Result

# %%
whole_result, _ = run.train_or_read("shared_short", make_shared, run.recipe(short, quick_epochs=2), data, [*budget],
                                    norm="bn")

# %%
ablated = {}
for name, (make_network, recipe) in variants.items():
    result, _ = run.train_or_read(name, make_network, run.recipe(recipe), data, [*budget], norm="bn")
    ablated[name] = run.over_seeds(result)

# %%
full = run.over_seeds(whole_result)
if preset == "quick":  # whose schedule is short
    full = published_summary("S8_norms/3_recipe", "shared_short", "bn")
plots.per_seed({tables.title(row): [one["accuracy"] for one in row["results"]] for row in (full, *ablated.values())})

# %% [markdown]
# A recipe that lacks something, against the whole one. To the right of 0 it is better *without* that ingredient.

# %%
plots.differences({tables.title(row): difference(row, full) for row in ablated.values()},
                  "difference from the whole recipe (points)")

# %%
Markdown(tables.difference_table([(row, full) for row in ablated.values()]))

# %% [markdown]
# ### Analysis
#
# Muon matters by far the most. Without it, and with a rate tuned for SGD, the network is far behind on such a short
# schedule. For none of the others can five seeds say that the network is worse without it, which leaves room for
# effects of a point. (Not taken out: crops, one cycle, separable convolutions and the adds. S7.3 has such a control for
# the schedule, the variation and the adds, on MNIST. And the runs with SGD were trained with numbers of 16 bits, the
# others with 32. That may count for some tenths of a point, README.) The average of the weights even costs a little
# here. (EMA doesn't change the training: with it and without it the same weights are trained, and only what is
# evaluated differs. So the chance of training is out of it, and even so small a difference shows in five seeds.)
# Probably because it lags: its decay grows as in S7.3, and after 468 steps it still averages over about the last fifty,
# a tenth of this schedule.
#
# Why are they in the recipe then? EMA for what the next figure shows: before the end, while the rate is high, it is
# well ahead. A run that is stopped early, or looked at on the way, profits from it; the last epoch doesn't. And label
# smoothing and alternating flips for what was found on held-out images, with four seeds each. Here is the network
# without either of them, against the network without one of them:

# %%
ideas = ROOT / "S8_norms" / "results" / "ideas.json"


def idea(name):
    rows = json.loads(ideas.read_text())
    return {"model": name, "norm": None, "results": [row for row in rows if row["idea"] == name]}


neither, hard, random = map(idea, ("hard labels, flip by chance", "hard labels", "flip by chance"))
Markdown(tables.difference_table([(neither, hard), (neither, random)]))

# %% [markdown]
# Each helps where the other is missing. Where one is there, the other brings nothing that could be shown.
#
# Sharing weights shows no clear difference either, and takes longer, since shared layers are wider: it has
# nearly twice the arithmetic. It is in the recipe because the rest was found with it.

# %%
plots.curves({"EMA": full, "no EMA": ablated["shared_short_no_ema"]}, target=goal.limit)


# %%
def seconds(summary):
    """The fastest epoch of all runs: others may have shared the machine."""
    return min(row["seconds"] for result in summary["results"] for row in result["curve"])


without_muon, without_smoothing, without_turns, without_ema, unshared = ablated.values()
run.claims(
    ("Without Muon the network is worse.", better(full, without_muon)),
    ("For no other ingredient do five seeds show that accuracy falls without it.",
     not any(better(full, row) for row in (without_smoothing, without_turns, without_ema, unshared))),
    ("On held-out images label smoothing helps where flips are random, and alternating flips where labels are hard.",
     better(hard, neither) and better(random, neither)),
    ("The average of the weights costs a little at the end of this short schedule.", better(without_ema, full)),
    ("After half of the epochs every run with it is ahead of the run without.",
     all(mine["curve"][:2][-1]["test_accuracy"] > other["curve"][:2][-1]["test_accuracy"]
         for mine, other in zip(full["results"], without_ema["results"], strict=False))),
    ("Sharing shows no clear difference and takes more than a quarter longer.",
     undecided(unshared, full) and seconds(full) > 1.25 * seconds(unshared)),
)

# %% [markdown]
# ## What else was tried
#
# The recipe was chosen by `ideas.py` beside this notebook, with this network, on the same short schedule, and judged on
# 10,000 training images that were held out, so that the test images have no part in the choice. In rows of one seed a
# difference of a point or two may be chance, and the difference is taken from the run with the same seed, not from the
# mean of the first line. "Both peaks" are those of SGD's rate and Muon's; "SGD" alone trains all weights; batch norm's
# momentum is how fast its running statistics follow; a whitening layer is a first convolution that is fixed to the
# principal directions of small patches. The last three rows are transforms that others have tried for this assignment.
# None of these was shown to help. Most were run once, which could hardly have shown it; and that belongs in a
# report as well. Resized crops seem to have done harm on this schedule. (The last three, and SGD, were trained with
# numbers of 16 bits, the others with 32.)

# %%
tried = held_out("S8_norms")
tables.ideas_table(ideas, "as it is")

# %% [markdown]
# A short schedule is unfair to augmentation, which protects against overfitting. So cutout was tried on the whole
# schedule, twenty epochs of 40,000 images. Cutout puts a grey square of 8 x 8 pixels somewhere on each image (S9.2 has
# it). Will it help there?

# %%
tables.ideas_table(ideas, "twenty epochs")


# %% [markdown]
# In one run each, the one with cutout did worse, by a difference that may be chance. So the recipe stays without it.
#
# ## Last, the network again: SiLU, and channels where they pay
#
# ReLU is 0 for every input below 0, and so is its slope. Where its input is below 0 for every image, the weights before
# it get no gradient and stay as they are (a "dead" unit; nobody has counted here whether there are any). **SiLU**
# (Elfwing et al., 2017), also called swish, is a smooth relative of ReLU, slightly negative below 0: the input times
# its sigmoid.
#
# $$\text{SiLU}(x) = x \cdot \sigma(x) = \frac{x}{1 + e^{-x}}$$
#
# Far from 0 it approaches ReLU. Near 0 it has a slope on both sides (which is 0 at one point only, near -1.28). The
# price is an exponential for each activation.

# %%
def silu(x):
    return x / (1 + (-x).exp())


x = torch.linspace(-6, 6, 121, requires_grad=True)
torch.testing.assert_close(silu(x), F.silu(x))
slope, = torch.autograd.grad(silu(x).sum(), x)
plots.lines({"ReLU": F.relu(x).tolist(), "SiLU": silu(x).tolist(), "slope of SiLU": slope.tolist()},
            "input", "output, slope", places=x.tolist())

# %% [markdown]
# And the channels. The shared network has 64 in its second block and 160 in the third. With 96 and 128 it has about as
# many parameters, but more of them work on the larger maps of 16 x 16, where each weight is used four times as often as
# on 8 x 8. So it computes more with the same parameters. The network with both changes is **ours**:

# %%
plots.diagram(s8.ours("bn"), shape)

# %%
tables.block_table(s8.ours("bn"), shape)

# %%
parameters = {name: count_parameters(make()) for name, make in (("shared", s8.shared), ("ours", s8.ours))}
work = {name: multiply_accumulates(make(), shape) / 1e6 for name, make in (("shared", s8.shared), ("ours", s8.ours))}
Markdown(tables.markdown("network | parameters | multiply-accumulates", [
    (name, f"{parameters[name]:,}", f"{work[name]:.1f} M") for name in parameters], "lrr"))

# %%
tables.full_table(s8.ours("bn"), shape)

# %% [markdown]
# Both changes were tried for ten epochs of 40,000 images, judged on held-out ones as before. "Ten epochs" is the shared
# network. Will both together bring as much as the sum of what each brings alone?

# %%
tables.ideas_table(ideas, "ten epochs")

# %% [markdown]
# Each alone is a few tenths better, which may be chance; both together are more than a point better, in one run, and
# the best of the rows of ten epochs. (Who picks the best of several single runs picks luck as well.) That is reason
# enough to go on with them, and no proof: S8.4 trains ours with several seeds. Hard swish, which imitates SiLU without
# the exponential, gains 0.01. The last line keeps Muon and lowers SGD's peak, for the weights that Muon doesn't train:
# a little worse than ours with 0.3.
#
# Until here every run had batch norm. With the other norms the recipe was tried on the short schedule, with the shared
# network and with other rates for Muon:

# %%
tables.ideas_table(ideas, "group norm", "layer norm")

# %% [markdown]
# Both are far behind batch norm on so short a schedule, further than group norm was in S8.1 with Muon, another network
# and rates of its own (with SGD it was further still); the rates here were found with batch norm. What other peaks do
# can't be said from one run each. On a longer schedule all that may change, and S8.4 looks again.

# %%
base, both = tried["ten epochs"], tried["ten epochs, 96 and 128 channels, SiLU"]
run.claims(
    ("Ours has fewer parameters than the shared network, and at least 20 % more multiply-accumulates.",
     parameters["ours"] < parameters["shared"] and work["ours"] >= 1.2 * work["shared"]),
    ("SiLU has a slope nearly everywhere below 0, where ReLU's is 0.", (slope[x < 0] != 0).double().mean() > 0.95),
    ("It never falls below -0.28.", -0.28 < silu(x).min() < 0),
    ("In one run each, SiLU and the channels together gain more than a point, and more than either alone.",
     both - base > 1 and both > tried["ten epochs, SiLU in place of ReLU"]
     and both > tried["ten epochs, 96 and 128 channels"]),
    ("A lower peak for SGD doesn't help ours with batch norm.",
     tried["ten epochs, 96 and 128 channels, SiLU, SGD's peak 0.1"] < both),
    ("In one run each, cutout is behind.", tried["twenty epochs, cutout"] < tried["twenty epochs"]),
    ("On the short schedule group and layer norm are at least nine points behind batch norm.",
     all(tried["as it is"] - tried[norm] > 9 for norm in ("group norm", "layer norm"))),
)


# %% [markdown]
# ## Exercises
#
# **1.** Write what label smoothing asks for: a list of probabilities for `classes` classes, where `label` is the true
# one.

# %% tags=["exercise"]
def smoothed(label, classes, s):
    ...


check("S8.3.1", smoothed)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def smoothed(label, classes, s):
#     asked = [s / classes] * classes
#     asked[label] += 1 - s
#     return asked
# ```
#
# They add up to 1, for the true class has a share of what is shared out.
# </details>
#
# **2.** Images are flipped at random, with probability 1/2. What fraction of them shows the same side in all of the
# first four epochs?

# %% tags=["exercise"]
same_side = ...
check("S8.3.2", same_side)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# same_side = 1 / 2**3
# ```
#
# Whatever the first epoch showed, each of the next three shows the same with probability 1/2. Alternating flips make
# that 0.
# </details>
#
# **3.** How many parameters does `Block` have for 48 channels, used four times?

# %% tags=["exercise"]
block_parameters = ...
check("S8.3.3", block_parameters)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# block_parameters = 9 * 48 + 48 * 48 + 4 * 2 * 48
# ```
#
# Four plain 3x3 convolutions of 48 channels would have more than 80,000.
# </details>
#
# **4.** Return what becomes of one singular value `s` between 0 and 1 after so many `rounds` of the iteration. (`s` is
# that of a matrix which has been divided by its norm already: don't divide again.)

# %% tags=["exercise"]
def push(s, rounds):
    ...


check("S8.3.4", push)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def push(s, rounds):
#     for _ in range(rounds):
#         s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
#     return s
# ```
#
# Try it with 0.01: a small value becomes about three times as large in each round, and then jumps between about 0.7 and
# 1.1.
# </details>
#
# **5.** In a chain of ten residual blocks $y = x + f(x)$ each $f$ has the slope 0.1. By which factor is a small change
# of the first input multiplied on its way to the end? (Leave the ReLUs out.)

# %% tags=["exercise"]
factor = ...
check("S8.3.5", factor)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# factor = (1 + 0.1) ** 10
# ```
#
# That is 2.59. Without the adds it would be $0.1^{10}$, a ten-billionth: almost no gradient would arrive at the front.
# </details>
#
# ## References
#
# - Jordan et al., [Muon: an optimizer for hidden layers in neural networks](https://kellerjordan.github.io/posts/muon/),
#   2024; Jordan, [94% on CIFAR-10 in 3.29 seconds on a single GPU](https://arxiv.org/abs/2404.00498), 2024: alternating
#   flips.
# - Szegedy et al., [Rethinking the Inception architecture](https://arxiv.org/abs/1512.00567), 2016: label smoothing.
# - He et al., [Deep residual learning](https://arxiv.org/abs/1512.03385), 2016; Chollet,
#   [Xception](https://arxiv.org/abs/1610.02357), 2017: separable convolutions; Lan et al.,
#   [ALBERT](https://arxiv.org/abs/1909.11942), 2019: shared weights.
# - Elfwing et al., [Sigmoid-weighted linear units](https://arxiv.org/abs/1702.03118), 2017: SiLU.
#
# **Next:** [S8.4 Three norms](4_three_norms.ipynb) trains the network with each norm on the full schedule.
