"""Parameters, targets, results on disk, and the one decision of a run: read the result or train."""

import contextlib
import dataclasses
import json
import math
import os
import re
import subprocess
import sys
import types
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from common import experiment, results, targets
from common.data import Dataset
from common.experiment import Experiment, StaleError, start
from common.targets import BudgetError, Target
from common.training import Recipe, evaluate

torch.set_num_threads(1)


# Parameters

GOOD = {"session": "S7_mnist", "notebook": "1_structure", "preset": "quick", "seed": 0, "epochs": None,
        "train": "missing", "output": "", "resume": True}


@pytest.mark.parametrize("wrong, message", [
    ({"preset": "fast"}, "unknown preset 'fast'; known: smoke, quick, full"),
    ({"train": True}, "unknown value train=True; known: missing, always, never"),
    ({"train": "yes"}, "unknown value train='yes'; known: missing, always, never"),
    *[({"seed": seed}, f"seed={seed!r} is not a whole number of at least 0, of 19 digits at most")
      for seed in (-1, 1.0, "0", True, None)],
    *[({"epochs": epochs}, f"epochs={epochs!r} is not a whole number of at least 1")
      for epochs in (0, -1, 2.5, "3", True, math.nan)],
    ({"output": 5}, "output=5 is not a text"), ({"output": None}, "output=None is not a text"),
    ({"resume": "no"}, "resume='no' is not True or False"),
], ids=str)
def test_start_rejects(wrong, message):
    with pytest.raises(ValueError) as raised:
        start(**{**GOOD, **wrong})
    assert str(raised.value) == message


@pytest.mark.parametrize("preset, folder", [("smoke", "runs/smoke/S7_mnist/results"), ("full", "S7_mnist/results"),
                                            ("quick", "runs/quick/S7_mnist/results")])
def test_start(preset, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = start(**{**GOOD, "preset": preset, "seed": 3})
    assert run == Experiment("S7_mnist", "1_structure", preset, 3, None, "missing", experiment.ROOT / folder, True,
                             experiment.ROOT / f"runs/checkpoints/{preset}/S7_mnist")
    named = start(**{**GOOD, "preset": preset, "output": "elsewhere"})
    assert named.output == tmp_path / "elsewhere" and named.checkpoints == tmp_path / "elsewhere/checkpoints"


def test_other_epochs_have_a_folder_of_their_own():
    run = start(**{**GOOD, "epochs": 5})
    assert run.output == experiment.ROOT / "runs/quick-5-epochs/S7_mnist/results"
    assert run.checkpoints == experiment.ROOT / "runs/checkpoints/quick-5-epochs/S7_mnist"


def test_other_epochs_do_not_replace_published_results(tmp_path):
    with pytest.raises(ValueError, match="would replace published results"):
        start(**{**GOOD, "preset": "full", "epochs": 1})
    assert start(**{**GOOD, "preset": "full", "epochs": 1, "output": str(tmp_path)}).epochs == 1


def test_an_output_that_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for output, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "below", "Not a directory")):
        with pytest.raises(ValueError, match=rf"can't be written to {output} \({reason}\): name another folder"):
            start(**{**GOOD, "output": str(output)})


def test_an_output_on_a_drive_is_mounted_first(monkeypatch):
    drive = "/content/drive/MyDrive/course"
    with pytest.raises(ValueError, match="only Colab can mount it; name a folder of this machine, or leave"):
        start(**{**GOOD, "output": drive})
    done = []
    module = types.SimpleNamespace(drive=types.SimpleNamespace(mount=done.append))
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setattr(Path, "mkdir", lambda path, **options: done.append(str(path)))
    monkeypatch.setattr(experiment.tempfile, "TemporaryFile", lambda dir: contextlib.nullcontext())
    run = start(**{**GOOD, "output": drive})
    assert done == ["/content/drive", drive, f"{drive}/checkpoints"]
    assert (str(run.output), str(run.checkpoints)) == (drive, f"{drive}/checkpoints")


