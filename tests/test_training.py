"""The training loop on data sets of a few made-up images, against computations by hand."""

import copy
import dataclasses
import math
import multiprocessing
import re
import resource
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from common import models
from common.augmentation import AUGMENTATIONS
from common.data import Dataset, hold_out, normalize
from common.training import (
    SCHEDULES,
    TRACE_STEPS,
    DivergedError,
    Recipe,
    evaluate,
    fit,
    make_batches,
    make_optimizer,
    one_cycle,
    orthogonal,
    predict,
    progress_line,
    train_epoch,
)

torch.set_num_threads(1)


def made_up(n: int, seed: int = 0, side: int = 8) -> Dataset:
    """n images of noise with random labels: to be memorised, not learned."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (n, 1, side, side), generator=generator, dtype=torch.uint8)
    return Dataset("mnist", images, torch.randint(10, (n,), generator=generator), tuple("0123456789"))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                         nn.Linear(288, 10))


def quiet_fit(model, train, test, recipe, seed=0, **options):
    history = fit(model, train, test, recipe, seed, log=lambda line: None, **options)
    return history["curve"], history["trace"]


def used_rates(recipe: Recipe, train: Dataset, test: Dataset) -> tuple[list[float], list[dict]]:
    """The learning rate of every optimizer step that `fit` really makes, and the curve."""
    rates = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[-1]["lr"]))
    try:
        curve, _ = quiet_fit(network(), train, test, recipe)
    finally:
        hook.remove()
    return rates, curve


TRAIN, TEST = made_up(50), made_up(13, seed=1)
RECIPE = Recipe(epochs=3, lr=0.02, batch_size=8)  # six steps an epoch, two images left over


def test_batch_norm_needs_a_batch():
    with pytest.raises(ValueError, match="batch of 1: use a larger batch_size, or another norm"):
        quiet_fit(network(), TRAIN, TEST, dataclasses.replace(RECIPE, batch_size=1))
    without = nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(1, 8), nn.Flatten(), nn.Linear(288, 10))
    curve, _ = quiet_fit(without, TRAIN, TEST, dataclasses.replace(RECIPE, batch_size=1, epochs=1))
    assert len(curve) == 1


# Muon

@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (16, 16), (10, 160)])
def test_orthogonal_keeps_the_directions_and_evens_out_their_lengths(shape):
    generator = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    lengths = torch.linspace(1, 0.05, len(v))
    result = u.T @ orthogonal(u * lengths @ v) @ v.T  # diagonal: the same directions
    assert (result - torch.diag(result.diag())).abs().max() < 1e-4
    assert 0.5 < result.diag().min() and result.diag().max() < 1.3


def test_muon_steps_by_the_orthogonal_matrix_of_the_momentum():
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 3, groups=6, bias=False))
    optimizer = make_optimizer(model, Recipe(epochs=1, lr=0.5, muon=0.1, momentum=0.9))
    before = copy.deepcopy(model)
    momentum = torch.zeros(6, 18)
    for _ in range(2):
        generator = torch.Generator().manual_seed(1)
        gradients = [torch.randn(p.shape, generator=generator) for p in model.parameters()]
        for p, gradient in zip(model.parameters(), gradients, strict=True):
            p.grad = gradient.clone()
        optimizer.step()
        momentum = 0.9 * momentum + gradients[0].flatten(1)
        step = orthogonal(gradients[0].flatten(1) + 0.9 * momentum)
        before[0].weight.data -= 0.1 * step.view(6, 2, 3, 3)
    assert torch.allclose(model[0].weight, before[0].weight, atol=1e-6)
    triples = list(zip(model.parameters(), before.parameters(), gradients, strict=True))
    for p, old, gradient in triples[1:]:
        # SGD's Nesterov steps with an unchanged gradient: 1 + 0.9, then 1 + 0.9 (1 + 0.9); depthwise weights too
        assert torch.allclose(p, old - 0.5 * gradient * (1.9 + 2.71), atol=1e-5)


def test_without_muon_the_optimizer_is_sgd():
    model, other = network(), network()
    mine = make_optimizer(model, Recipe(epochs=1, lr=0.1))
    theirs = torch.optim.SGD(other.parameters(), 0.1, 0.9, nesterov=True)
    for optimizer, net in [(mine, model), (theirs, other)]:
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.ones(2, 1, 8, 8)).square().sum().backward()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


# Schedules

def test_one_cycle_shape():
    assert [one_cycle(i / 10, 0.2) for i in range(11)] == pytest.approx(
        [0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0])
    assert one_cycle(0, 0) == 1 and one_cycle(0.5, 0) == 0.5 and one_cycle(1, 0) == 0


def test_constant():
    rates, curve = used_rates(RECIPE, TRAIN, TEST)
    assert rates == [0.02] * 18 and [row["lr"] for row in curve] == [0.02] * 3


def test_one_cycle_in_use():
    rates, curve = used_rates(dataclasses.replace(RECIPE, schedule="one_cycle", warmup=0.3), TRAIN, TEST)
    assert rates == pytest.approx([0.02 * one_cycle(step / 19, 0.3) for step in range(1, 19)])
    # 18 steps in open (0, 1): none is lost on a rate of zero, up and then down in straight lines.
    assert min(rates) > 0 and 0.95 * 0.02 < max(rates) <= 0.02
    assert rates.index(max(rates)) == round(0.3 * 19) - 1
    assert [row["lr"] for row in curve] == pytest.approx([rates[0], rates[6], rates[12]])


def test_step_in_use():
    recipe = dataclasses.replace(RECIPE, epochs=5, schedule="step", step_epochs=2, gamma=0.5)
    rates, curve = used_rates(recipe, TRAIN, TEST)
    assert rates == pytest.approx([0.02] * 12 + [0.01] * 12 + [0.005] * 6)
    assert [row["lr"] for row in curve] == pytest.approx([0.02, 0.02, 0.01, 0.01, 0.005])


def test_plateau_follows_the_validation_loss():
    train, recipe = made_up(64), Recipe(8, 0.05, 16, schedule="plateau", gamma=0.5, patience=1, validation=16)
    rates, curve = used_rates(recipe, train, hold_out(train, 16)[0])  # tested on what it memorises
    # By hand: a loss counts as better when it is below the best by a relative 1e-4; two in a row that are not: a drop.
    expected, lr, best, bad = [], 0.05, math.inf, 0
    for row in curve:
        expected += [lr] * 3
        better = row["validation_loss"] < best * (1 - 1e-4)
        best, bad = (row["validation_loss"], 0) if better else (best, bad + 1)
        if bad > 1:
            lr, bad = lr * 0.5, 0
    assert rates == pytest.approx(expected)
    assert rates[-1] < 0.05, "the validation loss rises, and the rate drops"
    for key in ("train_loss", "test_loss"):  # which these would not have told
        assert all(a[key] > b[key] for a, b in zip(curve, curve[1:], strict=False))


def test_plateau_needs_validation():
    with pytest.raises(ValueError, match="set the recipe's validation"):
        quiet_fit(network(), TRAIN, TEST, dataclasses.replace(RECIPE, schedule="plateau"))


def test_unknown_schedule():
    with pytest.raises(ValueError, match=f"unknown schedule 'cosine'; known: {', '.join(SCHEDULES)}"):
        quiet_fit(network(), TRAIN, TEST, dataclasses.replace(RECIPE, schedule="cosine"))


# The loss and the optimizer

def test_first_steps_by_hand():
    """Nesterov's SGD with weight decay, L1 and label smoothing, written out."""
    recipe = Recipe(1, 0.05, 8, weight_decay=0.01, l1=0.001, label_smoothing=0.1)
    model, ours = network(), network()
    curve, trace = quiet_fit(ours, TRAIN, TEST, recipe)
    batches = make_batches(TRAIN, recipe, torch.Generator().manual_seed(0))
    velocity = [torch.zeros_like(p) for p in model.parameters()]
    for images, labels in batches:
        logits = model(images)
        logp = logits.log_softmax(1)
        loss = -(0.9 * logp[range(8), labels] + 0.1 * logp.mean(1)).mean()
        loss = loss + 0.001 * sum(p.abs().sum() for p in (model[0].weight, model[4].weight))
        assert loss.item() == pytest.approx(trace.pop(0), rel=1e-4)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, g, v in zip(model.parameters(), gradients, velocity, strict=True):
                g = g + 0.01 * p if p is model[0].weight or p is model[4].weight else g
                v.mul_(0.9).add_(g)
                p.sub_(0.05 * (g + 0.9 * v))
    assert trace == []
    for p, q in zip(model.parameters(), ours.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-5)


