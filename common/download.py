"""Downloads that survive a bad network: mirrors, a checksum on every file, and going on where a connection broke."""

import hashlib
import sys
import time
from pathlib import Path

import requests
from tqdm import tqdm

TIMEOUT = 10, 30  # seconds to connect, and without a byte
TRIES, FRUITLESS = 20, 3  # per mirror: in all, and in a row without a byte gained
PAUSE = 2.0  # seconds before the second try; doubled before each further one
SLOWEST, PATIENCE = 1000, 60  # bytes a second, over so many seconds: a slower connection is given up
CHUNK = 1 << 12


class DownloadError(Exception):
    """No mirror had the file; the message has a reason for each."""


class Refused(Exception):
    """A mirror doesn't have the file: there is no use in asking again."""


def fetch(urls: list[str], path: Path, md5: str) -> Path:
    """Download the file with checksum `md5` from the first of `urls` that has it to `path`, and return that.

    What has arrived is kept in `path`.part, and the next try, or the next process, goes on from there; the file gets
    its name only when it is whole and its checksum right. One process at a time, please: the caller locks.

    Raises DownloadError, naming every mirror and its reason, OSError when `path` can't be written.
    """
    if path.exists() and checksum(path) == md5:
        return path
    part, reasons = path.with_name(f"{path.name}.part"), []
    if part.exists() and checksum(part) == md5:  # killed just before the end
        part.replace(path)
        return path
    for url in urls:
        try:
            from_mirror(url, part, md5)
        except (Refused, requests.RequestException) as error:
            reasons.append(f"{url}: {reason(error)}")
        else:
            part.replace(path)
            return path
    raise DownloadError("; ".join(reasons))


def from_mirror(url: str, part: Path, md5: str) -> None:
    """Fill `part` from `url` until its checksum is `md5`; raises Refused, or requests' error of the last try."""
    fruitless, mixed = 0, part.exists()  # with what another mirror sent
    for tries in range(1, TRIES + 1):
        before = size(part)
        try:
            receive(url, part)
        except requests.RequestException:
            fruitless = 0 if size(part) > before else fruitless + 1
            if fruitless == FRUITLESS or tries == TRIES:
                raise
            time.sleep(PAUSE * 2 ** max(0, fruitless - 1))
            continue
        if checksum(part) == md5:
            return
        part.unlink()
        if not mixed:
            break
        mixed = False
    raise Refused("it sent another file (wrong checksum)")


def receive(url: str, part: Path) -> None:
    """Append to `part` what `url` has beyond it; raises Refused, or requests' error when the connection fails."""
    have = size(part)
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # nothing beyond it: the checksum will tell whether it is the file
            return
        if 400 <= answer.status_code < 500 and answer.status_code not in (408, 429):
            raise Refused(f"{answer.status_code} {answer.reason}")
        answer.raise_for_status()
        resumed = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        start = have if resumed else 0
        length = int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
        if not resumed and length is not None and length < have:  # a page that asks to log in, say
            raise Refused("it sent another file (too short)")
        with part.open("ab" if resumed else "wb") as file, progress(part, start, length) as bar:
            window, received = time.monotonic(), 0
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                received += len(chunk)
                if (passed := time.monotonic() - window) > PATIENCE:
                    if received < SLOWEST * passed:
                        raise requests.Timeout(f"slower than {SLOWEST} bytes a second")
                    window, received = time.monotonic(), 0
    if length is not None and size(part) < start + length:
        raise requests.ConnectionError("the connection was cut")


def progress(part: Path, start: int, length: int | None) -> tqdm:
    """A bar of size, rate and time left."""
    return tqdm(desc=part.name.removesuffix(".part"), initial=start, total=None if length is None else start + length,
                unit="B", unit_scale=True, unit_divisor=1024, file=sys.stdout, mininterval=1)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def reason(error: Exception) -> str:
    """Return an error's innermost cause in one line: requests wraps it several times."""
    if isinstance(error, requests.Timeout):
        return str(error) if "slower" in str(error) else "no answer in time"
    while getattr(error, "args", None) and isinstance(error.args[0], Exception):
        error = error.args[0]
    error = getattr(error, "reason", None) if isinstance(getattr(error, "reason", None), Exception) else error
    return " ".join(str(error).split())
