"""A run that is killed and started again ends as one that never was: bit for bit."""

import dataclasses
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from common import checkpoint
from common.augmentation import AUGMENTATIONS
from common.data import Dataset
from common.layers import Dropout
from common.training import Recipe, fit

torch.set_num_threads(1)

RECIPE = Recipe(epochs=6, lr=0.1, muon=0.02, batch_size=32, schedule="one_cycle", average=0.9,
                augmentation=(("affine", {"rotate": 10.0, "shift": 0.1}),), alternating_flip=True)
RECIPES = {
    "one cycle, average, muon": RECIPE,
    "plateau": dataclasses.replace(RECIPE, schedule="plateau", validation=64, patience=0, lr=0.5, muon=0, average=0),
    "step": dataclasses.replace(RECIPE, schedule="step", step_epochs=2, average=0.0, weight_decay=1e-3),
    "constant": dataclasses.replace(RECIPE, schedule="constant", muon=0.0),
}


def made_up(n: int, seed: int) -> Dataset:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (n, 1, 12, 12), generator=generator, dtype=torch.uint8)
    return Dataset("mnist", images, torch.randint(10, (n,), generator=generator), tuple("0123456789"))


TRAIN, TEST = made_up(640, 0), made_up(100, 1)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Dropout(0.1), nn.Flatten(),
                         nn.Linear(800, 10))


def outcome(recipe: Recipe, path: Path | None, log=lambda line: None) -> str:
    """All that a run leaves but its times: weights, curve and first losses, every bit of them."""
    model = network()
    history = fit(model, TRAIN, TEST, recipe, seed=3, checkpoint=path, log=log)
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in history["curve"]]
    return repr(([value.numpy().tobytes() for value in model.state_dict().values()], rows, history["trace"]))


class Stopped(Exception):
    pass


def stop_after(epoch: int):
    def log(line: str) -> None:
        if line.startswith(f"epoch {epoch:2d}/"):
            raise Stopped
    return log


@pytest.mark.parametrize("name", RECIPES)
def test_a_stopped_run_ends_like_one_that_was_not(tmp_path, name):
    recipe, path = RECIPES[name], tmp_path / "run.pt"
    whole = outcome(recipe, None)
    for epoch in (2, 4, 5):  # the log comes before the checkpoint of its epoch: each is trained once more
        with pytest.raises(Stopped):
            outcome(recipe, path, stop_after(epoch))
    lines = []
    assert outcome(recipe, path, lines.append) == whole
    assert lines[0] == f"goes on from {path} after epoch 4" and len(lines) == 3
    assert outcome(recipe, path, lines.append) == whole and len(lines) == 4  # killed before the result was written


def test_goes_on_after_few_steps(tmp_path):
    """The first checkpoint may have fewer losses than a result's trace."""
    recipe, path, lines = dataclasses.replace(RECIPE, batch_size=320), tmp_path / "run.pt", []
    with pytest.raises(Stopped):
        outcome(recipe, path, stop_after(3))
    assert outcome(recipe, path, lines.append) == outcome(recipe, None)
    assert lines[0] == f"goes on from {path} after epoch 2"


@pytest.mark.parametrize("change", [{"lr": 0.2}, {"epochs": 7}, {"batch_size": 64}, {"train_images": 320}], ids=str)
def test_another_recipe_starts_anew(tmp_path, change):
    path, other = tmp_path / "run.pt", dataclasses.replace(RECIPE, **change)
    outcome(RECIPE, path)
    assert outcome(other, path) == outcome(other, None)


def brighter(images, generator):
    return images * 0.9 + 0.1


def with_dropout(p: float, activation=nn.ReLU) -> nn.Sequential:
    model = network()
    model[2], model[3] = activation(), Dropout(p)
    return model


@pytest.mark.parametrize("make_model, seed, reason", [
    (network, 1, "it is of another seed"), (lambda: with_dropout(0.4), 0, "it is of another network"),
    (lambda: with_dropout(0.1, nn.Tanh), 0, "it is of another network"),
    (lambda: nn.Sequential(nn.Flatten(), nn.Linear(144, 10)), 0, "it is of another network and weights"),
], ids=["seed", "dropout", "activation", "layers"])
def test_another_seed_or_network_starts_anew(tmp_path, make_model, seed, reason):
    path, lines = tmp_path / "run.pt", []
    fit(network(), TRAIN, TEST, RECIPE, seed=0, checkpoint=path, log=lambda line: None)
    fit(make_model(), TRAIN, TEST, RECIPE, seed=seed, checkpoint=path, log=lines.append)
    assert lines[0] == f"the checkpoint {path} is not used: {reason}" and len(lines) == 1 + RECIPE.epochs


def test_other_code_starts_anew(tmp_path, monkeypatch):
    """The recipe and the network say the same, and do something else."""
    path, lines = tmp_path / "run.pt", []
    recipe = dataclasses.replace(RECIPE, augmentation=(("flip", {}),))
    outcome(recipe, path)
    monkeypatch.setitem(AUGMENTATIONS, "flip", brighter)
    assert outcome(recipe, path, lines.append) == outcome(recipe, None)
    assert lines[0] == f"the checkpoint {path} is not used: its training starts with other losses"


def test_a_run_that_goes_on_elsewhere(tmp_path, monkeypatch):
    """Another machine rounds otherwise: its losses need only be near, and the result names the first machine."""
    path, lines = tmp_path / "run.pt", []
    with pytest.raises(Stopped):
        outcome(RECIPE, path, stop_after(4))
    saved = torch.load(path, weights_only=True)
    saved["history"]["machine"]["device"] = "cpu (another)"
    saved["history"]["trace"] = [loss * (1 + 1e-6) for loss in saved["history"]["trace"]]
    torch.save(saved, path)
    history = fit(network(), TRAIN, TEST, RECIPE, seed=3, checkpoint=path, log=lines.append)
    assert lines[0].startswith("goes on from") and history["machine"]["device"] == "cpu (another)"
    assert history["trace"] == saved["history"]["trace"]


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:-100], lambda b: b[:5000] + bytes(200) + b[5200:],
                                    lambda b: pickle.dumps({"about": 1}, 2), lambda b: b"PK\3\4 not a zip"],
                         ids=["empty", "cut", "overwritten", "a pickle", "no zip"])
def test_a_damaged_checkpoint_is_not_used(tmp_path, damage):
    path = tmp_path / "run.pt"
    with pytest.raises(Stopped):
        outcome(RECIPE, path, stop_after(4))
    path.write_bytes(damage(path.read_bytes()))
    lines = []
    assert outcome(RECIPE, path, lines.append) == outcome(RECIPE, None)
    assert lines[0] == f"the checkpoint {path} is not used: it is damaged"


class Crafted:
    """What a pickle that runs code holds."""

    def __init__(self, proof: Path):
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


def test_a_crafted_checkpoint_runs_no_code(tmp_path):
    path, proof = tmp_path / "run.pt", tmp_path / "proof"
    torch.save({"about": Crafted(proof)}, path)
    with pytest.raises(ValueError, match="damaged"):
        checkpoint.load(path, {})
    assert not proof.exists()
    torch.load(path, weights_only=False)  # it would have run
    assert proof.exists()
