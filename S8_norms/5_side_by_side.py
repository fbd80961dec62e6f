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
# # S8.5 Side by side: three norms, one network
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/small-cnn-course/blob/main/S8_norms/5_side_by_side.ipynb)
#
# The same network, recipe and first weights, three norms. Which learns faster, which ends higher, which one depends on
# the size of the batch, and what batch norm does when there is no batch.

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
import itertools
from functools import partial

import torch
from IPython.display import Markdown, display

from common import anatomy, experiment, plots, recipes, tables
from common.models import s8
from common.pretrained import pretrained
from common.training import Recipe, evaluate, find_misclassified, make_batches, predict

here = "5_side_by_side"
trained_in = {"bn": "2_batch_norm", "gn": "3_group_norm", "ln": "4_layer_norm"}
names = {"bn": "batch norm", "gn": "group norm", "ln": "layer norm"}


def experiment_of(notebook: str) -> experiment.Experiment:
    return experiment.start("S8_norms", notebook, preset, seed, epochs, output)


run = experiment_of(here)
shape = (3, 32, 32)

# %% [markdown]
# ## What each norm takes together
#
# A cell is one channel of one image; cells of one colour share a mean and a deviation. Only batch norm mixes images.

# %%
plots.normalized_together()

# %% [markdown]
# ## One network, three norms
#
# ### Target
#
# Our network of the last notebooks with each of the norms: the session's goal, within its budget.

# %%
data = train_set, test_set = run.data("cifar10")
plots.samples(train_set.images, train_set.labels, train_set.classes, rows=1)

# %%
recipe = run.recipe(recipes.S8, quick_epochs=2)
target = [*run.session.budget, run.session.goal]
print(anatomy.torchsummary_table(s8.ours("bn"), shape))

# %% [markdown]
# ### Result
#
# In the full preset the results are those of the last three notebooks; the quick preset trains its own.

# %%
results, trained = {}, {}
for norm, notebook in trained_in.items():
    print(names[norm])
    one = experiment_of(notebook) if preset == "full" else run
    results[norm], trained[norm] = one.train_or_read(
        "ours", partial(s8.ours, norm), recipe, data, target, norm=norm)

# %% tags=["figure-curves"]
summaries = {norm: (experiment_of(trained_in[norm]) if preset == "full" else run).over_seeds(result)
             for norm, result in results.items()}
plots.curves({names[norm]: row for norm, row in summaries.items()}, target=run.session.goal.limit)

# %%
for norm, result in results.items():
    display(Markdown(f"**{names[norm]}**"), tables.target_table(result))

# %% [markdown]
# ### Analysis
#
# Training and test accuracy of the three norms:

# %%
tables.summary_table(list(summaries.values()))

# %%
plots.per_seed({names[norm]: [one["accuracy"] for one in row["results"]] for norm, row in summaries.items()})

# %%
order = sorted(summaries, key=lambda norm: -summaries[norm]["mean"])
first, *others = order
display(Markdown(
    f"{names[first].capitalize()} has the highest mean: "
    + "; ".join(f"{tables.gain(summaries[first], summaries[norm])} from {names[norm]}" for norm in others) + ". "
    + " ".join(f"With {names[norm]} the network {tables.first_epoch(summaries[norm], run.session.goal.limit)}."
               for norm in order)
    + " The recipe is the same for all, and was chosen with batch norm (notebook S8.2): with a recipe of their own the "
    "others may gain."
))


# %% [markdown]
# ## What they get wrong
#
# Ten test images for each norm, its most confident mistakes first:

# %%
def mistakes(norm: str):
    found = find_misclassified(trained[norm], test_set)
    return plots.misclassified(test_set.images, found, test_set.classes, name=names[norm])


# %% tags=["figure-misclassified"]
mistakes("bn")

# %%
mistakes("gn")

# %%
mistakes("ln")


# %% [markdown]
# ## What one norm gets right and the others don't
#

# %%
def alone(right: dict, name: str) -> torch.Tensor:
    """The images that `name` has right and all others wrong, as a mask."""
    return right[name] & ~torch.stack([right[other] for other in right if other != name]).any(0)


def who_is_right(right: dict) -> Markdown:
    together = torch.stack(list(right.values()))
    rows = [("all three", together.all(0)), *((f"{name} alone", alone(right, name)) for name in right),
            ("none", ~together.any(0))]
    return Markdown("\n".join(["| right with | test images |", "| --- | ---: |",
                               *(f"| {name} | {images.sum():,} |" for name, images in rows)]))


by_norm = {names[norm]: predict(model, test_set).argmax(1) == test_set.labels for norm, model in trained.items()}
who_is_right(by_norm)

# %% [markdown]
# How much of that is the norm, and how much chance? Three networks with batch norm, which differ in their seed only:

# %%
by_seed = {f"seed {seed}": pretrained("S8_norms/2_batch_norm", "ours", "bn", seed) for seed in range(3)}
by_seed = {name: predict(model.to(test_set.images.device), test_set).argmax(1) == test_set.labels
           for name, model in by_seed.items()}
