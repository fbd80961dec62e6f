"""The grid of published runs: what is in it, and that Snakemake makes what is missing or stale, here or elsewhere."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import kubernetes_validate
import pytest
import small_course
import yaml

from common import __main__, grid, notebooks, runner
from common.data import find
from common.grid import Cell, cells

SNAKEMAKE = [sys.executable, "-m", "snakemake"]
SLURM = Path(__file__).with_name("one_node_slurm.sh")


def test_the_table_says_what_is_published():
    assert list(grid.GRID) == notebooks.names()
    for name, published in grid.GRID.items():
        session, notebook = name.split("/")
        listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--",
                                 f"{session}/results/{notebook}"], cwd=notebooks.ROOT, capture_output=True, text=True)
        there = set(listed.stdout.split())  # what git has or would take
        made, more = ({file for seed in seeds for file in Cell(name, seed, "full").makes}
                      for seeds in (range(published.seeds), grid.kept(name)))
        assert made <= there <= made | more, f"{name}: missing {made - there}, not in common/grid.py {there - more}"


def test_git_takes_what_a_cell_makes_and_no_other_weights():
    made = [file for name in grid.GRID for seed in range(12) for file in Cell(name, seed, "full").makes]
    others = [file.replace(".json", ".pt") for file in made if file.replace(".json", ".pt") not in made
              and not re.search("/short", file)]  # short runs leave no weights anywhere
    ignored = subprocess.run(["git", "check-ignore", "--no-index", "--stdin"], input="\n".join(made + others),
                             cwd=notebooks.ROOT, capture_output=True, text=True).stdout.split()
    assert ignored == others and len(others) > 50


@pytest.mark.parametrize(("config", "said"), [
    ({"seed": 2}, "unknown --config seed; known: notebooks, seeds, preset"),
    ({"seeds": 0}, "--config seeds=0: not a whole number of at least 1"),
    ({"seeds": "abc"}, "--config seeds=abc: not a whole number"),
    ({"preset": "fulll"}, "--config preset=fulll: unknown; known: smoke, quick, full"),
    ({"notebooks": "S7"}, "no notebook 'S7'; known: S7_mnist/1_structure"),
])
def test_a_config_that_is_not_known(config, said):
    with pytest.raises(notebooks.CourseError, match=re.escape(said)):
        grid.asked(config)


def test_what_a_config_asks_for():
    assert grid.asked({}) == (list(grid.GRID), None, "full")
    both = "S8_norms/2_batch_norm S7_mnist/3_augmentation.ipynb S8_norms/2_batch_norm"
    assert grid.asked({"notebooks": both, "seeds": 3, "preset": "smoke"}) == (
        ["S8_norms/2_batch_norm", "S7_mnist/3_augmentation"], 3, "smoke")


def test_a_cell_makes_all_results_of_its_seed():
    folder = "S7_mnist/results/3_augmentation"
    assert Cell("S7_mnist/3_augmentation", 7, "full").makes == [f"{folder}/ours-seed7.json"]  # the others have 5
    assert Cell("S7_mnist/3_augmentation", 4, "full").makes == [
        f"{folder}/{model}-seed4.{kind}" for model in ("ours", "one_cycle", "smallest") for kind in ("json", "pt")]
    first = Cell("S8_norms/3_group_norm", 0, "smoke")
    assert "runs/smoke/S8_norms/results/3_group_norm/transitions-gn-seed0.json" in first.makes and not first.needs
    assert first.name == "S8_norms_3_group_norm_seed0"


def test_a_cell_comes_with_those_that_it_shows():
    one = Cell("S7_mnist/3_augmentation", 7, "full")
    assert one.needs == [Cell(one.notebook, 0, "full"), Cell(one.notebook, 2, "full")]
    norms = ["S8_norms/2_batch_norm", "S8_norms/3_group_norm", "S8_norms/4_layer_norm"]
    both = Cell("S8_norms/5_side_by_side", 4, "full")
    needed = [(both.notebook, 0), *((norm, 4) for norm in norms), *((norms[0], seed) for seed in range(3))]
    assert both.needs == [Cell(*one, "full") for one in needed]
    assert not Cell(both.notebook, 0, "smoke").needs
    asked = cells([both.notebook], seeds=1)
    assert asked[-1] == Cell(both.notebook, 0, "full") and {cell.notebook for cell in asked[:-1]} == set(norms)
    assert cells(["S9_advanced_conv/1_convolutions"]) == []  # it publishes no result
    with pytest.raises(notebooks.CourseError, match="no notebook 'S9/7'; known: "):
        cells(["S9/7"])


def test_a_notebook_is_shown_after_all_that_it_reads():
    among = cells(list(grid.GRID), seeds=4)
    assert "S8_norms/results/3_group_norm/ours-gn-seed3.json" in grid.shown("S8_norms/5_side_by_side", among)
    assert not any("3_group_norm" in file for file in grid.shown("S8_norms/2_batch_norm", among))


@pytest.fixture
def course(tmp_path, monkeypatch):
    return small_course.make(tmp_path / "course", monkeypatch)


def results(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["common", "results", *words])
    return __main__.main()


def made(course: Path) -> set[str]:
    return {f"{path.parent.name}/{path.name}" for path in (course / "S7_mnist/results").glob("*/*.json")}


def ran(course: Path) -> set[str]:
    """The cells that left a log since the last call."""
    logs = list((course / "runs/grid/full").glob("*seed*.log"))
    names = {path.stem for path in logs}
    for path in logs:
        path.unlink()
    return names


def test_results_makes_what_is_missing_or_stale_and_nothing_else(course, monkeypatch):
    assert results(monkeypatch) == 0
    assert made(course) == {"1_first/net-seed0.json", "2_second/net-seed0.json", "2_second/net-seed1.json"}
    assert (course / "runs/full/S7_mnist/2_second.ipynb").exists()
    assert len(ran(course)) == 3

    assert results(monkeypatch) == 0 and not ran(course)  # all is there

    (course / "S7_mnist/results/2_second/net-seed1.json").unlink()  # one is missing, and one will be stale
    path = course / "S7_mnist/1_first.py"
    path.write_text(path.read_text().replace("99.0 + seed", "99.5 + seed"))
    notebooks.sync()
    assert results(monkeypatch) == 0
    assert ran(course) == {"S7_mnist_1_first_seed0", "S7_mnist_2_second_seed1"}
    assert "2_second/net-seed1.json" in made(course)
    assert '"accuracy": 99.5' in (course / "S7_mnist/results/1_first/net-seed0.json").read_text()

    subprocess.run([*SNAKEMAKE, "--report", "runs/grid.html"], cwd=course, check=True, capture_output=True)
    page = (course / "runs/grid.html").read_text()
    assert all(word in page for word in ("S7_mnist", "all networks", "every seed"))


def test_a_cell_that_fails_keeps_what_it_trained_and_the_others_run(course, monkeypatch, capfd):
    assert results(monkeypatch) == 0
    path = course / "S7_mnist/1_first.py"  # its result is stale; it is trained anew, and then the notebook fails
    changed = path.read_text().replace("99.0 + seed", "99.5 + seed")
    path.write_text(changed + "\n# %%\nassert train == 'never', 'too late'\n")
    (course / "S7_mnist/results/2_second/net-seed1.json").unlink()
    notebooks.sync()
    assert results(monkeypatch) == 1
    assert "some failed, their logs are in runs/grid/; `make results` goes on from here" in capfd.readouterr().err
    assert '"accuracy": 99.5' in (course / "S7_mnist/results/1_first/net-seed0.json").read_text()
    assert (course / "S7_mnist/results/2_second/net-seed1.json").exists()
    assert "S7_mnist/1_first: AssertionError: too late" in (
        course / "runs/grid/full/S7_mnist_1_first_seed0.log").read_text()
    failed = notebooks.read(course / "runs/full/S7_mnist/1_first-seed0.ipynb")
    assert any(output.output_type == "error" for cell in failed.cells for output in cell.get("outputs", []))


def test_results_beyond_the_published_seeds_are_looked_at_too(course):
    folder = course / "S7_mnist/results/1_first"
    folder.mkdir(parents=True)
    for seed in (0, 7):
        (folder / f"net-seed{seed}.json").write_text("{}")
    assert runner.outdated("S7_mnist/1_first") == [
        "S7_mnist_1_first_seed0", "S7_mnist_1_first_seed7", "S7_mnist_1_first_shown"]


def test_results_of_some_notebooks_with_more_seeds(course, monkeypatch, capsys):
    assert results(monkeypatch, "--notebooks", "S7_mnist/2_second", "--seeds", "3") == 0
    assert made(course) == {f"2_second/net-seed{seed}.json" for seed in range(3)}
    assert results(monkeypatch, "--notebooks", "S7_mnist/2_second S7") == 1
    assert capsys.readouterr().err.startswith("no notebook 'S7'; known: ")


def test_results_wants_a_profile_that_is_there(course, monkeypatch, capsys):
    assert results(monkeypatch, "--profile", "profiles/nope") == 1
    said = capsys.readouterr()
    assert said.err.startswith("Snakemake can't use the profile profiles/nope: Error: profile directory given")
    assert not said.out  # no notebook was asked


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
    try:
        subprocess.run([SLURM, "start"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=90)
        yield
    finally:
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
            killed = wait_for(lambda: jobs("RUNNING"))[0]
            subprocess.run(["scancel", killed], check=True)
            assert grid_run.wait(timeout=400) == 0, (tmp_path / "log").read_text()
        finally:
            grid_run.kill()
    for cell in cells(["S7_mnist/1_structure", "S7_mnist/3_augmentation"], 2, "smoke"):
        assert all((course / file).stat().st_size for file in cell.makes)
    assert jobs("CANCELLED") == [killed]
    assert len(jobs("COMPLETED")) == 3  # 1_structure has one seed only: three cells, one of them in its second job
    assert "Trying to restart job" in (tmp_path / "log").read_text()


def test_cells_on_a_stand_in_for_kubernetes_one_of_them_killed(course, tmp_path, monkeypatch):
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    path = [str(Path(__file__).with_name("stand_in")), os.path.dirname(sys.executable), os.environ["PATH"]]
    environment = {**os.environ, "CLUSTER": str(cluster), "PATH": os.pathsep.join(path)}
    source = course / "S7_mnist/1_first.py"  # its first run waits to be killed
    source.write_text(source.read_text() + "\nimport time\n\nfirst = ROOT / 'first'\nif not first.exists():\n"
                    "    first.touch()\n    time.sleep(300)\n")
    notebooks.sync()
    with (tmp_path / "log").open("w") as log:
        grid_run = subprocess.Popen([*SNAKEMAKE, "--profile", "profiles/kubernetes", "--config", "preset=quick",
                                     "--seconds-between-status-checks", "1"],
                                    cwd=course, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: (course / "first").exists())
            subprocess.run(["pkill", "-f", "notebook S7_mnist/1_first -p preset quick"], check=True)
            assert grid_run.wait(timeout=200) == 0, (tmp_path / "log").read_text()
        finally:
            grid_run.kill()
    assert sorted(int(ended.read_text()) for ended in cluster.glob("*.rc")) == [0, 0, 0, 1]
    assert {f"{path.parent.name}/{path.name}" for path in course.glob("runs/quick/S7_mnist/results/*/*.json")} == {
        "1_first/net-seed0.json", "2_second/net-seed0.json", "2_second/net-seed1.json"}


def test_the_volume_and_the_pod_for_kubernetes_are_what_it_takes():
    described = list(yaml.safe_load_all((notebooks.ROOT / "profiles/kubernetes/course.yaml").read_text()))
    assert len(described) == 5
    for one in described:
        kubernetes_validate.validate(one, "1.30", strict=True)


def jobs(state: str) -> list[str]:
    """The numbers of the jobs in so and so a state."""
    found = subprocess.run(["squeue", "-h", "-t", state, "-o", "%i"], capture_output=True, text=True, check=True)
    return found.stdout.split()


def wait_for(find, seconds: float = 120) -> list:
    """What `find` returns once it isn't empty."""
    end = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.5)
    return found
