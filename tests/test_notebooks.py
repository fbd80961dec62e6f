"""Pairs, the set-up cell, and every notebook of the course through papermill, here and as in Colab."""

import os
import re
import shutil
import subprocess
import sys

import jupytext
import nbformat
import pretended_gpu
import pytest
import small_course

from common import results, session
from common.data import find
from common.files import ROOT
from tools import notebooks, runner
from tools.notebooks import CourseError

FIRST = "S7_mnist/1_first"


@pytest.mark.slow
@pytest.mark.parametrize("injected", ["", pretended_gpu.INJECTED], ids=["CPU", "GPU"])
@pytest.mark.parametrize("name", notebooks.names())
def test_notebook_runs(name, injected, tmp_path):
    data = "mnist" if name.startswith("S7") else "cifar10"
    if find(data) is None:
        pytest.skip(f"{data} isn't here: set DATA_DIR; NOTEBOOK NOT TESTED")
    runner.execute(ROOT / f"{name}.ipynb", tmp_path / "run.ipynb", {"preset": "smoke", "output": str(tmp_path)},
                   injected=injected)
    of, notebook = name.split("/")
    made = list((tmp_path / notebook).glob("*-seed0.json"))
    trains = re.search(r"run\.train_or_read\(|your_turn\.train\(", (ROOT / f"{name}.py").read_text())
    assert bool(made) == bool(trains)
    assert not injected or all("pretended" in results.read(path)["device"] for path in made)
    numbered = [path.name for path in made if "_2-" in path.name]  # two networks, or recipes, had the same name
    assert not set(numbered) - {f"{result}-seed0.json" for result in session.read(of).results(notebook)}
    assert (tmp_path / "run.ipynb").stat().st_size < 1_000_000


# Pairs

def test_the_course_is_in_step():
    assert notebooks.names() and not notebooks.find_unsynced()
    assert f"{notebooks.GITHUB}{notebooks.repository()}" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("what", [
    lambda notebook: notebook.cells[3].update(source="import os"),
    lambda notebook: notebook.cells[0].update(cell_type="raw"),
    lambda notebook: notebook.cells[2].metadata.update(tags=[]),
    lambda notebook: notebook.cells.pop(),
])
def test_an_ipynb_that_was_edited_is_neither_published_nor_lost(course, what):
    path = course / f"{FIRST}.ipynb"
    small_course.change(path, what)
    edited = path.read_text()
    assert notebooks.find_unsynced() == [FIRST]
    with pytest.raises(CourseError, match=f"{FIRST}.ipynb: edited"):
        notebooks.sync()
    assert path.read_text() == edited
    path.unlink()
    assert notebooks.find_unsynced() == [FIRST]
    assert notebooks.sync() == [f"{FIRST}.ipynb"] and not notebooks.find_unsynced()


def test_what_jupyterlab_saves_is_put_right(course):
    """It writes both halves, folds the set-up cell, and adds five lines to the header of the .py."""
    source, made = course / f"{FIRST}.py", course / f"{FIRST}.ipynb"
    before = source.read_text()
    notebook = nbformat.read(made, as_version=4)
    notebook.cells[1].metadata.update(collapsed=True)
    notebook.cells[3].source += "\nimport os"
    nbformat.write(notebook, made)
    jupytext.write(notebook, source, fmt="py:percent")
    assert "text_representation" in source.read_text() and notebooks.find_unsynced() == [FIRST]
    notebooks.sync()
    start = 'run = experiment.start("S7_mnist", "1_first", preset, seed, epochs, output)'
    assert source.read_text() == before.replace(start, f"{start}\nimport os") and not notebooks.find_unsynced()


def test_sync_keeps_outputs_and_ids_of_unchanged_cells(course):
    made = course / f"{FIRST}.ipynb"

    def run(notebook):
        for cell in notebook.cells[1:]:
            cell.update(outputs=[nbformat.v4.new_output("stream", text="out")], execution_count=1)

    small_course.change(made, run)
    before = nbformat.read(made, as_version=4).cells
    small_course.edit(course / f"{FIRST}.py", ("import base64\n", "import base64  # new\n"))
    assert notebooks.sync() == []
    after = nbformat.read(made, as_version=4).cells
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, True, True, False, True, True]
    assert not after[3].outputs and after[3].execution_count is None
    assert [a.id for a in after] == [b.id for b in before]


