"""Batches augmented ahead by workers: the same bit for bit, and no process is left behind, however training ends."""

import multiprocessing
import os
import signal
from dataclasses import replace

import psutil
import pytest
import torch
from torch import Generator, nn

from common.augmentation import BRIEF
from common.data import Dataset
from common.training import Recipe, fit, make_epochs

torch.set_num_threads(1)

IMAGES = torch.randint(256, (50, 3, 32, 32), generator=Generator().manual_seed(0), dtype=torch.uint8)
DATA = Dataset("cifar10", IMAGES, torch.arange(50) % 10, tuple("0123456789"))
RECIPE = Recipe(epochs=2, lr=0.01, batch_size=8, augmentation=BRIEF)  # six steps an epoch
CROP, RESIZE = ("crop", {"padding": 2}), ("albumentations", {"transforms": (("Resize", {"height": 9, "width": 9}),)})


def use_cores(monkeypatch, cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)


def train(recipe: Recipe = RECIPE, **options) -> list[float]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(3072, 10))
    return fit(model, DATA, DATA, recipe, log=lambda line: None, **options)["trace"]


def workers(of: int | None = None) -> list[psutil.Process]:
    return psutil.Process(of).children()


@pytest.mark.parametrize("steps", [BRIEF, (CROP, *BRIEF), (*BRIEF, CROP)], ids=["alone", "after a crop", "before one"])
def test_batches_losses_and_draws_are_the_same_bit_for_bit(monkeypatch, tmp_path, steps):
    recipe, runs = replace(RECIPE, augmentation=steps), []
    for cores in (1, 2, 4):
        use_cores(monkeypatch, cores)
        generator, seen = Generator().manual_seed(0), []
        for _, batches in make_epochs(DATA, recipe, generator):
            seen += [tensor.tolist() for batch in batches for tensor in batch] + [generator.get_state().tolist()]
            assert bool(workers()) == (cores > 1 and steps[-1] != CROP)
        losses, saved = train(recipe, checkpoint=tmp_path / str(cores)), torch.load(tmp_path / str(cores))
        runs.append([*seen, losses, saved["generator"].tolist(), saved["random"]["cpu"].tolist()])
        assert len(seen) == 26 and not workers()
    assert runs[0] == runs[1] == runs[2]


def test_a_process_that_has_used_threads_can_have_workers(monkeypatch):
    use_cores(monkeypatch, 2)
    torch.set_num_threads(2)
    try:
        assert torch.ones(10**6).add_(1).sum() == 2e6  # on both threads
        big = DATA[torch.arange(50).repeat(6)]  # a batch's pictures, too, are copied on both
        fit(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), big, DATA, replace(RECIPE, batch_size=128),
            log=lambda line: None)
    finally:
        torch.set_num_threads(1)


def test_max_steps_and_errors_end_the_workers(monkeypatch):
    use_cores(monkeypatch, 2)
    found = []
    monkeypatch.setattr("common.training.evaluate", lambda *_: found.extend(workers()) or (0.0, 0.0))
    assert len(train(max_steps=7)) == 12  # it ends in the second epoch
    assert len(set(found)) == 1 and not workers()
    errors = []
    for cores in (1, 2):
        use_cores(monkeypatch, cores)
        with pytest.raises(ValueError, match="leave out what changes") as raised:
            train(replace(RECIPE, augmentation=(RESIZE,)))
        assert not workers() and not raised.value.__cause__
        errors.append(str(raised.value))
    assert errors[0] == errors[1] and "\n" not in errors[0]


@pytest.mark.parametrize("step", [1, 6], ids=["at work", "between epochs"])
def test_a_killed_worker_is_told_in_a_sentence(monkeypatch, step):
    use_cores(monkeypatch, 2)
    with pytest.raises(RuntimeError, match="was killed, as systems do when memory runs out: close other programs"):
        for _, batches in make_epochs(DATA, RECIPE, Generator()):
            for i, _ in enumerate(batches, 1):
                if i == step:
                    workers()[0].kill()
    assert not workers()


def train_in_a_terminal(pipe) -> None:
    os.setsid()  # a process group of its own, as a terminal gives: Ctrl-C reaches all of it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where a shell started pytest with &
    os.sched_getaffinity = lambda pid: {0, 1, 2}
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for _, batches in make_epochs(DATA, replace(RECIPE, epochs=10**6), Generator()):
        for _ in batches:
            pipe.send([worker.pid for worker in workers()])


@pytest.mark.parametrize("end", [lambda pid: os.kill(pid, signal.SIGKILL), lambda pid: os.killpg(pid, signal.SIGINT)],
                         ids=["kill -9", "Ctrl-C"])
def test_workers_end_with_their_parent(end):
    context = multiprocessing.get_context("spawn")  # a fork would inherit locks that threads of pytest hold
    ours, theirs = context.Pipe()
    parent = context.Process(target=train_in_a_terminal, args=(theirs,))
    parent.start()
    left = [psutil.Process(pid) for pid in ours.recv()]
    end(parent.pid)
    _, there = psutil.wait_procs(left, timeout=20)
    alive = [worker for worker in there if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]
    parent.join(20)
    code = parent.exitcode
    for process in (parent, *alive):
        process.kill()
    assert len(left) == 2 and not alive and code


@pytest.mark.slow
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_any_way_to_start_a_process(monkeypatch, method):  # the last: the server it starts stays
    use_cores(monkeypatch, 1)
    alone = train()
    use_cores(monkeypatch, 2)
    default = multiprocessing.get_start_method()
    multiprocessing.set_start_method(method, force=True)
    try:
        assert train() == alone
    finally:
        multiprocessing.set_start_method(default, force=True)
