"""Pairs, the set-up cell, and every notebook of the course through papermill, here and as in Colab."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import nbformat
import pytest
import small_course

from common import notebooks
from common.data import find
from common.notebooks import CourseError

ROOT = notebooks.ROOT
needs_mnist = pytest.mark.skipif(not find("mnist"), reason="MNIST isn't here: set DATA_DIR")


@pytest.fixture
def course(tmp_path, monkeypatch):
    return small_course.make(tmp_path / "course", monkeypatch)


# Every notebook of the course

@pytest.mark.parametrize("name", notebooks.names())
def test_notebook_runs(name, tmp_path):
    data = "mnist" if name.startswith("S7") else "cifar10"
    if find(data) is None:
        pytest.skip(f"{data} isn't here: set DATA_DIR; NOTEBOOK NOT TESTED")
    parameters = {"preset": "smoke", "output": str(tmp_path / "results")}
    done = notebooks.execute(ROOT / f"{name}.ipynb", tmp_path / "run.ipynb", parameters)
    assert done.metadata.papermill.duration > 0
    trains = "run.run(" in (ROOT / f"{name}.py").read_text()
    assert trains == bool(list((tmp_path / "results" / name.split("/")[1]).glob("*-seed0.json")))
    assert (tmp_path / "run.ipynb").stat().st_size < 1_000_000


def test_notebooks_have_the_same_parameters():
    for name in notebooks.names():
        assert notebooks.parameters_of(ROOT / f"{name}.ipynb") == [
            "preset", "seed", "epochs", "train", "output", "resume"]


# Pairs

def test_notebooks_draw_where_the_images_are():
    """A generator that isn't made for the images' device fails on a GPU."""
    assert not [name for name in notebooks.names() if "Generator()" in (notebooks.ROOT / f"{name}.py").read_text()]


def test_the_course_is_in_step():
    assert notebooks.names() and not notebooks.pairs_differ() and not notebooks.setups_differ()


def edit(path, change):
    notebook = nbformat.read(path, as_version=4)
    change(notebook.cells)
    nbformat.write(notebook, path)


@pytest.mark.parametrize("change", [
    lambda cells: cells[3].update(source="import os"),
    lambda cells: cells[0].update(cell_type="raw"),
    lambda cells: cells[2].metadata.update(tags=[]),
    lambda cells: cells.pop(),
])
def test_the_pair_gate_sees_a_changed_cell(course, change):
    assert notebooks.pairs_differ() == []
    edit(course / "S7_mnist/1_first.ipynb", change)
    [problem] = notebooks.pairs_differ()
    assert problem.startswith("S7_mnist/1_first.ipynb differs from its .py in cell ")
    notebooks.sync()
    assert notebooks.pairs_differ() == []


def test_the_pair_gate_sees_a_missing_half(course):
    (course / "S7_mnist/1_first.ipynb").unlink()
    (course / "S7_mnist/2_second.py").unlink()
    assert notebooks.pairs_differ() == ["S7_mnist/2_second.ipynb has no .py beside it",
                                        "S7_mnist/1_first.ipynb is missing"]


def test_sync_keeps_outputs_of_unchanged_cells(course):
    source, made = course / "S7_mnist/1_first.py", course / "S7_mnist/1_first.ipynb"

    def run(cells):
        for cell in cells[1:]:
            cell.update(outputs=[nbformat.v4.new_output("stream", text="out")], execution_count=1)

    edit(made, run)
    before = nbformat.read(made, as_version=4).cells
    source.write_text(source.read_text().replace('print("train", train)', 'print("new")'))
    assert notebooks.sync() == ["S7_mnist/1_first.ipynb"]
    assert notebooks.sync() == []
    after = nbformat.read(made, as_version=4).cells
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, True, True, False, True, True]
    assert not after[3].outputs and after[3].execution_count is None


def test_sync_writes_the_badge_and_the_setup_cell_everywhere(course):
    path = course / "S7_mnist/1_first.py"
    text = path.read_text()
    assert text.count("[![Open in Colab]") == 1 and notebooks.setup_cell(notebooks.repository()) in text
    path.write_text(text.replace("ROOT = next(", "ROOT = min("))
    assert notebooks.setups_differ() == ["S7_mnist/1_first.py: the set-up cell or the badge was changed"]
    notebooks.sync()
    assert path.read_text() == text


def test_a_notebook_without_a_setup_cell_is_named():
    with pytest.raises(CourseError, match="S7_mnist/x.py needs"):
        notebooks.refreshed("# %% [markdown]\n# # Title\n\n# %%\n", "S7_mnist/x", "https://github.com/a/b")


# Running one

def test_an_unknown_notebook_is_refused(course):
    with pytest.raises(CourseError, match="no notebook 'S7_mnist/3'; known: S7_mnist/1_first, S7_mnist/2_second"):
        notebooks.known("S7_mnist/3")
    assert notebooks.known("S7_mnist/1_first.ipynb") == "S7_mnist/1_first"


def test_an_unknown_parameter_is_refused(course):
    with pytest.raises(CourseError, match="no parameter epoch; it has preset, seed, epochs, train, output"):
        notebooks.execute(course / "S7_mnist/1_first.ipynb", course / "out.ipynb", {"epoch": 5})
    assert not (course / "out.ipynb").exists()


def test_a_failing_cell_is_one_line(course):
    with pytest.raises(CourseError) as error:
        notebooks.execute(course / "S7_mnist/1_first.ipynb", course / "runs/out.ipynb", {"epochs": 0})
    assert str(error.value) == ("S7_mnist/1_first: ValueError: epochs=0 is not a whole number of at least 1 "
                                "(cell outputs: runs/out.ipynb)")
    assert (course / "runs/out.ipynb").exists()


def test_a_place_that_cannot_be_written(course):
    (course / "runs").write_text("a file")
    with pytest.raises(CourseError, match="can't write runs/quick/out.ipynb .*: make runs/quick a folder you may"):
        notebooks.execute(course / "S7_mnist/1_first.ipynb", course / "runs/quick/out.ipynb", {})


SLOW = small_course.HEADER + '''\
# %% [markdown]
# # Slow

# %% tags=["setup"]

# %% tags=["parameters"]
seed: int = 0  # none

# %%
import os
import time

for step in range(3):
    print("step", step, os.environ["MALLOC_MMAP_MAX_"], flush=True)
    time.sleep(1)
'''


def test_lines_arrive_while_a_cell_runs(course):
    small_course.write(course, "S7_mnist/3_slow", SLOW)
    notebooks.sync()
    times = []
    terminal = SimpleNamespace(write=lambda text: times.append((time.monotonic(), text)), flush=lambda: None)
    notebooks.execute(course / "S7_mnist/3_slow.ipynb", course / "out.ipynb", {}, terminal)
    steps = [moment for moment, text in times if text.startswith("step")]
    assert len(steps) == 3 and steps[2] - steps[0] > 1.5
    assert "step 0 0\n" in "".join(text for _, text in times)


# The set-up cell where only the notebook is

def run_setup(monkeypatch, folder, installed, returncode=0):
    """Run the set-up cell in an empty folder, without git and pip; return the commands it would have run."""
    commands = []

    def run(command, **options):
        commands.append(command)
        if command[0] == "git" and not returncode:
            (folder / "course/common").mkdir(parents=True)
            (folder / "course/common/experiment.py").touch()
            needed = "# why\ntorch>=2\ntorchvision>=1\nseen>=1,<2  # a\nnew>=3  # b\n"
            (folder / "course/requirements.txt").write_text(needed)
        return SimpleNamespace(returncode=returncode, stderr="Cloning ...\nfatal: could not resolve host\n")

    monkeypatch.chdir(folder)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: installed.get(name))
    monkeypatch.setattr(sys, "path", sys.path[:])
    exec(notebooks.setup_cell("https://github.com/a/course"), {})
    assert sys.path[0] == str(folder / "course")
    return commands


def test_setup_installs_what_is_missing_and_never_torch(tmp_path, monkeypatch):
    clone = ("git", "clone", "--depth", "1", "https://github.com/a/course", str(tmp_path / "course"))
    pip = (sys.executable, "-m", "pip", "install", "new>=3")
    assert run_setup(monkeypatch, tmp_path, {"seen": True}) == [clone, pip]
    assert run_setup(monkeypatch, tmp_path, {"seen": True, "new": True}) == []  # again, all there


def test_setup_without_a_network_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        run_setup(monkeypatch, tmp_path, {}, returncode=128)
    assert stop.value.code == ("no https://github.com/a/course: is that right, and a network there? "
                               "(fatal: could not resolve host)")


@needs_mnist
def test_only_the_notebook_as_in_colab(tmp_path, monkeypatch):
    checkout, bare, colab = tmp_path / "checkout", tmp_path / "course.git", tmp_path / "colab"
    skip = shutil.ignore_patterns(".git", ".venv", "runs", "data", "__pycache__", ".*_cache", "*.pt")
    shutil.copytree(ROOT, checkout, ignore=skip)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "course"]):
        subprocess.run([*git, *command], cwd=checkout, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", checkout, bare], check=True)

    colab.mkdir()
    name = notebooks.names()[0]
    text = notebooks.refreshed((ROOT / f"{name}.py").read_text(), name, f"file://{bare}")
    nbformat.write(notebooks.paired(text, None), colab / "notebook.ipynb")
    monkeypatch.setenv("DATA_DIR", str(find("mnist")))
    notebooks.execute(colab / "notebook.ipynb", tmp_path / "out.ipynb", {"preset": "smoke"})
    assert list((colab / "course/runs/smoke" / name.split("/")[0]).rglob("*-seed0.json"))
    setup = notebooks.setup_cell(f"file://{bare}") + "\nimport common; print(common.__file__)"  # a second time
    again = subprocess.run([sys.executable, "-c", setup], cwd=colab, capture_output=True, text=True, check=True,
                           env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
    assert re.search(r"colab/course/common/__init__.py", again.stdout)
