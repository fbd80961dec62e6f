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
# # S9.2 Augmentation: three transforms, their price, and how strong they should be
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S9_advanced_conv/2_augmentation.ipynb)
#
# **You will learn** the three transforms that the assignment asks for, by the library albumentations and by hand; what
# they cost in time; how to choose their strength; what augmentation is worth on a short schedule and on a long one; and
# why a smaller gap between training and test images isn't yet a better network.
#
# **You need** S7.3 for what augmentation is, and S8.3 for the recipe.
#
# **It takes** a minute of computing on two CPU cores. Nothing is trained here; the results of S9.4 are read.
#
# **Next** S9.3 looks at a network that others have made for the assignment.

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
from functools import partial

import torch
from IPython.display import Markdown
from scipy.stats import ks_2samp  # albumentations brings scipy
from scipy.stats import t as student_t

from common import augmentation, experiment, plots, tables, timing
from common.augmentation import BRIEF, BRIEF_BATCHED, GENTLE, augment
from common.claims import better, undecided
from common.data import MEAN
from common.exercises import check
from common.results import difference, held_out, published_summary

run = experiment.start("S9_advanced_conv", "2_augmentation", preset, seed, epochs, output)
data = train_set, test_set = run.data("cifar10")
generator = torch.Generator(train_set.images.device).manual_seed(seed)
images = train_set.images / 255

# %% [markdown]
# ## The three transforms
#
# The list below is what albumentations is told. (The assignment names the transforms. How strong they are is left to
# us, and a question for the end of this notebook.) Each transform is applied to half of the images (`p`), independently
# of the others. `HorizontalFlip` mirrors them. `ShiftScaleRotate` shifts them by up to a tenth of the side, makes them
# up to a tenth larger or smaller and turns them by up to 10 degrees. `CoarseDropout` covers a square of 16 x 16 pixels,
# a quarter of the image. `fill` is the colour of a hole and of what is shifted in from outside (`border_mode` 0). Two
# images, ten draws each:

# %%
(_, options), = BRIEF  # what a recipe calls augmentation: steps of a name and its options, here one
print(*options["transforms"], sep="\n")
chosen = torch.tensor([4, 7])
plots.samples(augment(images[chosen].repeat_interleave(10, 0), generator, BRIEF),
              train_set.labels[chosen].repeat_interleave(10), train_set.classes, rows=2, title="ten draws of each")


# %% [markdown]
# Would you know the car in each of them? That is the test of an augmentation: the label must stay right.
#
# ## Cutout by hand
#
# `CoarseDropout` with one hole is **cutout** (DeVries and Taylor, 2017). A network can't rely on one part of a thing
# when that part is often covered. (In the paper the square may reach over the image's border; here it doesn't.) Given a
# corner of the square, three lines fill it.

# %%
def cutout(image, top, left, size=16, fill=MEAN["cifar10"]):
    """The image (C, H, W) with a square of one colour."""
    image = image.clone()
    image[:, top:top + size, left:left + size] = torch.tensor(fill, device=image.device)[:, None, None]
    return image


ten = images[:10]
by_course = augmentation.cutout(ten, generator.clone_state(), size=16, fill=MEAN["cifar10"])
same_draws = generator.clone_state()  # a copy, which draws the same numbers again
# from 0 to 16, so that the square of 16 pixels stays inside the 32
tops, lefts = (torch.randint(32 - 16 + 1, (10, 1), generator=same_draws, device=images.device) for _ in range(2))
by_hand = torch.stack([cutout(image, int(top), int(left)) for image, top, left in zip(ten, tops, lefts, strict=True)])
torch.testing.assert_close(by_hand, by_course)


# %% [markdown]
# With which colour? With the mean of the data set: after normalization that is 0, as if there were no input. The units
# are a trap. Our images have values from 0 to 1, and the mean is about 0.47. albumentations is given bytes, from 0 to
# 255. A fill of 0.47 is accepted without a word, and what comes out is black.

