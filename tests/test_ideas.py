"""Ideas are tried on held-out images, and what is published is what S*/ideas.py lists."""

import json

import pytest
import torch

from common.anatomy import count_parameters
from common.data import Dataset
from common.files import ROOT
from tools import ideas

TINY = '''
from torch import nn
from common.training import Recipe

def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

SLOW = Recipe(epochs=2, lr=0.0, batch_size=32)
DATA = "mnist"
IDEAS = [{"slow": (linear, SLOW), "fast": (linear, Recipe(epochs=2, lr=0.1, batch_size=32))}, {"other": (linear, SLOW)}]
SEEDS = {"fast": 2}
'''


@pytest.mark.parametrize("path", sorted(ROOT.glob("S*/results/ideas.json")), ids=lambda path: path.parts[-3])
def test_published_ideas_are_those_that_are_listed(path):
    listed, rows = ideas.read_ideas(path.parts[-3])[1], json.loads(path.read_text())
    assert [(row["idea"], row["seed"]) for row in rows] == [
        (name, seed) for name, idea in listed.items() for seed in range(idea.seeds)]
    for row in rows:
        idea = listed[row["idea"]]
        assert (row["start"], ideas.experiment.full_recipe(row)) == (idea.start, ideas.as_json(idea.recipe))
        assert row["params"] == count_parameters(idea.make_network())


def test_an_idea_is_judged_on_images_that_it_has_not_trained_on(tmp_path, monkeypatch):
    (tmp_path / "S1").mkdir()
    (tmp_path / "S1/ideas.py").write_text(TINY)
    labels = torch.arange(120) % 10
    images = (labels.view(-1, 1, 1, 1) * 25).expand(-1, 1, 28, 28).to(torch.uint8)
    monkeypatch.setattr(ideas, "ROOT", tmp_path)
    monkeypatch.setattr(ideas, "HELD_OUT", 40)
    monkeypatch.setattr(ideas, "load", lambda name: (Dataset(name, images, labels, tuple("0123456789")), None))
    assert {name: (idea.start, idea.seeds) for name, idea in ideas.read_ideas("S1")[1].items()} == {
        "slow": ("slow", 1), "fast": ("slow", 2), "other": ("other", 1)}
    seen = []
    monkeypatch.setattr(ideas.training, "fit", lambda model, train, held_out, recipe, seed, log: seen.append(
        (len(train), len(held_out), recipe.lr, seed)) or {"machine": {"device": "cpu"}, "curve": [
            {"test_accuracy": right, "test_loss": 1.0, "train_accuracy": 9.0, "seconds": 2.0} for right in (7, 8)]})
    row = ideas.try_idea("S1", "fast", 1)
    assert seen == [(80, 40, 0.1, 1)]  # the test split is None: nothing can have looked at it
    assert (row["start"], row["params"], row["accuracy"], row["seconds"], row["recipe"]["lr"]) == (
        "slow", 7850, 8, 4.0, 0.1)
