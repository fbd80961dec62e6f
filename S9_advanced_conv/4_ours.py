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
# # S9.4 Ours: a network for the assignment, and what it gets wrong
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S9_advanced_conv/4_ours.ipynb)
#
# **You will learn** how our network for the assignment is put together; what a dilation costs in place of a stride; to
# read an ablation; what a wrong label looks like; and what Grad-CAM shows.
#
# **You need** S9.1 for the layers, S9.2 for the transforms, and S8.3 for the recipe.
#
# **It takes** about seven minutes of computing on two CPU cores as it stands: `preset = "quick"` trains our network on
# a short schedule and reads the other results. The text speaks of the full runs.
#
# **Next** S9.5 asks how few parameters and how many epochs it takes.

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
from IPython.display import Markdown
from torch import nn

from common import experiment, grad_cam, plots, recipes, tables, timing
from common.anatomy import blocks, count_parameters, layer_kinds, multiply_accumulates
from common.claims import better, undecided
from common.data import load, normalize
from common.exercises import check
from common.models import s9
from common.precision import Precision, choose
from common.pretrained import pretrained
from common.receptive_field import receptive_field
from common.results import difference, held_out, published_summary
from common.targets import Target
from common.training import evaluate, find_misclassified, predict

run = experiment.start("S9_advanced_conv", "4_ours", preset, seed, epochs, output)
shape = (3, 32, 32)
data = train_set, test_set = run.data("cifar10")

# %% [markdown]
# ## Ours
#
# ### Target
#
# Every line of the assignment, checked by the run, and 90 % or more in 25 epochs, as many as the authors of S9.3's
# network took. C1 works at 32 x 32 pixels, C2 at 16 x 16, C3 at 8 x 8 and C4 at 4 x 4. After the first layer all
# convolutions are depthwise separable, and C1 is no more than that: two layers. The first layer of C2, C3 and C4
# changes the number of channels, and halves the map. The second keeps both, so that its input can be added (a residual
# connection), and is used twice in a row (weight sharing, S8.3): the second use costs arithmetic and no parameter but
# those of a norm. C3 has a third layer, the dilated one.
#
# Channels are few where pixels are many, and many where pixels are few: 32 at 1,024 positions, 224 at 16. So most
# parameters are at the end. And C1, which had most of the arithmetic in S9.3's network, has hardly any: here half of it
# is in C2. The activation is SiLU, as in S8.3.

# %%
plots.diagram(s9.ours(), shape)

# %%
tables.block_table(s9.ours(), shape)

# %%
tables.full_table(s9.ours(), shape)

# %%
# depthwise and dilated convolutions, as the assignment asks for them
for kind, names in layer_kinds(s9.ours()).items():
    print(f"{kind}: {', '.join(names) or 'none'}")
tables.receptive_field_table(receptive_field(s9.ours(), shape))

# %% [markdown]
# Why SiLU, and why these channels? Compare it with a simpler network: ReLU, and 32, 64, 160 and 256 channels in C1 to
# C4, which is fewer in C2 and more in C4. `ideas.py` beside this notebook made the two changes one after the other, for
# ten epochs of 40,000 training images with the stronger transforms of S9.2, and asked the other 10,000; the test set
# has no part in it. How much do you expect of each?

# %%
tried = held_out("S9_advanced_conv")
steps = ["ReLU, 32, 64, 160 and 256 channels", "32, 64, 160 and 256 channels", "SiLU, 32, 128, 160 and 224 channels"]
Markdown(tables.markdown("network | held-out accuracy, %", [
    (name, f"{tried[idea]:.2f}") for name, idea in zip((steps[0], f"SiLU, {steps[1]}", f"{steps[2]} (ours)"), steps,
                                                       strict=True)], "lr"))

# %% [markdown]
# SiLU seems to bring more than half a point, and so do the channels, in one run each. The standard error of such a
# difference is at most 0.4 or so (S9.2), and another seed gives another number. So both may help, and neither is shown
# to.

