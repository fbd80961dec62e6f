"""Notebooks as pairs of files: the .py is the source, and `sync` makes the .ipynb from it."""

import hashlib
import re
import subprocess
import tomllib
from pathlib import Path, PureWindowsPath

import click
import jupytext
import nbformat
from jupytext.combine import combine_inputs_with_outputs
from nbformat import NotebookNode

from common import session
from common.files import ROOT, write

SETUP = '''\
# @title Set-up: find the course, or fetch it where only this notebook is
import os, pathlib, sys
places = [pathlib.Path(place) for place in (os.environ.get("JPY_SESSION_NAME", ""), "here", "{name}/here")]
root = next((up for place in places for up in place.resolve().parents if (up / "common" / "setup.py").is_file()), None)
if not root and os.system("git clone -q --depth 1 {url} {name}"):
    sys.exit("The course can't be fetched from {url}: is there a network, and git?")
sys.path.insert(0, str(root or pathlib.Path("{name}").resolve()))
import common.setup'''
FOLDED = {"tags": ["setup"], "cellView": "form", "jupyter": {"source_hidden": True}}  # in Colab and in JupyterLab

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
# What a .py and an .ipynb say of themselves. The pairing stands in the .py alone: a copy of the .ipynb has no pair.
OF_PY = {**KERNEL, "jupytext": {"formats": "ipynb,py:percent",
                                "notebook_metadata_filter": "kernelspec,jupytext.formats"}}
