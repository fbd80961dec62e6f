"""The trained networks that the repository has, as notebooks and torch.hub give them; `make check` evaluates all."""

import json
import subprocess
import sys

import pytest
import torch
from test_checkpoint import Crafted
from torch import nn

import hubconf
from common import anatomy, results
from common import pretrained as module
from common.data import find, load
from common.files import ROOT
from common.models import s7
from common.pretrained import pretrained
from common.training import evaluate

PUBLISHED = sorted(ROOT.glob("S*/results/*/*-seed*.pt"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_published_network_can_be_made(path):
    result = results.read(path.with_suffix(".json"))
    which = [result[key] for key in ("model", "norm", "seed")]
    assert not pretrained(f"{result['session']}/{result['notebook']}", *which).training


@pytest.mark.skipif(not find("mnist"), reason="MNIST isn't here: set DATA_DIR")
def test_hub_gives_networks_with_their_published_accuracy():
    test, folder = load("mnist")[1], ROOT / "S7_mnist/results/3_augmentation"
    for name, model, rounding in (("ours", "ours", 0), ("smallest", "one_block_45", 0.05)):  # the latter's from a GPU
        network = torch.hub.load(str(ROOT), f"s7_{name}", source="local")
        result = results.read(folder / f"{model}-seed0.json")
        assert evaluate(network, test)[1] == pytest.approx(result["accuracy"], abs=rounding)
    for norm in ("bn", "gn", "ln"):
        network = torch.hub.load(str(ROOT), "s8_ours", source="local", norm=norm)
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert torch.hub.load(str(ROOT), "s9_ours", source="local", trained=False).training


@pytest.mark.parametrize("make", [hubconf.s7_ours, hubconf.s7_smallest, hubconf.s8_ours, hubconf.s9_ours])
def test_hub_says_how_many_parameters_a_network_has(make):
    assert f"{anatomy.count_parameters(make(trained=False)):,} parameters" in make.__doc__


def test_hub_works_from_another_folder(tmp_path):
    code = f"import torch; print(torch.hub.load({str(ROOT)!r}, 's7_ours', source='local'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("Network("), done.stderr


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A course with one published result, which a test may damage; returns the path of its .json."""
    source = ROOT / "S7_mnist/results/3_augmentation/ours-seed0.json"
    path = tmp_path / source.relative_to(ROOT)
    path.parent.mkdir(parents=True)
    for suffix in (".json", ".pt"):
        path.with_suffix(suffix).write_bytes(source.with_suffix(suffix).read_bytes())
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return path


@pytest.mark.parametrize("wrong", [("S7_mnist/3_augmentation", "ours", "gn", 3), ("4_ours", "ours"), ("", "ours")])
def test_weights_that_are_not_there(copy, wrong):
    with pytest.raises(ValueError, match="S7_mnist/3_augmentation/ours-seed0"):
        pretrained(*wrong)
    copy.with_suffix(".pt").unlink()
    with pytest.raises(ValueError, match="no weights"):
        pretrained("S7_mnist/3_augmentation", "ours")


def test_damaged_weights(copy):
    weights = copy.with_suffix(".pt").read_bytes()
    for damaged in (b"", weights[:-1], weights[:3000] + bytes([weights[3000] ^ 1]) + weights[3001:]):
        copy.with_suffix(".pt").write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged"):
            pretrained("S7_mnist/3_augmentation", "ours")


def test_another_network_of_that_name(copy, monkeypatch):
    for other in (s7.slim, lambda: nn.Sequential(*s7.narrow(12, 24, 52, 4), nn.Identity()), None):
        monkeypatch.setattr(s7, "ours", other)
        with pytest.raises(ValueError, match="another network than .*ours-seed0.json"):
            pretrained("S7_mnist/3_augmentation", "ours")


def test_crafted_weights_run_no_code(copy, tmp_path):
    proof = tmp_path / "proof"
    torch.save({"0.weight": Crafted(proof)}, copy.with_suffix(".pt"))
    with pytest.raises(ValueError, match="damaged"):  # another hash
        pretrained("S7_mnist/3_augmentation", "ours")
    result = json.loads(copy.read_text())
    result["weights_sha256"] = results.sha256(copy.with_suffix(".pt").read_bytes())
    copy.write_text(json.dumps(result))
    with pytest.raises(Exception, match="[Ww]eights.only"):  # the hash is forged too
        pretrained("S7_mnist/3_augmentation", "ours")
    assert not proof.exists()