def test_recipe_of_a_preset():
    full, quick = Recipe(14, 0.1, validation=5000), Recipe(5, 0.1, validation=5000)
    presets = {preset: start(**{**GOOD, "preset": preset}) for preset in experiment.PRESETS}
    assert presets["full"].recipe(full, 5) == full
    assert presets["quick"].recipe(full, 5) == quick and presets["quick"].recipe(full) == full
    smoke = presets["smoke"].recipe(full, 5)
    assert smoke == dataclasses.replace(full, epochs=1, train_images=512, validation=128)
    for run in presets.values():
        assert run._replace(epochs=3).recipe(full, 5).epochs == 3


# Targets

def test_targets_are_checked():
    limits = [Target("params", "<", 8000), Target("accuracy", ">=", 99.4), Target("epochs", "<=", 14),
              Target("receptive_field", ">", 44)]
    values = {"params": 8000, "accuracy": 99.4, "epochs": 14, "receptive_field": 44}
    assert targets.check(limits, values) == [
        {"name": "parameters", "limit": "< 8,000", "value": 8000, "met": False},
        {"name": "test accuracy, %", "limit": ">= 99.4", "value": 99.4, "met": True},
        {"name": "epochs", "limit": "<= 14", "value": 14, "met": True},
        {"name": "receptive field after the average, pixels", "limit": "> 44", "value": 44, "met": False},
    ]
    with pytest.raises(KeyError):
        Target("params", "=<", 1).met(1)


def test_budget():
    limits = [Target("params", "<", 8000), Target("epochs", "<", 15), Target("accuracy", ">=", 99.4)]
    targets.check_budget(limits, {"params": 7999, "epochs": 14})  # the accuracy is not known yet
    with pytest.raises(BudgetError, match="^8,000 parameters, the limit is < 8,000: change the network or its recipe"):
        targets.check_budget(limits, {"params": 8000, "epochs": 14})
    with pytest.raises(BudgetError, match="^15 epochs, the limit is < 15"):
        targets.check_budget(limits, {"params": 7999, "epochs": 15})


# Files

@pytest.mark.parametrize("content", ["new", b"\x00\xff"])
def test_write(tmp_path, content):
    path = tmp_path / "a" / "b" / "x.json"
    results.write(path, content)
    results.write(path, content)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content, error", [("half a \ud800 surrogate", UnicodeEncodeError), (12, TypeError)])
def test_a_failing_write_leaves_the_old_file(tmp_path, content, error):
    path = tmp_path / "x.json"
    results.write(path, "old")
    with pytest.raises(error):
        results.write(path, content)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_write_that_can_not_take_its_place_leaves_no_litter(tmp_path):
    path = tmp_path / "x.json"
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(OSError):
        results.write(path, "new")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full: NOT TESTED WITH A FULL DISK")
def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    results.write(path, "old")
    (tmp_path / f".x.json.{os.getpid()}.part").symlink_to("/dev/full")  # where the new content goes first
    with pytest.raises(OSError, match="No space left"):
        results.write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed(tmp_path):
    path, old, new = tmp_path / "x.json", tmp_path / ".x.json.1.part", tmp_path / ".x.json.2.part"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    results.write(path, "content")
    assert sorted(tmp_path.iterdir()) == [new, path]  # perhaps another process is at it


def test_read(tmp_path):
    for name in ("b/x-seed1.json", "a/x-seed10.json", "a/x-bn-seed0.json", "bench.json", "a/x-seed0.pt"):
        results.write(tmp_path / name, "{}")
    assert results.read(tmp_path) == [{"path": str(tmp_path / name)} for name in
                                      ("a/x-bn-seed0.json", "a/x-seed10.json", "b/x-seed1.json")]
    assert results.read(tmp_path / "missing") == []


@pytest.mark.parametrize("content", [b"", b'{"model": "x", "cur', b"[1, 2]", b"3", b"\xff\xfe\x00", b"\x00" * 20])
def test_read_names_a_corrupt_file(tmp_path, content):
    results.write(tmp_path / "a-seed0.json", "{}")
    results.write(tmp_path / "b-seed0.json", content)
    with pytest.raises(ValueError) as raised:
        results.read(tmp_path)
    message = str(raised.value)
    assert str(tmp_path / "b-seed0.json") in message and "delete it and run again" in message and "\n" not in message


