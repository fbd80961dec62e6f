"""A few tries of every fault; `make soak` has many."""

import subprocess
import sys

import pytest
import torch
from faults import FAULTS, disk_full

torch.set_num_threads(1)
TMPFS = sys.platform == "linux" and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


@pytest.mark.parametrize("fault, n", [pytest.param(fault, n, id=fault.__name__) for _, fault, _, n in FAULTS if n])
def test_fault(tmp_path, fault, n):
    if fault is disk_full and not TMPFS:
        pytest.skip("no right to mount a tmpfs: NOT TESTED WITH A FULL DISK")
    tally = fault(n, tmp_path)
    assert tally.tried >= n and tally.survived == tally.tried and tally.lost == 0