def test_weight_decay_spares_norms_and_biases():
    model = network()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, dataclasses.replace(RECIPE, weight_decay=0.5))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()  # no gradient, no momentum: the decay alone moves a weight
    changed = [name for name, p in model.named_parameters() if not torch.equal(p, before[name])]
    assert changed == ["0.weight", "4.weight"]
    # p - lr (1 + momentum) decay p, by Nesterov's first step
    assert torch.allclose(model[0].weight, before["0.weight"] * (1 - 0.02 * 1.9 * 0.5))


def test_frozen_parameters_stay():
    model = network()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    quiet_fit(model, TRAIN, TEST, dataclasses.replace(RECIPE, weight_decay=0.1))
    assert torch.equal(model[0].weight, before)


def test_l1_shrinks_weights():
    totals, small, first = [], [], []
    for l1 in (0.0, 0.01):
        model = network()
        _, trace = quiet_fit(model, TRAIN, TEST, dataclasses.replace(RECIPE, epochs=10, l1=l1))
        weights = torch.cat([p.flatten() for p in model.parameters() if p.dim() > 1])
        totals.append(weights.abs().sum().item())
        small.append((weights.abs() < 0.003).double().mean().item())
        first.append(trace[0])
    assert totals[1] < 0.7 * totals[0]
    assert small[1] > 2 * small[0]  # many weights near zero, not all a little smaller
    at_start = sum(p.abs().sum().item() for p in network().parameters() if p.dim() > 1)
    assert first[1] - first[0] == pytest.approx(0.01 * at_start, rel=1e-3)