# Summaries

def made_up(seed: int, accuracy: float, **other) -> dict:
    return {"session": "S7_mnist", "notebook": "n", "model": "m", "norm": None, "preset": "full", "params": 7280,
            "receptive_field": 20, "epochs": 14, "seed": seed, "accuracy": accuracy, "train_accuracy": accuracy - 1,
            "seconds": 10.0 * (seed + 1), "targets": [],
            "curve": [{"epoch": i + 1, "test_accuracy": a} for i, a in enumerate([98.0, 99.4, 99.3, accuracy])],
            **other}


def test_summary():
    runs = [made_up(2, 99.5), made_up(0, 99.2), made_up(1, 99.8), made_up(0, 97.0, model="k"),
            made_up(0, 90.0, norm="gn"), made_up(0, 80.0, preset="quick")]
    rows = results.summary(runs)
    assert [(row["model"], row["norm"], row["preset"], row["n"]) for row in rows] == [
        ("k", None, "full", 1), ("m", None, "full", 3), ("m", None, "quick", 1), ("m", "gn", "full", 1)]
    row = rows[1]
    assert row["mean"] == pytest.approx(99.5)
    assert row["std"] == pytest.approx(0.3)  # sqrt((0 + 0.09 + 0.09) / 2): the sample's, over n - 1
    assert row["worst"] == 99.2 and row["train_accuracy"] == pytest.approx(98.5) and row["seconds"] == 20
    assert (row["params"], row["receptive_field"], row["epochs"]) == (7280, 20, 14)
    assert [run["seed"] for run in row["results"]] == [0, 1, 2]
    assert rows[0]["std"] is None and rows[0]["mean"] == rows[0]["worst"] == 97.0
    assert results.summary([]) == []


def test_epochs_until():
    run = made_up(0, 99.6)
    assert [results.epochs_until(run, accuracy) for accuracy in (97, 99.4, 99.41, 99.6, 99.7)] == [1, 2, 4, 4, None]


# Runs

KEYS = set("""session notebook model norm seed preset network weights_sha256
params receptive_field depthwise dilated max_pools global_pools
linear transforms max_epochs epochs accuracy train_accuracy
curve seconds device threads torch git_commit targets recipe layers trace""".split())
RECIPE = Recipe(2, 0.1, 16, schedule="one_cycle", augmentation=(("flip", {"p": 0.5}),))
LIMITS = [Target("params", "<", 200), Target("accuracy", ">=", 101), Target("epochs", "<=", 2)]


def network(channels: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, channels, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 10, 1, bias=False), nn.Flatten())


def split(n: int, seed: int) -> Dataset:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return Dataset("mnist", images, torch.randint(10, (n,), generator=generator), tuple("0123456789"))


def other_start() -> nn.Sequential:
    """The same layers with other first weights."""
    model = network()
    nn.init.ones_(model[0].weight)
    return model


DATA = split(160, 0), split(30, 1)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """An experiment in an empty repository."""
    monkeypatch.setattr(experiment, "ROOT", tmp_path)
    return start("S7_mnist", "1_test", "quick", 0, None, "missing", str(tmp_path / "out"), True)


def trained(run, capsys, make_model=network, recipe=RECIPE, data=DATA, limits=LIMITS, **options) -> bool:
    """Whether `run` trains (True) or reads."""
    capsys.readouterr()
    result, _ = run.run("tiny", make_model, recipe, data, limits, **options)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[-2:]] == [["epoch", "1/2"], ["epoch", "2/2"]]  # shown in both cases
    assert result["epochs"] == 2
    read = [line for line in lines[:-2] if line.startswith("tiny: read from ")]
    refused = [line for line in lines[:-2] if line.startswith("tiny: not read from ")]
    assert lines[:-2] == refused + read
    return not read


