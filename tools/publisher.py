"""From the notebooks and the published results to what a reader sees: outputs in the notebooks, figures, READMEs."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import nbformat
from matplotlib.figure import Figure
from nbformat import NotebookNode
from PIL import Image

from common import plots, results, session, tables
from common.files import ROOT, write
from common.machine import count_cores
from common.session import Session
from tools import freshness, front, notebooks, readmes
from tools.notebooks import CourseError, relative, tags, write_new


def publish() -> list[str]:
    """Put the outputs of a run into the notebooks, draw the figures and fill the READMEs; return what changed.

    Raises CourseError, before anything is published, where a notebook fails or a result isn't fresh.
    """
    changed, folder = notebooks.sync(), ROOT / "runs" / "publish"
    if problems := list(freshness.verify_notebooks(folder)):  # one at a time: some measure seconds
        raise CourseError("\n".join(problems))
    for name in notebooks.names():
        changed += write_new(ROOT / f"{name}.ipynb", add_outputs(name, folder))
    for name in session.names():
        draw_figures(session.read(name))
    for name, figure in front.figures().items():
        save(figure, ROOT / "docs" / f"{name}.png")
    for path, text in readmes.fill_readmes().items():
        changed += write_new(path, text)
    return changed


def add_outputs(name: str, folder: Path) -> str:
    """Return the text of the paired notebook `name` with the outputs of its run in `folder`."""
    pair, ran = notebooks.read(ROOT / f"{name}.ipynb"), notebooks.read(folder / f"{name}.ipynb").cells
    ran = [cell for cell in ran if not {"injected", "injected-parameters"} & set(tags(cell))]
    code = [cells for cells in zip(pair.cells, ran, strict=True) if cells[0].cell_type == "code"]
    for count, (cell, done) in enumerate(code, 1):
        cell.outputs, cell.execution_count = clean_outputs(done.outputs), count
    return nbformat.writes(pair) + "\n"


def clean_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Return outputs with the pieces of a stream put together and figures made smaller."""
    kept: list[NotebookNode] = []
    for output in outputs:
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = shrink_png(output.data["image/png"])
        if kept and output.output_type == "stream" == kept[-1].output_type and output.name == kept[-1].name:
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def shrink_png(png: str) -> str:
    """Return a PNG, in base64, with a palette of 192 colours: a chart of lines and text takes a third of the bytes."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    small = io.BytesIO()
    image.quantize(192, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return min(png, base64.b64encode(small.getvalue()).decode(), key=len)


def draw_figures(about: Session) -> None:
    """Draw a session's figures of its published results: accuracy against parameters, and every seed of what comes near
    the goal.

    The others are taken from its notebooks, from the cells that are tagged "figure-" and their name.
    """
    folder, rows = ROOT / about.name / "results" / "figures", results.summarize_session(about.name)
    limits = (about.target("params").limit, about.goal.limit)
    save(plots.parameters_against_accuracy(tables.session_points(about), limits), folder / "parameters.png")
    several = [row for row in rows if row["n"] > 1 and row["mean"] > about.goal.limit - 0.5]
    save(plots.per_seed({tables.title(row): [run["accuracy"] for run in row["results"]] for row in several}),
         folder / "seeds.png")
    made = (notebooks.read(ROOT / about.name / f"{name}.ipynb") for name in about.notebooks)
    for cell in (cell for notebook in made for cell in notebook.cells):
        for tag in tags(cell):
            if tag.startswith("figure-"):
                png, = (output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
                write(folder / f"{tag.removeprefix('figure-')}.png", base64.b64decode(png))


def save(fig: Figure, path: Path) -> None:
    """Write a figure as PNG: equal figures give equal bytes, so that a repository changes only with its numbers."""
    png = io.BytesIO()
    fig.savefig(png, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 9})
    write(path, png.getvalue())


def find_problems() -> Iterator[str]:
    """Yield a line for everything that isn't as what makes it says, with the command that makes it anew."""
    for name in notebooks.find_unsynced():
        yield f"{name}: .py and .ipynb differ: run `make sync`"
    for path, text in readmes.fill_readmes().items():
        if path.read_text() != text:
            yield f"{relative(path)} isn't what the results say: run `make publish`"
    for name in notebooks.names():
        path = ROOT / f"{name}.ipynb"
        if path.exists() and any(cell.cell_type == "code" and cell.source and not cell.execution_count
                                 for cell in notebooks.read(path).cells):
            yield f"{name}.ipynb has a cell that never ran: run `make publish`"
    yield from freshness.verify_notebooks(ROOT / "runs" / "check", at_a_time=count_cores())
