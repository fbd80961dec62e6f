"""Both sides of each benchmark run; how fast is not a matter of tests."""

import json

import pytest

from common.data import find
from tools import bench, precision
from tools.notebooks import CourseError


@pytest.mark.parametrize("side", ["ours", "textbook"])
@pytest.mark.parametrize("session", bench.CASES)
def test_sides(session, side, monkeypatch):
    _, data, *_ = bench.CASES[session]
    if find(data) is None:
        pytest.skip(f"no {data} on this machine")
    monkeypatch.setattr(bench, "WARMUP", 1)
    monkeypatch.setattr(bench, "STEPS", 2)
    assert bench.measure(session, side) > 0


def test_precisions_are_compared_seed_by_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "ROOT", tmp_path)
    precision.keep("S7_mnist", {"bf16": [99.0, 99.2, 99.4], "fp32": [99.1, 99.1, 99.4]})
    kept = json.loads((tmp_path / "S7_mnist/results/precision.json").read_text())
    assert kept["bf16"] == [99.0, 99.2, 99.4] and kept["recipe"]["epochs"] == 9
    assert "| bf16 | 99.00 | 99.20 | 99.40 | 99.20 |" in kept["table"]
    # mean 0 and deviation 0.1; t of 2 degrees of freedom at 97.5 % is 4.303
    assert "+0.00 points, 95 % interval -0.25 to +0.25, n = 3: no clear difference" in kept["table"]


def test_without_16_bits_there_is_nothing_to_compare(monkeypatch):
    monkeypatch.setenv("PRECISION", "fp32")
    with pytest.raises(CourseError, match="nothing to compare"):
        precision.compare()
