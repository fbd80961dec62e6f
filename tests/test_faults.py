"""A few tries of every fault, and that harm would be counted; `make soak` tries them often."""

import subprocess
from pathlib import Path

import determinism
import faults
import psutil
import pytest

from common import checkpoint, download, files


@pytest.mark.parametrize("fault, n", [
    pytest.param(fault, n, id=fault.__name__, marks=[pytest.mark.slow] * (fault is faults.notebook_killed))
    for _, fault, _, n in faults.FAULTS])
def test_it_is_survived(tmp_path, fault, n):
    tried, survived, lost = faults.tally(fault, n, tmp_path)
    if fault is faults.disk_full and not tried:
        pytest.skip("no right to mount a tmpfs: NOT TESTED WITH A FULL DISK")
    assert tried == survived == n and lost == 0


@pytest.mark.parametrize("fault, module, name, careless", [
    (faults.training_killed, checkpoint, "find_unfinished", lambda *about: None),
    (faults.write_killed, files, "write", Path.write_bytes), (faults.disk_full, files, "write", Path.write_text),
    (faults.bad_mirrors, download, "checksum", lambda path: faults.MD5),
], ids=["training", "write", "disk", "mirrors"])
def test_harm_is_counted(tmp_path, monkeypatch, fault, module, name, careless):
    monkeypatch.setattr(module, name, careless)
    tried, _, lost = faults.tally(fault, 10, tmp_path)
    assert lost > 0 or not tried  # where no tmpfs may be mounted


def test_a_kill_reaches_all_that_was_started(tmp_path):
    assert not faults.kill_after(9, lambda: None)
    assert faults.kill_after(1, lambda: subprocess.run(f"sleep 60 & echo $! > {tmp_path}/pid; wait", shell=True))
    pid = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("again, lost", [
    ("goes on from a.pt after epoch 3\nepoch  4/6", 0), ("goes on from a.pt after epoch 2\nepoch  3/6", 0),
    ("goes on from a.pt after epoch 1\nepoch  2/6", 1), ("epoch  1/6\nepoch  2/6", 2),
    ("a: not read from a.json: old\nepoch  1/6", 1), ("a: read from a.json\nepoch  1/6\nb: not read from b.json", 0)])
def test_epochs_lost(again, lost):
    before = "a: not read from a.json: old\n" * ("a:" in again)
    assert faults.epochs_lost(f"START\n{before}epoch  1/6\nepoch  2/6\nepoch  3/6\nSTART\n{again}\n") == lost


@pytest.mark.slow
def test_the_same_seed_repeats_every_loss():
    assert "| nothing: another process | none | 0 |" in determinism.table()