# %%
macs = [block["macs"] for block in blocks(s9.ours(), shape)]
run.claims(
    ("The first two layers, C1, have less than a tenth of the arithmetic, and the next two about half.",
     sum(macs[:2]) < sum(macs) / 10 and 0.45 < sum(macs[2:4]) / sum(macs) < 0.55),
    ("On held-out images each of the two steps gains more than half a point, and less than a whole one.",
     0.5 < tried[steps[1]] - tried[steps[0]] < 1 and 0.5 < tried[steps[2]] - tried[steps[1]] < 1),
)

# %% [markdown]
# ### Result

# %%
recipe = run.recipe(recipes.S9, quick_epochs=4)
limits = [*run.session.budget, Target("epochs", "<=", 25), run.at_least(90.0)]
ours_result, ours_model = run.train_or_read("ours", s9.ours, recipe, data, limits)
ours = run.over_seeds(ours_result)
plots.curves({"ours": ours}, target=limits[-1].limit)

# %%
tables.target_table(ours_result)

# %% [markdown]
# ### Analysis
#
# How much of its training images has it learned by heart? The training accuracy that is printed after each epoch is of
# no help: it is that of augmented images, counted while the weights still changed. Training and test images have to be
# measured in the same way, with the last weights and images as they are. The dashed line of the figure does that for
# 2,500 training images, and the next cell for 5,000. (These are the weights that come with the course, of 25 epochs, in
# every preset.)

# %%
known = pretrained("S9_advanced_conv/4_ours", "ours").to(train_set.images.device)
on_training, on_test = evaluate(known, train_set[:5000])[1], evaluate(known, test_set)[1]
print(f"5,000 training images: {on_training:.1f} %, test images: {on_test:.1f} %")

# %% [markdown]
# So it knows its training images much better than others. And is it better than the network of S9.3? Compare how both
# were trained, and answer in exercise 3.
#
# Two receptive fields are in the tables. The targets count that after the global average, which joins all positions. A
# position of the last map sees the smaller one, 91 pixels, and that is above 44 as well. The image has only 32: a
# position in the middle sees all of it, and zeros around it.

# %%
published = {name: published_summary("S9_advanced_conv/4_ours", name) for name in (
    "ours", "ours_short", "dilated_short", "ours_short_sgd", "ours_short_no_augmentation")}
run.claims(
    ("Each seed reaches 90 % after the last epoch.", published["ours"]["worst"] >= 90),
    ("Each has a lower accuracy on augmented training images than on training images as they are.",
     all(one["train_accuracy"] < one["curve"][-1]["fit_accuracy"] for one in published["ours"]["results"])),
    ("By the same measure training images are ahead by more than four points.", on_training > on_test + 4),
)

# %% [markdown]
# ## A dilation in place of a stride
#
# In C4 there are two ways to see further: a stride, after which it has 4 x 4 positions, or a dilation of 2 in all its
# layers, with which it keeps its 8 x 8. Parameters and receptive field are about the same; the computation isn't. With
# the last layer of C3 that makes four dilations of 2 in a row, and that is the checkerboard of S9.1.

# %%
variants = {"stride (ours)": s9.ours, "dilation": s9.dilated}
Markdown(tables.markdown("C4 with | parameters | last map | receptive field | multiply-accumulates", [
    (name, f"{count_parameters(make()):,}", f"{table[-1].size_in} x {table[-1].size_in}", table[-1].rf_in,
     f"{multiply_accumulates(make(), shape) / 1e6:.1f} M")
    for name, make in variants.items() for table in [receptive_field(make(), shape)]], "lrrrr"))

# %% [markdown]
# A map of 8 x 8 has four times the positions, over which the average is taken, and all of C4 pays for them. Is the
# network more accurate? Both on a short schedule, four epochs of 15,000 images with the transforms of the recipe, three
# seeds each (the curves printed below are those of seed 0):