def test_a_fork_needs_one_command(course):
    subprocess.run(["git", "init", "-q"], cwd=course, check=True)
    assert notebooks.sync() == []
    (course / "README.md").write_text(f"{notebooks.badge(FIRST)} https://{notebooks.site(notebooks.repository())}/demo/\n"
                                      "cd small-cnn-course\n")
    subprocess.run(["git", "remote", "add", "origin", "git@github.com:someone/fork.git"], cwd=course, check=True)
    changed = notebooks.sync()
    assert {"pyproject.toml", "CITATION.cff", "README.md", f"{FIRST}.py", f"{FIRST}.ipynb"} <= set(changed)
    for path in changed:
        text = (course / path).read_text()
        assert "someone/fork" in text and "owner/small-cnn-course" not in text
    assert "someone.github.io/fork/demo/\ncd fork\n" in (course / "README.md").read_text()
    assert not notebooks.find_unsynced()


def test_a_notebook_without_a_title_or_a_setup_cell_is_named(course):
    with pytest.raises(CourseError, match=f"{FIRST}.py needs"):
        small_course.edit(course / f"{FIRST}.py", ("setup", "other"))


def test_notebooks_of_the_readers_own_are_left_alone(course):
    for name in ("Untitled", "2_mine"):
        shutil.copy(course / f"{FIRST}.ipynb", course / f"S7_mnist/{name}.ipynb")
    shutil.copy(course / f"{FIRST}.py", course / "S7_mnist/2_mine.py")
    small_course.change(course / "S7_mnist/Untitled.ipynb", lambda notebook: notebook.cells.pop(0))
    assert notebooks.names() == [FIRST, "S7_mnist/2_second"]
    assert not notebooks.find_unsynced() and not notebooks.sync()
    assert notebooks.check_name("S7_mnist/2_mine.ipynb") == "S7_mnist/2_mine"  # and can be run


def test_names_are_portable(course):
    for name in (FIRST, f"{FIRST}.ipynb", f"{FIRST}.py", "S7_mnist\\1_first", "S7_mnist\\1_first.ipynb"):
        assert notebooks.check_name(name) == FIRST
    with pytest.raises(CourseError, match="S7_mnist/3.*S7_mnist/2_second"):
        notebooks.check_name("S7_mnist/3")


# The set-up cell

def run_setup(folder, url="file:///nowhere/course", **environment):
    """Run the set-up cell in `folder`, in a process of its own that knows no course yet."""
    cell = notebooks.SETUP.format(url=url, name="course") + "\nimport common; print(common.__file__)"
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "JPY_SESSION_NAME")}
    return subprocess.run([sys.executable, "-c", cell], cwd=folder, capture_output=True, text=True,
                          env={**clean, **environment})


@pytest.mark.parametrize("below", [".", "S7_mnist", "S7_mnist/results/3_augmentation"])
def test_setup_finds_the_course_above(below):
    done = run_setup(ROOT / below)
    assert done.stdout == f"{ROOT / 'common/__init__.py'}\n", done.stderr


def test_setup_finds_the_notebooks_own_course_from_elsewhere(tmp_path):
    done = run_setup(tmp_path, JPY_SESSION_NAME=str(ROOT / "S7_mnist/1_structure.ipynb"))
    said, where = done.stdout.splitlines()
    assert str(ROOT) in said and where == str(ROOT / "common/__init__.py")  # it says which course runs


@pytest.mark.parametrize("environment", [{}, {"PATH": "/nowhere"}], ids=["no network", "no git"])
def test_setup_without_a_network_or_git_is_one_sentence(tmp_path, environment):
    done = run_setup(tmp_path, **environment)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode and "file:///nowhere/course" in last and "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not find("mnist"), reason="MNIST isn't here: set DATA_DIR")
def test_only_the_notebook_as_in_colab(tmp_path, monkeypatch):
    checkout, colab = tmp_path / "checkout", tmp_path / "colab"
    skip = shutil.ignore_patterns(".git", ".venv", "runs", "data", "__pycache__", ".*_cache", "*.pt")
    shutil.copytree(ROOT, checkout, ignore=skip)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "course"]):
        subprocess.run([*git, *command], cwd=checkout, check=True)
    colab.mkdir()
    notebook = notebooks.read(ROOT / "S7_mnist/1_structure.ipynb")
    notebook.cells[1].source = notebooks.SETUP.format(url=f"file://{checkout}", name="course")
    nbformat.write(notebook, colab / "notebook.ipynb")
    monkeypatch.setenv("DATA_DIR", str(find("mnist")))
    runner.execute(colab / "notebook.ipynb", tmp_path / "out.ipynb", {"preset": "smoke"})
    assert list((colab / "course/runs/smoke/S7_mnist").rglob("*-seed0.json"))
    again = run_setup(colab, url=f"file://{checkout}")  # after the runtime was restarted
    assert again.stdout.endswith("colab/course/common/__init__.py\n")
