"""Notebooks as pairs of files: the .py is the source, the .ipynb is made from it, and papermill runs a copy."""

import logging
import os
import re
import tomllib
from itertools import zip_longest
from pathlib import Path

import jupytext
import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode

from common.results import write

ROOT = Path(__file__).resolve().parents[1]

SETUP = '''\
# Set-up, the same cell in every notebook: it finds the course's code, or fetches it where only this notebook is.
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

URL = "{url}"
clone = Path.cwd() / "{name}"
folders = [Path.cwd(), *Path.cwd().parents, clone]
ROOT = next((folder for folder in folders if (folder / "common" / "experiment.py").is_file()), None)


def shell(*command: str, hint: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{{hint}} ({{(done.stderr.strip() or command[0]).splitlines()[-1]}})")


if ROOT is None:
    shell("git", "clone", "--depth", "1", URL, str(clone), hint=f"no {{URL}}: is that right, and a network there?")
    ROOT = clone
if ROOT == clone:  # install what is missing, but leave torch and whatever else is there as it is
    needed = re.findall(r"^([\\w-]+)(\\S*)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    missing = [name + versions for name, versions in needed
               if name not in ("torch", "torchvision") and importlib.util.find_spec(name) is None]
    if missing:
        shell(sys.executable, "-m", "pip", "install", *missing, hint=f"can't install {{', '.join(missing)}}")
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))'''