# %%
def hole(fill):
    transform = ("CoarseDropout", {"num_holes_range": (1, 1), "hole_height_range": (16, 16),
                                   "hole_width_range": (16, 16), "fill": fill, "p": 1.0})
    return augmentation.albumentations(ten, generator.clone_state(), (transform,))


wrong, right = hole(tuple(MEAN["cifar10"])), hole(tuple(round(255 * mean) for mean in MEAN["cifar10"]))
plots.samples(torch.cat([wrong, right]), train_set.labels[:10].repeat(2), train_set.classes, rows=2,
              title="the same fill, given from 0 to 1 (above) and from 0 to 255 (below)")


# %% [markdown]
# No error, no warning: look at what you feed a network.
#
# ## The same, a batch at a time
#
# albumentations works on one image after the other, on the CPU. The same three transforms can be written as arithmetic
# on a whole batch, on the GPU if there is one. Cutout, for instance: which rows of each image are covered, which
# columns, and by broadcasting which pixels.

# %%
def cutout_batch(images, tops, lefts, size=16, fill=MEAN["cifar10"]):
    """The images (N, C, H, W), each with a square of its own; `tops` and `lefts` are (N, 1)."""
    row, column = (torch.arange(side, device=images.device) for side in images.shape[2:])
    rows = (row >= tops) & (row < tops + size)  # (N, H)
    columns = (column >= lefts) & (column < lefts + size)  # (N, W)
    covered = rows[:, None, :, None] & columns[:, None, None, :]  # (N, 1, H, W)
    return torch.where(covered, torch.tensor(fill, device=images.device)[:, None, None], images)


torch.testing.assert_close(cutout_batch(ten, tops, lefts), by_hand)

# %% [markdown]
# Do both ways draw from the same distribution? Take 2,000 augmented copies of one image and average them. Such averages
# differ even where all come from albumentations; that is the yardstick.

# %%
copies = images[4:5].expand(128 if preset == "smoke" else 2000, -1, -1, -1)
first, *others, batched = (augment(copies, generator, steps).mean(0) for steps in (*[BRIEF] * 4, BRIEF_BATCHED))
chances = [(first - other).abs().max().item() for other in others]
between = (first - batched).abs().max().item()
print("largest difference of an average from three others, all by albumentations:",
      ", ".join(f"{chance:.3f}" for chance in chances))
print(f"from one by the batch: {between:.3f}")
apart = torch.stack([(first - other).abs() for other in (*others, batched)]).cpu()
plots.samples(torch.cat([first.cpu()[None], apart / apart.max()]), range(5), ["average", *["chance"] * 3, "batch"],
              rows=1, title="an average; how far others by albumentations (chance) and one by the batch are from it "
                            f"(white: {apart.max():.3f})")


# %% [markdown]
# The differences are patches, here and there, and about equally strong. But an average is a weak test, for
# distributions with the same mean can differ. Better compare a number that can be read off each image, such as the row
# in which the hole begins. The Kolmogorov-Smirnov test does that: it takes the largest distance between the two
# cumulative distributions. Its p-value is how often two samples of one distribution are at least as far apart (or
# rarer, for whole numbers). Below 0.01 we would say that the distributions differ.

# %%
def first_rows(steps):
    """The row in which the black hole of each of many white images begins."""
    white = torch.ones(len(copies), 3, 32, 32, device=images.device)
    covered = (augment(white, generator, steps) < 0.5).any(dim=3).any(dim=1)  # (N, H): is anything of this row black?
    return covered.float().argmax(1).cpu()  # the first that is


black = ("CoarseDropout", {"num_holes_range": (1, 1), "hole_height_range": (16, 16), "hole_width_range": (16, 16),
                           "fill": 0, "p": 1.0})