who_is_right(by_seed)


# %%
def counts(right: dict) -> str:
    return ", ".join(f"{alone(right, name).sum():,}" for name in right)


Markdown(f"Right alone, by norm: {counts(by_norm)}; by seed: {counts(by_seed)}. What lies in the range of the seeds "
         "may be chance.")


# %%
def only(norm: str):
    images = alone(by_norm, names[norm]).nonzero().flatten()[:10]
    if len(images) == 0:
        return Markdown(f"No image is right with {names[norm]} alone.")
    return plots.samples(test_set.images[images], test_set.labels[images], test_set.classes, rows=1,
                         title=f"right with {names[norm]} alone")


only("bn")

# %%
only("gn")

# %%
only("ln")

# %% [markdown]
# ## The size of the batch
#
# ### Target
#
# The same three networks with batches of 4, 16, 64 and 256 images, 15,000 training images once, SGD alone, and a
# learning rate in proportion to the batch, so that all sizes go equally far on the same images. Batch norm estimates
# its mean from the batch: with four images it should lose more than the others, whose means don't depend on it.

# %% [markdown]
# ### Result

# %%
sizes = (4, 16, 64, 256)
images = 15_000
by_size = {names[norm]: {} for norm in names}
for norm, size in itertools.product(names, sizes):
    short = run.recipe(Recipe(epochs=1, lr=0.1 * size / 128, batch_size=size, schedule="one_cycle",
                              train_images=images, augmentation=(("crop", {"padding": 4}), ("flip", {}))))
    result, _ = run.train_or_read(f"ours_batch_{size}", partial(s8.ours, norm), short, data, run.session.budget,
                                  norm=norm)
    by_size[names[norm]][size] = result["accuracy"]

# %%
plots.against_batch_size(by_size)


# %% [markdown]
# ### Analysis

# %%
def change(larger: int, smaller: int) -> str:
    gains = {name: points[smaller] - points[larger] for name, points in by_size.items()}
    expected = "as expected" if min(gains, key=gains.get) == names["bn"] else "not as expected"
    return (f"From {larger} images to {smaller}: "
            + ", ".join(f"{name} {points:+.2f} points" for name, points in gains.items())
            + f", so {min(gains, key=gains.get)} suffers most, {expected}. ")


display(Markdown(
    change(64, sizes[0]) + change(16, sizes[0])
    + f"At {sizes[0]} images {max(by_size, key=lambda name: by_size[name][sizes[0]])} is ahead. On so short a "
    f"schedule two things change with the batch: what a norm sees, and how often the weights move, {images // 4:,} "
    f"times with batches of 4 and {images // 256} times with 256, where the rate is too high for so few steps (a "
    "guess has 10 %). So the norm's part can't be told from that of the steps, and with one seed each a point more "
    "or less may be chance. What small batches do to a mean itself, the last section measures."
))


# %% [markdown]
# ## Training and evaluation
#
# A network in training mode uses the batch at hand; in evaluation mode batch norm uses its running averages. Here the
# trained networks classify test images in both modes, in batches of 4 and of 256. (In training mode the running
# averages would move: it is done on a copy.)

# %%
def in_training_mode(model, size: int, images: int = 2048) -> float:
    """Accuracy in percent on the first test images, when the norms see batches of `size`."""
    model, part = copy.deepcopy(model).train(), test_set[:images]
    batches = make_batches(part, Recipe(epochs=1, lr=0, batch_size=size), torch.Generator(part.images.device))
    with torch.no_grad():
        hits = [(model(inputs).argmax(1) == labels).float().mean() for inputs, labels in batches]
    return 100 * torch.stack(hits).mean().item()


rows = [f"| {names[norm]} | {evaluate(model, test_set[:2048])[1]:.2f} | {in_training_mode(model, 256):.2f} "
        f"| {in_training_mode(model, 4):.2f} |" for norm, model in trained.items()]
Markdown("\n".join(["| accuracy on 2,048 test images, % | evaluation mode | training mode, batches of 256 "
                    "| training mode, batches of 4 |", "| --- | ---: | ---: | ---: |", *rows]))

# %% [markdown]
# ## The running statistics
#
# They follow the batches of training as a moving average. What the first norm of the network would compute from one
# test batch differs from them: the less the more images there are in the batch.

# %%
norm = next(module for module in trained["bn"].modules() if isinstance(module, torch.nn.BatchNorm2d))
seen = []
hook = norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
predict(trained["bn"], test_set[:2048], batch_size=2048)
hook.remove()
deviation = norm.running_var.sqrt()
lines = []
for size in (4, 16, 64, 256):
    means = torch.stack([batch.mean((0, 2, 3)) for batch in seen[0].split(size)])
    lines.append(f"| {size} | {((means - norm.running_mean) / deviation).abs().mean():.3f} |")
Markdown("\n".join(["| images in a batch | mean distance of its mean from the running mean, in deviations |",
                    "| ---: | ---: |", *lines]))
