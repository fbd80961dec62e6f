"""A notebook's parameters, and the one decision of a run: read the result or train."""

import contextlib
import copy
import dataclasses
import json
import math
import sys
import types
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import made_up
from torch import nn

from common import experiment, results, session
from common.claims import ClaimError
from common.experiment import start
from common.files import ROOT
from common.session import Published
from common.targets import BudgetError, Target
from common.training import Recipe, evaluate

torch.set_num_threads(1)
GOOD = {"session_name": "S7_mnist", "notebook": "1_structure", "preset": "quick", "seed": 0, "epochs": None,
        "output": ""}


# Parameters

@pytest.mark.parametrize("wrong", [
    {"preset": "fast"}, *({"seed": seed} for seed in (-1, 1.0, "0", True, None, 2**63)),
    *({"epochs": epochs} for epochs in (0, -1, 2.5, "3", True, math.nan)), {"output": 5}, {"output": None},
    {"session_name": "S10"}, {"preset": "full", "epochs": 1},  # which would replace published results
], ids=str)
def test_start_names_what_is_wrong(wrong):
    with pytest.raises(ValueError, match=f"{list(wrong)[0].partition('_')[0]}"):
        start(**{**GOOD, **wrong})


def test_where_results_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for preset, folder in [("quick", "runs/quick/S7_mnist/results"), ("full", "S7_mnist/results")]:
        assert start(**{**GOOD, "preset": preset}).output == ROOT / folder
    run = start(**{**GOOD, "epochs": 5})
    assert run.output == ROOT / "runs/quick-5-epochs/S7_mnist/results"
    assert run.checkpoints == ROOT / "runs/checkpoints/quick-5-epochs/S7_mnist"
    run = start(**{**GOOD, "preset": "full", "epochs": 1, "output": "elsewhere"})
    assert run.output == tmp_path / "elsewhere" and run.checkpoints == tmp_path / "elsewhere/checkpoints"


def test_a_copy_of_a_notebook_has_results_of_its_own(monkeypatch):
    for name, notebook in (("1_structure", "1_structure"), ("2_regularization", "1_structure"), ("4_mine", "4_mine")):
        monkeypatch.setenv("JPY_SESSION_NAME", str(ROOT / f"S7_mnist/{name}.ipynb"))
        assert start(**GOOD).notebook == notebook


def test_claims_fail_a_full_run_once_all_seeds_are_there(tmp_path):
    wrong = ("never", False)
    run = start(**{**GOOD, "preset": "full", "output": str(tmp_path)})
    few = run.session._replace(notebooks={"1_structure": {"results": {"skeleton": {"seeds": 1000}}}})
    assert "✗ never" in start(**GOOD).claims(wrong).data
    assert "✗ never" in dataclasses.replace(run, session=few).claims(wrong).data
    with pytest.raises(ClaimError, match="never"):
        dataclasses.replace(run, session=run.session._replace(notebooks={})).claims(wrong)


def test_an_output_that_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=f"can't be written to {output}"):
            start(**{**GOOD, "output": str(output)})


def test_an_output_on_a_drive_is_mounted_first(monkeypatch):
    drive = "/content/drive/MyDrive/course"
    with pytest.raises(ValueError, match="only Colab"):
        start(**{**GOOD, "output": drive})
    done = []
    module = types.SimpleNamespace(drive=types.SimpleNamespace(mount=done.append))
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setattr(Path, "mkdir", lambda path, **options: done.append(str(path)))
    monkeypatch.setattr(experiment.tempfile, "TemporaryFile", lambda dir: contextlib.nullcontext())
    assert str(start(**{**GOOD, "output": drive}).output) == drive
    assert done == ["/content/drive", drive, f"{drive}/checkpoints"]


def test_recipe_and_target_of_a_preset():
    full, quick = Recipe(14, 0.1, validation=5000), Recipe(5, 0.1, validation=5000)
    runs = {preset: start(**{**GOOD, "preset": preset}) for preset in session.PRESETS}
    assert runs["full"].recipe(full, 5) == full
    assert runs["quick"].recipe(full, 5) == quick and runs["quick"].recipe(full) == full
    assert runs["quick"].recipe(full, 5, 1000) == dataclasses.replace(quick, train_images=1000)
    assert runs["full"].recipe(full, 5, 1000) == full
    assert runs["smoke"].recipe(full, 5) == dataclasses.replace(full, epochs=1, train_images=512, validation=128)
    for run in runs.values():
        assert dataclasses.replace(run, epochs=3).recipe(full, 5).epochs == 3
    assert runs["full"].at_least(12.5) == Target("accuracy", ">=", 12.5)
    assert runs["quick"].at_least(12.5) == runs["quick"].session.goal