# %%
within = [run.session.target("params")]
short = run.recipe(replace(recipes.S9, epochs=4, train_images=15_000))
with_stride, with_dilation = (run.over_seeds(run.train_or_read(name, make, short, data, within)[0])
                              for name, make in (("ours_short", s9.ours), ("dilated_short", s9.dilated)))
Markdown(tables.difference_table([(with_dilation, with_stride)]))


# %% [markdown]
# With dilation the network was ahead with each seed, but by how much differs so widely that the interval includes 0:
# three seeds can't decide. (The gaps of the checkerboard have not made it worse, at any rate: other layers look between
# them.) Even if it is better, it costs time, for four times the positions in C4. Here is a step of 64 images, in the
# precision in which the network trains on this machine:

# %%
def step(network):
    with precision.autocast():
        logits = network(images)
    logits.float().sum().backward()


device = train_set.images.device
precision = Precision(choose(device), device.type, fp32_steps=0)
images = torch.randn(64, *shape, device=device).to(memory_format=torch.channels_last)
milliseconds = timing.milliseconds({name: partial(step, make().to(device, memory_format=torch.channels_last))
                                    for name, make in variants.items()}, seconds=0.1 if preset == "smoke" else 2)
print(*(f"{name}: {value:.0f} ms in {precision.name}" for name, value in milliseconds.items()), sep="\n")

# %% [markdown]
# ## Two parts of the recipe: an ablation
#
# ### Target
#
# In an **ablation** one part is taken out, and all else stays: SGD for all weights in place of Muon; images as they are
# in place of augmented ones. The short schedule again, three seeds each. Which part counts most?

# %%
parts = {"ours_short_sgd": {"muon": 0.0}, "ours_short_no_augmentation": {"augmentation": ()}}

# %% [markdown]
# ### Result

# %%
ablated = [run.over_seeds(run.train_or_read(name, s9.ours, replace(short, **change), data, within)[0])
           for name, change in parts.items()]
plots.differences({tables.title(row): difference(row, with_stride) for row in ablated},
                  "difference in test accuracy (points)")

# %%
Markdown(tables.difference_table([(row, with_stride) for row in ablated]))

# %% [markdown]
# ### Analysis
#
# Muon is worth most here, by far. But SGD ran at the rate that was chosen for the recipe with Muon, and had few steps.
# A fair comparison tunes it first, as S8.3 does, where label smoothing, EMA and others are taken out, too. For
# augmentation three seeds show no clear difference, although it closes most of the gap to the training images (S9.2).
#
# So this table says what helps to learn fast. What helps after 25 epochs, only runs of 25 epochs could say.

# %%
run.claims(
    ("Dilation makes no clear difference, although it is ahead with each seed.",
     undecided(published["dilated_short"], published["ours_short"])
     and all(one["accuracy"] > other["accuracy"] for one, other in zip(
         published["dilated_short"]["results"], published["ours_short"]["results"], strict=True))),
    ("With SGD it is worse by more than five points.",
     better(published["ours_short"], published["ours_short_sgd"])
     and difference(published["ours_short_sgd"], published["ours_short"]).mean < -5),
    ("Without augmentation there is no clear difference.",
     undecided(published["ours_short_no_augmentation"], published["ours_short"])),
)

# %% [markdown]
# ## What it gets wrong
#
# The most confident mistakes, with the image's number in the test set. Look at each: would you have known?

# %% tags=["figure-misclassified"]
mistakes = find_misclassified(ours_model, test_set)
plots.misclassified(test_set.images, mistakes, test_set.classes)

# %% [markdown]
# ### Is the label right?
#
# Northcutt et al. (2021) took the 275 test images whose labels other networks contradict most, and showed each to five
# people, with the label and the networks' class to choose from. In 54 cases most didn't choose the label. Below are the
# seven for which at least four of the five chose the networks' class. What do you see? And what does our network say?

# %%
people = {1227: "dog", 2405: "frog", 2804: "dog", 5191: "dog", 6877: "ship", 7657: "horse", 8058: "horse"}
doubtful = load("cifar10", test_set.images.device)[1][torch.tensor(list(people))]
plots.samples(doubtful.images, doubtful.labels, doubtful.classes, rows=1, title="with their labels")

