"""Downloads that survive a bad network: mirrors, a checksum on every file, and going on where a connection broke."""

import hashlib
import sys
import time
from pathlib import Path

import requests
from tqdm import tqdm

TIMEOUT = 10, 30  # seconds to connect, and without a byte
TRIES, FRUITLESS = 20, 3  # per mirror: in all, and in a row without a byte gained
PAUSE = 2.0  # seconds before another try; times 2 and 3 after fruitless ones
SLOWEST, PATIENCE = 1000, 60  # bytes a second, over so many seconds: a slower mirror is left
CHUNK = 1 << 12


class DownloadError(Exception):
    """A mirror doesn't have the file or is too slow, or all of them have failed; the message says why."""


def fetch(urls: list[str], path: Path, md5: str) -> Path:
    """Download the file with checksum `md5` from the first of `urls` that has it to `path`, and return that.

    What has arrived is kept in `path`.part, and the next try, or the next process, goes on from there; the file gets
    its name only when it is whole and its checksum right. One process at a time, please: the caller locks.

    Raises DownloadError, naming every mirror and its reason, OSError when `path` can't be written.
    """
    part, reasons = path.with_name(f"{path.name}.part"), []
    for file in (path, part):  # killed just before the end, the part is whole
        if file.exists() and checksum(file) == md5:
            return file.replace(path)
    for url in urls:
        try:
            receive_all(url, part, md5)
            return part.replace(path)
        except (DownloadError, requests.RequestException) as error:
            reasons.append(f"{url}: {reason(error)}")
    raise DownloadError("; ".join(reasons))


def receive_all(url: str, part: Path, md5: str) -> None:
    """Fill `part` from `url` until its checksum is `md5`; raises DownloadError, or requests' error of the last try."""
    fruitless, mixed = 0, part.exists()  # with what another mirror sent
    for _ in range(TRIES):
        before = size(part)
        try:
            receive(url, part)
        except requests.RequestException:
            fruitless = 0 if size(part) > before else fruitless + 1
            if fruitless == FRUITLESS:
                raise
            time.sleep(PAUSE * (1 + fruitless))
            continue
        if checksum(part) == md5:
            return
        part.unlink()
        if not mixed:
            raise DownloadError("it sent another file (wrong checksum)")
        mixed = False
    raise DownloadError(f"it broke off {TRIES} times")


def receive(url: str, part: Path) -> None:
    """Append to `part` what `url` has beyond it; raises DownloadError, or requests' error of a failed connection."""
    have = size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if have and answer.status_code == 416:  # nothing beyond it: the checksum will tell whether it is the file
            return
        if 400 <= answer.status_code < 500 and answer.status_code not in (408, 429):
            raise DownloadError(f"{answer.status_code} {answer.reason}")
        answer.raise_for_status()
        start = have if answer.headers.get("Content-Range", "").startswith(f"bytes {have}-") else 0
        total = start + int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
        if total is not None and total < have:  # a page that asks to log in, say
            raise DownloadError("it sent another file (too short)")
        bar = tqdm(desc=part.stem, initial=start, total=total, unit="B", unit_scale=True, unit_divisor=1024,
                   file=sys.stdout, mininterval=1)
        with part.open("ab" if start else "wb") as file, bar:
            window, before = time.monotonic(), start
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                if time.monotonic() - window > PATIENCE:
                    if file.tell() - before < SLOWEST * PATIENCE:
                        raise DownloadError(f"slower than {SLOWEST} bytes a second")
                    window, before = time.monotonic(), file.tell()
    if total is not None and size(part) < total:
        raise requests.ConnectionError("the connection was cut")


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def reason(error: Exception) -> str:
    """Return an error's innermost cause in one line: requests wraps it several times."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    while isinstance(cause := getattr(error, "reason", None) or next(iter(error.args), None), Exception):
        error = cause
    return " ".join(str(error).split())
