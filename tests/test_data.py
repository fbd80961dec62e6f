"""Where the data comes from, what it is, and what is said when it can't be had."""

import contextlib
import hashlib
import os
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from common import data
from common.data import MEAN, STD, DataError, Dataset, find, hold_out, load, normalize

torch.set_num_threads(1)


def idx(array: np.ndarray) -> bytes:
    """The idx format of MNIST: 0 0 8 (bytes), the number of dimensions, the big-endian sizes, the values."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def checksums(contents: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}


def tiny_mnist(folder: Path) -> dict[str, str]:
    """Write 6 training and 4 test images into `folder`; return the md5 of each file."""
    contents = {}
    for prefix, n in (("train", 6), ("t10k", 4)):
        contents[f"MNIST/raw/{prefix}-images-idx3-ubyte"] = idx(np.arange(n * 28 * 28).reshape(n, 28, 28) % 256)
        contents[f"MNIST/raw/{prefix}-labels-idx1-ubyte"] = idx(np.arange(n))
    (folder / "MNIST" / "raw").mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return checksums(contents)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty repository beside an empty shared/data; $DATA_DIR is not set and there is no mirror."""
    monkeypatch.setattr(data, "ROOT", tmp_path / "repository")
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setattr(data, "MIRRORS", {"mnist": [], "cifar10": []})
    return tmp_path


@pytest.fixture
def mnist(place, monkeypatch):
    """The same, with a tiny MNIST in the repository's data/; returns that folder."""
    monkeypatch.setitem(data.FILES, "mnist", tiny_mnist(place / "repository" / "data"))
    return place / "repository" / "data"


@contextlib.contextmanager
def unprivileged():
    """Root reads everything: be nobody for a while, so that permissions count."""
    user = os.getuid()
    os.setresuid(user or 65534, user or 65534, -1)
    try:
        yield
    finally:
        os.setresuid(user, user, -1)


# Loading

def test_mnist_files_become_tensors(mnist):
    train, test = load("mnist")
    assert train.images.shape == (6, 1, 28, 28) and test.images.shape == (4, 1, 28, 28)
    assert train.images.dtype == torch.uint8 and train.labels.dtype == torch.int64
    assert train.images.flatten().tolist() == [i % 256 for i in range(6 * 28 * 28)]
    assert test.labels.tolist() == [0, 1, 2, 3]
    assert train.name == "mnist" and train.classes == tuple("0123456789")


def test_search_order(place, monkeypatch):
    folders = [place / "chosen", place / "repository" / "data", place / "shared" / "data"]
    for folder in folders:
        monkeypatch.setitem(data.FILES, "mnist", tiny_mnist(folder))
    monkeypatch.setenv("DATA_DIR", "")
    assert find("mnist") == folders[1]
    monkeypatch.setenv("DATA_DIR", str(folders[0]))
    for folder in folders:  # with each one gone, the next is taken
        assert find("mnist") == folder
        shutil.rmtree(folder / "MNIST")
    assert find("mnist") is None


# Errors

def test_data_dir_is_no_folder(mnist, monkeypatch):
    for wrong in ("/no/such/folder", mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"):
        monkeypatch.setenv("DATA_DIR", str(wrong))
        with pytest.raises(DataError, match=f"DATA_DIR={wrong} is not a readable folder.*unset it"):
            load("mnist")


@pytest.mark.parametrize("locked", ["", "inside", "inside/MNIST", "inside/MNIST/raw/train-labels-idx1-ubyte"])
def test_data_dir_is_unreadable(place, monkeypatch, locked):
    with tempfile.TemporaryDirectory() as folder:  # not below tmp_path, which only its owner may enter
        os.chmod(folder, 0o755)
        monkeypatch.setitem(data.FILES, "mnist", tiny_mnist(Path(folder) / "inside"))
        monkeypatch.setenv("DATA_DIR", f"{folder}/inside")
        os.chmod(Path(folder) / locked, 0o000)
        try:
            with unprivileged(), pytest.raises(DataError, match=f"{folder}.*read"):
                load("mnist")
        finally:
            os.chmod(Path(folder) / locked, 0o755)


def test_a_file_is_missing(mnist, monkeypatch):
    (mnist / "MNIST" / "raw" / "train-images-idx3-ubyte").unlink()
    assert find("mnist") is None  # the course's own folder: it is downloaded again
    monkeypatch.setenv("DATA_DIR", str(mnist.rename(mnist.parent.parent / "elsewhere")))
    with pytest.raises(DataError, match="elsewhere/MNIST/raw/train-images-idx3-ubyte is missing: .*unset DATA_DIR"):
        load("mnist")


def test_a_file_is_damaged(mnist):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    content = path.read_bytes()
    for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1])):  # cut short, one bit
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{path} is damaged .*official file there, or delete its folder"):
            load("mnist")


