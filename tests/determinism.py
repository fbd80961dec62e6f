"""What changes the losses of a training run, given its seed: a table of docs/reliability.md, written by `make soak`."""

import multiprocessing

import torch

from common.data import Dataset
from common.models import s7
from common.tables import markdown
from common.training import Recipe, fit

CHANGES = {  # what it is: the threads, and how images and weights are stored
    "nothing: another process": (1, torch.channels_last),
    "2 threads instead of 1": (2, torch.channels_last),
    "images and weights stored channel by channel (no `channels_last`)": (1, torch.contiguous_format),
}


def losses(threads: int, layout: torch.memory_format) -> list[float]:
    """Train for 40 steps, in a process of its own; return the losses of the first ones and, last, the test loss."""
    torch.set_num_threads(threads)
    torch.channels_last = layout
    torch.manual_seed(0)
    images, labels = torch.randint(256, (2660, 1, 28, 28), dtype=torch.uint8), torch.randint(10, (2660,))
    noise = Dataset("mnist", images, labels, tuple("0123456789"))
    recipe = Recipe(2, 0.1, 128, schedule="one_cycle", average=0.9, augmentation=(("affine", {"rotate": 8.0}),))
    history = fit(s7.regularized(), noise[:2560], noise[2560:], recipe, log=lambda line: None)
    return [*history["trace"], history["curve"][-1]["test_loss"]]


def table() -> str:
    """Return for each change the first loss that isn't that of a run without it, and the test losses' difference."""
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        base, *others = pool.starmap(losses, [(1, torch.channels_last), *CHANGES.values()], chunksize=1)
    rows = []
    for change, other in zip(CHANGES, others, strict=True):
        step = next((i for i, pair in enumerate(zip(base, other, strict=True), 1) if pair[0] != pair[1]), "none")
        rows.append((change, step, f"{abs(base[-1] - other[-1]):.1g}"))
    return markdown("changed | first loss that differs | test loss after 40 steps differs by", rows, "lrr")
