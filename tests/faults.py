"""The faults that the course has to survive: `make soak` tries each of them often, test_faults.py a few times.

Each is a function of how often to try it, and of an empty folder. It yields numbers to be added up: tries; how many of
them had the right outcome, or one clear error where there is nothing to be saved; and what was lost.
"""

import contextlib
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from unittest import mock

import determinism
import psutil
import torch
from test_checkpoint import RECIPE, Stopped, outcome, stop_after
from test_download import CONTENT, MD5, Mirror, Server

from common import download, experiment, files, results
from common.files import ROOT
from common.machine import machine
from common.tables import markdown
from tools.readmes import fill

torch.set_num_threads(1)


def kill_after(seconds: float | None, work) -> bool:
    """Do `work()` in a process that is killed, with all that it started, after `seconds`; return whether it was."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(seconds)
    if killed := child.is_alive():
        for process in (child, *psutil.Process(child.pid).children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    child.join()
    return killed


def start_again(n: int, folder: Path, work, leaves):
    """Kill work at `n` random moments, start it again each time, and compare its end with that of work left alone.

    `work(place, diary)` does it in the folder `place` and prints to the file `diary`; `leaves(place)` is its outcome.
    """
    def start(place: Path, seconds: float | None) -> bool:
        place.mkdir(exist_ok=True)
        with (place / "diary").open("a", buffering=1) as diary:
            print("START", file=diary)
            return kill_after(seconds, lambda: work(place, diary))

    moments, place, begin = random.Random(0), folder / "killed", time.monotonic()
    start(folder / "whole", None)
    seconds, whole = time.monotonic() - begin, leaves(folder / "whole")
    assert whole, "it fails even when it is left alone"
    while n > 0:
        kills = 0
        while start(place, moments.uniform(0, 0.9) * seconds if kills < n else None):
            kills += 1
        right = leaves(place) == whole
        yield kills, kills * right, epochs_lost((place / "diary").read_text()) + (not right)
        n -= kills
        shutil.rmtree(place)


def epochs_lost(diary: str) -> int:
    """Return how many epochs were trained again although they were finished, by what all starts of a run printed.

    The line of an epoch comes before its checkpoint: a kill between the two costs that epoch, and nothing else may.
    """
    lost, finished = 0, set()
    for start in diary.split("START\n"):
        network, trained = "", []
        for about, epoch in re.findall(r"^(\w+: .*read from)|^epoch +(\d+)/", start, re.MULTILINE):
            network = about or network
            if epoch and not network.endswith(": read from"):  # the curve of a network that is read is only shown
                trained.append((network, epoch))
        lost += len(finished.intersection(trained))
        finished.update(trained[:-1])
    return lost


def training_killed(n: int, folder: Path):
    def work(place: Path, diary) -> None:
        (place / "outcome").write_text(outcome(RECIPE, place / "run.pt", partial(print, file=diary)))

    return start_again(n, folder, work, lambda place: [path.read_text() for path in place.glob("outcome")])


def notebook_killed(n: int, folder: Path):
    command = [sys.executable, "-u", "-m", "tools", "notebook", "S7_mnist/3_augmentation", "-p", "preset", "smoke",
               "-p", "epochs", "20", "-p", "output"]

    def leaves(place: Path) -> list:
        return [(run["model"], run["weights_sha256"], [{**row, "seconds": 0} for row in run["curve"]])
                for run in results.read_all(place)]

    def work(place: Path, diary) -> None:
        subprocess.run([*command, place], cwd=ROOT, stdout=diary)

    return start_again(n, folder, work, leaves)


def write_killed(n: int, folder: Path):
    moments, path, contents = random.Random(0), folder / "file", [b"0" * 3_000_000, b"1" * 3_000_000]
    path.write_bytes(contents[0])
    for _ in range(n):
        kill_after(moments.uniform(0, 0.05), lambda: [files.write(path, content) for content in contents * 100])
        whole = path.read_bytes() in contents
        yield 1, whole, not whole


def error_of(function, *arguments) -> str:
    """Call `function`; return the text of the error that it raised, "" where it raised none."""
    try:
        function(*arguments)
    except Exception as error:
        return str(error)
    return ""


def disk_full(n: int, folder: Path):
    """A file system of 1 MB has ever less room; nothing is tried where none may be mounted."""
    mount = [shutil.which("unshare") or "false", "--mount", "--map-root-user", "sh", "-c",
             'mount -t tmpfs -o size=1m none "$0" && echo mounted && read line', folder]
    with subprocess.Popen(mount, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:  # the mount goes with it
        disk, old = Path(f"/proc/{owner.pid}/root{folder}"), ""
        for i in range(n if owner.stdout.readline() else 0):
            error_of((disk / "filler").write_bytes, bytes(1_000_000 * i // n))  # or as much of it as there is room for
            content = f"{i:05}" * 1000 * (80 + i)  # 400 kB and more, while the old one is there too
            error = error_of(files.write, disk / "file", content)
            old = old if error else content
            whole = (disk / "file").read_text() == old and len(list(disk.iterdir())) == 2
            yield 1, whole and (not error or "No space left" in error), not whole
    yield 0, 0, 0


def bad_mirrors(n: int, folder: Path):
    chance, path = random.Random(0), folder / "file"

    class Unreliable(Mirror):
        def do_GET(self):
            fault = chance.choice(["good", "cut", "cut", "hang", "hang-at-once", "500", "503", "no-range", "truncated",
                                   "wrong", "wrong-rest", "empty", "slow", "404"])
            self.path = f"/{fault}{self.path}"
            super().do_GET()

    server = Server(("127.0.0.1", 0), Unreliable)
    server.requests, server.files = [], {}
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    urls = [f"http://127.0.0.1:{server.server_port}/{i}/file" for i in range(3)]
    quick = {"TIMEOUT": (1, 0.3), "PAUSE": 0.01, "tqdm": partial(download.tqdm, disable=True)}
    with mock.patch.multiple(download, **quick), mock.patch.dict(os.environ, no_proxy="*"):
        for _ in range(n):
            path.unlink(missing_ok=True)
            error = error_of(download.fetch, urls, path, MD5)
            whole = path.exists() and path.read_bytes() == CONTENT
            yield 1, all(url in error for url in urls) if error else whole, path.exists() and not whole
    server.shutdown()
    server.server_close()


def bits_flipped(n: int, path: Path, content: bytes, survives):
    """Write `content` with one bit changed to `path`, `n` times, and ask whether `survives()`; it loses nothing."""
    positions = random.Random(0)
    for _ in range(n):
        damaged = bytearray(content)
        damaged[positions.randrange(len(damaged))] ^= 1 << positions.randrange(8)
        path.write_bytes(damaged)
        yield 1, survives(), 0


def damaged_checkpoint(n: int, folder: Path):
    path, whole = folder / "run.pt", outcome(RECIPE, None)
    with contextlib.suppress(Stopped):
        outcome(RECIPE, path, stop_after(5))
    return bits_flipped(n, path, path.read_bytes(), lambda: outcome(RECIPE, path) == whole)


def damaged_weights(n: int, folder: Path):
    source = ROOT / "S7_mnist" / "results" / "3_augmentation" / "ours-seed0.json"
    path, content = Path(shutil.copy(source, folder)), source.with_suffix(".pt").read_bytes()
    return bits_flipped(n, path.with_suffix(".pt"), content,
                        lambda: "weights are damaged" in error_of(results.read_weights, results.read(path)))


FAULTS = [  # what it is, and how often to try it: in `make soak`, in the tests
    ("training, killed at a random moment (SIGKILL) and started again", training_killed, 50, 5),
    ("a notebook run, killed with its kernel and started again", notebook_killed, 50, 2),
    ("a file, killed while it is written", write_killed, 200, 10),
    ("a file, written on a full disk", disk_full, 50, 10),
    ("a download from three mirrors that fail at random", bad_mirrors, 200, 5),
    ("a checkpoint with one flipped bit", damaged_checkpoint, 50, 3),
    ("published weights with one flipped bit", damaged_weights, 500, 20),
]


def tally(fault, n: int, folder: Path) -> list[int]:
    """Try `fault` `n` times; return how often it was tried and survived, and how much was lost."""
    return [sum(column) for column in zip(*fault(n, folder), strict=True)]


def main() -> None:
    """Try every fault often and write docs/reliability.md; exit with an error where one was not survived."""
    rows, here, path = [], machine(torch.device("cpu")), ROOT / "docs" / "reliability.md"
    for title, fault, n, _ in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append((title, *tally(fault, n, Path(folder))))
        print(*rows[-1], sep=" | ", flush=True)
    about = (f"{time.strftime('%Y-%m-%d')}, {here['device']}, torch {here['torch']}, Python {sys.version.split()[0]}, "
             f"commit {experiment.git_commit()}.")
    tables = {"faults": markdown("fault | tried | survived | lost", rows, "lrrr") + f"\n\n{about}",
              "determinism": determinism.table()}
    files.write(path, fill(path.read_text(), tables, path.name))
    sys.exit(not all(tried == survived > 0 == lost for _, tried, survived, lost in rows))


if __name__ == "__main__":
    main()
