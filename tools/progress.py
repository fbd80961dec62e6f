"""Shows what runs side by side: a table that refreshes on a terminal, a line for each news in a log file."""

import contextlib
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

EPOCH = re.compile(r"^epoch .*(?=\n)", re.MULTILINE)  # what common.training prints of one
VALUES = [r"epoch +(\S+)", r"train loss +(\S+)", r"test loss.*?([\d.]+ %)", r"(\S+) left"]
ENDED = re.compile(r"^exit code (\d+)\n\Z", re.MULTILINE)  # what the Snakefile writes where a cell fails


@dataclass
class Job:
    """What runs and writes a log: a closing notebook, or a cell of the grid."""

    name: str
    log: Path
    minutes: int  # that it takes on a slow machine
    state: str = "waiting"  # then running, and done or failed
    since: float = 0.0
    took: float = 0.0  # seconds, in the state before
    values: tuple = ("", "", "", "")  # of the newest epoch in the log: epoch, loss, accuracy, time left
    reason: str = ""  # of its failure

    def look(self, state: str, code: int = 0) -> None:
        """Take on a state, and the newest epoch of the log; `code` is the exit code of what failed."""
        said = self.log.read_text(errors="replace") if self.log.exists() else ""
        newest = ["", *EPOCH.findall(said)][-1]
        self.values = tuple("".join(re.findall(value, newest)[:1]) for value in VALUES)
        if ended := ENDED.search(said):
            state, code = "failed", int(ended[1])
        if state != self.state:
            now = time.monotonic()
            self.state, self.took, self.since = state, now - (self.since or now), now
            self.reason = self.find_reason(said, code) if state == "failed" else ""

    def find_reason(self, said: str, code: int) -> str:
        """Return in one line why it failed: that is what the log says last, unless it was killed."""
        if shutil.disk_usage(self.log.parent).free < 2**20:
            return "the disk is full"
        if code < 0 or code > 128:
            return "it was killed, perhaps for want of memory; run it again"
        lines = [line for line in ENDED.sub("", said).splitlines() if line.strip()] or [f"exit code {code}"]
        return re.sub(r"^\w+/\w+: ", "", lines[-1])

    def progress(self) -> str:
        """Return its state as the table's last column says it."""
        # After one network there may be another.
        left = {"": "starting", "0:00": "running"}.get(self.values[-1], f"{self.values[-1]} left")
        states = {"running": left, "done": f"done in {clock(self.took)}", "failed": "FAILED"}
        return states.get(self.state, self.state)


def clock(seconds: float) -> str:
    """Return a time as 4:48 or 1:04:48."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"


@contextlib.contextmanager
def display(jobs: list[Job], brief: bool = False) -> Iterator[Callable[[], None]]:
    """Yield a function that shows how far the jobs are; `brief` leaves out the lines of epochs and what doesn't run."""
    begun, console = time.monotonic(), Console()
    if sys.stdout.isatty() and console.is_interactive:
        with Live(console=console, auto_refresh=False) as live:  # which starts no thread
            yield lambda: live.update(draw(jobs, brief, time.monotonic() - begun), refresh=True)
    else:
        yield partial(tell, jobs, brief, {job.name: "waiting" for job in jobs})


def tell(jobs: list[Job], brief: bool, told: dict[str, str]) -> None:
    """Print a line for each job of which there is something that isn't `told` yet."""
    for job in jobs:
        (epoch, loss, accuracy, left), news = job.values, job.progress()
        if job.state == "running":
            news = "started"
            if epoch and not brief:
                news = f"epoch {epoch}, train loss {loss}, test {accuracy}, {left} left"
        if news != told[job.name]:
            told[job.name] = news
            print(f"{job.name}: {news}" + (f": {job.reason}" if job.reason else ""), flush=True)


def draw(jobs: list[Job], brief: bool, elapsed: float) -> Group:
    """Return the table of jobs below their counts, and above the newest reasons why some failed."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("notebook", overflow="fold")
    for title in ("epoch", "train loss", "test accuracy"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(no_wrap=True, min_width=12)
    for job in jobs:
        if job.state == "running" or not brief:
            table.add_row(*map(Text, (job.name, *job.values[:-1], job.progress())))
    counts = Counter(job.state for job in jobs)
    summary = ", ".join(f"{counts[state]} {state}" for state in ("done", "failed", "running", "waiting"))
    over = sum({"waiting": 0, "running": 0.5}.get(job.state, 1) * job.minutes for job in jobs)  # half, on average
    if brief and counts["done"] + counts["failed"] < len(jobs) and counts["done"]:
        summary += f"; roughly {clock(elapsed * (sum(job.minutes for job in jobs) / over - 1))} left"
    failed = [Text(f"{job.name}: {job.reason}", "red", no_wrap=True, overflow="ellipsis")
              for job in jobs if job.state == "failed"]
    return Group(Text(f"{summary}; {clock(elapsed)} gone", "bold"), *[table] * bool(table.rows), *failed[-5:])
