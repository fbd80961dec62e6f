"""The training loop on data sets of a few made-up images, against computations by hand."""

import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.augmentation import AUGMENTATIONS
from common.data import Dataset, hold_out, normalize
from common.layers import Dropout
from common.models import s7
from common.training import (
    DivergedError,
    Recipe,
    evaluate,
    find_misclassified,
    fit,
    make_batches,
    predict,
    progress_line,
    try_network,
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


TRAIN, TEST = made_up(50), made_up(13, seed=1)
COLORED = Dataset("cifar10", TRAIN.images.expand(-1, 3, -1, -1), TRAIN.labels, TRAIN.classes)
RECIPE = Recipe(epochs=3, lr=0.02, batch_size=8)  # six steps an epoch, two images left over


class Custom(nn.ModuleDict):
    """A network whose forward is a function of itself and of x."""

    def __init__(self, function, **layers):
        super().__init__(layers)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def with_labels(labels, classes=TRAIN.classes) -> dict:
    return {"train": Dataset("mnist", TRAIN.images, labels, classes)}


def with_forward(function) -> dict:
    return {"model": Custom(function, net=network())}


def with_recipe(**options) -> dict:
    return {"recipe": dataclasses.replace(RECIPE, **options)}


def test_first_steps_by_hand():
    """Nesterov's SGD with weight decay, L1 and label smoothing, written out."""
    recipe = Recipe(1, 0.05, 8, weight_decay=0.01, l1=0.001, label_smoothing=0.1)
    model, ours = network(), network()
    curve, trace = quiet_fit(ours, TRAIN, TEST, recipe)
    velocity = [torch.zeros_like(p) for p in model.parameters()]
    losses, correct = [], 0
    for images, labels in make_batches(TRAIN, recipe, torch.Generator().manual_seed(0)):
        logits = model(images)
        logp = logits.log_softmax(1)
        loss = -(0.9 * logp[range(8), labels] + 0.1 * logp.mean(1)).mean()
        loss = loss + 0.001 * sum(p.abs().sum() for p in (model[0].weight, model[4].weight))
        losses.append(loss.item())
        correct += sum(int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True))
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, g, v in zip(model.parameters(), gradients, velocity, strict=True):
                g = g + 0.01 * p if p is model[0].weight or p is model[4].weight else g
                v.mul_(0.9).add_(g)
                p.sub_(0.05 * (g + 0.9 * v))
    assert trace == pytest.approx(losses, rel=1e-4)
    assert (curve[0]["train_loss"], curve[0]["train_accuracy"]) == pytest.approx((sum(trace) / 6, 100 * correct / 48))
    for p, q in zip(model.parameters(), ours.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-5)


def test_mixup_by_hand():
    recipe = dataclasses.replace(RECIPE, epochs=1, lr=1e-9, mixup=0.4)  # the weights stay as they are
    model, losses = network(), []
    torch.manual_seed(0)
    for images, labels in make_batches(TRAIN, recipe, torch.Generator().manual_seed(0)):
        share = torch.distributions.Beta(0.4, 0.4).sample()
        share, one_hot = max(share, 1 - share), F.one_hot(labels, 10)
        mixed, targets = (share * ends + (1 - share) * ends.flip(0) for ends in (images, one_hot))
        losses.append(F.cross_entropy(model(mixed), targets).item())
    assert quiet_fit(network(), TRAIN, TEST, recipe)[1] == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("n", [1, 13, 2003])
def test_evaluate_is_correct_over_total(n):
    dataset, model = made_up(n, side=6), nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 10))
    loss, accuracy = evaluate(model, dataset)
    with torch.no_grad():
        logits = model[2](normalize(dataset.images / 255, "mnist").flatten(1))  # all at once, nothing dropped
    correct = sum(int(row.argmax()) == int(label) for row, label in zip(logits, dataset.labels, strict=True))
    assert accuracy == pytest.approx(100 * correct / n, abs=1e-9)
    assert loss == pytest.approx(F.cross_entropy(logits, dataset.labels).item(), rel=1e-5)
    assert torch.allclose(predict(model, dataset, batch_size=7), logits, atol=1e-5)


def test_the_most_confident_mistake_comes_first():
    logits = torch.tensor([[0, 2, 0], [0, 0, 1], [0, 0, 3], [4, 0, 0.0]])
    dataset, model = Dataset("mnist", TEST.images[:4], torch.tensor([1, 0, 1, 2]), TEST.classes), nn.Dropout()
    model.forward = lambda images: logits
    mistakes = find_misclassified(model, dataset)
    assert [mistake[:3] for mistake in mistakes] == [(3, 2, 0), (2, 1, 2), (1, 0, 2)]
    assert [mistake.confidence for mistake in mistakes] == pytest.approx(
        [math.exp(z) / (math.exp(z) + 2) for z in (4, 3, 1)])
    assert not model.training
    dataset.labels[:] = logits.argmax(1)
    assert find_misclassified(model, dataset) == []


