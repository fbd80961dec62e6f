"""Both sides of each benchmark run; how fast is not a matter of tests."""

import pytest

from common.data import find
from tools import bench


@pytest.mark.parametrize("side", bench.SIDES)
@pytest.mark.parametrize("session", bench.CASES)
def test_sides(session, side, monkeypatch):
    _, data, *_ = bench.CASES[session]
    if find(data) is None:
        pytest.skip(f"no {data} on this machine")
    monkeypatch.setattr(bench, "WARMUP", 1)
    monkeypatch.setattr(bench, "STEPS", 2)
    assert bench.measure(session, side) > 0
