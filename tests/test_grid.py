"""The grid of published runs: what is in it, and that Snakemake makes what is missing or stale, here or on Slurm."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_course
from filelock import FileLock

from common import session
from common.data import find
from common.files import ROOT
from tools import grid, notebooks, runner
from tools.grid import Cell
from tools.notebooks import CourseError

SLURM = Path(__file__).with_name("one_node_slurm.sh")


def test_session_toml_says_what_is_published():
    for name in session.names():
        about = session.read(name)
        for notebook in about.notebooks:
            folder = ROOT / name / "results" / notebook
            there = {path.name for path in folder.glob("*-seed*.*")}
            assert there == {f"{result}-seed{seed}.{kind}" for result, published in about.results(notebook).items()
                             for kind, seeds in (("json", published.seeds), ("pt", published.weights))
                             for seed in range(seeds)}, folder
        for one, other in about.comparisons:
            for compared in (one, other):
                notebook, _, result = compared.partition("/")
                assert result in about.results(notebook), compared
        assert about.closing in about.notebooks


@pytest.mark.parametrize(("config", "said"), [
    ({"seed": 2}, "unknown --config seed"),
    ({"seeds": 0}, "seeds=0"),
    ({"seeds": "abc"}, "seeds=abc"),
    ({"preset": "fulll"}, "smoke, quick, full"),
    ({"notebooks": "S7"}, "no notebook 'S7'"),
])
def test_a_config_that_is_not_known(config, said):
    with pytest.raises(CourseError, match=re.escape(said)):
        grid.list_cells(config)


def test_what_a_config_asks_for(course):
    first, *second = [Cell("S7_mnist/1_first", 0, "full"), *(Cell("S7_mnist/2_second", i, "full") for i in (0, 1))]
    assert grid.list_cells({}) == [first, *second]
    chosen = {"notebooks": r"S7_mnist\2_second S7_mnist/2_second.ipynb", "seeds": 3, "preset": "smoke"}
    assert grid.list_cells(chosen) == [Cell("S7_mnist/2_second", i, "smoke") for i in range(3)]


def test_a_cell_runs_after_what_it_shows(course):
    small_course.edit(course / "S7_mnist/session.toml", ("{seeds = 2", "{seeds = 1}\nresults.many = {seeds = 2"))
    first, *second = cells = grid.list_cells({})
    assert grid.find_needed(first, cells) == []
    assert grid.find_needed(second[0], cells) == [first]
    assert grid.find_needed(second[1], cells) == [first, second[0]]  # `net` is shown for seed 0


def files(course: Path, kind: str) -> dict[str, float]:
    """The files of results, and when they were made."""
    return {f"{path.parent.name}/{path.stem}": path.stat().st_mtime
            for path in (course / "S7_mnist/results").glob(f"*/*.{kind}")}


@pytest.mark.slow
def test_results_makes_what_is_missing_or_stale_and_nothing_else(course, capfd):
    runner.make_results()
    made = files(course, "json")
    assert set(made) == {"1_first/net-seed0", "2_second/net-seed0", "2_second/net-seed1"}
    assert set(files(course, "pt")) == {"1_first/net-seed0", "2_second/net-seed0"}  # session.toml keeps one seed's
    # One is missing, two are stale, and after their training their notebook fails.
    (course / "S7_mnist/results/1_first/net-seed0.json").unlink()
    small_course.edit(course / "S7_mnist/2_second.py", ("epochs=2", "epochs=3"), ("Image(", "assert seed\nImage("))
    with pytest.raises(CourseError, match="(?s)2_second, seed 0: AssertionError.*runs/grid"):
        runner.make_results()
    out = capfd.readouterr().out.splitlines()
    assert len(out) == 3 * 4 and {f"S7_mnist/2_second, seed {i}: started" for i in (0, 1)} < set(out)
    now = files(course, "json")
    assert set(now) == set(made) and all(now[name] > made[name] for name in made)  # what it trained is kept
    assert "AssertionError" in (course / "runs/grid/full/S7_mnist_2_second_seed0.log").read_text()
    failed = notebooks.read(course / "runs/full/S7_mnist/2_second-seed0.ipynb")
    assert any(output.output_type == "error" for cell in failed.cells for output in cell.get("outputs", []))

    small_course.edit(course / "S7_mnist/2_second.py", ("assert seed", "assert True"))
    runner.make_results()
    assert files(course, "json") == now  # all is there, and read
    assert "read from" in (course / "runs/grid/full/S7_mnist_2_second_seed1.log").read_text()


def test_a_second_start_is_refused(course):
    (course / "runs/grid").mkdir(parents=True)
    with FileLock(course / "runs/grid/.lock"), pytest.raises(CourseError, match="already"):
        runner.make_results()


def test_what_snakemake_says_where_no_cell_ran(course):
    with pytest.raises(CourseError, match="(?s)profile directory given.*Snakemake failed"):
        runner.make_results(profile="profiles/nope")


@pytest.fixture
def slurm():
    """A Slurm of one node."""
    for hindered, why in [
        (not all(map(shutil.which, ("slurmctld", "slurmd", "sbatch", "munged"))),
         "NO SLURM HERE: apt-get install slurmctld slurmd slurm-client munge"),
        (Path("/etc/slurm/slurm.conf").exists(), "THIS MACHINE HAS A SLURM OF ITS OWN"),
        (os.geteuid(), "ONLY ROOT CAN START A SLURM"),
    ]:
        if hindered:
            pytest.skip(f"{why}: profiles/slurm was NOT tried")
    try:
        subprocess.run([SLURM, "start"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=90)
        yield
    finally:
        subprocess.run([SLURM, "stop"], check=True, timeout=60)


@pytest.mark.slow
@pytest.mark.skipif(not find("mnist"), reason="MNIST isn't here: set DATA_DIR")
def test_smoke_cells_on_slurm_one_of_them_killed(slurm, tmp_path):
    """The course's own notebooks; a job is cancelled while it runs, and is run again."""
    course = tmp_path / "course"
    left_out = shutil.ignore_patterns(".venv", ".git", "runs", "__pycache__", ".snakemake", ".*_cache", "results")
    shutil.copytree(ROOT, course, ignore=left_out)
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--slurm-no-account",
               "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5",
               "--config", "preset=smoke", "seeds=2", "notebooks=S7_mnist/1_structure S7_mnist/2_regularization"]
    with (tmp_path / "log").open("w") as log:
        grid_run = subprocess.Popen(command, cwd=course, stdout=log, stderr=subprocess.STDOUT,
                                    env={**os.environ, "DATA_DIR": str(find("mnist"))})
        try:
            deadline = time.monotonic() + 120
            while not (running := jobs("RUNNING")):
                assert time.monotonic() < deadline, "no job started in time"
                time.sleep(0.5)
            subprocess.run(["scancel", running[0]], check=True)
            assert grid_run.wait(timeout=400) == 0, (tmp_path / "log").read_text()
        finally:
            grid_run.kill()
    for notebook, seed in itertools.product(("1_structure", "2_regularization"), range(2)):
        assert (course / f"runs/grid/smoke/S7_mnist_{notebook}_seed{seed}.done").exists()
        assert list((course / "runs/smoke/S7_mnist/results" / notebook).glob(f"*-seed{seed}.json"))
    assert jobs("CANCELLED") == running[:1]
    assert len(jobs("COMPLETED")) == 4  # one of them in its second job
    assert "Trying to restart job" in (tmp_path / "log").read_text()


def jobs(state: str) -> list[str]:
    """The numbers of the jobs in so and so a state."""
    found = subprocess.run(["squeue", "-h", "-t", state, "-o", "%i"], capture_output=True, text=True, check=True)
    return found.stdout.split()