def test_a_result_has_every_key(run, tmp_path):
    result, model = run.run("tiny", network, RECIPE, DATA, LIMITS)
    path = tmp_path / "out" / "1_test" / "tiny-seed0.json"
    assert result.pop("path") == str(path)
    assert result.keys() == KEYS
    assert json.loads(path.read_text()) == result
    assert sorted(file.name for file in path.parent.iterdir()) == ["tiny-seed0.json", "tiny-seed0.pt"]
    assert all(row.keys() == {"epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds"}
               for row in result["curve"])
    assert (result["session"], result["notebook"], result["model"], result["norm"], result["seed"],
            result["preset"]) == ("S7_mnist", "1_test", "tiny", None, 0, "quick")
    assert result["params"] == 4 * 9 + 4 + 4 + 40 and result["max_epochs"] == result["epochs"] == 2
    assert [result[kind] for kind in ("depthwise", "dilated", "max_pools", "global_pools", "linear", "transforms")] == [
        0, 0, 0, 1, 0, 1]
    assert result["receptive_field"] == 8  # global average pooling sees the whole image
    assert result["accuracy"] == result["curve"][-1]["test_accuracy"] == evaluate(model, DATA[1])[1]
    assert result["train_accuracy"] == result["curve"][-1]["train_accuracy"]
    assert result["seconds"] == pytest.approx(sum(row["seconds"] for row in result["curve"]))
    assert result["device"].startswith("cpu (") and result["threads"] == 1 and result["torch"] == torch.__version__
    assert result["git_commit"] is None  # tmp_path is no checkout
    assert [t["met"] for t in result["targets"]] == [True, False, True]
    assert result["recipe"] == json.loads(json.dumps(dataclasses.asdict(RECIPE)))
    assert [row["layer"] for row in result["layers"]] == [
        "Conv2d-1", "BatchNorm2d-2", "ReLU-3", "AdaptiveAvgPool2d-4", "Conv2d-5", "Flatten-6"]
    assert sum(row["params"] for row in result["layers"]) == result["params"]
    assert len(result["trace"]) == 20 and all(math.isfinite(loss) for loss in result["trace"])


def test_a_model_with_fewer_seeds_is_shown_for_one_of_them(run, capsys):
    later = run._replace(seed=5)
    assert later.run("tiny", network, RECIPE, DATA, LIMITS, seeds=3)[0]["seed"] == 2
    assert not trained(run._replace(seed=2), capsys, seeds=3)
    assert later.run("tiny", network, RECIPE, DATA, LIMITS)[0]["seed"] == 5


def test_of_some_runs_the_numbers_alone_are_kept(run, capsys, tmp_path):
    result, model = run.run("tiny", network, RECIPE, DATA, LIMITS, weights=False)
    assert model is None and "weights_sha256" not in result
    assert [file.name for file in (tmp_path / "out" / "1_test").iterdir()] == ["tiny-seed0.json"]
    assert not trained(run, capsys, weights=False)
    assert run._replace(train="never").run("tiny", network, RECIPE, DATA, LIMITS, weights=False)[0] == result
    assert trained(run, capsys)  # whoever wants the model trains it
    assert not trained(run, capsys)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_second_call_reads_the_same(run, capsys, average):
    recipe = dataclasses.replace(RECIPE, average=average)
    first, model = run.run("tiny", network, recipe, DATA, LIMITS)
    assert not trained(run, capsys, recipe=recipe)
    again, read = run.run("tiny", network, recipe, DATA, LIMITS)
    assert first == again
    assert all(torch.equal(value, read.state_dict()[name]) for name, value in model.state_dict().items())
    # The weights are those that gave the result: nothing has passed through batch norm since.
    assert evaluate(read, DATA[1]) == (first["curve"][-1]["test_loss"], first["accuracy"])