def test_averaged_weights_by_hand():
    seen = []

    def remember(optimizer, *_):
        seen.append({name: value.detach().clone() for name, value in model.state_dict().items()})

    model = network()
    hook = register_optimizer_step_post_hook(remember)
    try:
        curve, _ = quiet_fit(model, TRAIN, TEST, dataclasses.replace(RECIPE, average=0.5))
    finally:
        hook.remove()
    assert len(seen) == 18
    average = copy.deepcopy(seen[0])
    for n, state in enumerate(seen[1:], 1):
        decay = min(0.5, (1 + n) / (10 + n))
        for name, value in state.items():
            average[name] = decay * average[name] + (1 - decay) * value if value.is_floating_point() else value
    for name, value in model.state_dict().items():
        assert torch.allclose(value, average[name], atol=1e-6), name
    assert not torch.allclose(model[4].weight, seen[-1]["4.weight"], atol=1e-4)
    assert (curve[-1]["test_loss"], curve[-1]["test_accuracy"]) == evaluate(model, TEST)  # what the curve evaluates


# Evaluation

@pytest.mark.parametrize("n", [1, 13, 1000, 2003])
def test_evaluate_is_correct_over_total(n):
    dataset, model = made_up(n, side=6), nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 10))
    loss, accuracy = evaluate(model, dataset)
    with torch.no_grad():
        logits = model[2](normalize(dataset.images / 255, "mnist").flatten(1))  # all at once, nothing dropped
    correct = sum(int(row.argmax()) == int(label) for row, label in zip(logits, dataset.labels, strict=True))
    assert accuracy == pytest.approx(100 * correct / n, abs=1e-9)
    assert loss == pytest.approx(F.cross_entropy(logits, dataset.labels).item(), rel=1e-5)
    assert predict(model, dataset).shape == (n, 10)
    assert torch.allclose(predict(model, dataset, batch_size=7), logits, atol=1e-5)


