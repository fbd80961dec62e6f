"""The verbs on the command line: what they run, print and return."""

import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import small_course

from common.files import ROOT
from tools import __main__, notebooks, runner
from tools.notebooks import CourseError
from tools.progress import Job

FIRST, SECOND = "S7_mnist/1_first", "S7_mnist/2_second"
RESULT = "runs/quick/S7_mnist/results/2_second/net-seed0.json"


def main(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tools", *words])
    return __main__.main()


@pytest.mark.slow
def test_run_trains_and_ends_with_a_table(course, monkeypatch, capsys):
    assert main(monkeypatch, "run") == 0
    out = capsys.readouterr().out
    assert f"{SECOND}: done in 0:" in out and "| S7_mnist | net | parameters | < 8,000 | 7,850 | yes |" in out
    assert (course / f"runs/quick/{SECOND}.ipynb").exists() and (course / RESULT).exists()
    small_course.edit(course / f"{SECOND}.py", ("Image(", "assert epochs\nImage("))
    assert main(monkeypatch, "run") == 1
    out, err = capsys.readouterr()
    assert "| net |" not in out and err.startswith(f"{SECOND}: AssertionError") and err.count("\n") == 1
    assert (course / RESULT).exists()  # the result stays, and isn't shown
    (course / RESULT).unlink()
    small_course.edit(course / f"{SECOND}.py", ("assert epochs", "assert True"))
    small_course.edit(course / "S7_mnist/session.toml", (">= 5.0", ">= 100.5"))
    assert main(monkeypatch, "run") == 1
    assert "| NO |" in capsys.readouterr().out


def test_one_that_fails_stops_no_other(course, capsys):
    cells = {"works": "import os; print('on', os.environ['OMP_NUM_THREADS'], 'thread')",
             "fails": "raise ValueError('here')", "its_kernel_killed": "import os; os.kill(os.getpid(), 9)",
             "killed": "import os; os.kill(os.getppid(), 9)"}
    for name, source in cells.items():
        cell = nbformat.v4.new_code_cell("preset: str = 'quick'", metadata={"tags": ["parameters"]})
        nbformat.write(nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell(source)],
                                                metadata=notebooks.KERNEL), course / f"S7_mnist/{name}.ipynb")
    jobs = [Job(f"S7_mnist/{name}", course / f"runs/{name}.log", 60) for name in cells]
    runner.run_side_by_side(jobs)
    assert [job.state for job in jobs] == ["done", "failed", "failed", "failed"]
    assert "on 1 thread" in jobs[0].log.read_text() and "ValueError: here (cell outputs: runs/" in jobs[1].reason
    assert "its kernel was killed" in jobs[2].reason and "it was killed" in jobs[3].reason
    assert capsys.readouterr().out.count("FAILED: ") == 3


@pytest.mark.parametrize("words, said", [
    (["notebook", "nope"], SECOND),
    (["notebook", FIRST, "-p", "foo", "1"], "preset, seed, epochs, output"),
    (["notebook", FIRST, "-p", "epochs", "0"], f"{FIRST}: ValueError: epochs=0"),
    (["notebook", FIRST, "-p", "preset", ".."], "'..'"),
    (["results", "--notebooks", f"{SECOND} S7"], "no notebook 'S7'"),
    (["results", "--seeds", "0"], "--seeds"),
    (["nope"], "nope"),
])
def test_bad_input_is_one_line(course, monkeypatch, capsys, words, said):
    assert main(monkeypatch, *words) == 1
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_debug_shows_the_traceback(course, monkeypatch):
    with pytest.raises(CourseError) as raised:
        main(monkeypatch, "--debug", "notebook", FIRST, "-p", "epochs", "0")
    assert 'run = experiment.start(' in "".join(traceback.format_exception(raised.value))  # the line of the cell


def test_results_wants_pairs_in_step_and_snakemake(course, monkeypatch, capsys):
    monkeypatch.setattr(runner.importlib.util, "find_spec", lambda name: None)
    assert main(monkeypatch, "results") == 1
    assert "requirements-grid.txt" in capsys.readouterr().err
    (course / f"{FIRST}.ipynb").unlink()
    assert main(monkeypatch, "results") == 1
    assert "make sync" in capsys.readouterr().err


