"""What is published: outputs, figures, READMEs; what is refused; and what the gates see."""

import json
import shutil

import nbformat
import pytest
import small_course

from common import plots
from common.anatomy import count_parameters, multiply_accumulates
from common.files import ROOT
from common.models import s9
from tools import freshness, notebooks, publisher, readmes, runner
from tools.notebooks import CourseError

NAME = "S7_mnist/2_second"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A course whose results are all made and verified once: it takes a while, so the tests work on copies."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = small_course.work_on(small_course.make(tmp_path_factory.mktemp("finished") / "course"), monkeypatch)
        for name, seed in (("1_first", 0), ("2_second", 0), ("2_second", 1)):
            parameters = {"preset": "full", "seed": seed}
            runner.execute(folder / f"S7_mnist/{name}.ipynb", folder / "runs/x.ipynb", parameters)
        assert not any(freshness.verify_notebook(name, folder / "runs/ran") for name in notebooks.names())
    return folder


@pytest.fixture
def course(finished, tmp_path, monkeypatch):
    """A copy, in which the notebooks are as they ran then."""
    folder = tmp_path / "course"
    shutil.copytree(finished, folder)

    def verify_notebooks(out, at_a_time=1):
        shutil.copytree(folder / "runs/ran", out, dirs_exist_ok=True)
        return []

    monkeypatch.setattr(freshness, "verify_notebooks", verify_notebooks)
    return small_course.work_on(folder, monkeypatch)


@pytest.mark.slow
def test_publish(course):
    assert publisher.publish() == ["S7_mnist/1_first.ipynb", "S7_mnist/2_second.ipynb", "README.md"]
    assert list(publisher.find_problems()) == []
    assert publisher.publish() == []  # nothing left to do
    notebook = nbformat.read(course / f"{NAME}.ipynb", as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info", "sources_sha256"}
    assert not any("injected" in tag for cell in notebook.cells for tag in notebooks.tags(cell))
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5]
    assert "read from" in notebook.cells[4].outputs[0].text  # nothing was trained
    text = (course / "README.md").read_text()
    row = next(line for line in text.splitlines() if "[S7.2]" in line)
    assert "| net | 7,850 | 2 |" in row and "✓ 2 of 2" in row
    assert "92.00 % with [7,850](https://example.org/linear)" in text
    assert "old" not in text and text.endswith("\nprose\n")
    figures = sorted(path.name for path in (course / "S7_mnist/results/figures").iterdir())
    assert figures == ["curves.png", "parameters.png", "seeds.png"]
    sections = readmes.make_sections(course)
    assert "(S7_mnist/results/figures/curves.png)" in sections["figures S7_mnist"]
    assert "(results/figures/curves.png)" in readmes.make_sections(course / "S7_mnist")["figures S7_mnist"]
    assert "blob/main/S7_mnist/1_first.ipynb" in sections["notebooks S7_mnist"]
    assert "< 8,000" in sections["goal S7_mnist"]


@pytest.mark.slow
def test_the_gates(course):
    publisher.publish()
    readme, source = course / "README.md", course / "S7_mnist/1_first.py"
    readme.write_text(readme.read_text().replace("7,850 | 2", "7,851 | 2"))
    source.write_text(source.read_text().replace("It trains", "This trains"))
    small_course.change(course / f"{NAME}.ipynb", lambda notebook: notebook.cells[-1].update(execution_count=None))
    assert [problem.split()[0] for problem in publisher.find_problems()] == [
        "S7_mnist/1_first:", "README.md", f"{NAME}.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "said"), [
    (lambda result: result["recipe"].update(lr=0.02), "recipe"),
    (lambda result: result.update(accuracy=result["accuracy"] + 1), "edited"),
    (lambda result: [result.update(accuracy=50.0), result["curve"][-1].update(test_accuracy=50.0)], "weights are"),
    (lambda result: result["trace"].reverse(), "losses"),
    (None, "missing"),
])
def test_a_result_that_todays_code_would_not_make_is_named(finished, tmp_path, monkeypatch, spoil, said):
    small_course.work_on(finished, monkeypatch)
    path = finished / "S7_mnist/results/1_first/net-seed0.json"
    text = path.read_text()
    path.unlink()
    try:
        if spoil:
            result = json.loads(text)
            spoil(result)
            path.write_text(json.dumps(result))
        problem = freshness.verify_notebook("S7_mnist/1_first", tmp_path)
        assert said in problem and "net-seed0.json" in problem and "\n" not in problem
    finally:
        path.write_text(text)


def test_a_notebook_that_fails_for_another_reason_is_not_called_stale(course, tmp_path):
    small_course.edit(course / "S7_mnist/1_first.py", ("import base64", "import base63"))
    problem = freshness.verify_notebook("S7_mnist/1_first", tmp_path)
    assert problem.startswith("S7_mnist/1_first: ModuleNotFoundError") and "stale" not in problem


def test_the_pieces_of_a_stream_are_joined():
    stream = [nbformat.v4.new_output("stream", text=text) for text in ("a\n", "b\n")]
    errors = nbformat.v4.new_output("stream", name="stderr", text="c\n")
    assert [output.text for output in publisher.clean_outputs([*stream, errors])] == ["a\nb\n", "c\n"]


def test_equal_figures_give_equal_files(tmp_path):
    for name in ("one", "other"):
        publisher.save(plots.per_seed({"a": [99.4, 99.5]}), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("text, said", [
    ("<!-- generated: x -->\n<!-- end: x -->", "'x'"),
    ("<!-- generated: clone -->", "once each"),
    ("<!-- end: clone -->\n<!-- generated: clone -->", "once each"),
])
def test_markers_that_are_wrong(text, said):
    with pytest.raises(CourseError, match=said):
        readmes.fill(text, {"clone": "git clone"}, "R")


def test_fill_twice_is_fill_once():
    once = readmes.fill("a\n<!-- generated: x -->\nold\n<!-- end: x -->\nb", {"x": "new"}, "R")
    assert once == "a\n<!-- generated: x -->\nnew\n<!-- end: x -->\nb" == readmes.fill(once, {"x": "new"}, "R")


def test_the_arithmetic_of_the_page_is_that_of_the_network():
    network, page = s9.ours(), " ".join((ROOT / "docs/running.md").read_text().split())
    operations, parameters = multiply_accumulates(network, (3, 32, 32)), count_parameters(network)
    assert f"takes {operations / 1e6:.1f} million multiply-accumulates an image" in page
    assert f"a batch of 128 images is {2 * 3 * 128 * operations / 1e9:.0f} billion operations" in page
    assert f"exchange {parameters:,} gradients, {4 * parameters / 1e6:.2f} MB" in page
