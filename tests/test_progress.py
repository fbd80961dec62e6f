"""What is shown of notebooks that run side by side: on a terminal, and in a log file."""

import io
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from common.files import ROOT
from common.training import progress_line
from tools import progress
from tools.progress import Job

LINE = progress_line({"epoch": 3, "lr": 0.1, "train_loss": 0.0512, "train_accuracy": 98.4, "test_loss": 0.03,
                      "test_accuracy": 99.05, "seconds": 36.0}, 11, 108) + "\n"
KILLED = "it was killed, perhaps for want of memory; run it again"
TERMINAL = """\
from pathlib import Path
from tools.progress import Job, display
with display([job := Job("net", Path("none"), 60)]) as show:
    show()
    job.look("running")
    show()
    raise KeyboardInterrupt
"""


@pytest.fixture
def jobs(tmp_path):
    return [Job(f"S7_mnist/{name}", tmp_path / f"{name}.log", 60) for name in ("fast", "slow", "next")]


def look(job: Job, said: str, state: str = "running", code: int = 0) -> None:
    job.log.write_text(said)
    job.look(state, code)


def test_the_newest_epoch_of_a_log(jobs):
    look(jobs[0], f"net: read from net.json\n{LINE}epoch  4/11  lr 0.0")  # a line that isn't whole yet isn't read
    assert jobs[0].values == ("3/11", "0.0512", "99.05 %", "4:48")
    look(jobs[0], LINE.replace("0.0512", "nan").replace("  test", "  fit loss 0.0400  98.00 %  test"))
    assert jobs[0].values == ("3/11", "nan", "99.05 %", "4:48") and jobs[0].progress() == "4:48 left"
    look(jobs[0], LINE.replace("4:48", "0:00"))
    assert jobs[0].progress() == "running"  # there may be more networks


def test_a_log_file_gets_a_line_for_each_news(jobs, capsys):
    with progress.display(jobs) as show:
        for said in ("", "", LINE):
            look(jobs[0], said)
            show()
        jobs[0].look("done")
        look(jobs[1], f"{jobs[1].name}: ValueError: here\n", "failed", 1)
        show()
    look(jobs[2], LINE)
    progress.tell(jobs[2:], True, {jobs[2].name: "waiting"})
    assert capsys.readouterr().out.splitlines() == [
        "S7_mnist/fast: started", "S7_mnist/fast: epoch 3/11, train loss 0.0512, test 99.05 %, 4:48 left",
        "S7_mnist/fast: done in 0:00", "S7_mnist/slow: FAILED: ValueError: here", "S7_mnist/next: started"]


@pytest.mark.parametrize("width, brief", [(80, False), (120, True)])
def test_a_terminal_gets_a_table(jobs, width, brief):
    jobs.append(Job("S9_advanced_conv/3_inverted_bottlenecks, seed 0", jobs[1].log, 60, "running"))
    jobs[0].look("done")
    look(jobs[1], LINE)
    console = Console(file=io.StringIO(), width=width)
    console.print(progress.draw(jobs, brief, 3800))
    counts, _, *rows = console.file.getvalue().splitlines()
    assert counts.startswith("1 done, 0 failed, 2 running, 1 waiting; ") and counts.endswith("1:03:20 gone")
    assert ("roughly 1:03:20 left" in counts) == brief
    assert ["S7_mnist/slow", "3/11", "0.0512", "99.05", "%", "4:48", "left"] in [row.split() for row in rows]
    assert [name in "".join(rows) for name in ("done in", "waiting", "starting")] == [not brief, not brief, True]
    assert "bottlenecks,seed0" in "".join(row.split("  ")[0].replace(" ", "") for row in rows)


@pytest.mark.parametrize("said, code, reason", [
    (f"{LINE}S7_mnist/fast: Error: y\n", 1, "Error: y"), ("", 3, "exit code 3"), (LINE, -9, KILLED),
    ("half a line\nexit code 137\n", 0, KILLED)])
def test_why_it_failed(jobs, monkeypatch, said, code, reason):
    look(jobs[0], said, "failed", code)
    assert (jobs[0].state, jobs[0].reason) == ("failed", reason)
    look(jobs[0], "")  # Snakemake tries it again
    assert (jobs[0].state, jobs[0].reason) == ("running", "")
    monkeypatch.setattr(progress.shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))
    look(jobs[0], said, "failed", code)
    assert jobs[0].reason == "the disk is full"


def test_ctrl_c_leaves_the_terminal_as_it_was():
    terminal, its_end = os.openpty()
    subprocess.run([sys.executable, "-c", TERMINAL], cwd=ROOT, env={**os.environ, "TERM": "xterm"}, stdout=its_end,
                   stderr=subprocess.DEVNULL)
    said = os.read(terminal, 10**5).decode()
    assert "waiting" in said and "\x1b[1A" in said and "starting" in said  # it went up, and wrote over
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")  # the cursor is back
