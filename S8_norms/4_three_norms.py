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
# # S8.4 Three norms: the norm, the network, and chance
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S8_norms/4_three_norms.ipynb)
#
# **You will learn** how much of a difference between norms belongs to the norm, how much to the network, and how much
# to chance; and what the networks get wrong.
#
# **You need** S8.1 for the norms and S8.3 for the network and its recipe.
#
# **It takes** about five minutes of computing on two CPU cores as it stands: `preset = "quick"` trains our network with
# each norm for two epochs of 35,000 images and reads the other results. The text speaks of the full runs over several
# seeds, which you see where the notebook comes with its outputs.
#
# **Next** In S8.5 you design a network for each norm.

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
from dataclasses import replace
from functools import partial

import torch
from IPython.display import Markdown, display

from common import experiment, plots, recipes, tables
from common.claims import better, undecided
from common.exercises import check
from common.files import ROOT
from common.models import s8
from common.pretrained import pretrained
from common.results import difference, held_out, published_summary
from common.training import find_misclassified, predict

run = experiment.start("S8_norms", "4_three_norms", preset, seed, epochs, output)
shape = (3, 32, 32)
budget, goal = run.session.budget, run.session.goal
names = {"bn": "batch norm", "gn": "group norm", "ln": "layer norm"}
data = train_set, test_set = run.data("cifar10")

# %% [markdown]
# ## Ours, with each norm
#
# ### Target
#
# The network of S8.3 with batch norm, group norm (two groups) and layer norm (one mean an image): the same layers, the
# same number of parameters, the same first weights, the same images in the same order, for all 20 epochs that the
# assignment allows. With each of them the session's goal, within its budget. Which norm will be ahead, and by how much?

# %%
plots.diagram(s8.ours("bn"), shape)

# %% [markdown]
# A fair comparison gives each norm the rates that suit it, and the recipe was found with batch norm. So Muon's peak
# (0.05) and SGD's (0.3) were tried again for ten epochs, with the shared network of S8.3 and with ours, one run each,
# and judged on 10,000 training images that were held out:

# %%
tried = held_out("S8_norms")
tables.ideas_table(ROOT / "S8_norms" / "results" / "ideas.json", "ten epochs, group norm", "ten epochs, layer norm")

# %% [markdown]
# Muon's peak may stay. SGD trains the norms' scales and shifts and the depthwise filters only. There a lower peak
# brings group norm half a point, and the others nothing (for batch norm see the last line of that table in S8.3).

# %%
peaks = {"bn": 0.3, "gn": 0.1, "ln": 0.3}
recipe = {norm: run.recipe(replace(recipes.S8, lr=peak), quick_epochs=2, quick_images=35_000)
          for norm, peak in peaks.items()}
limits = [*budget, goal]

# %% [markdown]
# ### Result

# %%
results, trained = {}, {}
for norm in names:
    print(names[norm])
    results[norm], trained[norm] = run.train_or_read("ours", partial(s8.ours, norm), recipe[norm], data, limits,
                                                     norm=norm)

# %% tags=["figure-curves"]
ours = {norm: run.over_seeds(result) for norm, result in results.items()}
plots.curves({names[norm]: summary for norm, summary in ours.items()}, target=goal.limit)

# %%
for norm, result in results.items():
    display(Markdown(f"**{names[norm]}**"), tables.target_table(result))

# %%
tables.summary_table(list(ours.values()))

# %% [markdown]
# How much better are they on their training images? The same measure for both: after the last epoch, in evaluation
# mode, on images as they are.

# %%
tables.gap_table(list(ours.values()))

# %% [markdown]
# ## Is that the norm, or the network?
#
# So much for one network. Here are two others, with 8 epochs in place of 20 and the same recipe for all norms: the
# shared network of S8.3, and `budgeted` of S8.2 (plain convolutions, biases, the norm after ReLU, no residual adds).

# %%
others = {}
for name, make_network in (("shared_8_epochs", s8.shared), ("budgeted_8_epochs", s8.budgeted)):
    others[name] = {}
    for norm in names:
        result, _ = run.train_or_read(name, partial(make_network, norm), run.recipe(replace(recipes.S8, epochs=8)),
                                      data, limits, norm=norm)
        others[name][norm] = run.over_seeds(result)
tables.summary_table([summary for found in others.values() for summary in found.values()])

# %%
pairs = [("bn", "gn"), ("bn", "ln"), ("gn", "ln")]
full = ours
if preset == "quick":  # whose schedule is short
    full = {norm: published_summary("S8_norms/4_three_norms", "ours", norm) for norm in names}
shared, budgeted = others.values()
plots.differences({f"{network}: {names[one]} against {names[other]}": difference(found[one], found[other])
                   for network, found in (("ours", full), ("shared", shared), ("budgeted", budgeted))
                   for one, other in pairs}, "difference in test accuracy (points)")