def test_a_run_is_repeated_exactly(run):
    first, _ = run.run("tiny", network, RECIPE, DATA, LIMITS)
    torch.rand(17)
    again, _ = run._replace(train="always").run("tiny", network, RECIPE, DATA, LIMITS)
    assert first["trace"] == again["trace"] and first["accuracy"] == again["accuracy"]
    other, _ = run._replace(seed=1).run("tiny", network, RECIPE, DATA, LIMITS)
    assert first["trace"] != other["trace"]


@pytest.mark.parametrize("resume", [True, False])
def test_a_stopped_run_goes_on(run, capsys, tmp_path, monkeypatch, resume):
    whole, _ = run._replace(output=tmp_path / "whole").run("tiny", network, RECIPE, DATA, LIMITS)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "save", stop)  # after the last epoch, before the result is written
        with pytest.raises(KeyboardInterrupt):
            run.run("tiny", network, RECIPE, DATA, LIMITS)
    kept = tmp_path / "out/checkpoints/1_test/tiny-seed0.pt"
    assert kept.exists() and not results.read(tmp_path / "out")
    capsys.readouterr()
    result, _ = run._replace(resume=resume).run("tiny", network, RECIPE, DATA, LIMITS)
    assert capsys.readouterr().out.startswith("goes on from" if resume else "epoch  1/2")
    assert [row["test_loss"] for row in result["curve"]] == [row["test_loss"] for row in whole["curve"]]
    assert result["weights_sha256"] == whole["weights_sha256"]
    assert not kept.exists()  # the result is there


