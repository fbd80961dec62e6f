"""What is published: outputs, figures, READMEs; what is refused; and what the gates see."""

import re
import shutil

import nbformat
import pytest
import small_course

from common import models, notebooks, publisher, runner, sources
from common.experiment import count_parameters, multiply_accumulates
from common.notebooks import CourseError

NAME = "S7_mnist/2_second"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A course whose results are all made: it takes seconds, so the tests share it and work on copies."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = small_course.make(tmp_path_factory.mktemp("finished") / "course", monkeypatch)
        assert runner.all_results()
        assert publisher.stale_results() == []
    return folder


@pytest.fixture
def course(finished, tmp_path, monkeypatch):
    folder = tmp_path / "course"
    shutil.copytree(finished, folder)
    for module in ("notebooks", "runner", "publisher"):
        monkeypatch.setattr(f"common.{module}.ROOT", folder)
    monkeypatch.setattr(publisher, "stale_results", lambda: [])  # tried once, above
    return folder


def edit(path, change):
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)


def test_publish(course):
    changed = publisher.publish()
    assert changed == ["S7_mnist/1_first.ipynb", "S7_mnist/2_second.ipynb", "README.md"]
    assert publisher.check() == []
    assert publisher.publish() == []  # nothing left to do
    notebook = nbformat.read(course / f"{NAME}.ipynb", as_version=4)
    assert set(notebook.metadata) == {"jupytext", "kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    assert not any("injected-parameters" in notebooks.tags(cell) for cell in notebook.cells)
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5]
    assert notebook.cells[3].outputs[0].text == "train never\n"
    assert notebooks.pairs_differ() == []


def test_publish_fills_the_readme_and_draws(course):
    publisher.publish()
    text = (course / "README.md").read_text()
    assert "| net | 7,000 | 1 | 99.05 ± 0.07 | 2 | 99.00 | never | ✓ 2 of 2 |" in text
    assert "99.52 % with 7,864" in text
    assert "old" not in text and text.endswith("\nprose\n")
    figures = sorted(path.name for path in (course / "S7_mnist/results/figures").iterdir())
    assert figures == ["curves.png", "misclassified.png", "parameters.png", "seeds.png"]
    sections = publisher.sections(course)
    assert "(S7_mnist/results/figures/curves.png)" in sections["figures S7_mnist"]
    assert "(results/figures/curves.png)" in publisher.sections(course / "S7_mnist")["figures S7_mnist"]
    assert "blob/main/S7_mnist/1_first.ipynb" in sections["notebooks S7_mnist"]


def set_metadata(**values):
    return lambda notebook: notebook.metadata.papermill.update(values)


def fail(notebook):
    notebook.cells[-1].outputs = [nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]


def grow(notebook):
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="x" * 600_000)]


def stop(notebook):
    notebook.cells[-1].execution_count = None


def change(notebook):
    notebook.cells[-1].source += "\n1"


@pytest.mark.parametrize("spoil, message", [
    (set_metadata(duration=0.0), "ran for 0.000 s; run `make results`"),
    (set_metadata(parameters={"preset": "full", "epochs": 1}), "ran with other parameters than `make results` gives"),
    (fail, "shows an error; run `make results`"),
    (grow, "600 kB with its outputs|60. kB with its outputs"),
    (stop, "was stopped in the middle; run `make results`"),
    (change, "is of another version of the notebook; run `make results`"),
])
def test_publish_refuses(course, spoil, message):
    before = (course / "S7_mnist/1_first.ipynb").read_text()
    edit(course / f"runs/full/{NAME}.ipynb", spoil)
    with pytest.raises(CourseError, match=f"^{NAME}: .*({message})"):
        publisher.publish()
    assert (course / "S7_mnist/1_first.ipynb").read_text() == before  # nothing is half published


def test_publish_refuses_what_was_not_run(course):
    (course / f"runs/full/{NAME}.ipynb").unlink()
    with pytest.raises(CourseError, match=f"{NAME}: no runs/full/{NAME}.ipynb to publish; run `make results`"):
        publisher.publish()


def test_widgets_are_dropped_and_streams_joined():
    stream = [nbformat.v4.new_output("stream", text=text) for text in ("a\n", "b\n")]
    widget = nbformat.v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})
    assert [output.text for output in publisher.cleaned([widget, *stream])] == ["a\nb\n"]


