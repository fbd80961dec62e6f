"""The course's folder, and files that are written whole or not at all."""

import contextlib
import glob
import os
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ABANDONED = 600  # seconds after which a file that is being written isn't any more


def write(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` in one step: a reader, or a crash, sees the old file or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):  # by a process that was killed
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime > ABANDONED:
                left.unlink()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:  # which place is full, or can't be written
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        part.unlink(missing_ok=True)