def change(path: Path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_makes_a_result_stale(run, capsys, tmp_path):
    path = tmp_path / "out" / "1_test" / "tiny-seed0.json"
    assert trained(run, capsys) and not trained(run, capsys)
    assert experiment.stale(path, network, RECIPE, DATA) is None

    def reason(make_model=network, recipe=RECIPE, data=DATA):
        return experiment.stale(path, make_model, recipe, data)

    assert reason(recipe=dataclasses.replace(RECIPE, weight_decay=1e-9)) == "its recipe is another one"
    assert reason(recipe=dataclasses.replace(RECIPE, augmentation=(("flip", {"p": 0.4}),))) == (
        "its recipe is another one")
    assert reason(make_model=lambda: network(5)) == "its network is another one"
    assert reason(data=(split(160, 2), DATA[1])) == "training starts with other losses"
    assert reason(make_model=other_start) == "training starts with other losses"

    weights = path.with_suffix(".pt").read_bytes()
    one_bit = weights[:2000] + bytes([weights[2000] ^ 1]) + weights[2001:]
    for damaged in (b"", weights[:-20], b"x" * 100, one_bit):
        path.with_suffix(".pt").write_bytes(damaged)
        assert reason() == "its weights are damaged"
    path.with_suffix(".pt").unlink()
    assert reason() == "its weights are missing (the repository has those of the first seeds)"
    assert trained(run, capsys) and not trained(run, capsys)


def test_a_recipe_without_a_younger_field_has_its_default(run, capsys, tmp_path):
    path = tmp_path / "out" / "1_test" / "tiny-seed0.json"
    assert trained(run, capsys)
    recipe = json.loads(path.read_text())["recipe"]
    del recipe["muon"]
    change(path, recipe=recipe)
    assert experiment.stale(path, network, RECIPE, DATA) is None
    assert experiment.stale(path, network, dataclasses.replace(RECIPE, muon=0.1), DATA) == "its recipe is another one"
    other = run._replace(seed=1).run("tiny", network, RECIPE, DATA, LIMITS)[0]
    assert run.over_seeds(other)["n"] == 2


def test_a_stale_result_is_trained_again(run, capsys, tmp_path):
    assert trained(run, capsys)
    assert trained(run, capsys, make_model=lambda: network(5)) and trained(run, capsys)
    assert trained(run, capsys, recipe=dataclasses.replace(RECIPE, lr=0.2)) and trained(run, capsys)
    assert trained(run, capsys, norm="bn") and not trained(run, capsys, norm="bn")  # a file of its own
    assert not trained(run, capsys)


def test_why_a_result_is_not_read(run, capsys):
    run.run("tiny", network, RECIPE, DATA, LIMITS)
    capsys.readouterr()
    run.run("tiny", network, dataclasses.replace(RECIPE, lr=0.2), DATA, LIMITS)
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == "tiny: not read from out/1_test/tiny-seed0.json: its recipe is another one"


def test_the_trace_is_exact_here_and_near_elsewhere(run, capsys, tmp_path):
    path = tmp_path / "out" / "1_test" / "tiny-seed0.json"
    assert trained(run, capsys)
    fresh = json.loads(path.read_text())
    for factor, device, reason in [
        (1 + 5e-4, fresh["device"], "training starts with other losses"),
        (1 + 5e-4, "cpu (another)", None), (1 - 5e-4, "cpu (another)", None),
        (1 + 2e-3, "cpu (another)", "training starts with other losses"),
        (2.0, "cuda (which draws other random numbers)", None),
    ]:
        change(path, trace=[fresh["trace"][0] * factor, *fresh["trace"][1:]], device=device)
        assert experiment.stale(path, network, RECIPE, DATA) == reason
    for device, reason in [(fresh["device"], "training starts with other losses"), ("cpu (another)", None)]:
        change(path, trace=[*fresh["trace"][:-1], fresh["trace"][-1] * 1.01], device=device)  # rounding that has grown
        assert experiment.stale(path, network, RECIPE, DATA) == reason
    change(path, trace=fresh["trace"][:-1], device=fresh["device"])
    assert experiment.stale(path, network, RECIPE, DATA) == "training starts with other losses"


def test_a_corrupt_result_is_named(run, capsys, tmp_path):
    path = tmp_path / "out" / "1_test" / "tiny-seed0.json"
    assert trained(run, capsys)
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is not a result .*; delete it and run again$"):
        run.run("tiny", network, RECIPE, DATA, LIMITS)
    path.unlink()
    assert trained(run, capsys)


def test_published_results_are_read(run, capsys, tmp_path):
    published = tmp_path / "S7_mnist" / "results"
    assert trained(run._replace(output=published, preset="full"), capsys)
    assert not trained(run, capsys)
    assert not results.read(tmp_path / "out")


def test_always_trains(run, capsys):
    assert all(trained(run._replace(train="always"), capsys) for _ in range(2))


def test_never_trains(run, capsys, tmp_path):
    never = run._replace(train="never", preset="full", output=tmp_path / "S7_mnist" / "results")
    with pytest.raises(StaleError, match="^no result S7_mnist/results/1_test/tiny-seed.*; `make results` makes it$"):
        trained(never, capsys)
    assert trained(never._replace(train="missing"), capsys)
    assert not trained(never, capsys)
    with pytest.raises(StaleError, match="no result S7_mnist/results/1_test/tiny-seed1.json"):  # it has seed 0 only
        trained(never._replace(seed=1), capsys)
    with pytest.raises(StaleError, match="1_test/tiny-seed0.json is stale: its network is another one; `make results`"):
        trained(never, capsys, make_model=lambda: network(5))
    # One stale result among the seeds is one too many.
    assert trained(never._replace(train="missing", seed=1), capsys)
    path = tmp_path / "S7_mnist" / "results" / "1_test" / "tiny-seed1.json"
    path.with_suffix(".pt").unlink()  # the numbers of later seeds are kept without their weights
    assert not trained(never, capsys)
    with pytest.raises(StaleError, match="tiny-seed1.json is stale: its weights are missing"):
        trained(never._replace(seed=1), capsys)
    change(path, trace=[0.0] * 20)
    with pytest.raises(StaleError, match="tiny-seed1.json is stale: training starts with other losses"):
        trained(never, capsys)


def test_a_network_that_can_not_be_kept_is_refused_before_training(run):
    with pytest.raises(ValueError, match="Object of type .* is not JSON serializable"):
        run.run("tiny", partial(lambda activation: network(), nn.ReLU), RECIPE, DATA, LIMITS)
    assert not list(run.checkpoints.iterdir())


def test_a_limit_stops_training_in_full_only(run, capsys, tmp_path):
    for limits, message in (([Target("params", "<", 84)], "84 parameters, the limit is < 84"),
                            ([Target("epochs", "<", 2)], "2 epochs, the limit is < 2"),
                            ([Target("dilated", ">=", 1)], "0 dilated convolutions, the limit is >= 1")):
        with pytest.raises(BudgetError, match=message):
            trained(run._replace(preset="full"), capsys, limits=limits)
        assert not results.read(tmp_path / "out")  # before any training
    result, _ = run.run("tiny", network, RECIPE, DATA, [Target("params", "<", 84)])
    assert result["targets"] == [{"name": "parameters", "limit": "< 84", "value": 84, "met": False}]


def test_a_read_result_meets_todays_targets(run):
    run.run("tiny", network, RECIPE, DATA, [Target("accuracy", ">=", 101)])
    result, _ = run.run("tiny", network, RECIPE, DATA, [Target("accuracy", ">=", 0)])
    assert "path" in result and result["targets"][0]["limit"] == ">= 0" and result["targets"][0]["met"]


def test_over_seeds(run, tmp_path):
    published = run._replace(output=tmp_path / "S7_mnist" / "results")
    accuracies = {}
    for where, seed in ((published, 0), (published, 1), (run, 2)):
        result, _ = where._replace(seed=seed).run("tiny", network, RECIPE, DATA, LIMITS)
        accuracies[seed] = result["accuracy"]
    summary = run.over_seeds(result)  # just trained
    assert summary["n"] == 3 and [r["seed"] for r in summary["results"]] == [0, 1, 2]
    assert summary["mean"] == pytest.approx(sum(accuracies.values()) / 3)
    again, _ = run._replace(seed=2).run("tiny", network, RECIPE, DATA, LIMITS)
    assert run.over_seeds(again)["n"] == 3  # read
    # Another network, recipe or preset of the same name is not its like.
    for options in ({"make_model": lambda: network(5)}, {"recipe": dataclasses.replace(RECIPE, lr=0.2)}):
        other, _ = run._replace(seed=3).run("tiny", **{"make_model": network, "recipe": RECIPE, "data": DATA,
                                                        "limits": LIMITS, **options})
        assert run.over_seeds(other)["n"] == 1
    full, _ = run._replace(preset="full", seed=4).run("tiny", network, RECIPE, DATA, LIMITS)
    assert [r["seed"] for r in run.over_seeds(full)["results"]] == [4]
    assert run.over_seeds(result)["n"] == 3


# The rest

def test_the_layer_table_leaves_the_model_alone():
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    experiment.layer_table(model, (1, 8, 8))
    assert "Total params: 84" in experiment.summary(model, (1, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training and not any(module._forward_hooks for module in model.modules())


def test_count_parameters_counts_trainable_ones():
    model = network()
    assert experiment.count_parameters(model) == 84
    model[0].weight.requires_grad_(False)
    assert experiment.count_parameters(model) == 48


def test_git_commit():
    git = ["git", "-C", str(experiment.ROOT), "rev-parse", "--short=12", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True)
    commit = experiment.git_commit()
    assert commit.removesuffix("+") == head.stdout.strip() if head.returncode == 0 else commit is None


def test_layer_kinds_and_transforms():
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 4, 3, dilation=2), nn.MaxPool2d(2),
        nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(4, 10))
    assert experiment.layer_kinds(model) == {
        "depthwise": ["0"], "dilated": ["2"], "max_pools": ["3"], "global_pools": ["6"], "linear": ["8"]}
    by_library = ("albumentations", {"transforms": (("Blur", {}), ("Crop", {}))})
    recipe = Recipe(1, 0.1, augmentation=(("flip", {}), by_library))
    assert experiment.transforms(dataclasses.replace(recipe, alternating_flip=True))[3:] == ["alternating_flip"]
    assert experiment.transforms(recipe) == ["flip", "Blur", "Crop"] and experiment.transforms(Recipe(1, 0.1)) == []