# %%
shares, guesses = predict(ours_model, doubtful).softmax(1).max(1)
says = [doubtful.classes[guess] for guess in guesses]
Markdown(tables.markdown("image | label | people | our network", [
    (image, doubtful.classes[label], people[image], f"{said} ({share:.0%})")
    for image, label, said, share in zip(people, doubtful.labels, says, shares, strict=True)], "rlll"))

# %% [markdown]
# The frog is a frog, whatever its label says. This is **label noise**. For three of the seven images our network says
# what people said, for three it says the label, and for one neither. People err, too: does the last picture show a
# horse? Where a label is wrong a network is counted right only if it repeats the error. The 54 are half a percent of
# the test set, and nobody looked at the rest. So differences above some 99.5 % mean little. Our network is far from
# that: it has more than ten times as many mistakes.

# %%
run.claims(
    ("The network calls the frog a frog.", "frog" in says),
    ("It agrees with people as often as with the labels.",
     sum(said == seen for said, seen in zip(says, people.values(), strict=True))
     == sum(said == doubtful.classes[label] for said, label in zip(says, doubtful.labels, strict=True))),
    ("It has more than ten times as many mistakes as there are doubtful labels.", len(mistakes) > 10 * 54),
)

# %% [markdown]
# ## Where it looks
#
# The network ends with an average over the last map and a linear layer. Let $A_k(h, w)$ be channel $k$ of that map at
# the position $(h, w)$, one of $H$ times $W$, and $w_{ck}$ and $b_c$ the linear layer's weights and its bias. Then the
# logit of class $c$ is a sum over all positions, and each position's share can be read off:
#
# $$z_c = b_c + \frac{1}{HW} \sum_{h,w} \sum_k w_{ck} \, A_k(h, w)$$
#
# The inner sum over the channels, divided by $HW$, is a map: the **class activation map** (CAM; Zhou et al., 2016)
# shows where the evidence for $c$ is. **Grad-CAM** (Selvaraju et al., 2017) takes the mean gradient of the logit in
# place of
# $w_{ck} / HW$, so it works for any map of any network; what is below 0, evidence against the class, is cut off. Here,
# at the last map, both are the same.

# %%
last_map = ours_model[-4]  # C4, before the average
body, linear = nn.Sequential(*list(ours_model)[:-3]), ours_model[-1]
predictions = predict(ours_model, test_set).argmax(1)
right = (predictions == test_set.labels).nonzero().flatten()[:8]
inputs = normalize(test_set.images[right] / 255, "cifar10")
labels = test_set.labels[right]
with torch.no_grad():
    by_hand = torch.einsum("nk,nkhw->nhw", linear.weight[labels], body(inputs)).relu() / (4 * 4)
    by_hand = nn.functional.interpolate(by_hand[:, None], (32, 32), mode="bilinear")[:, 0]
torch.testing.assert_close(by_hand, grad_cam.grad_cam(ours_model, inputs, last_map, labels), rtol=1e-3, atol=1e-3)

# %%
grad_cam.show(ours_model, last_map, test_set, right, predictions, "classified correctly")

# %% [markdown]
# Yellow is much evidence, violet little. Each image has a scale of its own, so a bright spot of one can't be compared
# with another's. And a map has only 4 x 4 positions, each of which could see the whole image. For mistakes, compare the
# predicted class with the true one, which are on the same scale: is there any evidence for the true class, and where?
# Every hundredth mistake, from the surest to the least sure:

# %%
wrong = torch.tensor([mistake.index for mistake in mistakes[::100][:8]], dtype=int)
grad_cam.show(ours_model, last_map, test_set, wrong, predictions, "classified wrongly, the surest first")

# %% [markdown]
# And for all mistakes: the largest value of the true class's map, as a part of that of the predicted class.