def test_evaluate_changes_nothing():
    model = network()
    before = copy.deepcopy(model.state_dict())
    assert evaluate(model, TEST) == evaluate(model, TEST)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# Batches

def test_an_epoch_of_batches():
    numbered = Dataset("mnist", torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1), torch.arange(50), ())
    generator = torch.Generator().manual_seed(0)
    first, second = (list(make_batches(numbered, RECIPE, generator)) for _ in range(2))
    for batches in (first, second):
        assert [len(labels) for _, labels in batches] == [8] * 6
        labels = torch.cat([labels for _, labels in batches])
        assert len(labels.unique()) == 48
        images = torch.cat([images for images, _ in batches])
        assert torch.allclose(images, normalize(labels.view(-1, 1, 1, 1) / 255, "mnist"))
    assert not torch.equal(first[0][1], second[0][1])  # shuffled anew


def test_batches_are_augmented():
    recipe = dataclasses.replace(RECIPE, augmentation=(("cutout", {"size": 8, "fill": (1.0,)}),))
    images, _ = next(make_batches(TRAIN, recipe, torch.Generator().manual_seed(0)))
    assert torch.allclose(images, normalize(torch.ones(8, 1, 8, 8), "mnist"))


def test_every_image_is_mirrored_in_every_other_epoch():
    recipe = dataclasses.replace(RECIPE, alternating_flip=True)
    pictures = torch.randint(256, (48, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    numbered, generator = Dataset("mnist", pictures, torch.arange(48), ()), torch.Generator().manual_seed(0)

    def epoch(number):
        """Which of the 48 images epoch `number` shows mirrored."""
        batches = make_batches(numbered, recipe, generator, number)
        shown = {label.item(): image for images, labels in batches for image, label in zip(images, labels, strict=True)}
        plain, mirrored = (normalize(side / 255, "mnist") for side in (pictures, pictures.flip(3)))
        assert all(torch.equal(shown[i], plain[i]) or torch.equal(shown[i], mirrored[i]) for i in range(48))
        return {i for i in range(48) if torch.equal(shown[i], mirrored[i])}

    assert epoch(1) == epoch(3) == set(range(0, 48, 2)) and epoch(2) == set(range(1, 48, 2))


def test_too_few_images():
    for recipe in (dataclasses.replace(RECIPE, batch_size=64), dataclasses.replace(RECIPE, validation=45),
                   dataclasses.replace(RECIPE, train_images=7), dataclasses.replace(RECIPE, batch_size=51,
                                                                                    schedule="one_cycle")):
        with pytest.raises(ValueError, match=r"\d+ training images don't fill a batch of \d+; use a smaller"):
            quiet_fit(network(), TRAIN, TEST, recipe)


# fit

def test_curve():
    lines = []
    recipe = dataclasses.replace(RECIPE, validation=10, train_images=40)
    model = network()
    curve, trace, _ = fit(model, TRAIN, TEST, recipe, log=lines.append).values()
    keys = {"epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds"}
    assert all(row.keys() == keys | {"validation_loss", "validation_accuracy"} for row in curve)
    assert [row["epoch"] for row in curve] == [1, 2, 3]
    assert len(trace) == 9  # 30 images are left in batches of 8: three steps an epoch
    assert [row["train_loss"] for row in curve] == pytest.approx([sum(trace[i:i + 3]) / 3 for i in (0, 3, 6)])
    assert all(row["seconds"] > 0 for row in curve)
    assert all(row["train_accuracy"] * 24 / 100 == pytest.approx(round(row["train_accuracy"] * 24 / 100))
               for row in curve)
    assert (curve[-1]["test_loss"], curve[-1]["test_accuracy"]) == evaluate(model, TEST)
    _, validation = hold_out(TRAIN[:40], 10)
    assert (curve[-1]["validation_loss"], curve[-1]["validation_accuracy"]) == evaluate(model, validation)
    assert len(lines) == 3 and all("\n" not in line and "\r" not in line for line in lines)
    assert lines == [progress_line(row, 3, sum(r["seconds"] for r in curve[:i])) for i, row in enumerate(curve, 1)]
    assert keys == quiet_fit(network(), TRAIN, TEST, RECIPE)[0][0].keys()  # none held out, none in the curve


def test_progress_line():
    row = {"epoch": 3, "lr": 0.05, "train_loss": 0.123456, "train_accuracy": 96.5, "test_loss": 0.07,
           "test_accuracy": 98.25, "seconds": 12.34}
    assert re.sub(" +", " ", progress_line(row, 12, 36)) == (
        "epoch 3/12 lr 0.0500 train loss 0.1235 96.50 % test loss 0.0700 98.25 % 12.3 s, 1:48 left")
    assert progress_line(row, 12, 59.9).endswith(" 3:00 left")  # never 2:60


def without_seconds(curve):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in curve]


def test_the_seed_says_it_all():
    recipe = dataclasses.replace(RECIPE, schedule="one_cycle", average=0.9, validation=10, augmentation=(
        ("affine", {"rotate": 10, "shift": 0.1}),))

    def run(seed):
        torch.manual_seed(12345)
        model = nn.Sequential(*models.regularized_conv(1, 4, 0.2), nn.AdaptiveAvgPool2d(1), models.mix(4, 10),
                              nn.Flatten())
        torch.rand(seed)  # whatever was drawn before
        curve, trace = quiet_fit(model, TRAIN, TEST, recipe, seed)
        return without_seconds(curve), trace, [p.tolist() for p in model.parameters()]

    first, again, other = run(7), run(7), run(8)
    assert first == again  # bit for bit
    assert first[1] != other[1] and first[0] != other[0]


def test_trace_is_the_head_of_training():
    recipe = dataclasses.replace(RECIPE, epochs=5)
    curve, trace = quiet_fit(network(), TRAIN, TEST, recipe)
    assert len(trace) == TRACE_STEPS == 20
    for steps in (3, 6, TRACE_STEPS):  # inside an epoch, at its end, beyond it
        short, replay = quiet_fit(network(), TRAIN, TEST, recipe, max_steps=steps)
        assert replay[:steps] == trace[:steps] and len(replay) >= steps
        assert len(short) == (steps - 1) // 6


def test_divergence_names_epoch_batch_and_rate():
    class Breaks(nn.Module):
        """A network whose output is no number from its tenth training step on."""

        def __init__(self):
            super().__init__()
            self.inner, self.steps = network(), 0

        def forward(self, x):
            self.steps += self.training
            return self.inner(x) * (math.nan if self.steps >= 10 else 1)

    model = Breaks()
    with pytest.raises(DivergedError) as raised:
        quiet_fit(model, TRAIN, TEST, RECIPE)
    message = str(raised.value)
    assert "\n" not in message
    for part in ("epoch 2", "batch 4", "learning rate of 0.02", "the loss is nan"):
        assert part in message
    assert model.steps == 10, "it stopped at once"
    assert all(p.isfinite().all() for p in model.parameters())


def test_divergence_from_a_large_rate():
    with pytest.raises(DivergedError, match=r"epoch 1: the loss is (nan|inf) at batch [23], .* 1e\+30; try a smaller"):
        quiet_fit(network(), TRAIN, TEST, dataclasses.replace(RECIPE, lr=1e30))


def test_train_epoch_returns_means():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    recipe = Recipe(1, 0.0, 8)
    batches = list(make_batches(TRAIN, recipe, torch.Generator().manual_seed(0)))
    calls = []
    loss, accuracy, losses = train_epoch(model, batches, make_optimizer(model, recipe), recipe, lambda: calls.append(1))
    with torch.no_grad():  # with a learning rate of 0 the network stays as it is
        expected = [F.cross_entropy(model(images), labels).item() for images, labels in batches]
        correct = sum((model(images).argmax(1) == labels).sum().item() for images, labels in batches)
    assert losses == pytest.approx(expected) and loss == pytest.approx(sum(expected) / 6)
    assert accuracy == pytest.approx(100 * correct / 48) and len(calls) == 6


def test_memorises_64_images():
    """A network that can't learn 64 images by heart has a broken loop, whatever it says on a million."""
    dataset = made_up(64, side=28)
    torch.manual_seed(0)
    model = models.regularized(dropout=0.0)
    curve, _ = quiet_fit(model, dataset, dataset[:8], Recipe(60, 0.1, 32, schedule="one_cycle"))
    assert evaluate(model, dataset)[1] == 100
    assert curve[0]["train_accuracy"] < 40


# Bad data

def with_label(label: int) -> Dataset:
    labels = TRAIN.labels.clone()
    labels[7] = label
    return TRAIN._replace(labels=labels)


OTHER_SIZE = made_up(16, side=9)


@pytest.mark.parametrize("train, test, message", [
    (with_label(10), TEST, "label 10 of training image 7 is none of the 10 classes, 0 to 9"),
    (TRAIN, with_label(-1), "label -1 of test image 7 is none of the 10 classes, 0 to 9"),
    (TRAIN[:0], TEST, "the training split is empty"),
    (TRAIN, TEST[:0], "the test split is empty"),
    (TRAIN, OTHER_SIZE, "training images are [1, 8, 8] (channels, height, width), test images [1, 9, 9]"),
    (OTHER_SIZE, OTHER_SIZE, "the network can't take images of [1, 9, 9] (channels, height, width): "
                             "mat1 and mat2 shapes cannot be multiplied (1x392 and 288x10)"),
    (TRAIN._replace(classes=tuple("0123456789ab")), TEST,
     "the network's output for an image is [10], the data has 12 classes"),
    (TRAIN._replace(labels=TRAIN.labels[:9]), TEST, "the training split has 50 images and 9 labels"),
], ids=["label too high", "label too low", "no training", "no test", "two sizes", "another size", "classes", "labels"])
def test_bad_data_is_refused_before_training(train, test, message):
    with pytest.raises(ValueError) as raised:
        quiet_fit(network(), train, test, RECIPE)
    assert str(raised.value) == message


def test_a_network_without_an_end_is_refused():
    with pytest.raises(ValueError, match=r"output for an image is \[8, 6, 6\], the data has 10 classes"):
        quiet_fit(network()[:3], TRAIN, TEST, RECIPE)


def test_other_errors_are_not_taken_for_want_of_memory(monkeypatch):
    def broken(images, generator):
        return images[:, :1].expand(-1, 2, -1, -1).add_(1)  # torch: "... refer to a single memory location"

    monkeypatch.setitem(AUGMENTATIONS, "broken", broken)
    with pytest.raises(RuntimeError, match="single memory location"):
        quiet_fit(network(), TRAIN, TEST, dataclasses.replace(RECIPE, augmentation=(("broken", {}),)))


def test_a_batch_with_nan_is_named(monkeypatch):
    monkeypatch.setitem(AUGMENTATIONS, "broken", lambda images, generator: images / 0)  # 0 / 0 for black pixels
    recipe = dataclasses.replace(RECIPE, augmentation=(("broken", {}),))
    with pytest.raises(DivergedError, match="^epoch 1: batch 1 has pixels that are no numbers: look at its augment"):
        quiet_fit(network(), TRAIN, TEST, recipe)


def out_of_memory(pipe) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000,) * 2)
    train, wide = made_up(4096), nn.Sequential(nn.Conv2d(1, 8192, 3), nn.Flatten(), nn.Linear(8192 * 36, 10))
    try:
        quiet_fit(wide, train, TEST, dataclasses.replace(RECIPE, batch_size=4096))
    except MemoryError as error:
        pipe.send(str(error))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc: NOT TESTED WITHOUT MEMORY")
def test_out_of_memory_says_which_batch_size_to_try():
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=out_of_memory, args=(there,))
    child.start()
    child.join()
    assert here.poll() and here.recv() == "out of memory with batches of 4096 images; try batch_size=2048"
