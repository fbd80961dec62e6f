"""How long a step takes on this machine."""

from collections.abc import Callable

import torch
from torch.utils.benchmark import Timer

ROUNDS = 5


def milliseconds(calls: dict[str, Callable[[], object]], seconds: float = 2.0) -> dict[str, float]:
    """Return the milliseconds that each of `calls` takes, measured for about so many `seconds` each.

    They are measured in turn, five rounds, and the fastest round counts: other programs on the machine can only add to
    a time. torch's Timer repeats a call until its time can be trusted, and waits for a GPU. The first call warms up.
    """
    timers = {name: Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
              for name, call in calls.items()}
    rounds = [{name: timer.blocked_autorange(min_run_time=seconds / ROUNDS).median for name, timer in timers.items()}
              for _ in range(ROUNDS)]
    return {name: 1000 * min(times[name] for times in rounds) for name in calls}