def test_an_epoch_of_batches():
    numbered, generator = Dataset("mnist", TRAIN.images, torch.arange(50), ()), torch.Generator().manual_seed(0)
    recipe, orders = dataclasses.replace(RECIPE, alternating_flip=True), []
    for epoch in (1, 2, 3):
        batches = list(make_batches(numbered, recipe, generator, epoch))
        assert [len(labels) for _, labels in batches] == [8] * 6
        images, order = map(torch.cat, zip(*batches, strict=True))
        orders.append(order.tolist())
        assert len(set(orders[-1])) == 48
        for image, i in zip(images, orders[-1], strict=True):  # mirrored in every other epoch
            shown = TRAIN.images[i].flip(2) if (i + epoch) % 2 else TRAIN.images[i]
            assert torch.equal(image, normalize(shown / 255, "mnist")[0])
    assert orders[0] != orders[1]  # shuffled anew


def test_curve():
    lines, model = [], network()
    recipe = dataclasses.replace(RECIPE, validation=10, train_images=40)
    curve, trace, _ = fit(model, TRAIN, TEST, recipe, log=lines.append).values()
    _, validation = hold_out(TRAIN[:40], 10)
    assert [row["epoch"] for row in curve] == [1, 2, 3]
    assert [row["train_loss"] for row in curve] == pytest.approx([sum(trace[i:i + 3]) / 3 for i in (0, 3, 6)])
    assert (curve[-1]["test_loss"], curve[-1]["test_accuracy"]) == evaluate(model, TEST)
    assert (curve[-1]["validation_loss"], curve[-1]["validation_accuracy"]) == evaluate(model, validation)
    assert lines == [progress_line(row, 3, sum(r["seconds"] for r in curve[:i])) for i, row in enumerate(curve, 1)]
    assert quiet_fit(network(), TRAIN, TEST, recipe, max_steps=3) == ([], trace[:3])
    assert quiet_fit(network(), TRAIN, TEST, RECIPE)[0][0].keys() == {  # none held out, none in the curve
        "epoch", "lr", "seconds", *(f"{of}_{what}" for of in ("train", "fit", "test") for what in ("loss", "accuracy"))}


def test_the_seed_says_it_all():
    def run(seed, drawn):
        model = nn.Sequential(*network(), Dropout(0.2))
        recipe = dataclasses.replace(RECIPE, augmentation=(("affine", {"rotate": 10, "shift": 0.1}),))
        torch.rand(drawn)  # whatever was drawn before
        return quiet_fit(model, TRAIN, TEST, recipe, seed)[1], [p.tolist() for p in model.parameters()]

    assert run(7, 0) == run(7, 5)  # bit for bit
    assert run(7, 0)[0] != run(8, 0)[0]


def test_memorises_64_images():
    """A network that can't learn 64 images by heart has a broken loop, whatever it says on a million."""
    dataset = made_up(64, side=28)
    torch.manual_seed(0)
    model = s7.regularized(dropout=0.0)
    curve, _ = quiet_fit(model, dataset, dataset[:8], Recipe(60, 0.1, 32, schedule="one_cycle"))
    assert evaluate(model, dataset)[1] == 100
    assert curve[0]["train_accuracy"] < 40


def example():
    """PyTorch's own for MNIST: github.com/pytorch/examples."""
    def forward(net, x):
        x = F.max_pool2d(F.relu(net.conv2(F.relu(net.conv1(x)))), 2)
        x = F.relu(net.fc1(torch.flatten(net.dropout1(x), 1)))
        return F.log_softmax(net.fc2(net.dropout2(x)), dim=1)
    return Custom(forward, conv1=nn.Conv2d(1, 32, 3), conv2=nn.Conv2d(32, 64, 3), dropout1=nn.Dropout(0.25),
                  dropout2=nn.Dropout(0.5), fc1=nn.Linear(9216, 128), fc2=nn.Linear(128, 10))


def attention():
    """With a convolution called by keyword, and a layer that has no part in the output."""
    def forward(net, x):
        x = net.patches(input=x).flatten(2).transpose(1, 2)
        return net.out(net.attention(x, x, x)[0].mean(1))
    return Custom(forward, patches=nn.Conv2d(1, 8, 4, 4), attention=nn.MultiheadAttention(8, 2, batch_first=True),
                  out=nn.Linear(8, 10), unused=nn.Linear(8, 8))