# %%
every = torch.tensor([mistake.index for mistake in mistakes], dtype=int)
inputs = normalize(test_set.images[every] / 255, "cifar10")
of_true, of_predicted = (grad_cam.grad_cam(ours_model, inputs, last_map, classes.to(inputs.device)).amax((1, 2))
                         for classes in (test_set.labels[every], predictions[every]))
surer, less_sure = (part.mean().item() for part in (of_true / of_predicted).chunk(2))
print(f"the surer half of the mistakes: {surer:.0%}, the other half: {less_sure:.0%}")

# %% [markdown]
# ### Analysis
#
# The surer the mistake, the less evidence for the true class is anywhere: the lowest row is dark on the left. Further
# to the right there is some. In the sixth picture both classes look at the same animal, a cat or a dog. In the seventh
# the head with the antlers speaks for a deer and the slope for an airplane: the network has found the deer, and the
# rest outweighs it. So a mistake can be a thing taken for another, or a thing outweighed by what is around it, and such
# maps help to tell which. They show where evidence is, on 16 positions, and not why it counts.

# %%
run.claims(
    ("The surer half of the mistakes has less evidence for the true class, by more than a quarter.",
     surer < 0.75 * less_sure),
)


# %% [markdown]
# ## Exercises
#
# **1.** Write the class activation map of one image: `maps` (K, H, W) are the last maps, `weights` (K) those of one
# class in the linear layer. Don't divide by $HW$; evidence against the class counts 0.

# %% tags=["exercise"]
def class_activation_map(maps, weights):
    ...


check("S9.4.1", class_activation_map)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def class_activation_map(maps, weights):
#     return (weights[:, None, None] * maps).sum(0).relu()
# ```
#
# Without the ReLU, its mean plus the bias is the logit.
# </details>
#
# **2.** Suppose that of 10,000 test labels 54 are wrong. What is the highest accuracy, in percent, of a network that is
# right about every image, judged by these labels?

# %% tags=["exercise"]
highest = ...
check("S9.4.2", highest)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# highest = 100 * (1 - 54 / 10_000)
# ```
#
# Whatever reaches more agrees with some of the errors.
# </details>
#
# **3.** Network A has 89.4 % after 25 epochs, network B 88.5 % after 12, by the same recipe. Which is better: "A", "B"
# or "unknown"?

# %% tags=["exercise"]
better_network = ...
check("S9.4.3", better_network)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# better_network = "unknown"
# ```
#
# Train both for as many epochs, with several seeds.
# </details>
#
# **4.** The last layer of C4 keeps its 224 channels and is used twice in a row. Both uses share its depthwise 3x3 and
# its 1x1 convolution; each has a norm of its own, with two parameters a channel. How many parameters would two such
# layers have that share nothing?

# %% tags=["exercise"]
unshared = ...
check("S9.4.4", unshared)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# unshared = 2 * (9 * 224 + 224 * 224 + 2 * 224)
# ```
#
# The table above has 53,088 for the shared one, so sharing saves a quarter of the budget here.
# </details>
#
# **5.** Write the mean difference of two networks seed by seed. `ours` and `theirs` are lists of (seed, accuracy), and
# only seeds that both have may count.

# %% tags=["exercise"]
def mean_difference(ours, theirs):
    ...


check("S9.4.5", mean_difference)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def mean_difference(ours, theirs):
#     ours, theirs = dict(ours), dict(theirs)
#     seeds = ours.keys() & theirs.keys()
#     return sum(ours[seed] - theirs[seed] for seed in seeds) / len(seeds)
# ```
#
# The same seed means the same images in the same order, so part of the chance may cancel out.
# </details>
#
# ## References
#
# - Zhou et al., [Learning deep features for discriminative localization](https://arxiv.org/abs/1512.04150), 2016: CAM.
# - Selvaraju et al., [Grad-CAM](https://arxiv.org/abs/1610.02391), 2017.
# - Northcutt et al., [Pervasive label errors in test sets](https://arxiv.org/abs/2103.14749), 2021.
#
# **Next:** [S9.5 Budgets](5_smaller_longer.ipynb).
