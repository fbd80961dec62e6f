"""What the set-up cell of a notebook leaves to the course, done when it is imported: packages that are missing are
installed, and what has to be set before torch starts is set. So nothing is imported here that needs installing.
"""

import ctypes
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def prepare() -> None:
    """Install what requirements.txt asks for and this kernel lacks, never torch or torchvision. Where the notebook
    lies outside the course's folder, print which course it uses.

    Raises SystemExit, with one sentence, where that can't be done.
    """
    # Threads that wait spin for a while first. On a busy machine that blocks the others: a step takes seven times as
    # long, and twice with fewer spins, which cost nothing on an idle one (GNU's OpenMP; 300,000 is its default).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    keep_memory()
    if sys.version_info < (3, 11):  # noqa: UP036 - the kernel's, which nobody has checked
        sys.exit(f"this kernel ({sys.executable}) has Python {sys.version.split()[0]}; the course needs 3.11 or newer")
    if importlib.util.find_spec("torch") is None:
        sys.exit(f"this kernel ({sys.executable}) has no torch: choose the environment in which the course is "
                 f"installed (`make .venv/installed` in {ROOT} makes one), or install torch in this one")
    if ROOT not in Path.cwd().resolve().parents and ROOT != Path.cwd().resolve():
        print(f"the course in {ROOT} is what runs")
    needed = re.findall(r"^([\w-]+)([^\s#]*)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    missing = [name + versions for name, versions in needed
               if name not in ("torch", "torchvision") and importlib.util.find_spec(name.replace("-", "_")) is None]
    if missing:
        install(missing)


def keep_memory() -> None:
    """Tell glibc to keep the memory of big buffers, which it hands back to the system after every training step else.

    With it a step of session 9's source network takes half the time.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no pages of its own for a big buffer
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: free memory is kept up to so many bytes
        libc.mallopt(-2, 2**28)  # M_TOP_PAD: and asked for in so many


def install(packages: list[str]) -> None:
    """Install `packages` with pip into this kernel's environment; raises SystemExit with pip's own reason."""
    pip = subprocess.run([sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-q", *packages],
                         capture_output=True, text=True)
    if pip.returncode:
        reasons = re.findall(r"^error: (.*)", pip.stderr, re.MULTILINE | re.IGNORECASE) or ["pip doesn't say why"]
        sys.exit(f"can't install {', '.join(packages)} into {sys.executable}: {reasons[-1]} (`make .venv/installed` in "
                 f"{ROOT} makes an environment that has all)")
    importlib.invalidate_caches()


prepare()
