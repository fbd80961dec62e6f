"""A few tries of every fault; `make soak` has many."""

import pytest
import torch
from faults import FAULTS, disk_full, epochs_lost

torch.set_num_threads(1)


@pytest.mark.parametrize("fault, n", [pytest.param(fault, n, id=fault.__name__) for _, fault, _, n in FAULTS if n])
def test_fault(tmp_path, fault, n):
    tally = fault(n, tmp_path)
    if fault is disk_full and not tally.tried:
        pytest.skip("no right to mount a tmpfs: NOT TESTED WITH A FULL DISK")
    assert tally.tried >= n and tally.survived == tally.tried and tally.lost == 0


def test_lost_epochs_are_counted():
    lines = ["START", "epoch  1/6", "epoch  2/6", "epoch  3/6"]  # killed
    assert epochs_lost([*lines, "START", "goes on from run.pt after epoch 3", "epoch  4/6"]) == 0
    assert epochs_lost([*lines, "START", "goes on from run.pt after epoch 2", "epoch  3/6"]) == 0  # before its save
    assert epochs_lost([*lines, "START", "goes on from run.pt after epoch 1", "epoch  2/6"]) == 1
    assert epochs_lost([*lines, "START", "epoch  1/6", "epoch  2/6"]) == 2
