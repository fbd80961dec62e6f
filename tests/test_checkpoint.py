"""A run that is killed and started again ends as one that never was: bit for bit."""

import dataclasses
import pickle
from pathlib import Path

import pytest
import torch
from test_training import Custom, made_up
from torch import nn

from common import checkpoint
from common.layers import Dropout
from common.training import Recipe, fit

RECIPE = Recipe(epochs=6, lr=0.1, muon=0.02, batch_size=32, schedule="one_cycle", average=0.9,
                augmentation=(("affine", {"rotate": 10.0, "shift": 0.1}),), alternating_flip=True)
RECIPES = {
    "one cycle, average, muon": RECIPE,
    "plateau": dataclasses.replace(RECIPE, schedule="plateau", validation=64, patience=0, lr=0.5, muon=0, average=0),
    "step": dataclasses.replace(RECIPE, schedule="step", step_epochs=2, average=0.0, weight_decay=1e-3),
}
SHORT = dataclasses.replace(RECIPE, epochs=1)
TRAIN, TEST = made_up(640, 0, side=12), made_up(100, 1, side=12)


def network(p: float = 0.1, factor: float = 1) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Dropout(p), nn.Flatten(),
                           nn.Linear(800, 10))
    return Custom(lambda net, x: factor * net.layers(x), layers=layers)  # of the factor only the code knows


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


@pytest.mark.parametrize("change, other", [
    ({"recipe": dataclasses.replace(SHORT, lr=0.2)}, "recipe"), ({"seed": 1}, "seed"), ({"train": TRAIN[:320]}, "data"),
    ({"model": network(p=0.4)}, "network"), ({"model": network(factor=2)}, "output"),  # an edited forward
    ({"model": nn.Sequential(nn.Flatten(), nn.Linear(144, 10))}, "network and weights and output"),
], ids=["recipe", "seed", "data", "dropout", "forward", "layers"])
def test_another_run_starts_anew(tmp_path, change, other):
    path, lines = tmp_path / "run.pt", []
    run = {"model": network(), "train": TRAIN, "test": TEST, "recipe": SHORT, "seed": 0, "checkpoint": path}
    fit(**run, log=lines.append)
    fit(**{**run, "model": network(), **change}, log=lines.append)
    assert lines[1].endswith(f" is not used: it is of a run with another {other}") and lines[2].startswith("epoch  1/1")


@pytest.mark.parametrize("factor, said", [(1.005, "goes on"), (1.05, "not used")])
def test_a_run_goes_on_where_a_machine_rounds_otherwise(tmp_path, factor, said):
    path, lines = tmp_path / "run.pt", []
    fit(network(), TRAIN, TEST, SHORT, checkpoint=path, log=lines.append)
    fit(network(factor=factor), TRAIN, TEST, SHORT, checkpoint=path, log=lines.append)
    assert said in lines[1]


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:-100], lambda b: b[:50_000] + bytes(99) + b[50_099:],
                                    lambda b: pickle.dumps({"about": 1}, 2)], ids=["empty", "cut", "zeros", "pickle"])
def test_a_damaged_checkpoint_is_not_used(tmp_path, damage):
    path, lines = tmp_path / "run.pt", []
    outcome(SHORT, path)
    path.write_bytes(damage(path.read_bytes()))
    assert outcome(SHORT, path, lines.append) == outcome(SHORT, None)
    assert lines[0] == f"the checkpoint {path} is not used: it is damaged"


@dataclasses.dataclass
class Crafted:
    """What a pickle that runs code holds."""
    proof: Path

    def __reduce__(self):
        return Path.touch, (self.proof,)


def test_a_crafted_checkpoint_runs_no_code(tmp_path):
    path, proof, lines = tmp_path / "run.pt", tmp_path / "proof", []
    torch.save({"about": Crafted(proof)}, path)
    assert checkpoint.find_unfinished(path, {}, lines.append) is None and "damaged" in lines[0]
    assert not proof.exists()
    torch.load(path, weights_only=False)  # it would have run
    assert proof.exists()
