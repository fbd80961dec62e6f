"""Where the data comes from, what it is, and what is said when it can't be had."""

import contextlib
import hashlib
import os
import pickle
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from common import data, download
from common.data import MEAN, STD, DataError, Dataset, find, hold_out, load, normalize

torch.set_num_threads(1)

PIXELS = {"mnist": (60_000, 10_000, 1, 28), "cifar10": (50_000, 10_000, 3, 32)}


# Tiny data sets in the official formats.

def idx(array: np.ndarray) -> bytes:
    """The idx format of MNIST: 0 0 8 (bytes), the number of dimensions, the big-endian sizes, the values."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def tiny_mnist(folder: Path, value: int = 0) -> dict[str, str]:
    """Write 6 training and 4 test images whose first pixel is `value` into `folder`; return the md5 of each file."""
    files = {}
    for prefix, n in (("train", 6), ("t10k", 4)):
        images = np.arange(n * 28 * 28).reshape(n, 28, 28) % 256
        images[0, 0, 0] = value
        files[f"{prefix}-images-idx3-ubyte"] = idx(images)
        files[f"{prefix}-labels-idx1-ubyte"] = idx(np.arange(n) % 10)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in files.items():
        (raw / name).write_bytes(content)
    return {f"MNIST/raw/{name}": hashlib.md5(content).hexdigest() for name, content in files.items()}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty repository beside an empty shared/data; $DATA_DIR is not set and every mirror is out of reach."""
    monkeypatch.setattr(data, "ROOT", tmp_path / "repository")
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as closed:  # bound, but nobody listens: a connection is refused at once
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        for name in data.MIRRORS:
            monkeypatch.setitem(data.MIRRORS, name, [address])
        monkeypatch.setattr(download, "PAUSE", 0)
        yield tmp_path


@pytest.fixture
def mnist(place, monkeypatch):
    """The same, with a tiny MNIST in the repository's data/; returns that folder."""
    folder = place / "repository" / "data"
    monkeypatch.setitem(data.FILES, "mnist", tiny_mnist(folder))
    return folder


