"""Both sides of each benchmark run; how fast is not a matter of tests."""

import pytest

from common import bench
from common.data import find


@pytest.mark.parametrize("side", bench.SIDES)
@pytest.mark.parametrize("session", bench.CASES)
def test_sides(session, side, monkeypatch):
    case = bench.CASES[session]
    if find(case.data) is None:
        pytest.skip(f"no {case.data} on this machine")
    monkeypatch.setattr(bench, "WARMUP", 1)
    monkeypatch.setattr(bench, "STEPS", 2)
    assert bench.SIDES[side](case) > 0
