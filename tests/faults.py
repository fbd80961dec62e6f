"""The faults that the course has to survive, each tried often: `make test` tries a few, `make soak` many.

As a program it tries all of them and writes what came of it into RELIABILITY.md.
"""

import contextlib
import io
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from test_checkpoint import RECIPE, Stopped, outcome, stop_after  # noqa: E402
from test_download import CONTENT, MD5, Mirror, Server  # noqa: E402

from common import download, experiment, publisher, results  # noqa: E402
from common.download import DownloadError, fetch  # noqa: E402
from common.machine import machine  # noqa: E402

FORK = multiprocessing.get_context("fork")


class Tally(NamedTuple):
    """What came of a fault that was tried `tried` times."""

    tried: int
    survived: int  # the right outcome afterwards, or one clear error
    lost: int  # files that were whole before and now aren't; epochs done again beyond the one that was under way


def kill_after(seconds: float, work) -> bool:
    """Do `work()` in a process that is killed after `seconds`; return whether it was killed before its end."""
    child = FORK.Process(target=work)
    child.start()
    child.join(seconds)
    killed = child.is_alive()
    child.kill()
    child.join()
    return killed


def epochs_lost(lines: list[str]) -> int:
    """How many epochs a run did again although they were finished, by the lines that its starts printed.

    The line of an epoch comes before its checkpoint: a kill between the two costs that epoch, and nothing else may.
    """
    lost, last = 0, 0
    for line in lines:
        if line.startswith("START"):
            start = 0
        elif "goes on from" in line:
            start = int(line.rsplit(" ", 1)[1])
        elif line.startswith("epoch"):
            epoch = int(line.removeprefix("epoch").split("/")[0])
            if epoch == start + 1:
                lost += max(0, last - 1 - start)
            last = epoch
    return lost


def training_killed(n: int, folder: Path) -> Tally:
    """SIGKILL at random moments of training, several times a run; the finished run is compared bit for bit."""
    moments, path, out, diary = random.Random(0), folder / "run.pt", folder / "outcome", folder / "diary"
    start = time.perf_counter()
    whole = outcome(RECIPE, None)
    seconds, killed, runs, right, lost, resumed = time.perf_counter() - start, 0, 0, 0, 0, 0

    def note(line: str) -> None:
        with diary.open("a") as file:
            file.write(f"{line}\n")

    def work():
        note("START")
        out.write_text(outcome(RECIPE, path, note))

    while killed < n:
        path.unlink(missing_ok=True)
        diary.unlink(missing_ok=True)
        while killed < n and kill_after(moments.uniform(0, 0.7 * seconds), work):
            killed += 1
        work()
        runs, right, lines = runs + 1, right + (out.read_text() == whole), diary.read_text().splitlines()
        lost, resumed = lost + epochs_lost(lines), resumed + sum("goes on from" in line for line in lines)
    print(f"{killed} kills of {runs} runs, {resumed} starts from a checkpoint")
    return Tally(killed, killed if right == runs and resumed else 0, lost)