@contextlib.contextmanager
def unprivileged():
    """Root reads everything: be nobody for a while, so that permissions count."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def data_error(*parts: str, call=load, name="mnist") -> str:
    """Assert that `call(name)` raises a DataError of one line which has all `parts`, and return it."""
    with pytest.raises(DataError) as raised:
        call(name)
    message = str(raised.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message
    return message


# Loading

def test_mnist_files_become_tensors(mnist):
    train, test = load("mnist")
    assert train.images.shape == (6, 1, 28, 28) and test.images.shape == (4, 1, 28, 28)
    assert train.images.dtype == torch.uint8 and train.labels.dtype == torch.int64
    assert train.images.flatten().tolist() == [0, *(i % 256 for i in range(1, 6 * 28 * 28))]
    assert test.labels.tolist() == [0, 1, 2, 3]
    assert train.classes == tuple("0123456789")
    assert train.name == "mnist"


def tiny_cifar(folder: Path, monkeypatch) -> Path:
    """Write CIFAR-10 batches of 2 images into `folder`, and make their md5 sums the right ones."""
    batches = folder / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    sums = {}
    for i, name in enumerate([f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]):
        values = np.arange(2 * 3 * 32 * 32).reshape(2, -1) // 1024 + 6 * i  # one value a channel: 0, 1, 2, ...
        content = pickle.dumps({"data": values.astype(np.uint8), "labels": [i, i + 1]})
        (batches / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    meta = pickle.dumps({"label_names": list("abcdefghij")})
    (batches / "batches.meta").write_bytes(meta)
    cifar = data.datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", [[name, sums[name]] for name in sums if name != "test_batch"])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": hashlib.md5(meta).hexdigest()})
    sums["batches.meta"] = cifar.meta["md5"]
    monkeypatch.setitem(data.FILES, "cifar10", {f"cifar-10-batches-py/{name}": md5 for name, md5 in sums.items()})
    return batches


def test_cifar_files_become_tensors(place, monkeypatch):
    tiny_cifar(place / "repository" / "data", monkeypatch)
    train, test = load("cifar10")
    assert train.images.shape == (10, 3, 32, 32) and test.images.shape == (2, 3, 32, 32)
    assert train.images.dtype == torch.uint8 and train.labels.dtype == torch.int64
    assert train.images.is_contiguous()
    means = train.images.float().mean((2, 3))
    assert means.flatten().tolist() == list(range(30))  # channels in order, images in order
    assert train.labels.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5] and test.labels.tolist() == [5, 6]
    assert train.classes == tuple("abcdefghij")


def test_an_old_copy_of_torchvisions_own_is_not_read(mnist):
    processed = mnist / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(3, 28, 28, dtype=torch.uint8), torch.full((3,), 7)), processed / name)
    assert load("mnist")[0].labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_checked_files_are_all_that_torchvision_reads():
    assert {Path(file).name for file in data.FILES["cifar10"]} == {
        *(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta"}
    assert {Path(file).name for file in data.FILES["mnist"]} == {
        f"{prefix}-{kind}-ubyte" for prefix in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")}


def test_unknown_name():
    with pytest.raises(ValueError, match="unknown data set 'svhn'; known: mnist, cifar10"):
        load("svhn")


def test_search_order(place, monkeypatch):
    folders = [place / "chosen", place / "repository" / "data", place / "shared" / "data"]
    for folder in folders:
        monkeypatch.setitem(data.FILES, "mnist", tiny_mnist(folder, value=7))
    monkeypatch.setenv("DATA_DIR", str(folders[0]))
    for folder in folders:  # with each one gone, the next is taken
        assert find("mnist") == folder
        shutil.rmtree(folder / "MNIST")
    assert find("mnist") is None


def test_data_dir_is_optional(mnist, monkeypatch):
    monkeypatch.setenv("DATA_DIR", "")
    assert find("mnist") == mnist


# Errors

def test_data_dir_is_missing(mnist, monkeypatch):
    monkeypatch.setenv("DATA_DIR", "/no/such/folder")
    data_error("DATA_DIR=/no/such/folder is not a readable folder", "unset it")


def test_data_dir_is_a_file(mnist, monkeypatch):
    file = mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    monkeypatch.setenv("DATA_DIR", str(file))
    data_error(f"DATA_DIR={file} is not a readable folder")


@pytest.mark.parametrize("locked", ["", "inside", "inside/MNIST"], ids=["parent", "itself", "MNIST"])
def test_data_dir_is_unreadable(place, monkeypatch, locked):
    with tempfile.TemporaryDirectory() as folder:  # not below tmp_path, which only its owner may enter
        os.chmod(folder, 0o755)
        monkeypatch.setitem(data.FILES, "mnist", tiny_mnist(Path(folder) / "inside"))
        monkeypatch.setenv("DATA_DIR", f"{folder}/inside")
        assert find("mnist") == Path(folder) / "inside"
        os.chmod(Path(folder) / locked, 0o000)
        try:
            with unprivileged():
                data_error(folder, "read")
        finally:
            os.chmod(Path(folder) / locked, 0o755)


def test_a_file_is_unreadable(place, monkeypatch):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        monkeypatch.setitem(data.FILES, "mnist", tiny_mnist(Path(folder)))
        monkeypatch.setenv("DATA_DIR", folder)
        file = Path(folder) / "MNIST" / "raw" / "train-labels-idx1-ubyte"
        file.chmod(0o000)
        with unprivileged():
            data_error(file, "can't be read", "Permission denied")


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_file_is_missing(mnist, file, monkeypatch):
    path = mnist / "MNIST" / "raw" / file
    path.unlink()
    data_error("could not be downloaded", f"{file}.gz", "refused")  # the course's own folder: it is fetched again
    elsewhere = mnist.rename(mnist.parent.parent / "elsewhere")
    monkeypatch.setenv("DATA_DIR", str(elsewhere))
    data_error(elsewhere / "MNIST" / "raw" / file, "is missing", "official file", "unset DATA_DIR")


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1])],
                         ids=["truncated", "empty", "one bit"])
def test_a_file_is_damaged(mnist, damage):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    data_error(path, "is damaged", "put the official file there", "delete its folder")


@pytest.mark.parametrize("file", ["data_batch_3", "batches.meta"])
def test_a_cifar_file_is_missing_or_damaged(place, monkeypatch, file):
    path = tiny_cifar(place / "shared" / "data", monkeypatch) / file
    path.write_bytes(path.read_bytes()[:-1])
    data_error(path, "is damaged", name="cifar10")
    path.unlink()
    data_error(path, "is missing", name="cifar10")


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_no_network(place, name):
    message = data_error(f"{name} could not be downloaded into {place / 'repository' / 'data'}", "check the network",
                         "by hand", name=name)
    assert all(file in message for file in data.FILES[name])


def test_data_folder_can_not_be_written(place):
    (place / "repository").mkdir()
    (place / "repository" / "data").write_text("a file where the folder should be")
    data_error("could not be downloaded", "File exists", "permissions")


def test_a_fresh_process_imports_torchvision():
    """Beside a CPU-only torch a CUDA build of torchvision can't register its operators: see `_import_datasets`."""
    plain = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True)
    code = ("import sys; from common.data import datasets; import torchvision.transforms, torchvision.utils\n"
            "print(datasets.MNIST.__name__, hasattr(sys.modules['torchvision._meta_registrations'], '__file__'))")
    ours = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=Path(data.__file__).parent.parent)
    assert ours.returncode == 0, ours.stderr
    # Where the plain import works, nothing is replaced; where it fails, it fails for the known reason.
    assert ours.stdout.split() == ["MNIST", str(plain.returncode == 0)]
    assert plain.returncode == 0 or "torchvision::nms" in plain.stderr