# What a kernel finds in its environment, unless it is set already.
ENVIRONMENT = {
    # glibc hands big buffers back to the system after every training step; kept, a step is 10 to 25 % faster.
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "10000000000", "MALLOC_TOP_PAD_": "268435456",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # and in pages of 2 MB, not 4 kB (Linux: madvise)
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else the kernel warns about its debugger
    "NO_ALBUMENTATIONS_UPDATE": "1",  # else albumentations asks the network for its newest version
}
METADATA = {
    "jupytext": {"formats": "ipynb,py:percent"},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
BADGE = re.compile(r"^(# )?\[!\[Open in Colab\].*\n?", re.MULTILINE)


class CourseError(Exception):
    """What went wrong and what to do about it, in one line for the reader."""


def names() -> list[str]:
    """Return every notebook, as "S7_mnist/1_structure", in the course's order."""
    found = (str(path.relative_to(ROOT).with_suffix("")) for path in ROOT.glob("S[0-9]*_*/[0-9]*_*.py"))
    return sorted(found, key=lambda name: [int(number) for number in re.findall(r"(?:^S|/)(\d+)_", name)])


def known(name: str) -> str:
    """Return `name` without .py or .ipynb; raises CourseError, listing the notebooks, where there is none of it."""
    name = name.removesuffix(".ipynb").removesuffix(".py")
    if name not in names():
        raise CourseError(f"no notebook {name!r}; known: {', '.join(names())}")
    return name


def repository() -> str:
    """Return the address that the course is cloned from, out of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["repository"].removesuffix("/")


def setup_cell(url: str) -> str:
    """Return the source of the set-up cell, which clones the course from `url` where it isn't there."""
    return SETUP.format(url=url, name=url.rsplit("/", 1)[-1].removesuffix(".git"))


def badge(name: str, url: str) -> str:
    """Return the Markdown of the link that opens notebook `name` in Colab."""
    place = "/".join(url.removesuffix(".git").split("/")[-2:])
    return ("[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
            f"(https://colab.research.google.com/github/{place}/blob/main/{name}.ipynb)")


def refreshed(text: str, name: str, url: str) -> str:
    """Return the .py `text` of notebook `name` with today's set-up cell, and the Colab badge under its title.

    Raises CourseError where it has no title, or no cell for the set-up.
    """
    text = BADGE.sub("", text)
    for pattern, new in [
        (r"(?<=# %% \[markdown\]\n)(# # .*\n)(#\n)?", lambda title: f"{title[1]}# {badge(name, url)}\n#\n"),
        (r'(?<=# %% tags=\["setup"\]\n)[\s\S]*?(?=^# %%)', lambda old: setup_cell(url) + "\n\n"),
    ]:
        text, found = re.subn(pattern, new, text, count=1, flags=re.MULTILINE)
        if not found:
            raise CourseError(f'{name}.py needs a "# # Title" in its first cell and a cell `# %% tags=["setup"]`')
    return text


def sync() -> list[str]:
    """Write the set-up cell and the badge into every .py, and every .ipynb from its .py; return what was changed."""
    changed = []
    for name in names():
        source, made = ROOT / f"{name}.py", ROOT / f"{name}.ipynb"
        text = refreshed(source.read_text(), name, repository())
        old = made.read_text() if made.exists() else ""
        new = nbformat.writes(paired(text, read(made) if old else None)) + "\n"
        for path, before, after in [(source, source.read_text(), text), (made, old, new)]:
            if before != after:
                write(path, after)
                changed.append(str(path.relative_to(ROOT)))
    return changed


def paired(text: str, old: NotebookNode | None) -> NotebookNode:
    """Return the notebook that the .py `text` describes; cells that `old` has too keep their outputs and ids."""
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    before = list(old.cells) if old else []
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({"tags": tags(cell)} if tags(cell) else {})
        same = next((other for other in before if key(other) == key(cell) or tags(other) == tags(cell) == ["setup"]),
                    None)
        if same:
            before.remove(same)
            cell.id = same.id
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = same.outputs, same.execution_count
    return notebook


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def key(cell: NotebookNode) -> tuple[str, str, tuple[str, ...]]:
    """What makes two cells of a pair the same: type, source and tags."""
    return cell.cell_type, cell.source, tuple(tags(cell))


def read(path: Path) -> NotebookNode:
    """Read an .ipynb; raises CourseError where it is missing or isn't one."""
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise CourseError(f"{shown(path)} is missing; `make sync` makes it from its .py") from None
    except (ValueError, nbformat.reader.NotJSONError) as error:
        raise CourseError(f"{shown(path)} is no notebook ({first_line(error)}); delete it") from None


def pair_differs(name: str) -> str | None:
    """Say how the .ipynb of notebook `name` isn't what its .py says; None where it is."""
    made = ROOT / f"{name}.ipynb"
    if not made.exists():
        return f"{name}.ipynb is missing"
    cells = [list(map(key, notebook.cells)) for notebook in (jupytext.read(made.with_suffix(".py")), read(made))]
    place = next((i for i, (a, b) in enumerate(zip_longest(*cells), 1) if a != b), None)
    return f"{name}.ipynb differs from its .py in cell {place}" if place else None


def pairs_differ() -> list[str]:
    """Return a line for every .ipynb that isn't what its .py says, or has none."""
    alone = [f"{shown(path)} has no .py beside it" for path in sorted(ROOT.glob("S[0-9]*_*/*.ipynb"))
             if not path.with_suffix(".py").exists()]
    return alone + [problem for name in names() if (problem := pair_differs(name))]


def setups_differ() -> list[str]:
    """Return a line for every .py whose set-up cell or badge isn't the generated one."""
    return [f"{name}.py: the set-up cell or the badge was changed" for name in names()
            if refreshed(text := (ROOT / f"{name}.py").read_text(), name, repository()) != text]


def parameters_of(notebook: Path) -> list[str]:
    """Return the names of a notebook's parameters."""
    return list(papermill.inspect_notebook(str(notebook)))


def execute(notebook: Path, out: Path, parameters: dict, stdout=None) -> NotebookNode:
    """Run `notebook` in its own folder with `parameters`, write it with its outputs to `out`, and return it.

    What it prints goes to the file `stdout` while it runs. Raises CourseError for a parameter it doesn't have, for a
    place that can't be written, and for a cell that fails; `out` then shows how far it came.
    """
    title = shown(notebook.with_suffix(""))
    if not notebook.exists():
        raise CourseError(f"{shown(notebook)} is missing; `make sync` makes it from its .py")
    has = parameters_of(notebook)
    if unknown := [name for name in parameters if name not in has]:
        raise CourseError(f"{title} has no parameter {', '.join(unknown)}; it has {', '.join(has)}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.touch()
    except OSError as error:
        raise CourseError(f"can't write {shown(out)} ({error.strerror}): make {shown(out.parent)} a folder "
                          "you may write to") from None
    if chosen := os.environ.get("DATA_DIR"):
        os.environ["DATA_DIR"] = os.path.abspath(os.path.expanduser(chosen))  # the notebook runs in another folder
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # its errors are raised too, and told once, below
    try:
        return papermill.execute_notebook(
            str(notebook), str(out), parameters, cwd=str(notebook.parent), progress_bar=False,
            stdout_file=stdout, stderr_file=stdout,
            shutdown_kernel="immediate",  # a kernel that is asked to leave while it trains takes 5 s to refuse
            extra_arguments=["--IPKernelApp.log_level=ERROR"],  # else it warns at every start of others on this machine
        )
    except papermill.PapermillExecutionError as error:
        what = "" if error.ename == "SystemExit" else f"{error.ename}: "
        raise CourseError(f"{title}: {what}{first_line(error.evalue)} (cell outputs: {shown(out)})") from error
    except DeadKernelError:
        raise CourseError(f"{title}: its kernel was killed or died, perhaps for want of memory; run it again") from None


def first_line(message: object) -> str:
    return (str(message).strip().splitlines() or [""])[0]


def shown(path: Path) -> str:
    """Return a path as a reader wants it: below the course's folder where it is there."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
