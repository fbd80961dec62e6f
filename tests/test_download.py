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
from test_data import tiny_mnist

from common import data, download
from common.download import DownloadError, fetch

CONTENT = random.Random(0).randbytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
WRONG = b"<html>Please log in</html>" * 1000
CUT = 100_123  # bytes after which a connection is cut


class Mirror(http.server.BaseHTTPRequestHandler):
    """/FAULT/... answers with that fault; the server's `requests` are (fault, Range header) of each request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        fault = self.path.split("/")[1]
        asked = self.headers.get("Range")
        self.server.requests.append((fault, asked))
        before = [name for name, _ in self.server.requests].count(fault) - 1
        self.close_connection = True
        content = self.server.files.get(self.path.rsplit("/", 1)[1], CONTENT)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and fault != "no-range" else 0
        if fault.isdecimal():
            return self.reply(int(fault), b"sorry")
        if fault == "503-once" and not before:
            return self.reply(503, b"busy")
        if fault == "hang-at-once":
            return time.sleep(3)
        if fault == "wrong":
            return self.reply(200, WRONG)
        if fault == "wrong-of-right-size":
            return self.reply(200, content[:-1] + b"?")
        if fault == "truncated":
            return self.reply(200, content[:CUT])
        if fault == "empty":
            return self.reply(200, b"")
        if fault == "wrong-rest":  # what comes after the part that is there already
            return self.reply(206 if start else 200, WRONG, start, len(content))
        if start >= len(content):
            return self.reply(416, b"")
        self.reply(206 if start else 200, content[start:], start, len(content), fault)

    def reply(self, status, body, start=0, total=0, fault=""):
        self.send_response(status)
        if fault != "no-length":
            self.send_header("Content-Length", str(len(body)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.end_headers()
        if fault == "slow":
            for i in range(0, len(body), 30_000):
                self.wfile.write(body[i:i + 30_000])
                time.sleep(0.05)
        elif fault == "trickle":
            for i in range(0, 3000, 100):
                self.wfile.write(body[i:i + 100])
                time.sleep(0.05)
        elif fault == "hang" and start == 0:
            self.wfile.write(body[:CUT])
            time.sleep(3)
        elif fault in ("cut", "cut-always"):
            if fault == "cut-always":
                body = body[:1000] + bytes(CUT)
            self.wfile.write(body[:CUT])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

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
    assert get(server, tmp_path, fault) == tmp_path / "file"
    assert whole(tmp_path) and len(server.requests) == 1


@pytest.mark.parametrize("fault", ["cut", "hang"])
def test_goes_on_where_the_connection_broke(server, tmp_path, fault):
    get(server, tmp_path, fault)
    assert whole(tmp_path)
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0 for _, asked in server.requests]
    assert starts[0] == 0 and CUT - download.CHUNK < starts[1] <= CUT  # hardly a byte is asked for twice
    assert starts == sorted(set(starts))


def test_a_mirror_that_trickles_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.2)
    monkeypatch.setattr(download, "SLOWEST", 10_000)
    monkeypatch.setattr(download, "CHUNK", 100)
    monkeypatch.setattr(download, "TRIES", 2)
    with pytest.raises(DownloadError, match="trickle/file: slower than 10000 bytes a second; .*404"):
        get(server, tmp_path, "trickle", "404")
    get(server, tmp_path, "good")
    assert whole(tmp_path)


def test_a_whole_part_needs_no_network(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    get(server, tmp_path, "404")
    assert whole(tmp_path) and server.requests == []


def test_a_login_page_leaves_the_part(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:290_000])
    get(server, tmp_path, "wrong", "good")
    assert whole(tmp_path) and server.requests == [("wrong", "bytes=290000-"), ("good", "bytes=290000-")]


def test_an_error_that_passes(server, tmp_path):
    get(server, tmp_path, "503-once")
    assert whole(tmp_path) and len(server.requests) == 2


FAULTS = {"403": "403", "404": "404", "500": "500", "hang-at-once": "no answer in time", "wrong": "wrong checksum",
          "wrong-of-right-size": "wrong checksum", "truncated": "wrong checksum", "empty": "wrong checksum"}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_mirror_is_asked(server, tmp_path, fault):
    get(server, tmp_path, fault, "good")
    assert whole(tmp_path) and asked(server)[-1] == "good"
    assert asked(server).count(fault) <= download.FRUITLESS


@pytest.mark.parametrize("fault", FAULTS)
def test_no_mirror_has_it(server, tmp_path, fault):
    with pytest.raises(DownloadError) as raised:
        get(server, tmp_path, fault, "404")
    message = str(raised.value)
    assert f"{server.url}/{fault}/file: " in message and FAULTS[fault] in message and "\n" not in message
    assert f"{server.url}/404/file: 404 Not Found" in message
    assert not (tmp_path / "file").exists()


def test_nobody_listens(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file"
        with pytest.raises(DownloadError, match="refused"):
            fetch([url], tmp_path / "file", MD5)


def test_a_connection_that_is_cut_again_and_again(server, tmp_path, monkeypatch):
    """It isn't asked for ever: here each try brings bytes, and what they make is another file."""
    with pytest.raises(DownloadError):
        get(server, tmp_path, "cut-always")
    assert len(server.requests) <= download.TRIES and not (tmp_path / "file").exists()