theirs = first_rows((("albumentations", {"transforms": (black,)}),))
ours = first_rows((("cutout", {"size": 16, "fill": (0.0,) * 3}),))
p_value = ks_2samp(theirs, ours).pvalue
ranges = (f"{rows.min():.0f} to {rows.max():.0f}" for rows in (theirs, ours))
print("first rows from", " and from ".join(ranges), f"- p-value: {p_value:.2f}")

# %% [markdown]
# The course's tests do the same for angle, scale and shift, with thousands of single images
# (`tests/test_augmentation.py`). The verdict: the same distribution, as far as we could measure. On the way they showed
# two things that the name doesn't say: `ShiftScaleRotate` scales height and width by factors of their own, and shifts
# by whole pixels only.
#
# ## What they cost
#
# The time for a batch of 128 images.

# %%
batch = images[:128]
milliseconds = timing.milliseconds({name: partial(augment, batch, generator, steps) for name, steps in (
    ("albumentations", BRIEF), ("by the batch", BRIEF_BATCHED))}, seconds=0.1 if preset == "smoke" else 2)
Markdown(tables.markdown("| milliseconds for 128 images | seconds an epoch of 50,000", [
    (name, f"{value:.1f}", f"{value * 50 / 128:.1f}") for name, value in milliseconds.items()], "lrr"))


# %%
def least_pixels_of(pictures, colour):
    """How many pixels have this colour, in the picture that has fewest."""
    apart = pictures - torch.tensor(colour, device=pictures.device)[:, None, None]
    return (apart.abs().amax(1) < 0.003).sum((1, 2)).min()


run.claims(
    ("Both ways give averages that differ by hardly more than chance.", between < 1.5 * max(chances)),
    ("Between the first rows of their holes the test finds no difference.", p_value > 0.01),
    ("The batch is faster.", milliseconds["by the batch"] < milliseconds["albumentations"]),
    ("A fill of 0.47 makes black holes, one in bytes holes of the mean.",
     least_pixels_of(wrong, (0, 0, 0)) >= 16 * 16 and least_pixels_of(right, MEAN["cifar10"]) >= 16 * 16),
)

# %% [markdown]
# albumentations takes some seconds an epoch. On a CPU, which needs minutes for the rest of it, this is little; on a
# GPU, where the rest may take seconds, the network can wait for its images. This session trains with albumentations, as
# its assignment asks.
#
# ## How strong?
#
# A transform that is too weak protects from nothing, and one that is too strong hides what there is to learn. Which
# strength is best? The test set mustn't decide that. `ideas.py` beside this notebook trains a network (ours, which you
# meet in S9.4) on 40,000 training images and measures its accuracy on the other 10,000, with transforms by the batch,
# one run for each setting. First on a schedule of ten epochs. Each line flips half of the images, as above, and the
# first one has the three transforms above. Which do you expect ahead?

# %%
tried = held_out("S9_advanced_conv")
strengths = {
    "half, by a shift, a scale and a turn | half": "SiLU, 32, 128, 160 and 224 channels",
    "a quarter, in the same way | a quarter": "a quarter of the images moved, a quarter with a hole",
    "all, by a shift | none": "crop and flip",
}
Markdown(tables.markdown("images moved | images with a hole of 16 x 16 | held-out accuracy, %", [
    (*name.split(" | "), f"{tried[idea]:.2f}") for name, idea in strengths.items()], "llr"))