# Runs

RECIPE = Recipe(2, 0.1, 16, schedule="one_cycle", augmentation=(("flip", {"p": 0.5}),))
LIMITS = [Target("params", "<", 200), Target("accuracy", ">=", 101), Target("epochs", "<=", 2)]


def network(channels: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, channels, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 10, 1, bias=False), nn.Flatten())


class Negated(nn.Sequential):
    def forward(self, x):
        return -super().forward(x)


DATA = made_up(160), made_up(30, seed=1)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """An experiment of a notebook of the reader's own, in an empty repository."""
    about = session.read("S7_mnist")
    monkeypatch.setattr(experiment, "ROOT", tmp_path)
    monkeypatch.setattr(session, "read", lambda name: about)
    return start("S7_mnist", "1_test", "quick", 0, None, str(tmp_path / "out"))


@pytest.fixture
def full(run, tmp_path):
    """The same in preset full, where session.toml publishes `tiny` for 3 seeds, with the weights of 2."""
    known = {**run.session.notebooks, "1_test": {"results": {
        "tiny": Published(3, 2)._asdict(), "numbers": {"seeds": 3}, "once": {"seeds": 1}}}}
    return dataclasses.replace(run, session=run.session._replace(notebooks=known), preset="full",
                               output=tmp_path / "S7_mnist/results")


def trained(run, capsys, make_network=network, recipe=RECIPE, limits=LIMITS, name="tiny", **options) -> bool:
    """Whether `run` trains (True) or reads, as a new kernel would."""
    capsys.readouterr()
    result, _ = dataclasses.replace(run, made_of={}).train_or_read(name, make_network, recipe, DATA, limits, **options)
    out = capsys.readouterr().out
    assert "epoch  1/2" in out and "epoch  2/2" in out  # shown in both cases
    assert result["epochs"] == 2
    return ": read from " not in out


def test_a_result_says_how_it_was_made(run, tmp_path):
    result, model = run.train_or_read("tiny", network, RECIPE, DATA, LIMITS)
    path = tmp_path / "out/1_test/tiny-seed0.json"
    assert result.pop("path") == str(path) and json.loads(path.read_text()) == result
    assert sorted(file.name for file in path.parent.iterdir()) == ["tiny-seed0.json", "tiny-seed0.pt"]
    assert result.keys() == set("""session notebook model norm seed preset network params receptive_field depthwise
        dilated max_pools global_pools linear transforms max_epochs epochs accuracy train_accuracy curve seconds device
        threads torch precision git_commit recipe layers images output trace targets weights_sha256""".split())
    assert result["params"] == 4 * 9 + 4 + 4 + 40 == sum(row["params"] for row in result["layers"])
    assert result["receptive_field"] == 8  # global average pooling sees the whole image
    assert result["accuracy"] == result["curve"][-1]["test_accuracy"] == evaluate(model, DATA[1])[1]
    assert result["global_pools"] == result["transforms"] == 1 and result["max_pools"] == 0
    assert [t["met"] for t in result["targets"]] == [True, False, True]
    assert result["recipe"] == json.loads(json.dumps(dataclasses.asdict(RECIPE)))
    assert len(result["trace"]) == 20 and all(math.isfinite(loss) for loss in result["trace"])


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_second_call_reads_the_same(run, capsys, average):
    recipe = dataclasses.replace(RECIPE, average=average)
    first, model = run.train_or_read("tiny", network, recipe, DATA, LIMITS)
    assert not trained(run, capsys, recipe=recipe)
    again, read = run.train_or_read("tiny", network, recipe, DATA, LIMITS)
    assert first == again
    # The weights are those that gave the result: nothing has passed through batch norm since.
    assert all(torch.equal(value, read.state_dict()[name]) for name, value in model.state_dict().items())
    assert evaluate(read, DATA[1]) == (first["curve"][-1]["test_loss"], first["accuracy"])


def test_a_stopped_run_goes_on(run, capsys, tmp_path, monkeypatch):
    whole, _ = dataclasses.replace(run, output=tmp_path / "whole").train_or_read("tiny", network, RECIPE, DATA, LIMITS)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "save", stop)  # after the last epoch, before the result is written
        with pytest.raises(KeyboardInterrupt):
            run.train_or_read("tiny", network, RECIPE, DATA, LIMITS)
    kept = tmp_path / "out/checkpoints/1_test/tiny-seed0.pt"
    assert kept.exists() and not results.read_all(tmp_path / "out")
    capsys.readouterr()
    result, _ = run.train_or_read("tiny", network, RECIPE, DATA, LIMITS)
    assert "goes on from" in capsys.readouterr().out
    assert result["weights_sha256"] == whole["weights_sha256"]
    assert not kept.exists()  # the result is there


