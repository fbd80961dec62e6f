"""The reader's own network: any network for the images works, and what isn't one is a sentence."""

import dataclasses
import json
import os
import time

import pytest
import torch
from test_training import made_up
from torch import nn

from common import session, tables, your_turn
from common.experiment import start
from common.training import Recipe

torch.set_num_threads(1)
RECIPE = Recipe(epochs=1, lr=0.05, batch_size=16)


DATA = made_up(48, seed=48), made_up(32, seed=32)


@pytest.fixture
def run(tmp_path):
    return start("S7_mnist", "4_your_turn", "quick", 0, None, str(tmp_path / "out"))


def plain(channels: int = 4, inputs: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, channels, 3), nn.ReLU(), nn.Conv2d(channels, 10, 3),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Branches(nn.Module):
    """Adds, concatenates, and ends with a log-softmax."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(8, 10, 1)

    def forward(self, x):
        x = self.first(x)
        x = torch.cat([x, x + self.second(x).relu()], 1)
        return self.last(x).mean((2, 3)).log_softmax(1)


class Fails(nn.Module):
    def forward(self, x):
        return x.view(3, 7)


class FailsInTraining(nn.Linear):
    """Takes one image, and no batch; or stops when it is trained."""

    def __init__(self):
        super().__init__(64, 10)

    def forward(self, x):
        if self.training:
            raise IndexError("not while training")
        return super().forward(x.flatten(1))


class OneImage(nn.Linear):
    def __init__(self):
        super().__init__(64, 10)

    def forward(self, x):
        return super().forward(x.view(1, 64))


def stop(*given):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("make", "params", "field"), [(plain, 410, 5), (Branches, 40 + 148 + 90, 5)])
def test_any_network_for_the_images(run, make, params, field):
    said = your_turn.verdict(run, make, RECIPE, DATA).data
    assert f"| {params:,} | < 8,000 | ✓ |" in said and "| 1 | < 15 | ✓ |" in said
    assert f"pixels | {field} |" in said
    result = your_turn.train(run, make, RECIPE, DATA)
    assert result["model"] == "my_network" and result["params"] == params
    assert f"| {params:,} | 1 |  | {result['accuracy']:.2f} | 1 | ✗ |" in your_turn.tries(run).data


def test_an_epoch_is_timed_before_training(run):
    class Slow(nn.Sequential):
        def forward(self, x):
            time.sleep(0.5 if self.training else 0)
            return super().forward(x)

    recipe, network = dataclasses.replace(RECIPE, validation=16), Slow(*plain())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert 1 <= your_turn.seconds_of_an_epoch(network, recipe, DATA[0]) < 2  # two batches of 16 are left of 48
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    verdict = your_turn.verdict(run, lambda: Slow(*plain()), recipe, DATA)
    assert "seconds of the steps of an epoch on this machine, about | 1 |" in verdict.data


def test_the_same_network_twice_isnt_a_new_one(run):
    network = plain()
    assert "same network" in your_turn.verdict(run, lambda: network, RECIPE, DATA).data


def test_a_softmax_at_the_end_is_noticed(run):
    def with_softmax():
        return nn.Sequential(plain(), nn.Softmax(1))

    assert "softmax" in your_turn.verdict(run, with_softmax, RECIPE, DATA).data
    assert "softmax" not in your_turn.verdict(run, plain, RECIPE, DATA).data


def test_the_work_is_counted(run):
    assert f"| {36 * 4 * 9 + 16 * 360:,} |" in your_turn.verdict(run, plain, RECIPE, DATA).data


@pytest.mark.parametrize(("make", "said"), [
    (lambda: plain(inputs=3), "[1, 8, 8]"), (Fails, "can't take images"), (plain(), "lambda"),
    (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), "(1, 7)"), (lambda: None, "return"),
    (lambda: nn.Conv2d(1), "TypeError"), (None, "TypeError"), (OneImage, "RuntimeError")])
def test_what_is_no_network_is_a_sentence(run, capsys, make, said):
    assert said in (shown := your_turn.verdict(run, make, RECIPE, DATA).data) and "\n" not in shown
    assert your_turn.train(run, make, RECIPE, DATA) is None
    assert said in (shown := capsys.readouterr().out) and shown.count("\n") == 1
    assert "No network" in your_turn.tries(run).data


@pytest.mark.parametrize(("make", "recipe", "said"), [
    (lambda: plain(100), RECIPE, "parameters: 10,010, the limit is < 8,000"),
    (plain, dataclasses.replace(RECIPE, epochs=15), "epochs: 15"),
    (plain, dataclasses.replace(RECIPE, lr=1e30), "the loss"),
    (plain, dataclasses.replace(RECIPE, schedule="none"), "unknown schedule"),
    (plain, dataclasses.replace(RECIPE, batch_size=100), "batch"),
    (FailsInTraining, RECIPE, "IndexError: not while training")])
def test_what_is_not_trained_to_its_end_says_why(run, capsys, make, recipe, said):
    assert your_turn.train(run, make, recipe, DATA) is None
    assert said in capsys.readouterr().out and "No network" in your_turn.tries(run).data
    assert your_turn.train(run, plain, RECIPE, DATA)["model"] == "my_network"  # the name is still free


def test_over_budget_is_seen_before_training(run):
    said = your_turn.verdict(run, lambda: plain(100), dataclasses.replace(RECIPE, epochs=20), DATA).data
    assert "| 10,010 | < 8,000 | ✗ |" in said and "| 20 | < 15 | ✗ |" in said


def test_tries_are_kept_and_the_same_one_is_read(run, capsys):
    slow = dataclasses.replace(RECIPE, lr=0.01)
    asked = [(plain, RECIPE), (lambda: plain(5), RECIPE), (plain, slow), (plain, RECIPE), (plain, slow)]
    names = [your_turn.train(run, make, recipe, DATA)["model"] for make, recipe in asked]
    assert names == ["my_network", "my_network_2", "my_network_3", "my_network", "my_network_3"]
    capsys.readouterr()
    for fresh, (make, recipe), name in zip([run] * 3, asked, names, strict=False):
        fresh = dataclasses.replace(fresh, made_of={})  # a new kernel
        assert your_turn.train(fresh, make, recipe, DATA)["model"] == name
    assert capsys.readouterr().out.count("read from") == 3
    other = dataclasses.replace(run, seed=1)
    assert your_turn.train(other, lambda: plain(5), RECIPE, DATA)["model"] == "my_network_2"
    assert your_turn.train(other, lambda: plain(6), RECIPE, DATA)["model"] == "my_network_4"
    assert your_turn.train(run, plain, RECIPE, DATA, name="mine")["model"] == "mine"


def test_the_table_of_tries(run):
    accuracies = {}
    for k, channels in enumerate((6, 4, 5)):
        result = your_turn.train(run, lambda channels=channels: plain(channels), RECIPE, DATA)
        accuracies[tables.title(result)] = result["accuracy"]
        os.utime(result["path"], (k, k))
    held_out = your_turn.train(run, plain, dataclasses.replace(RECIPE, validation=20), DATA)
    rows = [[cell.strip() for cell in row.split("|")] for row in your_turn.tries(run).data.splitlines()[2:6]]
    assert [row[1] for row in rows] == [*accuracies, tables.title(held_out)]
    assert [row[5] for row in rows[:3]] == [f"{accuracy:.2f}" for accuracy in accuracies.values()]
    assert [row[4] for row in rows] == ["", "", "", f"{held_out['curve'][-1]['validation_accuracy']:.2f}"]


def test_ctrl_c_goes_through(run, monkeypatch):
    monkeypatch.setattr("common.training.train_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        your_turn.train(run, plain, RECIPE, DATA)


def test_the_figure_has_the_readers_networks_beside_the_courses(run):
    def stars(figure):
        return [line for line in figure.axes[0].lines if line.get_marker() == "*"]

    def names(figure):
        return [text.get_text() for text in figure.axes[0].texts]

    assert not stars(figure := your_turn.compare(run)) and "ours" in names(figure) and "7,864" in names(figure)
    results = [your_turn.train(run, lambda k=k: plain(k), RECIPE, DATA) for k in (4, 5, 6)]
    for result, accuracy in zip(results, (99.41, 98.9, 50.0), strict=True):  # as if they had learned
        path = result.pop("path")
        result["curve"][-1]["test_accuracy"] = accuracy
        with open(path, "w") as file:
            json.dump({**result, "accuracy": accuracy}, file)
    shown = stars(figure := your_turn.compare(run))
    assert [(*star.get_xdata(), *star.get_ydata()) for star in shown] == [(410, 99.41), (510, 98.9)]
    assert {"my network", "my network 2", "ours", "7,864"} <= set(names(figure))


def test_nothing_of_the_readers_is_put_among_the_published_results(monkeypatch, capsys):
    full = start("S7_mnist", "4_your_turn", "full", 0, None, "")
    monkeypatch.setattr("common.experiment.Experiment.train_or_read", lambda *given: ({}, None))
    assert your_turn.train(full, plain, RECIPE, DATA) is None and '"full"' in capsys.readouterr().out
    assert "No network" in your_turn.tries(full).data and your_turn.compare(full).axes


def test_every_session_has_a_figure():
    for name in session.names():
        points = tables.session_points(session.read(name))
        assert {point["source"] for point in points} == {True, False}


def test_of_one_networks_recipes_the_figure_has_the_best(monkeypatch):
    def summary(name, mean, params=7000, norm=None, epochs=14):
        return {"model": name, "mean": mean, "std": None, "params": params, "norm": norm, "epochs": epochs}

    monkeypatch.setattr(tables, "summarize_session", lambda name: [
        summary("rotated", 99.4), summary("varied", 99.5), summary("plain", 99.45), summary("longer", 99.45, epochs=40),
        summary("other", 99.42, params=7001), summary("normed", 99.41, norm="gn"), summary("worse", 98.0, params=10)])
    def names(about):
        return sorted(point["name"] for point in tables.session_points(about) if not point["source"])

    about = session.read("S7_mnist")
    assert names(about) == ["normed, gn", "other", "varied"]
    about.budget.remove(next(limit for limit in about.budget if limit.key == "epochs"))
    assert names(about) == ["longer", "normed, gn", "other", "varied"]