# %% [markdown]
# ### Analysis
#
# With ours, where each norm has the rates that suit it, batch norm was ahead in each pair of runs, by less than a point
# on average. There are two pairs only (a run takes half an hour), and both intervals reach beyond 0: no difference is
# shown.
#
# Now the other two networks, with five seeds. With the shared one batch norm leads by far. With `budgeted` it leads,
# too, but by so little that a run of each could have missed it. The interval of one network says nothing of another:
# had we only measured the shared one, we would now believe that batch norm is worth far more than it is elsewhere.
#
# Between group and layer norm no difference can be seen, with any of the three. Two groups or one is a small change.

# %%
ours_of = {"group": "ten epochs, group norm, ours", "layer": "ten epochs, layer norm, ours",
           "batch": "ten epochs, 96 and 128 channels, SiLU"}  # names of ideas, with SGD's peak 0.3
lower = {norm: tried[f"{idea}, SGD's peak 0.1"] - tried[idea] for norm, idea in ours_of.items()}
run.claims(
    ("With the shared network batch norm is ahead of group norm and of layer norm.",
     better(shared["bn"], shared["gn"]) and better(shared["bn"], shared["ln"])),
    ("With `budgeted`, too.",
     better(budgeted["bn"], budgeted["gn"]) and better(budgeted["bn"], budgeted["ln"])),
    ("With the shared network the lead is more than three times as large.",
     all(difference(shared["bn"], shared[norm]).mean > 3 * difference(budgeted["bn"], budgeted[norm]).mean
         for norm in ("gn", "ln"))),
    ("Group norm and layer norm can't be told apart, with either network.",
     undecided(shared["gn"], shared["ln"]) and undecided(budgeted["gn"], budgeted["ln"])),
    ("On held-out images a lower peak for SGD gains 0.3 points or more with group norm, and nothing with the others.",
     lower["group"] > 0.3 and max(lower["layer"], lower["batch"]) < 0.1),
    ("With ours batch norm is ahead in each pair of runs with the same seed,",
     all(one["accuracy"] > other["accuracy"] for norm in ("gn", "ln")
         for one, other in zip(full["bn"]["results"], full[norm]["results"], strict=False))),
    ("but no interval excludes 0.", all(undecided(full[one], full[other]) for one, other in pairs)),
    ("With each norm every run of all three networks reaches the goal.",
     all(summary["worst"] >= goal.limit for found in (full, shared, budgeted) for summary in found.values())),
    ("Every run of ours is ahead of every run of the other networks, which have fewer epochs.",
     all(min(one["accuracy"] for one in full[norm]["results"]) > max(
         one["accuracy"] for found in (shared, budgeted) for one in found[norm]["results"]) for norm in names)),
)


# %% [markdown]
# ## What they get wrong
#
# Ten test images for each norm, the most confident mistakes first. The title of an image has its number in the test
# set.

# %%
def mistakes(norm):
    found = find_misclassified(trained[norm], test_set)
    return plots.misclassified(test_set.images, found, test_set.classes, name=names[norm])


# %% tags=["figure-misclassified"]
mistakes("bn")

# %%
mistakes("gn")

# %%
mistakes("ln")

# %% [markdown]
# Do the same images come back? Take the ten of batch norm, and ask all three networks:

# %%
shares = {norm: predict(model, test_set).softmax(1) for norm, model in trained.items()}
ten = [mistake.index for mistake in find_misclassified(trained["bn"], test_set)[:10]]


def says(norm, index):
    share, label = shares[norm][index].max(0)
    return f"{test_set.classes[label]} ({share:.0%})" + " ✓" * (label == test_set.labels[index]).item()


rows = [(index, test_set.classes[test_set.labels[index]], *(says(norm, index) for norm in names)) for index in ten]
Markdown(tables.markdown(" | ".join(["image", "label", *names.values()]), rows, "rllll"))

# %% [markdown]
# Most of the ten are wrong with every norm. Where all three agree against the label, look at the picture before you
# blame the networks: some labels of CIFAR-10 are wrong. S9.4 comes back to that.

# %%
wrong_with_all = sum(all(shares[norm][index].argmax() != test_set.labels[index] for norm in names) for index in ten)
run.claims(("More than half of batch norm's ten are wrong with all three.", wrong_with_all > len(ten) / 2))


# %% [markdown]
# ## What one norm gets right and the others don't
#
# Do norms see different things? Count the images that only one of the three gets right. (These are the published
# networks, in every preset, so that the control below compares like with like.)

# %%
def alone(right, name):
    """The images that `name` has right and all others wrong, as a mask."""
    return right[name] & ~torch.stack([right[other] for other in right if other != name]).any(0)


def who_is_right(right):
    together = torch.stack(list(right.values()))
    rows = [("all three", together.all(0)), *((f"{name} alone", alone(right, name)) for name in right),
            ("none", ~together.any(0))]
    return Markdown(tables.markdown("right with | test images", [(name, f"{images.sum():,}") for name, images in rows],
                                    "lr"))


