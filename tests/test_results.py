"""Targets, sessions, results on disk, summaries, differences, and what tables say of them."""

import json
import statistics

import pytest
from torch import nn

from common import layers, results, session, tables, targets
from common.models import s7, s9
from common.receptive_field import receptive_field
from common.targets import BudgetError, Target

# Targets and sessions

def test_targets_are_compared():
    limits = [Target("params", "<", 8000), Target("accuracy", ">=", 99.4), Target("receptive_field", ">", 44)]
    values = {"params": 8000, "accuracy": 99.4, "receptive_field": None}
    assert targets.compare(limits, values) == [
        {"name": "parameters", "limit": "< 8,000", "value": 8000, "met": False},
        {"name": "test accuracy, %", "limit": ">= 99.4", "value": 99.4, "met": True},
        {"name": "receptive field after the average, pixels", "limit": "> 44", "value": None, "met": False}]
    targets.check_budget(limits[:2], {"params": 7999})  # the accuracy is not known yet
    with pytest.raises(BudgetError, match="8,000"):
        targets.check_budget(limits, values)


@pytest.mark.parametrize("wrong", [("acc", ">=", 1), ("params", "=>", 1)])
def test_a_target_that_asks_for_nothing_known_is_refused_at_once(wrong):
    with pytest.raises(ValueError, match="accuracy|<="):
        Target(*wrong)


def test_sessions():
    assert session.names() == ["S7_mnist", "S8_norms", "S9_advanced_conv"]
    about = session.read("S9_advanced_conv")
    assert about.target("receptive_field") == Target("receptive_field", ">", 44) and about.goal.key == "accuracy"
    assert about.results("4_ours")["ours"].seeds >= 3 and about.results("a notebook of mine") == {}
    with pytest.raises(ValueError, match="S8_norms"):
        session.read("S10")


# Results

def made_up(seed: int, accuracy: float, **other) -> dict:
    curve = [{"epoch": i + 1, "test_accuracy": a, "train_accuracy": a - 1, "seconds": 2.0 * (seed + 1)}
             for i, a in enumerate([98.0, 99.4, 99.3, accuracy])]
    return {"session": "S7_mnist", "notebook": "n", "model": "m", "norm": None, "preset": "full", "params": 7280,
            "receptive_field": 20, "epochs": 4, "seed": seed, "accuracy": accuracy, "train_accuracy": accuracy - 1,
            "seconds": 8.0 * (seed + 1), "targets": [], "layers": [{"params": 7000}, {"params": 280}], "curve": curve,
            **other}


def test_results_are_read(tmp_path):
    for folder, one in (("b", made_up(1, 99.0)), ("a", made_up(10, 98.0)), ("a", made_up(0, 97.0, norm="bn"))):
        path = tmp_path / folder / f"{results.result_name(one['model'], one['norm'])}-seed{one['seed']}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(one))
    (tmp_path / "bench.json").write_text("{}")
    assert [one["accuracy"] for one in results.read_all(tmp_path)] == [97.0, 98.0, 99.0]
    assert results.read_all(tmp_path / "missing") == []


