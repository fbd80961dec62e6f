"""Runs notebooks with papermill: one, the closing ones of every session, or all that is published."""

import ast
import contextlib
import ctypes
import importlib.util
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import papermill
from filelock import FileLock, Timeout
from nbclient.exceptions import DeadKernelError

from common import results, session
from common.files import ROOT, write
from tools import grid, notebooks
from tools.notebooks import CourseError, relative, tags
from tools.progress import Job, display

POLL = 0.5  # seconds between two looks at what runs
PATIENCE = 30  # seconds that it gets to stop; a second Ctrl-C cuts them short

# What a kernel finds in its environment, unless it is set already.
ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # memory in pages of 2 MB, not 4 kB (Linux: madvise)
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else the kernel warns about its debugger
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
    note_unsynced(name)
    own = f"-seed{parameters['seed']}" if isinstance(parameters.get("seed"), int) else ""  # many may run at a time
    execute(ROOT / f"{name}.ipynb", ROOT / "runs" / preset / f"{name}{own}.ipynb", parameters, sys.stdout)


def note_unsynced(name: str) -> None:
    """Say so where a notebook's .py was edited since its .ipynb was made."""
    if name in notebooks.names() and not notebooks.is_synced(name):
        print(f"note: {name}.ipynb is what runs, and its .py says something else: `make sync`", flush=True)


@contextlib.contextmanager
def children() -> Iterator[Callable[..., subprocess.Popen]]:
    """Yield `start`; what it started and still runs at the end is stopped, as by Ctrl-C, and killed if that is in vain.

    SIGTERM, and a terminal that closes, come as Ctrl-C does.
    """
    started = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup has a say
            signal.signal(number, signal.default_int_handler)

    def start(command: list[str], log: Path, **environment: str) -> subprocess.Popen:
        """Start a command that writes to a log."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as file:
            started.append(subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=hear_the_end))
        return started[-1]

    try:
        yield start
    finally:
        left, deadline = [process for process in started if process.poll() is None], time.monotonic() + PATIENCE
        for process in left:
            os.killpg(process.pid, signal.SIGINT)
        for process in left:
            try:
                process.wait(max(0, deadline - time.monotonic()))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                deadline = 0
                os.killpg(process.pid, signal.SIGKILL)  # a kernel sees that, and ends
                process.wait()


def hear_the_end() -> None:
    """Let this process hear Ctrl-C, even in the background, and hear it, too, when its parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG


def run_closing() -> None:
    """Run the closing notebooks side by side in the quick preset, and print a table of what they reached.

    Raises CourseError where one fails, and where a target isn't met.
    """
    closing = [f"{name}/{session.read(name).closing}" for name in session.names()]
    for name in closing:
        note_unsynced(name)
    jobs = [Job(name, ROOT / f"runs/quick/{name}.log", grid.minutes(name)) for name in closing]
    run_side_by_side(jobs)
    from common import tables  # brings torch

    folders = [job.log.parent / "results" / job.log.stem for job in jobs if job.state == "done"]
    reached = [result for folder in folders for result in results.read_all(folder) if result["seed"] == 0]
    print("\nexecuted notebooks, their logs and results: runs/quick/\n")
    print(tables.markdown("session | model | target | limit | reached | met", [
        (result["session"], tables.title(result), target["name"], target["limit"], tables.number(target["value"]),
         "yes" if target["met"] else "NO") for result in reached for target in result["targets"]]))
    if failures := [f"{job.name}: {job.reason}" for job in jobs if job.state == "failed"]:
        raise CourseError("\n".join(failures))
    if not reached or not all(target["met"] for result in reached for target in result["targets"]):
        raise CourseError("a target isn't met, or none was checked")


def run_side_by_side(jobs: list[Job]) -> None:
    """Run notebooks in the quick preset on one thread each, the longest first, as many at a time as there are cores."""
    from common.machine import count_cores  # brings torch, which takes seconds: not for every verb

    waiting, running = sorted(jobs, key=lambda job: job.minutes), []
    with children() as start, display(jobs) as show:
        while waiting or running:
            while waiting and len(running) < count_cores():
                job = waiting.pop()
                command = [sys.executable, "-m", "tools", "notebook", job.name, "-p", "preset", "quick"]
                running.append((job, start(command, job.log, OMP_NUM_THREADS="1")))
            for job, process in running:
                code = process.poll()
                job.look("running" if code is None else "failed" if code else "done", code or 0)
            running = [(job, process) for job, process in running if process.returncode is None]
            show()
            time.sleep(POLL)


def make_results(seeds: int | None = None, profile: str | None = None, chosen: str = "") -> None:
    """Run every cell of the grid, which makes each published result that is missing or stale and reads the others.

    Snakemake runs them, by the Snakefile, on all cores or as `profile` says. `seeds` replaces the number of each
    notebook's seeds; `chosen` names the notebooks, all where it is empty. Raises CourseError where some failed, and
    where another start is at it: both would write the same files.
    """
    if unsynced := notebooks.find_unsynced():
        raise CourseError(f"{', '.join(unsynced)}: .py and .ipynb differ; run `make sync` first")
    if importlib.util.find_spec("snakemake") is None:
        raise CourseError("the grid of results needs Snakemake: pip install -r requirements-grid.txt")
    config = {key: value for key, value in (("notebooks", chosen), ("seeds", seeds)) if value}
    cells = grid.list_cells(config)  # raises for what isn't known
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6
    where = ["--profile", profile] if profile else ["--cores", "all", "--resources", f"mem_mb={memory}"]
    # Every cell runs, and none waits for the lock of a start that was killed: a cell does only what isn't done.
    command = [sys.executable, "-m", "snakemake", *where, "--forceall", "--nolock", "--config",
               *(f"{key}={value}" for key, value in config.items())]
    log = ROOT / "runs/grid/snakemake.log"
    jobs = [Job(f"{cell.notebook}, seed {cell.seed}", ROOT / cell.log, grid.minutes(cell.notebook)) for cell in cells]
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(log.with_name(".lock")).acquire(timeout=0):  # given back when its process ends, whatever ended it
            all_went_well = follow(command, log, jobs)
    except Timeout:
        raise CourseError("`make results` is running here already: stop it first, or let it end") from None
    if not all_went_well:
        failures = [f"{job.name}: {job.reason}" for job in jobs if job.state == "failed"]
        whose = "some failed, their logs are" if failures else "Snakemake failed, its log is"
        said = log.read_text(errors="replace").splitlines()[-10:] or ["Snakemake said nothing: is the disk full?"]
        raise CourseError("\n".join([*(failures or said), f"{whose} in runs/grid/; `make results` goes on from here"]))


def follow(command: list[str], log: Path, jobs: list[Job]) -> bool:
    """Run Snakemake, and show how far the cells are by the files that they leave; return whether all went well."""
    for job in jobs:
        for left in (job.log, job.log.with_suffix(".done")):  # by an earlier start
            left.unlink(missing_ok=True)
    with children() as start, display(jobs, brief=True) as show:
        snakemake, code = start(command, log), None
        while code is None:
            code = snakemake.poll()
            for job in jobs:
                done = job.log.with_suffix(".done").exists()
                if job.state != "done" and (done or job.log.exists()):
                    job.look("done" if done else "running" if code is None else "failed", -signal.SIGKILL)
            show()
            time.sleep(POLL)
    return code == 0