def is_right(model):
    return predict(model.to(test_set.images.device), test_set).argmax(1) == test_set.labels


by_norm = {name: is_right(pretrained("S8_norms/4_three_norms", "ours", norm)) for norm, name in names.items()}
who_is_right(by_norm)

# %% [markdown]
# Hundreds of images that only one norm gets right: so each norm has its own strengths? That needs a control. Here are
# three networks with the *same* norm, which differ in their seed only.

# %%
by_seed = {f"batch norm, seed {number}": is_right(pretrained("S8_norms/4_three_norms", "ours", "bn", number))
           for number in range(3)}
who_is_right(by_seed)


# %% [markdown]
# ### Analysis
#
# Another seed alone changes who gets which image right, and by far the larger part of what the norms differ in can be
# had without changing the norm. So a picture of images that "only batch norm recognizes" would be a picture of chance.
# That is why this notebook has none.

# %%
def count_alone(right):
    return sum(alone(right, name).sum().item() for name in right)


run.claims(
    ("Three seeds of one norm disagree at least two thirds as often as three norms.",
     count_alone(by_seed) > 2 / 3 * count_alone(by_norm)),
    ("With three norms and with three seeds alike, most images are right with all.",
     all(torch.stack(list(right.values())).all(0).double().mean() > 0.5 for right in (by_norm, by_seed))),
)

# %% [markdown]
# One confusion matrix, of batch norm: how often each class was taken for each other one. Which pair stands out?

# %%
guesses = shares["bn"].argmax(1)
plots.confusion_matrix(test_set.labels, guesses, test_set.classes)

# %% [markdown]
# Cats are taken for dogs, and dogs for cats, more often than any other class is taken for any other.

# %%
confused = torch.zeros(10, 10, dtype=torch.long).index_put_(
    (test_set.labels.cpu(), guesses.cpu()), torch.tensor(1), accumulate=True).fill_diagonal_(0)
worst_pairs = {divmod(place, 10) for place in confused.flatten().topk(2).indices.tolist()}
cat, dog = test_set.classes.index("cat"), test_set.classes.index("dog")
run.claims(("The two most frequent confusions are of cats and dogs.", worst_pairs == {(cat, dog), (dog, cat)}))


# %% [markdown]
# ## Exercises
#
# **1.** Write the 95 % interval of the mean of five differences, as (low, high). For five, Student's t is 2.776.

# %% tags=["exercise"]
def interval(differences):
    ...


check("S8.4.1", interval)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def interval(differences):
#     d = torch.tensor(differences)
#     half = 2.776 * d.std() / len(d) ** 0.5
#     return (d.mean() - half).item(), (d.mean() + half).item()
# ```
#
# With two runs in place of five t is 12.7: that is what few seeds cost.
# </details>
#
# **2.** The interval of batch norm over group norm excludes 0 for the shared network. What does that say batch norm is
# better for: "every network", "this network" or "no network"?

# %% tags=["exercise"]
better_for = ...
check("S8.4.2", better_for)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# better_for = "this network"
# ```
#
# And this recipe. Seeds cover the chance of training, not the choice of a network.
# </details>
#
# **3.** A network classifies 87 % of 10,000 test images correctly. What is the standard error of that number, in
# points? (S7.2 has the formula.)

# %% tags=["exercise"]
standard_error = ...
check("S8.4.3", standard_error)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# standard_error = 100 * (0.87 * 0.13 / 10_000) ** 0.5
# ```
#
# So another ten thousand test images could move the number by half a point. The *difference* of two networks on the
# same images is surer.
# </details>
#
# **4.** Write how many images each network gets right that all others get wrong: `right` has a row of true and false
# for each network, a column for each image.

# %% tags=["exercise"]
def count_each_alone(right):
    ...


check("S8.4.4", count_each_alone)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def count_each_alone(right):
#     return (right & (right.sum(0) == 1)).sum(1)
# ```
#
# Exactly one network has the image right, and it is this one.
# </details>
#
# **5.** A norm was trained with several `peaks`, and each run has an accuracy on held-out training images and one on
# the test images, in lists of the same order. Return the peak for the final run.

# %% tags=["exercise"]
def choose_peak(peaks, held_out, test):
    ...


check("S8.4.5", choose_peak)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def choose_peak(peaks, held_out, test):
#     return peaks[held_out.index(max(held_out))]
# ```
#
# Whatever is chosen by the test images looks better on them than it is, for their chance has a part in the choice.
# </details>
#
# ## References
#
# - Wu and He, [Group normalization](https://arxiv.org/abs/1803.08494), 2018; the other norms as in S8.1.
# - Student, [The probable error of a mean](https://doi.org/10.2307/2331554), 1908: the interval.
# - Bouthillier et al., [Accounting for variance in machine learning benchmarks](https://arxiv.org/abs/2103.03098),
#   2021: what a comparison over seeds covers, and what it doesn't.
#
# **Next:** [S8.5 Your turn](5_your_turn.ipynb).