def test_a_part_of_another_process_is_used(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:1234])
    get(server, tmp_path, "good")
    assert whole(tmp_path) and server.requests == [("good", "bytes=1234-")]


def test_range_is_ignored(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:1234])
    get(server, tmp_path, "no-range")
    assert whole(tmp_path) and len(server.requests) == 1


@pytest.mark.parametrize("part", [b"x" * 1234, CONTENT + b"x", b"x" * len(CONTENT)], ids=["wrong", "long", "full"])
def test_a_wrong_part_is_thrown_away(server, tmp_path, part):
    (tmp_path / "file.part").write_bytes(part)
    get(server, tmp_path, "good")
    assert whole(tmp_path) and server.requests[-1] == ("good", None)


def test_mirrors_that_disagree(server, tmp_path):
    """The first one breaks off, the second goes on with other bytes, the third is right."""
    (tmp_path / "file.part").write_bytes(CONTENT[:1234])
    get(server, tmp_path, "wrong-rest", "good")
    assert whole(tmp_path)


def test_a_wrong_file_under_the_final_name_is_replaced(server, tmp_path):
    (tmp_path / "file").write_bytes(WRONG)
    get(server, tmp_path, "good")
    assert whole(tmp_path)


def test_a_file_that_is_there_is_not_asked_for(server, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    get(server, tmp_path, "good")
    assert server.requests == []


def test_a_killed_download_goes_on(server, tmp_path):
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=get, args=(server, tmp_path, "slow"))
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


# The data sets

@pytest.fixture
def course(server, tmp_path, monkeypatch):
    """A course without data, whose MNIST is tiny and lies on the server."""
    monkeypatch.setattr(data, "ROOT", tmp_path / "course")
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setitem(data.FILES, "mnist", tiny_mnist(tmp_path / "official"))
    for file in sorted((tmp_path / "official" / "MNIST" / "raw").iterdir()):
        server.files[f"{file.name}.gz"] = gzip.compress(file.read_bytes())
    monkeypatch.setitem(data.ARCHIVES, "mnist", {name: hashlib.md5(content).hexdigest()
                                                 for name, content in server.files.items()})
    monkeypatch.setitem(data.MIRRORS, "mnist", [f"{server.url}/404/", f"{server.url}/good/"])
    return server


def load_mnist(_=None) -> int:
    return len(data.load("mnist")[0].labels)


def test_two_processes_download_once(course):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(load_mnist, range(2), chunksize=1) == [6, 6]
    assert asked(course).count("good") == 4  # four files


def test_no_mirror_has_the_data(course, monkeypatch):
    monkeypatch.setitem(data.MIRRORS, "mnist", [f"{course.url}/404/", f"{course.url}/wrong/"])
    with pytest.raises(data.DataError) as raised:
        load_mnist()
    message = str(raised.value)
    for part in (f"{course.url}/404/t10k-images-idx3-ubyte.gz: 404", f"{course.url}/wrong/t10k", "wrong checksum",
                 "place these files there by hand", "MNIST/raw/t10k-labels-idx1-ubyte"):
        assert part in message
    assert "\n" not in message
    assert not (data.ROOT / "data" / "MNIST").exists()


def test_unpacking_that_was_stopped_goes_on(course):
    load_mnist()
    (data.ROOT / "data" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    course.requests.clear()
    assert load_mnist() == 6 and asked(course) == ["404", "good"]  # the one file that was missing


def test_cifar_comes_out_of_its_archive(server, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "ROOT", tmp_path)
    contents = {f"cifar-10-batches-py/{name}": name.encode() for name in ("data_batch_1", "batches.meta")}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in {**contents, "cifar-10-batches-py/readme.html": b"", "../outside": b"evil"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    server.files["cifar-10-python.tar.gz"] = packed.getvalue()
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setitem(data.FILES, "cifar10", md5)
    monkeypatch.setitem(data.ARCHIVES, "cifar10",
                        {"cifar-10-python.tar.gz": hashlib.md5(packed.getvalue()).hexdigest()})
    monkeypatch.setitem(data.MIRRORS, "cifar10", [f"{server.url}/good/"])
    folder = data.download("cifar10")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name[0] != "."} == {
        folder / name: content for name, content in contents.items()}
    assert not (tmp_path / "outside").exists()


def test_every_mirror_is_https():
    assert all(url.startswith("https://") and url.endswith("/") for urls in data.MIRRORS.values() for url in urls)
    assert all(len(urls) > 1 for urls in data.MIRRORS.values())
