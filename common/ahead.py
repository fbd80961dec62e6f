"""Batches augmented ahead of the training: albumentations, which take a core, in processes of their own."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor

import numpy as np
import torch
from torch import Generator, Tensor

from common.augmentation import augment, from_pictures, make_pipeline, to_pictures, vary
from common.machine import count_cores

AHEAD = 2  # batches that are in the workers' hands while one trains


def make_workers(steps) -> contextlib.AbstractContextManager[Executor | None]:
    """Return the processes for `augment_all`, to be used in a `with`; None where they don't help.

    They do where the last of `steps` is albumentations. Any after it would draw from the generator once the batch is
    back, so that the next batch could not have been begun before.
    """
    if (cores := count_cores()) == 1 or not steps or steps[-1][0] != "albumentations":
        return contextlib.nullcontext()
    make_pipeline(steps[-1][1]["transforms"])  # imported here once, not in each process; and a mistake shows at once
    return ProcessPoolExecutor(min(cores - 1, AHEAD), initializer=_begin)


def augment_all(batches: Iterable[Tensor], generator: Generator, steps, workers: Executor | None) -> Iterator[Tensor]:
    """Yield each of `batches` of images, augmented by `steps`, in order; `workers` see to the next ones meanwhile.

    All is drawn by `generator` in this process, one batch after the other: the images are the same without workers.
    Raises RuntimeError when one of them was killed, and else what `augment` does.
    """
    if workers is None:
        yield from (augment(images, generator, steps) for images in batches)
        return
    *before, (_, options) = steps
    begun = deque()
    try:
        for images in batches:
            images = augment(images, generator, before)
            begun.append(workers.submit(_vary, *to_pictures(images, generator), **options))
            if len(begun) > AHEAD:
                yield from_pictures(_result(begun.popleft()).numpy(), images.device)
        while begun:
            yield from_pictures(_result(begun.popleft()).numpy(), images.device)
    except BrokenExecutor:
        raise RuntimeError("a process that augments the images was killed, as systems do when memory runs out: close "
                           "other programs and run this again") from None


def _vary(pictures: np.ndarray, seed: int, transforms: tuple) -> Tensor:
    """Do as `vary` does. A tensor comes back in shared memory; of an array a killed process may send but a part, and
    for the rest the other would wait."""
    return torch.from_numpy(vary(pictures, seed, transforms))


def _result(future: Future) -> Tensor:
    try:
        return future.result()
    except Exception as error:
        raise error from None  # not from the text of its traceback in the other process


def _begin() -> None:
    """Let this process use one thread, end when its parent does, however that ends, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)  # a forked process would wait for the other threads, which it hasn't

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