def max_pooled(wrap=lambda layer: layer):
    return nn.Sequential(wrap(nn.Conv2d(1, 8, 3)), nn.AdaptiveMaxPool2d(2), nn.Flatten(), wrap(nn.Linear(32, 10)))


NETWORKS = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), "PyTorch's example": example,
    "attention": attention, "max-pool": max_pooled, "old weight norm": lambda: max_pooled(nn.utils.weight_norm),
    "weight norm": lambda: max_pooled(nn.utils.parametrizations.weight_norm),
    "lazy": lambda: nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(10)),
}


@pytest.mark.filterwarnings("ignore:Lazy modules", "ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("options", [{}, {"average": 0.9, "muon": 0.02}], ids=["SGD", "Muon, average"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_all_kinds_train(name, options):
    train, networks = made_up(256, side=28), []
    for _ in range(2):
        torch.manual_seed(0)
        networks.append(NETWORKS[name]())
    quiet_fit(networks[0], train, train[:10], Recipe(epochs=2, lr=0.02, **options))
    try_network(networks[1], train)
    for name, first in copy.deepcopy(networks[1]).named_parameters():
        assert torch.equal(first, networks[0].get_parameter(name)) == name.startswith("unused"), name


def test_try_network_leaves_modes_and_random_states():
    model = nn.Sequential(*network(), Custom(lambda net, x: F.dropout(x)))  # drops in evaluation, too
    model[1].eval()
    modes, state = [module.training for module in model.modules()], torch.get_rng_state()
    assert try_network(model, TRAIN).shape == (1, 10)
    assert modes == [module.training for module in model.modules()] and torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("change, message", [
    (with_labels(TRAIN.labels + 1), "label 10 of training"), (with_labels(TRAIN.labels - 1), "label -1 of training"),
    (with_labels(TRAIN.labels[:9]), "50 images and 9 labels"), ({"test": TEST[:0]}, "test split has 0"),
    (with_labels(TRAIN.labels, tuple("0123456789ab")), r"is \(1, 10\), not \(1, 12\)"),
    ({"test": made_up(9, side=9)}, r"training images are \[1, 8, 8\] .* test images \[1, 9, 9\]"),
    ({"train": made_up(50, side=9), "test": made_up(9, side=9)}, "can't take images .* shapes cannot be multiplied"),
    ({"model": nn.Conv2d(3, 10, 8)}, "3 channels, but got 1"), ({"model": network()[:3]}, r"is \(1, 8, 6, 6\), not"),
    (with_forward(lambda net, x: 1 / 0), "ZeroDivisionError"), (with_forward(lambda net, x: (x, x)), "image is tuple"),
    (with_forward(lambda net, x: x.view(-1, 192)) | {"train": COLORED, "test": COLORED}, "reshape"),  # channels last
    (with_recipe(schedule="plateau"), "set the recipe's validation"), (with_recipe(schedule="x"), "'x'; known"),
    (with_recipe(batch_size=1), "batch norm"), (with_recipe(train_images=7, schedule="step"), "7 training images"),
])
def test_what_cannot_work_is_refused_in_a_sentence(change, message):
    inputs, lines = {"model": network(), "train": TRAIN, "test": TEST, "recipe": RECIPE} | change, []
    before = copy.deepcopy(inputs["model"].state_dict())
    with pytest.raises(ValueError, match=message) as raised:
        fit(**inputs, log=lines.append)
    assert not lines and "\n" not in str(raised.value)
    assert all(torch.equal(value, before[name]) for name, value in inputs["model"].state_dict().items())


@pytest.mark.parametrize("change, error, message", [
    (with_recipe(lr=1e30), DivergedError, r"^epoch 1: the loss is (nan|inf) at batch [23], .* learning rate of 1e\+30"),
    (with_forward(lambda net, x: net.net(x) * (1 if net.training else math.nan)), DivergedError, "evaluation is nan"),
    (with_recipe(augmentation=(("divide", {}),)), DivergedError, "^epoch 1: batch 1 has pixels that are no numbers"),
    (with_forward(lambda net, x: torch.empty(2**60)), MemoryError, "with one image"),
    (with_forward(lambda net, x: torch.empty(2**60) if net.training else net.net(x)), MemoryError, "halve the batch"),
    (with_recipe(augmentation=(("expand", {}),)), RuntimeError, "single memory location"),  # there is memory enough
])
def test_errors_in_training(monkeypatch, change, error, message):
    monkeypatch.setitem(AUGMENTATIONS, "divide", lambda images, generator: images / 0)  # 0 / 0 is nan
    monkeypatch.setitem(AUGMENTATIONS, "expand", lambda images, generator: images.expand(-1, 2, -1, -1).add_(1))
    with pytest.raises(error, match=message):
        fit(**{"model": network(), "train": TRAIN, "test": TEST, "recipe": RECIPE} | change)