# %% [markdown]
# From the first line to the last the held-out accuracy rises by more than a point. An accuracy of 0.89 on 10,000 images
# has a standard error of $\sqrt{0.89 \cdot 0.11 / 10\,000}$, 0.3 points (S7.2), and the difference of two has at most
# $\sqrt{2}$ times that, 0.44. (Both networks see the same images, so part of the chance cancels.) The rise is three
# times as large, so the choice of images alone doesn't explain it. But each line was trained once, and another seed
# might change the order: weaker transforms look better after ten epochs, and one run each doesn't prove it. The last
# line differs from the others in several ways at once, so it can't say which of them counts.
#
# How many runs would show it? The mean of $n$ runs with a deviation of $s$ has the standard error $s / \sqrt n$, and
# the difference of two such means $s \sqrt{2 / n}$, if both networks scatter equally and a seed in common makes no two
# runs more alike. (In S8.4 $s$ was the deviation of the differences, which is $\sqrt 2$ times that of the runs.) The
# 95 % interval reaches $t_n$ of these to either side, by Student's t: 12.7 for two pairs of seeds, 4.3 for three, and
# about 2 for many. So the interval of a difference $d$ excludes 0 if
#
# $$t_n \, s \sqrt{2 / n} < d$$
#
# After 25 epochs the five runs of our network in S9.4 have a deviation of about 0.2 points. The smallest such $n$ for
# each $d$ (the first two are the rise above, and half of it):

# %%
s = published_summary("S9_advanced_conv/4_ours", "ours")["std"]
needed = {d: next(n for n in itertools.count(2) if student_t.ppf(0.975, n - 1) * s * (2 / n) ** 0.5 < d)
          for d in (1.4, 0.7, 0.5, 0.3, 0.2, 0.1)}
Markdown(tables.markdown("difference, points | pairs of seeds", list(needed.items()), "rr"))

# %% [markdown]
# The rise above would have taken three pairs, if runs of ten epochs scatter no more than those of 25. (On shorter
# schedules they scatter more.) A tenth of a point takes dozens, more than we can afford here. And these are the least
# numbers: where the true difference is $d$, chance makes the measured one smaller about half of the time, and then it
# isn't shown. So where single runs are all there is, ask for large differences, and leave small ones undecided.
#
# The session trains for 25 epochs, which may be another matter: the longer a network trains, the more it overfits. Here
# are three settings, trained once each for 25 epochs: a flip, a shift by up to four whole pixels, and in half of the
# images no hole, a small one or a large one.

# %%
holes = {
    "none": "25 epochs: flip and shift",
    "8 x 8": "25 epochs: flip, shift, a hole of 8 x 8 in half of the images",
    "16 x 16": "25 epochs: flip, shift, a hole of 16 x 16 in half of the images",
}
Markdown(tables.markdown("hole | held-out accuracy, %", [(name, f"{tried[idea]:.2f}") for name, idea in holes.items()],
                         "lr"))

# %% [markdown]
# They differ by less than 0.4 points, which single runs leave undecided. One has to be taken, and the assignment asks
# for a hole, so we take 8 x 8, although nothing shows that it is better. These are the transforms of this session,
# `GENTLE`. In the list below, 0.14 of 32 pixels is 4.48, which is cut down to 4. Nearly every image is shifted. Limits
# of 0 leave nothing to scale or turn, so `ShiftScaleRotate` only shifts. `border_mode` 2 mirrors the image at its
# border. (Stronger shifts, scales and turns were not tried for 25 epochs.)

# %%
(_, options), = GENTLE
print(*options["transforms"], sep="\n")
plots.samples(augment(images[chosen].repeat_interleave(10, 0), generator, GENTLE),
              train_set.labels[chosen].repeat_interleave(10), train_set.classes, rows=2, title="GENTLE, ten draws each")

# %% [markdown]
# ## Less overfitting, and a better network?
#
# S9.4 has trained its network on a very short schedule, four epochs of 15,000 images, with `GENTLE` and without any
# augmentation, five seeds and three. First the generalization gap (S7.2): training images (the first 750) and test
# images as they are, measured in the same way.

# %%
augmented, plain, long_augmented, long_plain = (published_summary("S9_advanced_conv/4_ours", name) for name in (
    "ours_short", "ours_short_no_augmentation", "ours", "ours_no_augmentation"))
tables.gap_table([plain, augmented])

# %% [markdown]
# Without augmentation the network knows nearly all of its training images after four epochs. With it the gap is less
# than a third as wide, and nearly all of that is because it knows fewer of its training images. By how much is the
# augmented network better on test images?

