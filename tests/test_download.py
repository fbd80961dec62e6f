"""Downloads from a real HTTP server on this machine that fails in every way that a mirror does."""

import gzip
import hashlib
import http.server
import io
import multiprocessing
import random
import socket
import tarfile
import threading
import time

import pytest
from test_data import checksums, tiny_mnist

from common import data, download, files
from common.download import DownloadError, fetch

CONTENT = random.Random(0).randbytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
WRONG = b"<html>Please log in</html>" * 1000
CUT = 100_123  # bytes after which a connection is cut
FORK = multiprocessing.get_context("fork")


class Mirror(http.server.BaseHTTPRequestHandler):
    """/FAULT/... answers with that fault; the server's `requests` are (fault, Range header) of each request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        fault, asked = self.path.split("/")[1], self.headers.get("Range")
        self.server.requests.append((fault, asked))
        self.close_connection = True
        content = self.server.files.get(self.path.rsplit("/", 1)[1], CONTENT)
        bodies = {"wrong": WRONG, "wrong-of-right-size": content[:-1] + b"?", "truncated": content[:CUT], "empty": b""}
        start = int(asked[6:-1]) if asked and fault != "no-range" else 0  # bytes=START-
        if fault.isdecimal():
            self.reply(int(fault), b"sorry")
        elif fault == "hang-at-once":
            time.sleep(3)
        elif fault in bodies:
            self.reply(200, bodies[fault])
        elif start >= len(content):
            self.reply(416, b"")
        else:
            body = WRONG if fault == "wrong-rest" else content[start:]
            self.reply(206 if start else 200, body, fault, f"bytes {start}-{len(content) - 1}/{len(content)}")

    def reply(self, status, body, fault="", part=""):
        self.send_response(status)
        if fault != "no-length":
            self.send_header("Content-Length", str(len(body)))
        if status == 206:
            self.send_header("Content-Range", part)
        self.end_headers()
        step = {"slow": 30_000, "trickle": 100, "cut": CUT, "hang": CUT if status == 200 else len(body)}
        for i in range(0, len(body), step.get(fault, len(body))):
            self.wfile.write(body[i:i + step.get(fault, len(body))])
            if fault == "cut":
                self.wfile.flush()
                return self.connection.shutdown(socket.SHUT_RDWR)
            time.sleep({"slow": 0.05, "trickle": 0.05, "hang": 3}.get(fault, 0))

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, address):  # a client that leaves is what is tested
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "TIMEOUT", (1, 0.3))
    monkeypatch.setattr(download, "PAUSE", 0.01)
    server = Server(("127.0.0.1", 0), Mirror)
    server.requests, server.files = [], {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def asked(server) -> list[str]:
    return [fault for fault, _ in server.requests]


def get(server, folder, *faults):
    return fetch([f"{server.url}/{fault}/file" for fault in faults], folder / "file", MD5)


def whole(folder) -> bool:
    """Whether the file is there, right, and alone."""
    return [path.name for path in folder.iterdir()] == ["file"] and (folder / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["good", "slow", "no-length"])
def test_one_request_is_enough(server, tmp_path, fault):
    (tmp_path / "file").write_bytes(WRONG)
    assert get(server, tmp_path, fault) == tmp_path / "file"
    assert whole(tmp_path) and len(server.requests) == 1


@pytest.mark.parametrize("name", ["file", "file.part"])
def test_what_is_whole_is_not_asked_for(server, tmp_path, name):
    (tmp_path / name).write_bytes(CONTENT)
    get(server, tmp_path, "404")
    assert whole(tmp_path) and server.requests == []


@pytest.mark.parametrize("fault", ["cut", "hang"])
def test_goes_on_where_the_connection_broke(server, tmp_path, fault):
    get(server, tmp_path, fault)
    assert whole(tmp_path)
    starts = [int(asked[6:-1]) if asked else 0 for _, asked in server.requests]
    assert starts[0] == 0 and CUT - download.CHUNK < starts[1] <= CUT  # hardly a byte is asked for twice
    assert starts == sorted(set(starts))


def test_a_killed_download_goes_on(server, tmp_path):
    child = FORK.Process(target=get, args=(server, tmp_path, "slow"))
    child.start()
    part = tmp_path / "file.part"
    while not part.exists() or not part.stat().st_size:
        time.sleep(0.01)
    child.kill()
    child.join()
    have = part.stat().st_size
    assert 0 < have < len(CONTENT) and not (tmp_path / "file").exists()
    get(server, tmp_path, "good")
    assert whole(tmp_path) and server.requests[-1] == ("good", f"bytes={have}-")


@pytest.mark.parametrize("fault, limits, message", [
    ("trickle", {"PATIENCE": 0.2, "SLOWEST": 10_000, "CHUNK": 100}, "slower than 10000 bytes a second"),
    ("cut", {"TRIES": 2}, "it broke off 2 times"),
])
def test_a_bad_connection_is_given_up_and_its_bytes_kept(server, tmp_path, monkeypatch, fault, limits, message):
    for name, value in limits.items():
        monkeypatch.setattr(download, name, value)
    with pytest.raises(DownloadError, match=f"{fault}/file: {message}; .*404"):
        get(server, tmp_path, fault, "404")
    get(server, tmp_path, "good")
    assert whole(tmp_path) and asked(server) == [fault] * limits.get("TRIES", 1) + ["404", "good"]
    assert server.requests[-1][1]


# What a mirror does, what is said of it, and how often it is asked
FAULTS = [("403", "403 Forbidden", 1), ("404", "404 Not Found", 1), ("416", "416", 1), ("500", "500", 3),
          ("hang-at-once", "no answer in time", 3), ("wrong", "wrong checksum", 1), ("truncated", "wrong checksum", 1),
          ("wrong-of-right-size", "wrong checksum", 1), ("empty", "wrong checksum", 1)]


@pytest.mark.parametrize("fault, message, times", FAULTS)
def test_the_next_mirror_is_asked(server, tmp_path, fault, message, times):
    with pytest.raises(DownloadError, match=f"^{server.url}/{fault}/file: .*{message}.*; {server.url}/404/file: 404"):
        get(server, tmp_path, fault, "404")
    assert not (tmp_path / "file").exists() and asked(server)[:-1] == [fault] * times
    get(server, tmp_path, fault, "good")
    assert whole(tmp_path) and asked(server)[-1] == "good"


@pytest.mark.parametrize("part, faults, requests", [
    (CONTENT[:1234], ["no-range"], [("no-range", "bytes=1234-")]),
    (CONTENT[:290_000], ["wrong", "good"], [("wrong", "bytes=290000-"), ("good", "bytes=290000-")]),  # a login page
    (b"x" * 1234, ["good"], [("good", "bytes=1234-"), ("good", None)]),
    (CONTENT + b"x", ["good"], [("good", "bytes=300001-"), ("good", None)]),
    (CONTENT[:1234], ["wrong-rest", "good"], [("wrong-rest", "bytes=1234-"), ("wrong-rest", None), ("good", None)]),
], ids=["range is ignored", "login page", "wrong part", "long part", "mirrors disagree"])
def test_a_part_that_is_there(server, tmp_path, part, faults, requests):
    (tmp_path / "file.part").write_bytes(part)
    get(server, tmp_path, *faults)
    assert whole(tmp_path) and server.requests == requests


# The data sets

@pytest.fixture
def course(server, tmp_path, monkeypatch):
    """A course without data, whose MNIST is tiny and lies on the server."""
    monkeypatch.setattr(data, "ROOT", tmp_path / "course")
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setitem(data.FILES, "mnist", tiny_mnist(tmp_path / "official"))
    for file in sorted((tmp_path / "official" / "MNIST" / "raw").iterdir()):
        server.files[f"{file.name}.gz"] = gzip.compress(file.read_bytes())
    monkeypatch.setitem(data.ARCHIVES, "mnist", checksums(server.files))
    monkeypatch.setitem(data.MIRRORS, "mnist", [f"{server.url}/404/", f"{server.url}/good/"])
    return server


def load_mnist(_=None) -> int:
    return len(data.load("mnist")[0])


def test_two_processes_download_once(course):
    with FORK.Pool(2) as pool:
        assert pool.map(load_mnist, range(2), chunksize=1) == [6, 6]
    assert asked(course).count("good") == 4  # four files


def test_no_mirror_has_the_data(course, monkeypatch):
    monkeypatch.setitem(data.MIRRORS, "mnist", [f"{course.url}/404/", f"{course.url}/wrong/"])
    with pytest.raises(data.DataError, match="/404/t10k-images-idx3-ubyte.gz: 404 .*/wrong/t10k.* checksum.* network.*"
                                             "by hand: .*MNIST/raw/t10k-labels-idx1-ubyte$"):
        load_mnist()
    assert not (data.ROOT / "data" / "MNIST").exists()


def test_cifar_comes_out_of_its_archive(server, tmp_path, monkeypatch):
    """Also where that was stopped after the first file; what the archive has besides is left in it."""
    monkeypatch.setattr(data, "ROOT", tmp_path)
    contents = {"cifar-10-batches-py/data_batch_1": b"images", "cifar-10-batches-py/batches.meta": b"names"}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in {**contents, "cifar-10-batches-py/readme.html": b"", "../outside": b"evil"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    server.files["cifar-10-python.tar.gz"] = packed.getvalue()
    monkeypatch.setitem(data.FILES, "cifar10", checksums(contents))
    monkeypatch.setitem(data.ARCHIVES, "cifar10", checksums(server.files))
    monkeypatch.setitem(data.MIRRORS, "cifar10", [f"{server.url}/good/"])
    folder = tmp_path / "data"
    files.write(folder / "cifar-10-batches-py/data_batch_1", b"images")
    assert data.download("cifar10") == folder
    assert {path: path.read_bytes() for path in tmp_path.rglob("[!.]*") if path.is_file()} == {
        folder / name: content for name, content in contents.items()}


def test_every_mirror_is_https():
    assert all(len(urls) > 1 for urls in data.MIRRORS.values())
    assert all(url.startswith("https://") and url.endswith("/") for urls in data.MIRRORS.values() for url in urls)