# Validation split, slices and scaling

def numbered(n: int) -> Dataset:
    """n images whose only pixel and label both say which one they are."""
    values = torch.arange(n)
    return Dataset("mnist", values.to(torch.uint8).view(n, 1, 1, 1), values, ("a", "b"))


def test_hold_out_splits_completely():
    train, validation = hold_out(numbered(100), 30)
    assert len(train.labels) == 70 and len(validation.labels) == 30
    assert sorted(train.labels.tolist() + validation.labels.tolist()) == list(range(100))
    for part in (train, validation):
        assert part.images.flatten().tolist() == part.labels.tolist()  # images and labels stay together
        assert part.name == "mnist" and part.classes == ("a", "b")


def test_hold_out_is_seeded_and_random():
    first, again, other = (hold_out(numbered(100), 30, seed)[1].labels.tolist() for seed in (0, 0, 1))
    assert first == again and sorted(first) != sorted(other)
    torch.manual_seed(5)  # the global generator plays no part
    assert hold_out(numbered(100), 30)[1].labels.tolist() == first
    assert max(first) >= 70 and min(first) < 30  # neither the head nor the tail


def test_hold_out_draws_every_image_equally_often():
    counts = torch.zeros(20)
    for seed in range(2000):
        counts[hold_out(numbered(20), 5, seed)[1].labels] += 1
    assert (counts / 2000 - 0.25).abs().max() < 4 * (0.25 * 0.75 / 2000) ** 0.5


@pytest.mark.parametrize("size", [-1, 0, 100, 101])
def test_hold_out_rejects(size):
    with pytest.raises(ValueError, match=f"{size} images can't be held out of 100"):
        hold_out(numbered(100), size)


def test_hold_out_of_one():
    train, validation = hold_out(numbered(2), 1)
    assert len(train.labels) == len(validation.labels) == 1


def test_a_slice_of_a_data_set():
    part = numbered(10)[2:5]
    assert part.labels.tolist() == [2, 3, 4] and part.images.flatten().tolist() == [2, 3, 4]
    assert numbered(10)[torch.tensor([7, 1])].labels.tolist() == [7, 1]


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_normalize(name):
    mean, std = (torch.tensor(values).view(1, -1, 1, 1).expand(2, -1, 4, 4) for values in (MEAN[name], STD[name]))
    assert torch.equal(normalize(mean, name), torch.zeros_like(mean))
    assert torch.allclose(normalize(mean + 2 * std, name), torch.full_like(mean, 2), atol=1e-5)


# The real data

@pytest.fixture(params=["mnist", "cifar10"])
def real(request):
    if find(request.param) is None:
        pytest.skip(f"{request.param} is in none of $DATA_DIR, data/ and ../shared/data: NOT TESTED WITH REAL DATA")
    return load(request.param)


def test_the_real_data(real):
    train, test = real
    name = train.name
    n_train, n_test, channels, side = PIXELS[name]
    for split, n in ((train, n_train), (test, n_test)):
        assert split.images.shape == (n, channels, side, side) and split.images.dtype == torch.uint8
        assert split.labels.shape == (n,) and split.labels.dtype == torch.int64
        assert len(split.classes) == 10 and split.labels.unique().tolist() == list(range(10))
    counts = {"mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], "cifar10": [5000] * 10}[name]
    assert train.labels.bincount().tolist() == counts
    counts = {"mnist": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], "cifar10": [1000] * 10}[name]
    assert test.labels.bincount().tolist() == counts
    # Sums of bytes and of their squares are exact in integers.
    pixels = train.images.permute(1, 0, 2, 3).flatten(1)
    squares = torch.arange(256) ** 2
    for channel, mean, std in zip(pixels, MEAN[name], STD[name], strict=True):
        histogram = torch.bincount(channel, minlength=256)
        first = (histogram * torch.arange(256)).sum().item() / len(channel)
        second = (histogram * squares).sum().item() / len(channel)
        assert round(first / 255, 4) == mean
        assert round((second - first ** 2) ** 0.5 / 255, 4) == std


def test_the_first_real_images(real):
    train, test = real
    known = {"mnist": ([5, 0, 4, 1, 9], [7, 2, 1, 0, 4]), "cifar10": ([6, 9, 9, 4, 1], [3, 8, 8, 0, 6])}[train.name]
    assert (train.labels[:5].tolist(), test.labels[:5].tolist()) == known
    if train.name == "cifar10":
        assert test.classes == tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
        assert train.images[0, :, 0, 0].tolist() == [59, 62, 63]  # red, green, blue of the first frog
