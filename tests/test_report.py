"""What the notebooks say of their results."""

import json
import statistics

import pytest
import torch
from torch import nn

from common import layers, models, report
from common.data import Dataset


def test_the_tables_of_a_network(capsys):
    table = report.network(models.inverted_bottlenecks(), (3, 32, 32)).data
    assert "Total params: 178,178" in capsys.readouterr().out
    assert "| RF out |" in table and "| 59 |" in table


def test_the_cost_of_a_network():
    network = nn.Sequential(nn.Conv2d(3, 10, 3, padding=1, bias=False), nn.AdaptiveAvgPool2d(1))
    assert report.cost(network, (3, 100, 100)) == "270 parameters, 2.7 million multiply-accumulates an image"


def test_gain_of_results_and_of_summaries():
    assert report.gain({"accuracy": 90.0}, {"accuracy": 91.5}) == "-1.50 points"
    one, other = ({"mean": mean, "results": [{"seed": 0, "accuracy": mean}]} for mean in (91.5, 90.0))
    assert report.gain(one, other) == "+1.50 points (one seed)"
    assert report.gain(summary("a", 91, 99), summary("b", 90)) == "+1.00 points (one seed)"  # of the one both have


def summary(model, *accuracies):
    runs = [{"seed": seed, "accuracy": accuracy} for seed, accuracy in enumerate(accuracies)]
    return {"model": model, "norm": None, "n": len(runs), "mean": statistics.fmean(accuracies), "results": runs,
            "std": statistics.stdev(accuracies) if len(runs) > 1 else None}


def test_gain_over_seeds_is_paired():
    # Differences 1, 2, 3: mean 2, deviation 1, and 4.3027 / sqrt(3) of it with two degrees of freedom.
    assert report.gain(summary("a", 91, 93, 95), summary("b", 90, 91, 92, 99)) == (
        "+2.00 points (3 pairs of seeds, 95 % interval -0.48 to +4.48: no clear difference)")


def test_better_is_said_only_where_the_interval_excludes_0():
    # Differences 1.9, 2, 2.1: deviation 0.1, so +- 0.248.
    high, low, alone = summary("a_b", 92.0, 93.0, 94.0), summary("c", 90.1, 91.0, 91.9), summary("d", 93.0)
    elsewhere = {**alone, "results": [{"seed": 7, "accuracy": 90.0}]}
    pairs = [(high, low), (low, high), (high, high), (alone, low), (low, elsewhere)]
    assert report.differences(pairs).splitlines()[2:] == [
        "| a b | c | 3 | +2.00 | +1.75 to +2.25 | better |",
        "| c | a b | 3 | -2.00 | -2.25 to -1.75 | worse |",
        "| a b | a b | 3 | +0.00 | +0.00 to +0.00 | no clear difference |",
        "| d | c | 1 | +2.90 |  | one seed says nothing |"]  # and none for those without a common seed


def test_ideas_are_compared_with_their_own_norm(tmp_path):
    rows = [{"idea": idea, "seed": seed, "accuracy": accuracy} for idea, seed, accuracy in [
        ("as it is", 0, 76.0), ("as it is", 1, 77.0), ("dropout", 0, 75.0), ("dropout", 1, 76.1),
        ("dropout, seed 0", 0, 78.0),
        ("group norm", 0, 65.0), ("group norm, faster", 0, 67.0)]]
    (tmp_path / "ideas.json").write_text(json.dumps(rows))
    assert report.ideas(tmp_path / "ideas.json").data.splitlines()[2:] == [
        "| as it is | 76.50 | 2 |  | |  |",
        "| dropout | 75.55 | 2 | 76.50 | -0.95 (-1.59 to -0.31) | worse |",  # 12.706 * 0.05 on either side
        "| dropout, seed 0 | 78.00 | 1 | 76.00 | +2.00 | one seed |",
        "| group norm | 65.00 | 1 |  | |  |",
        "| group norm, faster | 67.00 | 1 | 65.00 | +2.00 | one seed |"]


def test_verdicts_in_words():
    rows = [summary("worse_one", 80, 81, 79), summary("like_it", 89, 91.5, 90), summary("again", 91, 90, 89)]
    assert report.verdicts(rows, summary("as_it_is", 90, 91, 90)) == (
        "Against as it is, worse: worse one; no clear difference: like it, again.")
    assert report.verdicts([summary("a", 91)], summary("b", 90)) == "Against b, one seed says nothing: a."


def test_the_code_of_a_network_can_be_read_in_place():
    shown = report.source(models.smallest, layers.Repeated).data
    assert "`common.models`\n```python\ndef smallest() -> Network:" in shown and "narrow(10, 20, 36, times=3)" in shown
    assert "class Repeated(nn.Module):" in shown


def test_published_results_are_found():
    found = report.published("S7_mnist/3_augmentation", "one_cycle")
    assert found["n"] == 5 and found["params"] == 7280
    with pytest.raises(ValueError, match="S7_mnist/1_structure has no published result of ours, gn"):
        report.published("S7_mnist/1_structure", "ours", "gn")


def test_what_was_learned_by_heart():
    white = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))  # says 1 for a white image, 0 for a black one
    nn.init.zeros_(white[1].weight), nn.init.zeros_(white[1].bias)
    white[1].weight.data[1] = 1.0
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    images[2:] = 255
    data = Dataset("cifar10", images, torch.tensor([9, 0, 1, 0]), tuple("abcdefghij"))
    assert report.learned_by_heart({"seed": 3, "train_accuracy": 61.0, "accuracy": 60.0}, white, data) == (
        "With seed 3 it is right in 60.00 % of the test images; on the varied training images, as they were met in "
        "the last epoch, in 61.00 %; on the same images unchanged in 50.00 %, -10.00 points from the test's.")
