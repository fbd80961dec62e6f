"""Runs notebooks with papermill: one, the closing ones of every session, or all that is published."""

import ast
import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError

from common import results, session
from common.files import ROOT, write
from tools import grid, notebooks
from tools.notebooks import CourseError, relative, tags

# What a kernel finds in its environment, unless it is set already.
ENVIRONMENT = {
    # glibc hands big buffers back to the system after every training step; kept, a step is 10 to 25 % faster.
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "10000000000", "MALLOC_TOP_PAD_": "268435456",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # and in pages of 2 MB, not 4 kB (Linux: madvise)
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else the kernel warns about its debugger
    "NO_ALBUMENTATIONS_UPDATE": "1",  # else albumentations asks the network for its newest version
}


def execute(path: Path, out: Path, parameters: dict, stdout=None, injected: str = "") -> None:
    """Run the .ipynb at `path` in its own folder with `parameters`, and write it with its outputs to `out`.

    What it prints goes to the file `stdout`, too, while it runs. `injected` is code to run after the set-up cell.
    Raises CourseError for an unknown parameter and for a cell that fails; `out` then shows how far it came.
    """
    title, notebook = relative(path.with_suffix("")), notebooks.read(path)
    known = papermill.inspect_notebook(path)
    if unknown := [name for name in parameters if name not in known]:
        raise CourseError(f"{title} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")
    if injected:
        place = next(i for i, cell in enumerate(notebook.cells, 1) if "setup" in tags(cell))
        notebook.cells.insert(place, nbformat.v4.new_code_cell(injected, metadata={"tags": ["injected"]}))
    try:
        write(out, nbformat.writes(notebook))
    except OSError as error:
        raise CourseError(f"can't write {relative(out)} ({error.strerror}): make that a place you may write") from None
    if chosen := os.environ.get("DATA_DIR"):
        os.environ["DATA_DIR"] = os.path.abspath(os.path.expanduser(chosen))  # the notebook runs in another folder
    os.environ["JPY_SESSION_NAME"] = str(path)  # as Jupyter says it
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # its errors are raised too, and told once, below
    try:
        papermill.execute_notebook(
            out, out, parameters, cwd=path.parent, progress_bar=False, stdout_file=stdout, stderr_file=stdout,
            shutdown_kernel="immediate",  # a kernel that is asked to leave while it trains takes 5 s to refuse
            extra_arguments=["--IPKernelApp.log_level=ERROR"],  # else it warns at every start of others on this machine
        )
    except papermill.PapermillExecutionError as error:
        kind = "" if error.ename == "SystemExit" else f"{error.ename}: "
        reason = error.evalue.strip().partition("\n")[0]
        raise CourseError(f"{title}: {kind}{reason} (cell outputs: {relative(out)})") from error
    except DeadKernelError:
        raise CourseError(f"{title}: its kernel was killed or died, perhaps for want of memory; run it again") from None


def parse_value(text: str):
    """Return a parameter given on the command line as Python has it (5, None, True), or else as text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def run_notebook(name: str, parameters: dict) -> None:
    """Run one notebook into runs/<preset>/, its lines on the terminal; raises CourseError as `execute` does."""
    name, preset = notebooks.check_name(name), parameters.get("preset", "quick")
    if preset not in session.PRESETS:
        raise CourseError(f"unknown preset {preset!r}; known: {', '.join(session.PRESETS)}")
    if parameters.get("output"):
        output = Path(str(parameters["output"])).expanduser().resolve()  # the notebook runs in another folder
        parameters = {**parameters, "output": str(output)}
    if name in notebooks.names() and not notebooks.is_synced(name):
        print(f"note: {name}.ipynb is what runs, and its .py says something else: `make sync`", flush=True)
    own = f"-seed{parameters['seed']}" if isinstance(parameters.get("seed"), int) else ""  # many may run at a time
    execute(ROOT / f"{name}.ipynb", ROOT / "runs" / preset / f"{name}{own}.ipynb", parameters, sys.stdout)


def run_closing() -> None:
    """Run the closing notebooks in the quick preset and print a table of what they reached.

    Raises CourseError where one fails, and where a target isn't met.
    """
    from common import tables  # brings torch, which takes seconds: not for every verb

    reached, failures = [], []
    for name in session.names():
        closing = session.read(name).closing
        print(f"== {name}/{closing}, preset quick", flush=True)
        try:
            run_notebook(f"{name}/{closing}", {"preset": "quick"})
        except CourseError as error:
            failures.append(str(error))
        else:
            found = results.read_all(ROOT / "runs" / "quick" / name / "results" / closing)
            reached += [result for result in found if result["seed"] == 0]
    print("\nexecuted notebooks and results: runs/quick/\n")
    print(tables.markdown("session | model | target | limit | reached | met", [
        (result["session"], tables.title(result), target["name"], target["limit"], tables.number(target["value"]),
         "yes" if target["met"] else "NO") for result in reached for target in result["targets"]]))
    if failures:
        raise CourseError("\n".join(failures))
    if not reached or not all(target["met"] for result in reached for target in result["targets"]):
        raise CourseError("a target isn't met, or none was checked")


def make_results(seeds: int | None = None, profile: str | None = None, chosen: str = "") -> None:
    """Run every cell of the grid, which makes each published result that is missing or stale and reads the others.

    Snakemake runs them, by the Snakefile, on all cores or as `profile` says. `seeds` replaces the number of each
    notebook's seeds; `chosen` names the notebooks, all where it is empty. Raises CourseError where some failed.
    """
    if unsynced := notebooks.find_unsynced():
        raise CourseError(f"{', '.join(unsynced)}: .py and .ipynb differ; run `make sync` first")
    if importlib.util.find_spec("snakemake") is None:
        raise CourseError("the grid of results needs Snakemake: pip install -r requirements-grid.txt")
    config = {key: value for key, value in (("notebooks", chosen), ("seeds", seeds)) if value}
    grid.list_cells(config)  # raises for what isn't known
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6
    where = ["--profile", profile] if profile else ["--cores", "all", "--resources", f"mem_mb={memory}"]
    # Every cell runs, and none waits for the lock of a start that was killed: a cell does only what isn't done.
    command = [sys.executable, "-m", "snakemake", *where, "--forceall", "--nolock", "--config",
               *(f"{key}={value}" for key, value in config.items())]
    snakemake = subprocess.Popen(command, cwd=ROOT)
    try:
        failed = snakemake.wait()
    except KeyboardInterrupt:  # it was told, too, and stops its cells
        snakemake.wait()
        raise
    if failed:
        raise CourseError("some failed, their logs are in runs/grid/; `make results` goes on from here")
