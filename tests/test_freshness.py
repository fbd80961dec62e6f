"""The first losses of a run, trained again, and their comparison with those of a result."""

import dataclasses

import pytest
import torch
from test_training import RECIPE, TEST, TRAIN, network, quiet_fit

from common.training import TRACE_STEPS
from tools.freshness import first_losses, traces_agree

TRACE = [2.0] * TRACE_STEPS


def test_first_losses_are_those_of_training():
    recipe = dataclasses.replace(RECIPE, epochs=5)  # of six steps
    trace = first_losses(network(), (TRAIN, TEST), recipe, 1, threads=1)
    assert first_losses(network(), (TRAIN, TEST), recipe, 1, threads=2) == pytest.approx(trace, rel=1e-3)
    assert trace == quiet_fit(network(), TRAIN, TEST, recipe, seed=1)[1]
    assert len(trace) == TRACE_STEPS and torch.get_num_threads() == 1


@pytest.mark.parametrize("now, exactly, agree", [
    (TRACE, True, True), ([2.0000001] + TRACE[1:], True, False), (TRACE[1:], True, False),
    ([2.001] * 3 + [2.5] * 17, False, True),  # rounding grows
    ([2.001] * 2 + [2.01] + TRACE[3:], False, False), (TRACE[1:], False, False),
])
def test_traces_agree(now, exactly, agree):
    assert traces_agree(now, TRACE, exactly) == agree