def change(path: Path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_is_trained_again_and_what_is_read(run, capsys, tmp_path):
    path = tmp_path / "out/1_test/tiny-seed0.json"
    assert trained(run, capsys) and not trained(run, capsys)
    change(path, trace=[0.0] * 20)
    assert not trained(run, capsys)  # a reader's run never trains for a rounding
    assert trained(run, capsys, recipe=dataclasses.replace(RECIPE, weight_decay=1e-9)) and trained(run, capsys)
    assert trained(run, capsys, make_network=lambda: network(5)) and trained(run, capsys)
    assert trained(run, capsys, make_network=lambda: Negated(*network())) and trained(run, capsys)  # the same layers
    assert trained(run, capsys, norm="bn") and not trained(run, capsys)  # a file of its own
    path.with_suffix(".pt").unlink()
    assert trained(run, capsys) and not trained(run, capsys)
    change(path, images=[100, 30])
    assert trained(run, capsys)  # on other data
    recipe = json.loads(path.read_text())["recipe"]
    del recipe["muon"]  # a field that recipes didn't have when it was made
    change(path, recipe=recipe)
    assert not trained(run, capsys)


@pytest.mark.parametrize("spoil", [lambda path: change(path, accuracy=99.9),
                                   lambda path: path.with_suffix(".pt").write_bytes(b"x" * 100)])
def test_a_file_that_was_edited_or_damaged_is_refused_by_name(run, tmp_path, spoil):
    run.train_or_read("tiny", network, RECIPE, DATA, LIMITS)
    spoil(tmp_path / "out/1_test/tiny-seed0.json")
    with pytest.raises(ValueError, match="tiny-seed0"):
        run.train_or_read("tiny", network, RECIPE, DATA, LIMITS)


def test_of_a_curve_that_is_read_ten_epochs_are_shown(capsys):
    rows = [{"epoch": i, "lr": 0.1, "train_loss": 0.1, "train_accuracy": 97.0, "test_loss": 0.1, "test_accuracy": 97.0,
             "seconds": 1.0} for i in range(1, 61)]
    for epochs, shown in ((10, list(range(1, 11))), (14, list(range(2, 15, 2))), (60, list(range(6, 61, 6)))):
        result = {"model": "tiny", "device": "cpu", "max_epochs": epochs, "curve": rows[:epochs]}
        experiment.show_curve(result, ROOT / "tiny.json")
        lines = capsys.readouterr().out.splitlines()[1:]
        assert [int(line.split("/")[0].removeprefix("epoch")) for line in lines] == shown


def test_two_networks_of_one_name_are_both_kept(run, capsys):
    with pytest.raises(ValueError, match="batch"):
        run.train_or_read("mine", network, dataclasses.replace(RECIPE, batch_size=999), DATA, LIMITS)  # claims no name
    names = [run.train_or_read("mine", partial(network, channels), RECIPE, DATA, LIMITS)[0]["model"]
             for channels in (4, 5, 4)]
    assert names == ["mine", "mine_2", "mine"] and "kept as mine_2" in capsys.readouterr().out
    again = dataclasses.replace(run, made_of={})  # a new kernel trains neither
    for channels in (4, 5):
        again.train_or_read("mine", partial(network, channels), RECIPE, DATA, LIMITS)
    assert capsys.readouterr().out.count("read from") == 2


class Keyword(nn.Module):
    """A convolution called by keyword, and a pool that no layer stands for."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.LazyConv2d(4, 3), nn.LazyLinear(10)

    def forward(self, x):
        return self.linear(nn.functional.adaptive_max_pool2d(self.conv(input=x), 2).flatten(1))


def test_any_network_trains_and_an_unknown_field_says_why(run, capsys):
    for name, layers, params, known in [
        ("linear", [nn.Flatten(), nn.Linear(64, 10)], 650, False), ("keyword", [Keyword()], 40 + 170, True),
        ("transposed", [nn.ConvTranspose2d(1, 4, 3), nn.Flatten(), nn.Linear(400, 10)], 40 + 4010, False),
    ]:
        limits = [*LIMITS, Target("receptive_field", ">", 1)]
        result, model = run.train_or_read(name, lambda layers=layers: nn.Sequential(*copy.deepcopy(layers)), RECIPE,
                                          DATA, limits)
        assert result["params"] == params and model(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
        assert (result["receptive_field"] is not None) == result["targets"][-1]["met"] == known
        assert ("receptive field: unknown (" in capsys.readouterr().out) == (name == "transposed")


@pytest.mark.parametrize(("make", "said"), [
    (lambda: nn.Sequential(nn.Conv2d(3, 10, 8), nn.Flatten()), r"\[1, 8, 8\]"), (network(), "lambda"),
    (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), "7")])
def test_what_is_no_network_for_these_images_is_one_sentence(run, make, said):
    with pytest.raises(ValueError, match=said) as raised:
        run.train_or_read("tiny", make, RECIPE, DATA, LIMITS)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="plain numbers"):  # before it is trained: a result couldn't be written
        run.train_or_read("tiny", network, dataclasses.replace(RECIPE, lr=np.float32(0.1)), DATA, LIMITS)
    assert not list(run.checkpoints.rglob("*.pt"))
    for name, limits in (("a/b", LIMITS), ("a", LIMITS[0]), ("a", ["params < 8000"])):
        with pytest.raises(ValueError, match="letters|targets"):
            run.train_or_read(name, network, RECIPE, DATA, limits)


def test_published_results_are_read(run, full, capsys, tmp_path):
    assert trained(full, capsys)
    assert not trained(run, capsys) and not results.read_all(tmp_path / "out")


def test_weights_are_kept_where_session_toml_says(full, capsys, tmp_path):
    folder = tmp_path / "S7_mnist/results/1_test"
    for seed in range(3):
        assert trained(dataclasses.replace(full, seed=seed), capsys)
        assert trained(dataclasses.replace(full, seed=seed), capsys, name="numbers")
    assert sorted(path.name for path in folder.glob("*.pt")) == ["tiny-seed0.pt", "tiny-seed1.pt"]
    later = dataclasses.replace(full, seed=2)
    assert not trained(later, capsys)  # its numbers are there
    result, model = later.train_or_read("tiny", network, RECIPE, DATA, LIMITS)
    assert result["seed"] == 2 and "network is that of seed 0" in capsys.readouterr().out
    assert evaluate(model, DATA[1])[1] == results.read(folder / "tiny-seed0.json")["accuracy"]
    assert later.train_or_read("numbers", network, RECIPE, DATA, LIMITS)[1] is None
    (folder / "tiny-seed0.json").unlink()
    with pytest.raises(ValueError, match="seed=0 first"):
        dataclasses.replace(later, made_of={}).train_or_read("tiny", network, RECIPE, DATA, LIMITS)


def test_a_result_with_fewer_seeds_is_shown_for_one_of_them(full, capsys):
    later = dataclasses.replace(full, seed=5)
    assert later.train_or_read("once", network, RECIPE, DATA, LIMITS)[0]["seed"] == 0
    assert later.train_or_read("tiny", network, RECIPE, DATA, LIMITS)[0]["seed"] == 5  # none has more


def test_a_limit_stops_training_in_full_only(run, full, capsys, tmp_path):
    for limits, said in ([Target("params", "<", 84)], "parameters: 84"), ([Target("epochs", "<", 2)], "epochs: 2"), (
            [Target("dilated", ">=", 1)], "dilated"):
        with pytest.raises(BudgetError, match=said):
            trained(full, capsys, limits=limits)
    assert not results.read_all(tmp_path / "S7_mnist")  # before any training
    result, _ = run.train_or_read("tiny", network, RECIPE, DATA, [Target("params", "<", 84)])
    assert result["targets"] == [{"name": "parameters", "limit": "< 84", "value": 84, "met": False}]
    result, _ = run.train_or_read("tiny", network, RECIPE, DATA, [Target("params", "<", 85)])
    assert result["targets"][0]["met"]  # today's, though it was read


def test_over_seeds(run, full):
    runs = [dataclasses.replace(where, preset="quick", seed=seed) for where, seed in ((full, 0), (full, 1), (run, 2))]
    found = [one.train_or_read("tiny", network, RECIPE, DATA, LIMITS)[0] for one in runs]
    summary = run.over_seeds(found[-1])
    assert [one["seed"] for one in summary["results"]] == [0, 1, 2]
    assert summary["mean"] == pytest.approx(sum(one["accuracy"] for one in found) / 3)
    other, _ = dataclasses.replace(run, seed=3).train_or_read("tiny", lambda: network(5), RECIPE, DATA, LIMITS)
    assert run.over_seeds(other)["n"] == 1  # another network of that name is not its like


def test_transforms_are_listed():
    by_library = ("albumentations", {"transforms": (("Blur", {}), ("Crop", {}))})
    recipe = Recipe(1, 0.1, augmentation=(("flip", {}), by_library), alternating_flip=True)
    assert experiment.list_transforms(recipe) == ["flip", "Blur", "Crop", "alternating_flip"]
