"""The verbs on the command line: what they run, print and return."""

import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
import small_course

from common import __main__, notebooks, runner
from common.notebooks import CourseError


@pytest.fixture
def course(tmp_path, monkeypatch):
    return small_course.make(tmp_path / "course", monkeypatch)


def main(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["common", *words])
    return __main__.main()


def test_closing_notebooks_exist():
    assert set(runner.CLOSING) <= set(notebooks.names())


def test_run_ends_with_a_table(course, monkeypatch, capsys):
    assert main(monkeypatch, "run") == 0
    out = capsys.readouterr().out
    assert "train missing" in out  # what the notebook prints
    table = [line.split() for line in out.splitlines()]
    assert ["S7_mnist", "net", "test", "accuracy,", "%", ">=", "99", "99.00", "yes"] in table
    assert "total time: 0 min" in out
    assert (course / "runs/quick/S7_mnist/2_second.ipynb").exists()
    assert (course / "runs/quick/S7_mnist/results/2_second/net-seed0.json").exists()


def test_run_fails_when_a_target_is_missed(course, monkeypatch, capsys):
    path = course / "S7_mnist/2_second.py"
    path.write_text(path.read_text().replace("99.0 + seed", "98.0 + seed"))
    notebooks.sync()
    assert main(monkeypatch, "run") == 1
    assert "98.00    NO" in capsys.readouterr().out


def test_run_fails_when_a_notebook_does(course, monkeypatch, capsys):
    assert main(monkeypatch, "run") == 0  # its result stays
    path = course / "S7_mnist/2_second.py"
    path.write_text(path.read_text().replace("epochs == 0", "epochs is None"))
    notebooks.sync()
    capsys.readouterr()
    assert main(monkeypatch, "run") == 1
    out, err = capsys.readouterr()
    assert "net" not in out and err.startswith("S7_mnist/2_second: ValueError: epochs=0") and err.count("\n") == 1
    assert (course / "runs/quick/S7_mnist/results/2_second/net-seed0.json").exists()


def test_results_wants_pairs_in_step(course):
    (course / "S7_mnist/1_first.ipynb").unlink()
    with pytest.raises(CourseError, match="1_first.ipynb is missing; run `make sync` first"):
        runner.all_results()


@pytest.mark.parametrize("words, message", [
    (["notebook", "nope"], "no notebook 'nope'; known: S7_mnist/1_first, S7_mnist/2_second\n"),
    (["notebook", "S7_mnist/1_first", "-p", "foo", "1"],
     "S7_mnist/1_first has no parameter foo; it has preset, seed, epochs, train, output\n"),
    (["notebook", "S7_mnist/1_first", "-p", "epochs", "0"],
     "S7_mnist/1_first: ValueError: epochs=0 is not a whole number of at least 1 "
     "(cell outputs: runs/quick/S7_mnist/1_first.ipynb)\n"),
    (["notebook", "S7_mnist/1_first", "-p", "preset", ".."], "unknown preset '..'\n"),
    (["bench", "S10"], "no benchmark of S10; there are: S7_mnist, S8_norms, S9_advanced_conv\n"),
])
def test_bad_input_is_one_line(course, monkeypatch, capsys, words, message):
    assert main(monkeypatch, *words) == 1
    assert capsys.readouterr().err == message


def test_debug_shows_the_traceback(course, monkeypatch):
    with pytest.raises(CourseError) as raised:
        main(monkeypatch, "--debug", "notebook", "S7_mnist/1_first", "-p", "epochs", "0")
    shown = "".join(traceback.format_exception(raised.value))
    assert 'raise ValueError("epochs=0 is not a whole number' in shown  # the line of the cell


def test_parameters_are_no_shell_commands(course, tmp_path):
    proof = tmp_path / "proof"
    text = f"$(touch {proof}) `touch {proof}`; a' b\"; touch {proof} # $HOME\nx"
    echo = small_course.NOTEBOOK.replace('print("train", train)', "print(output)")
    small_course.write(course, "S7_mnist/3_echo", echo)
    notebooks.sync()
    name = "S7_mnist/3_echo"
    notebooks.execute(course / f"{name}.ipynb", course / "out.ipynb", {"output": text})
    assert not proof.exists()
    printed = [output.text for cell in notebooks.read(course / "out.ipynb").cells if cell.cell_type == "code"
               for output in cell.outputs if output.output_type == "stream"]
    assert f"{text}\n" in printed  # it arrives as it was given


def test_make_hands_its_variables_on_as_they_are(tmp_path):
    proof = tmp_path / "proof"
    for variable, verb in (("SEEDS", "results"), ("NOTEBOOKS", "results"), ("REPO", "publish")):
        text = f"touch'; touch {proof}; '\"$(touch {proof})"
        done = subprocess.run(["make", "-s", verb, f"{variable}={text.replace('$', '$$')}"], cwd=notebooks.ROOT,
                              capture_output=True, text=True)
        assert done.returncode and "touch" in done.stderr  # the verb saw it, and refused it
        assert not proof.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_runs_without_write_permission(course, monkeypatch, capsys):
    (course / "runs").mkdir(mode=0o500)
    assert main(monkeypatch, "notebook", "S7_mnist/1_first") == 1
    assert capsys.readouterr().err.startswith("can't write runs/quick/S7_mnist/1_first.ipynb (Permission denied)")


def test_seeds_are_counted(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        main(monkeypatch, "results", "--seeds", "0")
    assert "'0' is not a whole number of at least 1" in capsys.readouterr().err


def test_values_of_the_command_line():
    assert [runner.value(text) for text in ("5", "1.5", "None", "True", "quick", "../x")] == [
        5, 1.5, None, True, "quick", "../x"]


SLEEPING = small_course.NOTEBOOK.replace('print("train", train)', '''\
import os
import time

print("kernel", os.getpid(), flush=True)
time.sleep(600)''')


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_ctrl_c_stops_the_kernel_too(course):
    small_course.write(course, "S7_mnist/3_sleeping", SLEEPING)
    notebooks.sync()
    kept = course / "runs/quick/S7_mnist/results/3_sleeping/net-seed0.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("finished")
    command = [sys.executable, "-m", "common", "notebook", "S7_mnist/3_sleeping"]
    run = subprocess.Popen(command, cwd=course, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           start_new_session=True,  # and with Ctrl-C heard, even where `make test &` doesn't hear it
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        kernel = int(next(line for line in run.stdout if line.startswith("kernel")).split()[1])
        assert not gone(kernel)
        os.killpg(run.pid, signal.SIGINT)
        _, err = run.communicate(timeout=90)  # on a busy machine, too
    finally:
        run.kill()
    assert run.returncode == 130
    assert err == "\nstopped; finished epochs are kept, and the same command goes on from there\n"
    deadline = time.monotonic() + 10
    while not gone(kernel) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert gone(kernel)
    assert kept.read_text() == "finished"