@pytest.mark.parametrize("content", [b"", b'{"model": "x", "cur', b"[1, 2]", b"3", b"\xff\xfe\x00", b"{}"])
def test_a_file_that_is_no_result_is_named(tmp_path, content):
    (tmp_path / "m-seed0.json").write_bytes(content)
    with pytest.raises(ValueError, match="m-seed0.json.*delete it") as raised:
        results.read_all(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("edited", [{"accuracy": 99.9}, {"train_accuracy": 1.0}, {"epochs": 3}, {"seconds": 1.0},
                                    {"params": 7000}, {"seed": 1}, {"model": "n"}, {"norm": "bn"}])
def test_a_result_that_contradicts_itself_is_refused(tmp_path, edited):
    path = tmp_path / "m-seed0.json"
    path.write_text(json.dumps(made_up(0, 99.5)))
    assert results.read(path)["accuracy"] == 99.5
    path.write_text(json.dumps({**made_up(0, 99.5), **edited}))
    with pytest.raises(ValueError, match="m-seed0.json was edited"):
        results.read(path)


def test_summaries():
    runs = [made_up(2, 99.5), made_up(0, 99.2), made_up(1, 99.8), made_up(0, 97.0, model="k"),
            made_up(0, 90.0, norm="gn"), made_up(0, 80.0, preset="quick")]
    rows = results.summarize(runs)
    assert [(row["model"], row["norm"], row["preset"], row["n"]) for row in rows] == [
        ("k", None, "full", 1), ("m", None, "full", 3), ("m", None, "quick", 1), ("m", "gn", "full", 1)]
    row = rows[1]
    assert row["mean"] == pytest.approx(99.5)
    assert row["std"] == pytest.approx(0.3)  # sqrt((0 + 0.09 + 0.09) / 2): the sample's, over n - 1
    assert row["worst"] == 99.2 and row["train_accuracy"] == pytest.approx(98.5) and row["seconds"] == 16
    assert [run["seed"] for run in row["results"]] == [0, 1, 2]
    assert rows[0]["std"] is None and results.summarize([]) == []


def test_the_first_epoch_at_an_accuracy():
    runs = [made_up(0, 99.6), made_up(1, 99.35)]
    assert [results.epochs_until(runs[0], accuracy) for accuracy in (97, 99.4, 99.41, 99.7)] == [1, 2, 4, None]
    assert results.mean_epoch_until(runs, 99.4) == (2, 2) and results.mean_epoch_until(runs, 99.5) == (4, 1)
    assert results.mean_epoch_until(runs, 100)[0] is None


# Differences

def summary(model, *accuracies):
    runs = [{"seed": seed, "accuracy": accuracy} for seed, accuracy in enumerate(accuracies)]
    return {"model": model, "norm": None, "n": len(runs), "mean": statistics.fmean(accuracies), "results": runs,
            "std": statistics.stdev(accuracies) if len(runs) > 1 else None}


def test_differences_are_paired():
    # Differences 1, 2, 3: mean 2, deviation 1, and 4.3027 / sqrt(3) of it with two degrees of freedom.
    found = results.difference(summary("a", 91, 93, 95), summary("b", 90, 91, 92, 99))
    assert found[:2] == (3, 2.0) and found.low == pytest.approx(2 - 2.484, abs=1e-3) and found.verdict.startswith("no")
    # Differences 1.9, 2, 2.1: deviation 0.1, so +- 0.248.
    high, low, alone = summary("a_b", 92.0, 93.0, 94.0), summary("c", 90.1, 91.0, 91.9), summary("d", 93.0)
    elsewhere = {**alone, "results": [{"seed": 7, "accuracy": 90.0}]}
    assert tables.difference_table([(high, low), (low, high), (alone, low), (low, elsewhere)]).splitlines()[2:] == [
        "| a b | c | 3 | +2.00 | +1.75 to +2.25 | better |",
        "| c | a b | 3 | -2.00 | -2.25 to -1.75 | worse |",
        "| d | c | 1 | +2.90 |  | one seed says nothing |"]  # and none for those without a common seed


def test_the_generalization_gap_is_of_the_last_epoch_and_a_mean_over_seeds():
    runs = [{"accuracy": test, "curve": [{"fit_accuracy": 50.0}, {"fit_accuracy": fit}]}
            for test, fit in ((98.0, 99.0), (97.0, 100.0))]
    row = {"model": "a", "norm": None, "params": 7000, "epochs": 2, "n": 2, "mean": 97.5, "std": 0.5, "results": runs}
    assert tables.gap(row) == 2.0
    assert tables.gap_table([row]).data.splitlines()[2] == "| a | 7,000 | 2 | 99.50 | 97.50 ± 0.71 | +2.00 | 2 |"


def test_published_summaries():
    found = results.published_summary("S7_mnist/3_augmentation", "regularized_our_recipe")
    assert found["n"] == 5 and found["params"] == 7280
    with pytest.raises(ValueError, match="ours-gn"):
        results.published_summary("S7_mnist/1_structure", "ours", "gn")


def test_held_out_accuracies_are_means_over_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    (tmp_path / "S8_norms" / "results").mkdir(parents=True)
    rows = [{"idea": idea, "seed": seed, "accuracy": accuracy}
            for idea, seed, accuracy in [("a", 0, 76.0), ("b", 0, 60.0), ("a", 1, 77.0)]]
    (tmp_path / "S8_norms" / "results" / "ideas.json").write_text(json.dumps(rows))
    assert results.held_out("S8_norms") == {"a": 76.5, "b": 60.0}


def test_ideas_are_compared_with_the_first_of_their_group(tmp_path):
    rows = [{"idea": idea, "start": start, "seed": seed, "params": 7916, "accuracy": accuracy, "loss": 0.02}
            for idea, start, seed, accuracy in [
                ("as it is", "as it is", 0, 76.0), ("as it is", "as it is", 1, 77.0), ("dropout", "as it is", 0, 75.0),
                ("dropout", "as it is", 1, 76.1), ("group norm", "group norm", 0, 65.0), ("gn", "group norm", 0, 67.0)]]
    path = tmp_path / "ideas.json"
    path.write_text(json.dumps(rows))
    assert tables.ideas_table(path).data.splitlines()[2:] == [
        "| as it is | 2 | 7,916 | 0.0200 | 76.50 |  |  |",
        "| dropout | 2 | 7,916 | 0.0200 | 75.55 | -0.95 (-1.59 to -0.31) | worse |",  # 12.706 * 0.05 on either side
        "| group norm | 1 | 7,916 | 0.0200 | 65.00 |  |  |",
        "| gn | 1 | 7,916 | 0.0200 | 67.00 | +2.00 | one seed |"]
    assert len(tables.ideas_table(path, "group norm").data.splitlines()) == 4
    path.write_text(json.dumps([{key: row[key] for key in row if key != "loss"} for row in rows]))
    assert "| as it is | 2 | 7,916 | 76.50 |  |  |" in tables.ideas_table(path).data
    first = [{key: row[key] for key in row if key != "loss" or row["idea"] != "as it is"} for row in rows]
    path.write_text(json.dumps(first))
    assert [line.count("|") for line in tables.ideas_table(path).data.splitlines()] == [8] * 6


# Networks in words

def test_what_tables_say_of_a_network():
    model, shape = s9.inverted_bottlenecks(), (3, 32, 32)
    table = tables.receptive_field_table(receptive_field(model, shape)).data
    assert "Total params: 178,178" in tables.full_table(model, shape).data
    assert "| RF out |" in table and "| 59 |" in table
    network = nn.Sequential(nn.Conv2d(3, 10, 3, padding=1, bias=False), nn.AdaptiveAvgPool2d(1))
    assert tables.cost(network, (3, 100, 100)).startswith("270 parameters, 2.7 million multiply-accumulates")
    shown = tables.source_code(s7.slim, layers.Repeated).data
    assert "`common.models.s7`\n```python\ndef slim()" in shown and "class Repeated(nn.Module):" in shown