# %%
Markdown(tables.difference_table([(augmented, plain)]))

# %% [markdown]
# Three seeds don't decide it: these short runs scatter by half a point, so they would have to be more (exercise 6). In
# so few steps augmentation has cost training accuracy, without a clear gain on test images. So a small gap is no aim in
# itself: the accuracy on new images is.
#
# But the session trains for 25 epochs. S9.4 has also trained the same two on the whole schedule, with all 50,000
# images, five seeds and three. Where will the lines lie? Guess for the training images (dashed) and for the test
# images.

# %%
plots.curves({"with augmentation": long_augmented, "without": long_plain})

# %% [markdown]
# (No mistake at all among the 2,500 training images that are looked at is drawn at 0.005 %.) On so wide an axis the two
# test curves are hard to tell apart at first. Here is their difference after each epoch, seed by seed:

# %%
with_it, without = (torch.tensor([[row["test_accuracy"] for row in one["curve"]] for one in of["results"]])
                    for of in (long_augmented, long_plain))  # (seeds, epochs)
lead = with_it[:len(without)] - without  # of the seeds that both have
plots.lines({f"seed {seed}": line.tolist() for seed, line in enumerate(lead)}, "epoch",
            "accuracy with - without (points)")

# %% [markdown]
# Read both figures from the left. Up to the sixth epoch all three pairs are below 0: plain images are easier to learn.
# From the eighth on all are above. By then the network without augmentation knows nearly all of its training images,
# soon all of the 2,500, and its test accuracy doesn't rise again, but falls by some tenths of a point. It overfits
# (S7.2). (The first four epochs of this figure aren't the short schedule: there the rate has come down by then, and
# here it still rises.)

# %%
tables.gap_table([long_plain, long_augmented])

# %%
Markdown(tables.difference_table([(long_augmented, long_plain)]))

# %% [markdown]
# Now the answer is clear. The three transforms together are worth nearly four points, about a third of the mistakes.
# (The last table has the three seeds that both have, the one before it all five.) Which of them brings how much wasn't
# tried.
#
# Here, too, the gap is smaller with augmentation. But more than two thirds of that is gained on test images, where on
# the short schedule nearly all of it was lost on training images. The transforms and the network are the same. The
# schedule isn't: more epochs of more images, about twenty times as many in all. (These runs can't tell the two apart.)
# A likely reason is that varied images take longer to learn. On the short schedule the network has learned only four
# fifths of them, on the long one nearly all. So judge a transform on the schedule for which you need it.

# %%
accuracies = [[tried[idea] for idea in ideas.values()] for ideas in (strengths, holes)]
run.claims(
    ("A difference of a tenth of a point takes more than two dozen pairs of seeds.", needed[0.1] > 24),
    ("After ten epochs the held-out accuracy rises from each line to the next, by more than a point in all.",
     accuracies[0] == sorted(accuracies[0]) and accuracies[0][-1] > accuracies[0][0] + 1),
    ("After 25 epochs the three lines are within 0.4 points.", max(accuracies[1]) - min(accuracies[1]) < 0.4),
    ("Without augmentation it is right about more than 95 % of its training images.",
     all(one["curve"][-1]["fit_accuracy"] > 95 for one in plain["results"])),
    ("Augmentation makes the gap less than a third as wide, more than nine tenths of it by what is lost in training.",
     tables.gap(augmented) < tables.gap(plain) / 3
     and augmented["mean"] - plain["mean"] < 0.1 * (tables.gap(plain) - tables.gap(augmented))),
    ("After four epochs of 15,000 images three seeds can't tell which is more accurate.", undecided(plain, augmented)),
    ("After 25 epochs of all images augmentation is better, by nearly four points and about a third of the mistakes.",
     better(long_augmented, long_plain) and 3.5 < difference(long_augmented, long_plain).mean < 4
     and abs((100 - long_augmented["mean"]) / (100 - long_plain["mean"]) - 2 / 3) < 0.05),
    ("Up to the sixth epoch all three pairs are below 0, from the eighth on above.",
     len(lead) == 3 and (lead[:, :6] < 0).all() and (lead[:, 7:] > 0).all()),
    ("Without it the network knows 98 % of its training images after eight epochs, and all of them from the 13th on.",
     all(one["curve"][7]["fit_accuracy"] > 98 and all(row["fit_accuracy"] == 100 for row in one["curve"][12:])
         for one in long_plain["results"])),
    ("From the eighth epoch to the last its test accuracy falls, by less than a point.",
     ((0 < without[:, 7] - without[:, 24]) & (without[:, 7] - without[:, 24] < 1)).all()),
    ("The gap is smaller with it, and more than two thirds of that is gained on test images.",
     long_augmented["mean"] - long_plain["mean"] > 2 / 3 * (tables.gap(long_plain) - tables.gap(long_augmented)) > 0),
)