def test_data_folder_can_not_be_written(place):
    (place / "repository").mkdir()
    (place / "repository" / "data").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="could not be downloaded.*File exists.*permissions"):
        load("mnist")


# Validation split, slices and scaling

def numbered(n: int) -> Dataset:
    """n images whose only pixel and label both say which one they are."""
    values = torch.arange(n)
    return Dataset("mnist", values.to(torch.uint8).view(n, 1, 1, 1), values, ("a", "b"))


def test_length_and_slices():
    assert len(numbered(10)) == 10 and len(numbered(10)[2:5]) == 3
    for index, chosen in ((slice(2, 5), [2, 3, 4]), (torch.tensor([7, 1]), [7, 1])):
        part = numbered(10)[index]
        assert part.labels.tolist() == part.images.flatten().tolist() == chosen
        assert part.name == "mnist" and part.classes == ("a", "b")


def test_hold_out_splits_completely_and_at_random():
    train, validation = hold_out(numbered(100), 30)
    assert len(train) == 70 and len(validation) == 30
    assert sorted(train.labels.tolist() + validation.labels.tolist()) == list(range(100))
    for part in (train, validation):
        assert part.images.flatten().tolist() == part.labels.tolist()  # images and labels stay together
    first = validation.labels.tolist()
    assert max(first) >= 70 and min(first) < 30  # neither the head nor the tail
    torch.manual_seed(5)  # the global generator plays no part
    assert hold_out(numbered(100), 30)[1].labels.tolist() == first
    for size in (-1, 0, 100):
        with pytest.raises(ValueError, match=f"{size} images can't be held out of 100"):
            hold_out(numbered(100), size)


@pytest.mark.parametrize("name", MEAN)
def test_normalize(name):
    mean, std = (torch.tensor(values).view(1, -1, 1, 1).expand(2, -1, 4, 4) for values in (MEAN[name], STD[name]))
    assert torch.equal(normalize(mean, name), torch.zeros_like(mean))
    assert torch.allclose(normalize(mean + 2 * std, name), torch.full_like(mean, 2), atol=1e-5)


# The real data: of each split the shape, the images a class, the first labels

TRAIN = {"mnist": ((60_000, 1, 28, 28), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], [5, 0, 4, 1, 9]),
         "cifar10": ((50_000, 3, 32, 32), [5000] * 10, [6, 9, 9, 4, 1])}
TEST = {"mnist": ((10_000, 1, 28, 28), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], [7, 2, 1, 0, 4]),
        "cifar10": ((10_000, 3, 32, 32), [1000] * 10, [3, 8, 8, 0, 6])}


@pytest.mark.parametrize("name", TRAIN)
def test_the_real_data(name):
    if find(name) is None:
        pytest.skip(f"{name} is in none of $DATA_DIR, data/ and ../shared/data: NOT TESTED WITH REAL DATA")
    train, test = load(name)
    for split, (shape, counts, first) in ((train, TRAIN[name]), (test, TEST[name])):
        assert split.images.shape == shape and split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64 and split.labels.bincount().tolist() == counts
        assert split.labels[:5].tolist() == first
    if name == "cifar10":
        assert test.classes == tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
        assert train.images.is_contiguous()
        red, green, blue = train.images[0, :, :2, :2].tolist()  # the corner of the first frog
        assert (red, green, blue) == ([[59, 43], [16, 0]], [[62, 46], [20, 0]], [[63, 45], [20, 0]])
    pixels = train.images.permute(1, 0, 2, 3).flatten(1)
    for channel, mean, std in zip(pixels, MEAN[name], STD[name], strict=True):
        counts = torch.bincount(channel, minlength=256).double() / len(channel)
        values = torch.arange(256, dtype=torch.double) / 255
        assert round((counts * values).sum().item(), 4) == mean
        assert round((counts * (values - mean) ** 2).sum().item() ** 0.5, 4) == std