def test_a_new_address_is_written_everywhere(course):
    publisher.publish()
    (course / "README.md").write_text("<!-- generated: clone -->\n<!-- end: clone -->\n")
    publisher.publish("someone/elsewhere")
    assert publisher.check() == []  # outputs are kept
    for path in ("pyproject.toml", "README.md", "S7_mnist/1_first.py", "S7_mnist/1_first.ipynb"):
        assert "someone/elsewhere" in (course / path).read_text()
        assert "owner/small-cnn-course" not in (course / path).read_text()
    with pytest.raises(CourseError, match="'elsewhere' is no place on GitHub: write it as REPO=owner/name"):
        publisher.publish("elsewhere")


def test_the_gates(course):
    publisher.publish()
    readme, source = course / "README.md", course / "S7_mnist/1_first.py"
    readme.write_text(readme.read_text().replace("99.05", "99.95"))
    source.write_text(source.read_text().replace("It trains", "This trains"))
    edit(course / f"{NAME}.ipynb", lambda notebook: notebook.cells[-1].update(execution_count=None))
    assert publisher.check() == [
        "S7_mnist/1_first.ipynb differs from its .py in cell 1: run `make sync`",
        "README.md isn't what the results say: run `make publish`",
        f"{NAME}.ipynb has a cell that never ran: run `make results publish`",
    ]


def test_stale_results_are_named(finished, monkeypatch):
    for module in ("notebooks", "publisher"):
        monkeypatch.setattr(f"common.{module}.ROOT", finished)
    path = finished / "S7_mnist/results/1_first/net-seed0.json"
    text = path.read_text()
    path.unlink()
    try:
        assert publisher.stale_results() == [
            "S7_mnist/1_first: AssertionError: no result; `make results` makes it"]
    finally:
        path.write_text(text)


@pytest.mark.parametrize("text, message", [
    ("<!-- generated: x -->\n<!-- end: x -->", "R has a section 'x'; known: clone"),
    ("<!-- generated: clone -->", "R needs <!-- generated: clone --> and, after it, <!-- end: clone -->, once each"),
    ("<!-- end: clone -->\n<!-- generated: clone -->", "R needs"),
])
def test_markers_that_are_wrong(text, message):
    with pytest.raises(CourseError, match=message):
        publisher.fill(text, {"clone": "git clone"}, "R")


def test_fill_twice_is_fill_once():
    once = publisher.fill("a\n<!-- generated: x -->\nold\n<!-- end: x -->\nb", {"x": "new"}, "R")
    assert once == "a\n<!-- generated: x -->\nnew\n<!-- end: x -->\nb" == publisher.fill(once, {"x": "new"}, "R")


def test_the_first_epoch_at_the_goal():
    curves = [99.3, 99.5, 99.4], [99.4, 99.2, 99.5], [99.1, 99.2, 99.3]
    runs = [{"curve": [{"epoch": i, "test_accuracy": a} for i, a in enumerate(curve, 1)]} for curve in curves]
    assert publisher.reached({"results": runs[:2], "n": 2}, 99.4) == "1.5"
    assert publisher.reached({"results": runs, "n": 3}, 99.4) == "1.5 (2 of 3)"
    assert publisher.reached({"results": runs[2:], "n": 1}, 99.4) == "never"


def test_what_notebooks_say_of_sources_is_in_the_table():
    for name in notebooks.names():
        session, text = name.split("/")[0], (publisher.ROOT / f"{name}.py").read_text().replace("\n#", "")
        said = {float(number) for number in re.findall(r"(?:reports?|reaches) (\d\d\.\d\d) %", text)}
        assert said <= {network["accuracy"] for network in sources.SOURCES[session]}, name
        assert said or not re.search(r"[23]_(batch|group)_norm", name)  # the pattern still finds them


def test_the_arithmetic_of_the_page_is_that_of_the_network():
    network, page = models.strided(), " ".join((publisher.ROOT / "README.md").read_text().split())
    operations, parameters = multiply_accumulates(network, (3, 32, 32)), count_parameters(network)
    assert f"takes {operations / 1e6:.1f} million multiply-accumulates an image" in page
    assert f"a batch of 128 images is {2 * 3 * 128 * operations / 1e9:.0f} billion operations" in page
    assert f"exchange {parameters:,} gradients, {4 * parameters / 1e6:.2f} MB" in page