OF_IPYNB = {**KERNEL, "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}}
BADGE = re.compile(r"^\[!\[Open in Colab\].*\n?", re.MULTILINE)
GITHUB = "https://github.com/"


class CourseError(click.ClickException):
    """What went wrong and what to do about it, in one line for the reader."""


def names() -> list[str]:
    """Return every notebook of the course, as "S7_mnist/1_structure", in its order; session.toml lists them."""
    return [f"{name}/{notebook}" for name in session.names() for notebook in session.read(name).notebooks]


def check_name(name: str) -> str:
    """Return `name` as `names` has it, without .py or .ipynb; raises CourseError where there is no such notebook.

    A notebook of the reader's own in a session's folder is welcome.
    """
    name = PureWindowsPath(name).as_posix().removesuffix(".ipynb").removesuffix(".py")
    if name not in names() and not (name.split("/")[0] in session.names() and (ROOT / f"{name}.ipynb").is_file()):
        raise CourseError(f"no notebook {name!r}; known: {', '.join(names())}")
    return name


def relative(path: Path) -> str:
    """Return a path as a reader wants it: below the course's folder where it is there."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def write_new(path: Path, text: str) -> list[str]:
    """Write `text` where it isn't there yet; return what was written, as a list of none or one."""
    if path.exists() and path.read_text() == text:
        return []
    write(path, text)
    if path.suffix == ".ipynb":
        path.with_suffix(".py").touch()  # JupyterLab opens no pair whose .ipynb is the newer half
    return [relative(path)]


def repository() -> str:
    """Return OWNER/NAME of the course on GitHub, out of pyproject.toml, the one place where it is decided."""
    url = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["repository"]
    return url.removeprefix(GITHUB).removesuffix("/")


def move_repository() -> list[str]:
    """Write the address of git's origin, where that is on GitHub, over the course's; return what was changed."""
    git = subprocess.run(["git", "-C", str(ROOT), "remote", "get-url", "origin"], capture_output=True, text=True)
    origin = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?$", git.stdout.strip())
    if not origin:
        return []
    named = [ROOT / name for name in ("pyproject.toml", "CITATION.cff", "hubconf.py", "README.md")]
    paths = [*named, *ROOT.glob("S*/README.md")]
    folders = [f"cd {address.partition('/')[2]}\n" for address in (repository(), origin[1])]  # of a clone
    new = {path: path.read_text().replace(repository(), origin[1]).replace(site(repository()), site(origin[1]))
           .replace(*folders) for path in paths}
    return [changed for path, text in new.items() for changed in write_new(path, text)]


def site(address: str) -> str:
    """Return where GitHub shows the site of the repository `address`, "owner/name"."""
    owner, name = address.split("/")
    return f"{owner.lower()}.github.io/{name}"


def badge(name: str) -> str:
    """Return the Markdown of the link that opens notebook `name` in Colab."""
    return ("[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
            f"(https://colab.research.google.com/github/{repository()}/blob/main/{name}.ipynb)")


def sync() -> list[str]:
    """Write the set-up cell and the badge into every .py, and every .ipynb from its .py; return what was changed.

    Raises CourseError, before anything is written, for an .ipynb that was edited itself.
    """
    if edited := [f"{name}.ipynb" for name in names() if was_edited(name)]:
        raise CourseError(f"{', '.join(edited)}: edited, and its .py says something else. Keep the edits with "
                          "`jupytext --to py:percent NAME.ipynb`, or drop them with `git checkout NAME.ipynb`")
    changed = move_repository()
    for name, source in [(name, read_source(name)) for name in names()]:
        changed += write_new(ROOT / f"{name}.py", make_py(source))
        changed += write_new(ROOT / f"{name}.ipynb", make_ipynb(name, source))
    return changed


def read_source(name: str) -> NotebookNode:
    """Return the .py of notebook `name`, with today's set-up cell and the Colab badge under its title.

    Raises CourseError where it has no title, or no cell for the set-up.
    """
    try:
        notebook = jupytext.read(ROOT / f"{name}.py", fmt="py:percent")
    except FileNotFoundError:
        raise CourseError(f"{name}.py is missing, the source of the notebook that session.toml names") from None
    first, setup = notebook.cells[0], next((cell for cell in notebook.cells if "setup" in tags(cell)), None)
    if setup is None or not first.source.startswith("# "):
        raise CourseError(f'{name}.py needs a "# # Title" in its first cell and a cell tagged "setup"')
    title, _, rest = BADGE.sub("", first.source).partition("\n")
    first.source = f"{title}\n{badge(name)}\n{rest}".rstrip()
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({"tags": tags(cell)} if tags(cell) else {})
    address = repository()
    setup.source = SETUP.format(url=GITHUB + address, name=address.partition("/")[2])
    setup.metadata = nbformat.from_dict(FOLDED)
    return notebook


def make_py(source: NotebookNode) -> str:
    """Return the text of the .py of `source`."""
    return jupytext.writes(nbformat.v4.new_notebook(cells=source.cells, metadata=OF_PY), fmt="py:percent")


def make_ipynb(name: str, source: NotebookNode) -> str:
    """Return the text of the .ipynb of `source`: cells that are there already, unchanged, keep their outputs."""
    path, notebook = ROOT / f"{name}.ipynb", nbformat.v4.new_notebook(cells=source.cells)
    if path.exists():
        old = read(path)
        before = {cell.id: key(cell) for cell in old.cells}
        notebook = combine_inputs_with_outputs(notebook, old, fmt="py:percent")
        for cell in notebook.cells:
            if cell.cell_type == "code" and "setup" not in tags(cell) and key(cell) != before.get(cell.id):
                cell.outputs, cell.execution_count = [], None
    notebook.metadata = nbformat.from_dict({**OF_IPYNB, "sources_sha256": hash_sources(notebook)})
    return nbformat.writes(notebook) + "\n"


def read(path: Path) -> NotebookNode:
    """Read an .ipynb; raises CourseError where it is missing or isn't one."""
    try:
        return nbformat.read(path, as_version=4)
    except (FileNotFoundError, ValueError):
        raise CourseError(f"{relative(path)} is missing or damaged: delete what is there, and `make sync`") from None


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def key(cell: NotebookNode) -> tuple[str, str, tuple[str, ...]]:
    """What makes two cells of a pair the same: type, source and tags."""
    return cell.cell_type, cell.source, tuple(tags(cell))


def hash_sources(notebook: NotebookNode) -> str:
    """Return the hash of a notebook's cells without their outputs: what the halves of a pair have in common."""
    return hashlib.sha256(repr([key(cell) for cell in notebook.cells]).encode()).hexdigest()


def was_edited(name: str) -> bool:
    """Whether the .ipynb of notebook `name` was edited after `sync` made it, and says something else than its .py."""
    path = ROOT / f"{name}.ipynb"
    if not path.exists():
        return False
    notebook, source = read(path), jupytext.read(path.with_suffix(".py"), fmt="py:percent")
    return hash_sources(notebook) not in (notebook.metadata.get("sources_sha256"), hash_sources(source))


def is_synced(name: str) -> bool:
    """Whether both halves of the course's notebook `name` are as `sync` would make them."""
    source, path = read_source(name), ROOT / f"{name}.ipynb"
    return (path.exists() and hash_sources(read(path)) == hash_sources(source)
            and path.with_suffix(".py").read_text() == make_py(source))


def find_unsynced() -> list[str]:
    """Return the notebooks of the course that aren't as `sync` would make them."""
    return [name for name in names() if not is_synced(name)]