def notebook_killed(n: int, folder: Path) -> Tally:
    """SIGKILL of `python -m common notebook` and its kernel at random moments, as a power cut would."""
    moments = random.Random(0)
    networks, epochs = 3, 20
    command = [sys.executable, "-u", "-m", "common", "notebook", "S7_mnist/2_regularization",
               "-p", "preset", "smoke", "-p", "epochs", str(epochs), "-p", "output"]

    def ends(name: str) -> list:
        runs = results.read(folder / name)
        return [(run["model"], run["weights_sha256"], [{**row, "seconds": 0} for row in run["curve"]]) for run in runs]

    start = time.perf_counter()
    subprocess.run([*command, folder / "whole"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds, killed, runs, right, resumed, trained = time.perf_counter() - start, 0, 0, 0, 0, 0
    while killed < n or runs == 0:
        process = subprocess.Popen([*command, folder / "killed"], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                                   start_new_session=True)
        timer = threading.Timer(moments.uniform(0.3, 0.9) * seconds if killed < n else 10 * seconds, kill_session,
                                [process.pid])
        timer.start()
        out = process.communicate()[0]
        timer.cancel()
        resumed += out.count("goes on from")
        trained += out.count("\nepoch ") - epochs * out.count(": read from")  # what is read is shown
        if process.returncode:
            killed += 1
        else:
            runs, right = runs + 1, right + (ends("killed") == ends("whole") != [])
            shutil.rmtree(folder / "killed")
    again = trained - networks * epochs * runs
    print(f"{killed} kills of {runs} runs, {resumed} starts from a checkpoint, {again} epochs trained again")
    return Tally(killed, killed if right == runs and resumed else 0, runs - right + max(0, again - killed))


def kill_session(leader: int) -> None:
    """Kill every process of a session: papermill's kernel is in a process group of its own."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and folder.name != str(leader):
            try:
                if os.getsid(int(folder.name)) == leader:
                    os.kill(int(folder.name), signal.SIGKILL)
            except ProcessLookupError:
                pass
    os.kill(leader, signal.SIGKILL)


def write_killed(n: int, folder: Path) -> Tally:
    """SIGKILL at random moments of writing a file over and over again."""
    moments, path, contents = random.Random(0), folder / "file", [bytes([i]) * 3_000_000 for i in range(2)]
    results.write(path, contents[0])

    def work():
        while True:
            for content in contents:
                results.write(path, content)

    whole = 0
    for _ in range(n):
        kill_after(moments.uniform(0, 0.05), work)
        whole += path.read_bytes() in contents
    return Tally(n, whole, n - whole)


def disk_full(n: int, folder: Path) -> Tally:
    """A file written on a file system of 1 MB that has ever less room; (0, 0, 0) where none may be made."""
    command = ["unshare", "--mount", "--map-root-user", sys.executable, __file__, str(n), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)  # the mount is gone with the process
    return Tally(*map(int, done.stdout.split()[-3:])) if done.returncode == 0 else Tally(0, 0, 0)


def fill_disk(n: int, folder: Path) -> Tally:
    """What `disk_full` does, in a process that may mount."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], check=True)
    path, old, right, whole = folder / "x-seed0.json", "old" * 1000, 0, 0
    results.write(path, old)
    for i in range(n):
        filler = folder / "filler"
        filler.write_bytes(bytes(int(600_000 * i / n)))
        content = f"{i:05}" * 80_000  # 400 kB, as long as the old one is there too
        try:
            results.write(path, content)
            old = content
            right += 1
        except OSError as error:
            right += "No space left" in str(error)
        whole += path.read_text() == old and len(list(folder.iterdir())) == 2
        filler.unlink()
    return Tally(n, min(right, whole), n - whole)


class Unreliable(Mirror):
    """A mirror whose every answer is another one of its faults, or none."""

    faults = random.Random(0)

    def do_GET(self):
        fault = self.faults.choice(["good", "cut", "cut", "hang", "hang-at-once", "500", "503", "no-range", "truncated",
                                    "wrong", "wrong-rest", "empty", "slow", "404"])
        self.path = f"/{fault}{self.path}"
        super().do_GET()


def bad_mirrors(n: int, folder: Path) -> Tally:
    """A download from three mirrors that do whatever mirrors do, a request at a time."""
    server = Server(("127.0.0.1", 0), Unreliable)
    server.requests, server.files = [], {}
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    urls = [f"http://127.0.0.1:{server.server_port}/{i}/file" for i in range(3)]
    survived = half = whole = 0
    with mock.patch.multiple(download, TIMEOUT=(1, 0.3), PAUSE=0.01), mock.patch.dict(os.environ, {"no_proxy": "*"}):
        for _ in range(n):
            path = folder / "file"
            path.unlink(missing_ok=True)
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
                    fetch(urls, path, MD5)
                whole += 1
                survived += path.read_bytes() == CONTENT
            except DownloadError as error:
                survived += all(url in str(error) for url in urls) and not path.exists()
            half += path.exists() and path.read_bytes() != CONTENT
    server.shutdown()
    server.server_close()
    print(f"{n} downloads, {len(server.requests)} requests, {whole} right files, {n - whole} clear errors")
    return Tally(n, survived, half)


def damaged_checkpoint(n: int, folder: Path) -> Tally:
    """One flipped bit anywhere in a checkpoint: it is refused, or the bit was of no account."""
    positions, path, whole = random.Random(0), folder / "run.pt", outcome(RECIPE, None)
    try:
        outcome(RECIPE, path, stop_after(5))
    except Stopped:
        content = path.read_bytes()
    survived = sum(outcome(RECIPE, flipped(path, content, positions)) == whole for _ in range(n))
    return Tally(n, survived, 0)


def damaged_weights(n: int, folder: Path) -> Tally:
    """One flipped bit anywhere in published weights: they are refused."""
    positions = random.Random(0)
    source = ROOT / "S7_mnist" / "results" / "3_augmentation" / "ours-seed0.json"
    path = Path(shutil.copy(source, folder))
    content, survived = source.with_suffix(".pt").read_bytes(), 0
    for _ in range(n):
        flipped(path.with_suffix(".pt"), content, positions)
        try:
            results.weights(results.load(path))
        except ValueError as error:
            survived += "its weights are damaged" in str(error)
    return Tally(n, survived, 0)


def flipped(path: Path, content: bytes, positions: random.Random) -> Path:
    """Write `content` with one bit changed to `path`, and return that."""
    damaged = bytearray(content)
    damaged[positions.randrange(len(damaged))] ^= 1 << positions.randrange(8)
    path.write_bytes(damaged)
    return path


FAULTS = [  # what it is, and how often: in `make soak`, in `make test` (0: there not at all)
    ("training, killed at a random moment (SIGKILL) and started again", training_killed, 50, 5),
    ("a notebook run, killed with its kernel and started again", notebook_killed, 50, 0),
    ("a file, killed while it is written", write_killed, 200, 10),
    ("a file, written on a full disk", disk_full, 50, 10),
    ("a download from three mirrors that fail at random", bad_mirrors, 200, 10),
    ("a checkpoint with one flipped bit", damaged_checkpoint, 50, 3),
    ("published weights with one flipped bit", damaged_weights, 500, 20),
]


TRAINS = """
import sys, torch
sys.path[:0] = ["tests"]
from common import models
from common.training import Recipe, fit
from test_training import made_up
{first}
torch.manual_seed(0)
recipe = Recipe(2, 0.1, 128, schedule="one_cycle", average=0.9, augmentation=(("affine", {{"rotate": 8.0}}),))
history = fit(models.regularized(), made_up(2560, side=28), made_up(100, 1, 28), recipe, log=lambda line: None)
print(*map(repr, [*history["trace"], history["curve"][-1]["test_loss"]]))
"""
CHANGES = [  # to what a run of 40 steps is compared, a process each
    ("nothing: another process", "torch.set_num_threads(1)"),
    ("2 threads instead of 1", "torch.set_num_threads(2)"),
    ("images and weights stored channel by channel (no `channels_last`)",
     "torch.set_num_threads(1); torch.channels_last = torch.contiguous_format"),
]


def determinism() -> list[str]:
    """Return a table of what changes the losses of a run, given its seed."""
    def losses(first: str) -> list[float]:
        made = subprocess.run([sys.executable, "-c", TRAINS.format(first=first)], cwd=ROOT, check=True,
                              capture_output=True, text=True).stdout
        return list(map(float, made.split()))

    base, rows = losses(CHANGES[0][1]), ["| changed | first loss that differs | test loss after 40 steps differs by |",
                                         "| :--- | ---: | ---: |"]
    for change, first in CHANGES:
        other = losses(first)
        step = next((str(i) for i, pair in enumerate(zip(base, other, strict=True), 1) if pair[0] != pair[1]), "none")
        rows.append(f"| {change} | {step} | {abs(base[-1] - other[-1]):.1g} |")
    return rows


def main() -> int:
    """Try every fault as often as `make soak` does and write the table; return the exit code."""
    torch.set_num_threads(1)
    rows, whole = ["| fault | tried | survived | lost |", "| :--- | ---: | ---: | ---: |"], True
    for title, fault, n, _ in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            tally = fault(n, Path(folder))
            print(f"{title}: {tally}, {time.perf_counter() - start:.0f} s", flush=True)
        rows.append(f"| {title} | {tally.tried} | {tally.survived} | {tally.lost} |")
        whole = whole and tally.tried == tally.survived > 0 == tally.lost
    here = machine(torch.device("cpu"))
    rows += ["", f"{time.strftime('%Y-%m-%d')}, {here['device']}, torch {here['torch']}, Python "
             f"{sys.version.split()[0]}, commit {experiment.git_commit()}."]
    path = ROOT / "RELIABILITY.md"
    results.write(path, publisher.fill(path.read_text(), {"faults": "\n".join(rows),
                                                              "determinism": "\n".join(determinism())}, path.name))
    return 0 if whole else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(*fill_disk(int(sys.argv[1]), Path(sys.argv[2])))
    else:
        sys.exit(main())