def test_parameters_are_no_shell_commands(course, tmp_path):
    proof = tmp_path / "proof"
    text = f"$(touch {proof}) `touch {proof}`; a' b\"; touch {proof} # $HOME\nx"
    small_course.edit(course / f"{FIRST}.py", ("import base64\n", "print(output)\nraise SystemExit('here')\n"))
    with pytest.raises(CourseError, match=f"{FIRST}: here"):
        runner.execute(course / f"{FIRST}.ipynb", course / "out.ipynb", {"output": text})
    assert not proof.exists()
    assert f"{text}\n" in [output.get("text") for cell in notebooks.read(course / "out.ipynb").cells
                           for output in cell.get("outputs", [])]  # it arrives as it was given
    for variable in ("SEEDS", "NOTEBOOKS"):
        given = f"touch'; touch {proof}; '\"$$(touch {proof})"
        command = ["make", "-s", "-o", ".venv/installed-grid", "results", f"{variable}={given}"]  # -o: installs nothing
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode and "touch" in done.stderr and not proof.exists()  # the verb saw it, and refused it


def test_an_executed_copy_pairs_with_nothing_and_is_alone(course):
    runner.execute(course / f"{FIRST}.ipynb", course / "runs/out.ipynb", {}, injected="print('injected')")
    copy = notebooks.read(course / "runs/out.ipynb")
    assert "jupytext" not in copy.metadata and copy.cells[2].outputs[0].text == "injected\n"
    assert [path.name for path in (course / "runs").iterdir() if path.is_file()] == ["out.ipynb"]


def test_a_place_that_cannot_be_written(course, monkeypatch, capsys):
    (course / "runs").write_text("a file")
    assert main(monkeypatch, "notebook", FIRST) == 1
    assert f"can't write runs/quick/{FIRST}.ipynb" in capsys.readouterr().err


def test_lines_arrive_while_a_cell_runs(course):
    small_course.edit(course / f"{FIRST}.py", ("import base64\n", '''\
import base64
import os
import time

for step in range(3):
    print("step", step, os.environ["PYDEVD_DISABLE_FILE_VALIDATION"], flush=True)
    time.sleep(0.5)
'''))
    times = []
    terminal = SimpleNamespace(write=lambda text: times.append((text, time.monotonic())), flush=lambda: None)
    runner.execute(course / f"{FIRST}.ipynb", course / "out.ipynb", {}, terminal)
    times = dict(times)
    assert times["step 2 1\n"] - times["step 0 1\n"] > 0.8


def test_values_of_the_command_line():
    assert list(map(runner.parse_value, ("5", "1.5", "None", "quick", "../x"))) == [5, 1.5, None, "quick", "../x"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("words, number", [
    (["notebook", SECOND], signal.SIGINT), (["run"], signal.SIGINT), (["run"], signal.SIGTERM),
    pytest.param(["run"], signal.SIGKILL, marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")),
    *(pytest.param([verb], signal.SIGINT, marks=pytest.mark.slow) for verb in ("check", "results"))])
def test_ctrl_c_stops_the_kernel_too(course, words, number):
    small_course.edit(course / f"{SECOND}.py", ("import base64\n", """\
import os
import pathlib
import time

pathlib.Path("kernel").write_text(f"{os.getpid()} ")
time.sleep(600)
"""))
    run = subprocess.Popen([sys.executable, "-m", "tools", *words], cwd=course, stderr=subprocess.PIPE, text=True,
                           start_new_session=True,  # and with Ctrl-C heard, even where `make test &` doesn't hear it
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    said = course / "S7_mnist/kernel"
    try:
        wait_for(lambda: said.exists() and said.read_text())
        os.killpg(run.pid, number)
        _, err = run.communicate(timeout=90)
    finally:
        run.kill()
    assert "Traceback" not in err
    assert number == signal.SIGKILL or run.returncode == 130 and "stopped" in err
    state = Path(f"/proc/{said.read_text().strip()}/stat")
    wait_for(lambda: not state.exists() or ") Z" in state.read_text())  # Z: it ended, and nobody asked yet how


def wait_for(happened) -> None:
    deadline = time.monotonic() + 90  # on a busy machine, too
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)
