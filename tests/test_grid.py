"""The grid of published runs: what is in it, and that Snakemake makes what is missing or stale, here and on Slurm."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_course

from common import __main__, grid, notebooks, runner
from common.data import find
from common.grid import Cell, cells

SNAKEMAKE = [sys.executable, "-m", "snakemake"]
SLURM = Path(__file__).with_name("one_node_slurm.sh")


def test_the_table_says_what_is_published():
    assert list(grid.GRID) == notebooks.names()
    for name, published in grid.GRID.items():
        session, notebook = name.split("/")
        folder = notebooks.ROOT / session / "results" / notebook
        there = {str(path.relative_to(notebooks.ROOT)) for path in folder.glob("*") if path.is_file()}
        made = {file for seed in range(published.seeds) for file in Cell(name, seed, "full").makes}
        assert there == made, f"{name}: only published {there - made}, only in common/grid.py {made - there}"


def test_a_cell_makes_all_results_of_its_seed():
    assert Cell("S7_mnist/3_augmentation", 7, "full").makes == [
        f"S7_mnist/results/3_augmentation/ours-seed7.{kind}" for kind in ("json", "pt")]  # the others are for 5 seeds
    first = Cell("S8_norms/3_group_norm", 0, "smoke")
    assert "runs/smoke/S8_norms/results/3_group_norm/transitions-gn-seed0.json" in first.makes and not first.needs
    assert first.name == "S8_norms_3_group_norm_seed0"


def test_a_cell_comes_with_those_that_it_shows():
    one = Cell("S7_mnist/3_augmentation", 7, "full")
    assert one.needs == [Cell(one.notebook, 0, "full"), Cell(one.notebook, 2, "full")]
    asked = cells(["S8_norms/5_side_by_side"], seeds=1)
    assert [(cell.notebook[-12:], cell.seed) for cell in asked] == [
        ("2_batch_norm", 0), ("3_group_norm", 0), ("4_layer_norm", 0), ("2_batch_norm", 1), ("2_batch_norm", 2),
        ("side_by_side", 0)]
    assert cells(["S9_advanced_conv/1_convolutions"]) == []  # it publishes no result
    with pytest.raises(notebooks.CourseError, match="no notebook 'S9/7'; known: "):
        cells(["S9/7"])


@pytest.fixture
def course(tmp_path, monkeypatch):
    return small_course.make(tmp_path / "course", monkeypatch)


def results(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["common", "results", *words])
    return __main__.main()


def times(course: Path) -> dict[str, int]:
    return {f"{path.parent.name}/{path.name}": path.stat().st_mtime_ns
            for path in (course / "S7_mnist/results").glob("*/*.json")}


def ran(course: Path) -> set[str]:
    """The cells that left a log since the last call."""
    logs = list((course / "runs/grid/full").glob("*seed*.log"))
    names = {path.stem for path in logs}
    for path in logs:
        path.unlink()
    return names


def test_results_makes_what_is_missing_or_stale_and_nothing_else(course, monkeypatch):
    assert results(monkeypatch) == 0
    first = times(course)
    assert set(first) == {"1_first/net-seed0.json", "2_second/net-seed0.json", "2_second/net-seed1.json"}
    assert (course / "runs/full/S7_mnist/2_second.ipynb").exists()
    assert len(ran(course)) == 3

    assert results(monkeypatch) == 0 and times(course) == first and not ran(course)  # all is there

    (course / "S7_mnist/results/2_second/net-seed1.json").unlink()  # one is missing, and one will be stale
    path = course / "S7_mnist/1_first.py"
    path.write_text(path.read_text().replace("99.0 + seed", "99.5 + seed"))
    notebooks.sync()
    assert results(monkeypatch) == 0
    assert ran(course) == {"S7_mnist_1_first_seed0", "S7_mnist_2_second_seed1"}
    remade = {name for name, when in times(course).items() if first[name] != when}
    assert remade == {"1_first/net-seed0.json", "2_second/net-seed1.json"}

    subprocess.run([*SNAKEMAKE, "--report", "runs/grid.html"], cwd=course, check=True, capture_output=True)
    page = (course / "runs/grid.html").read_text()
    assert all(word in page for word in ("S7_mnist", "all networks", "every seed"))


def test_a_cell_that_fails_leaves_its_notebook_and_the_others_run(course, monkeypatch, capfd):
    path = course / "S7_mnist/1_first.py"
    path.write_text(path.read_text().replace("epochs == 0", "seed == 1 and train != 'never'"))
    notebooks.sync()
    assert results(monkeypatch, "--seeds", "2") == 1
    assert "some failed, their logs are in runs/grid/; `make results` goes on from here" in capfd.readouterr().err
    assert set(times(course)) == {"1_first/net-seed0.json", "2_second/net-seed0.json", "2_second/net-seed1.json"}
    assert "S7_mnist/1_first: ValueError: epochs=0" in (
        course / "runs/grid/full/S7_mnist_1_first_seed1.log").read_text()
    failed = notebooks.read(course / "runs/full/S7_mnist/1_first-seed1.ipynb")
    assert any(output.output_type == "error" for cell in failed.cells for output in cell.get("outputs", []))


def test_results_needs_snakemake(course, monkeypatch, capsys):
    monkeypatch.setattr(runner.importlib.util, "find_spec", lambda name: None)
    assert results(monkeypatch) == 1
    assert capsys.readouterr().err == (
        "the grid of results needs Snakemake: pip install -r requirements-grid.txt\n")


# A whole cluster


@pytest.fixture
def slurm():
    """A Slurm of one node."""
    if missing := [program for program in ("slurmctld", "slurmd", "sbatch", "munged") if not shutil.which(program)]:
        pytest.skip(f"NO SLURM HERE ({', '.join(missing)} missing): profiles/slurm was NOT tried; "
                    "apt-get install slurmctld slurmd slurm-client munge")
    if Path("/etc/slurm/slurm.conf").exists():
        pytest.skip("THIS MACHINE HAS A SLURM OF ITS OWN: profiles/slurm was NOT tried")
    if os.geteuid():
        pytest.skip("ONLY ROOT CAN START A SLURM: profiles/slurm was NOT tried")
    subprocess.run([SLURM, "start"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=90)
    yield
    subprocess.run([SLURM, "stop"], check=True, timeout=60)


@pytest.mark.skipif(not find("mnist"), reason="MNIST isn't here: set DATA_DIR")
def test_smoke_cells_on_slurm_one_of_them_killed(slurm, tmp_path):
    """The course's own notebooks; a job is cancelled while it runs, and is run again."""
    course = tmp_path / "course"
    left_out = shutil.ignore_patterns(".venv", ".git", "runs", "__pycache__", ".snakemake", ".*_cache", "results")
    shutil.copytree(notebooks.ROOT, course, ignore=left_out)
    command = [*SNAKEMAKE, "--profile", "profiles/slurm", "--slurm-no-account", "--slurm-status-command", "squeue",
               "--slurm-init-seconds-before-status-checks", "5", "--config", "preset=smoke", "seeds=2",
               "notebooks=S7_mnist/1_structure S7_mnist/3_augmentation"]
    with (tmp_path / "log").open("w") as log:
        grid_run = subprocess.Popen(command, cwd=course, stdout=log, stderr=subprocess.STDOUT,
                                    env={**os.environ, "DATA_DIR": str(find("mnist"))})
        try:
            wait_for(lambda: jobs("RUNNING"))
            killed = jobs("RUNNING")[0]
            subprocess.run(["scancel", killed], check=True)
            assert grid_run.wait(timeout=400) == 0, (tmp_path / "log").read_text()
        finally:
            grid_run.kill()
    for cell in cells(["S7_mnist/1_structure", "S7_mnist/3_augmentation"], 2, "smoke"):
        assert all((course / file).stat().st_size for file in cell.makes)
    assert jobs("CANCELLED") == [killed]
    assert len(jobs("COMPLETED")) == 3  # 1_structure has one seed only: three cells, one of them in its second job
    assert "Trying to restart job" in (tmp_path / "log").read_text()


def jobs(state: str) -> list[str]:
    """The numbers of the jobs in so and so a state."""
    found = subprocess.run(["squeue", "-h", "-t", state, "-o", "%i"], capture_output=True, text=True, check=True)
    return found.stdout.split()


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.5)