# %% [markdown]
# ## Exercises
#
# **1.** Each of three transforms is applied with probability 1/2, independently of the others. What fraction of the
# images comes out unchanged?

# %% tags=["exercise"]
unchanged = ...
check("S9.2.1", unchanged)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# unchanged = 1 / 2**3
# ```
#
# So one image in eight is seen as it is. (With `GENTLE`, which shifts nearly every image, hardly any.)
# </details>
#
# **2.** In another data set the mean of the blue channel is 0.2875 of 1. Which byte fills a hole with it?

# %% tags=["exercise"]
blue = ...
check("S9.2.2", blue)


# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# blue = round(0.2875 * 255)
# ```
#
# Given as 0.2875, it would have been the byte 0.
# </details>
#
# **3.** Flip by the batch: mirror those `images` (N, C, H, W) left to right for which `chosen` (N) is true.

# %% tags=["exercise"]
def flip(images, chosen):
    ...


check("S9.2.3", flip)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def flip(images, chosen):
#     return torch.where(chosen[:, None, None, None], images.flip(3), images)
# ```
#
# No loop over images: that is what makes it fast.
# </details>
#
# **4.** `GENTLE` cuts a square of 8 x 8 pixels out of half of the images of 32 x 32. What fraction of all pixels does
# it cover on average?

# %% tags=["exercise"]
covered = ...
check("S9.2.4", covered)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# covered = 0.5 * 8**2 / 32**2
# ```
#
# A sixteenth of each image that has a hole, and half of them have one. (A square of 16 x 16 covers four times as much.)
# </details>
#
# **5.** A network must tell left hands from right hands. Which of the three mustn't be used: "flip",
# "shift" or "hole"?

# %% tags=["exercise"]
not_for_hands = ...
check("S9.2.5", not_for_hands)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# not_for_hands = "flip"
# ```
#
# A mirrored left hand is a right hand, with the wrong label.
# </details>
#
# **6.** Runs of the short schedule have a deviation of 0.5 points, and 0.86 points is the difference of two means. For
# 2, 3, 4, 5, 6 and 7 pairs of seeds $t_n$ is 12.71, 4.30, 3.18, 2.78, 2.57 and 2.45. How many pairs does it take at
# least, so that the 95 % interval excludes 0?

# %% tags=["exercise"]
pairs = ...
check("S9.2.6", pairs)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# t = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45}
# pairs = min(n for n in t if t[n] * 0.5 * (2 / n) ** 0.5 < 0.86)
# ```
#
# With five the interval still reaches 0.88 points to either side, with six 0.74.
# </details>
#
# ## References
#
# - Buslaev et al., [Albumentations](https://arxiv.org/abs/1809.06839), 2020.
# - DeVries and Taylor, [Improved regularization of convolutional neural networks with
#   cutout](https://arxiv.org/abs/1708.04552), 2017.
#
# **Next:** [S9.3 Inverted bottlenecks](3_inverted_bottlenecks.ipynb).
