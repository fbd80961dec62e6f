"""The weights in the repository are those that gave the published accuracies."""

import functools
import json
import os
from pathlib import Path

import pytest
import torch
from test_checkpoint import Crafted
from torch import nn

from common import models, results
from common.data import ROOT, find, load
from common.training import evaluate

PUBLISHED = [path.with_suffix(".json") for path in sorted(ROOT.glob("S*/results/*/*-seed*.pt"))]
# One seed of each network in `make test`, all in `make soak`; the many short runs of one notebook there only.
CHECKED = [path for path in PUBLISHED
           if "SOAK" in os.environ or path.stem.endswith("-seed0") and not path.stem.startswith("batch_")]


def arguments(path: Path) -> dict:
    """How `models.published` is told of the result at `path`."""
    result = results.load(path)
    return {"notebook": f"{result['session']}/{result['notebook']}",
            **{key: result[key] for key in ("model", "norm", "seed")}}


@functools.cache
def images_of(name: str):
    return load(name)[1]


@pytest.mark.parametrize("path", CHECKED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_published_weights_reach_the_published_accuracy(path):
    result = results.load(path)
    name = "mnist" if result["session"] == "S7_mnist" else "cifar10"
    if find(name) is None:
        pytest.skip(f"{name} is in none of $DATA_DIR, data/ and ../shared/data: NOT TESTED WITH REAL DATA")
    network = models.published(**arguments(path))
    assert evaluate(network, images_of(name))[1] == result["accuracy"]


def test_the_weights_belong_to_their_results():
    assert len(PUBLISHED) > 50
    for path in PUBLISHED:
        assert not models.published(**arguments(path)).training  # their hash, their network, their parameters


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A course with one published result, which a test may damage; returns the path of its .json."""
    source = ROOT / "S7_mnist" / "results" / "3_augmentation" / "ours-seed0.json"
    path = tmp_path / source.relative_to(ROOT)
    path.parent.mkdir(parents=True)
    for suffix in (".json", ".pt"):
        path.with_suffix(suffix).write_bytes(source.with_suffix(suffix).read_bytes())
    monkeypatch.setattr(models, "ROOT", tmp_path)
    return path


def published():
    return models.published("S7_mnist/3_augmentation", "ours")


def test_a_result_that_is_not_there(copy):
    with pytest.raises(ValueError, match="^S7_mnist/3_augmentation has no published ours-gn-seed3 .*: ours-seed0$"):
        models.published("S7_mnist/3_augmentation", "ours", "gn", 3)


@pytest.mark.parametrize("notebook", ["4_ours", "", "S7_mnist", "S7_mnist/4_ours", "S7_mnist/3/4"])
def test_a_notebook_that_is_not_there(notebook):
    with pytest.raises(ValueError, match=r"has no published ours-seed0 .* there are: S7_mnist/1_structure, S7_mnist/2"):
        models.published(notebook, "ours")


def test_names_as_the_tables_and_the_files_have_them():
    assert models.published("S7_mnist/3_augmentation.ipynb", "one cycle")


def test_damaged_weights(copy):
    weights = copy.with_suffix(".pt").read_bytes()
    for damaged in (b"", weights[:-1], weights[:3000] + bytes([weights[3000] ^ 1]) + weights[3001:]):
        copy.with_suffix(".pt").write_bytes(damaged)
        with pytest.raises(ValueError, match="its weights are damaged"):
            published()
    copy.with_suffix(".pt").unlink()
    with pytest.raises(ValueError, match="its weights are missing"):
        published()


def test_another_network_of_that_name(copy, monkeypatch):
    monkeypatch.setattr(models, "ours", models.smallest)
    with pytest.raises(ValueError, match="another network than .*ours-seed0.json: Error.* in loading state_dict"):
        published()
    narrow = models.narrow
    monkeypatch.setattr(models, "ours", lambda: nn.Sequential(*narrow(12, 24, 52, 4), nn.Identity()))
    with pytest.raises(ValueError, match="another network than .*ours-seed0.json: its layers are others$"):
        published()
    monkeypatch.delattr(models, "ours")
    with pytest.raises(ValueError, match="another network than .*: 'ours'$"):
        published()


def test_crafted_weights_run_no_code(copy, tmp_path):
    proof = tmp_path / "proof"
    torch.save({"0.weight": Crafted(proof)}, copy.with_suffix(".pt"))
    with pytest.raises(ValueError, match="damaged"):  # another hash
        published()
    result = json.loads(copy.read_text())
    result["weights_sha256"] = results.sha256(copy.with_suffix(".pt").read_bytes())
    copy.write_text(json.dumps(result))
    with pytest.raises(Exception, match="[Ww]eights.only"):  # the hash is forged too
        published()
    assert not proof.exists()
