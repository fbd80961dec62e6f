"""Times of calls, against calls that take a known time."""

import itertools
import time

from common.timing import milliseconds


def test_each_call_takes_its_time():
    times = milliseconds({"short": lambda: time.sleep(0.002), "long": lambda: time.sleep(0.01)}, seconds=0.2)
    assert list(times) == ["short", "long"]
    assert 2 <= times["short"] < 6 and 10 <= times["long"] < 20


def test_what_disturbs_some_rounds_does_not_count():
    calls = itertools.count()
    disturbed = milliseconds({"sleep": lambda: time.sleep(0.02 if next(calls) < 6 else 0.002)}, seconds=0.2)
    assert disturbed["sleep"] < 10
