"""Exercises: every solution is right, what is typically wrong gets a hint, and no answer stops a notebook."""

import ast
import importlib
import math
import random
import re

import jupytext
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.anatomy import multiply_accumulates
from common.exercises import check, choice, function, network, number
from common.files import ROOT
from common.models import s7, s8
from tools import notebooks

CHECKS = {name: judge for path in (ROOT / "common/exercises").glob("s*.py")
          for name, judge in importlib.import_module(f"common.exercises.{path.stem}").CHECKS.items()}
FOLDED = r"<details>\s*<summary>Answer</summary>\n\n```python\n(.*?)```\n.+\n</details>"


def find_exercises(text: str) -> list[tuple[str, str]]:
    """Return each exercise of a notebook's .py: its cell, and the code of the folded answer in the cell after it."""
    cells = jupytext.reads(text, fmt="py:percent").cells
    found = []
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        if "exercise" in notebooks.tags(cell):
            folded = after and re.match(FOLDED, after.source, re.DOTALL)
            assert folded and after.cell_type == "markdown", f"no folded answer after: {cell.source}"
            found.append((cell.source, folded[1]))
    return found


SOLUTIONS = {ast.literal_eval(ast.parse(cell).body[-1].value.args[0]): code for name in notebooks.names()
             for cell, code in find_exercises((ROOT / f"{name}.py").read_text())}
TINY, SEES_FAR_WITH_FEW = SOLUTIONS["S7.1.5"], SOLUTIONS["S9.5.5"]


def solve(code: str, **known):
    """Run a folded answer; return what it assigned or defined last."""
    names = {"torch": torch, "nn": nn, "F": F, **known}
    exec(code, names)
    return list(names.values())[-1]


def say(name: str, answer) -> str:
    return check(name, answer).data


def is_right(said: str) -> bool:
    return said.startswith("✓")


def is_open(said: str) -> bool:
    return said.endswith("not answered yet")


def is_hint(said: str) -> bool:
    return said.startswith("✗") and len(said) > 30


def test_there_is_a_solution_to_every_exercise():
    assert SOLUTIONS.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", SOLUTIONS)
def test_none_is_no_answer(name):
    assert is_open(say(name, ...)) and is_open(say(name, None))


@pytest.mark.parametrize("name", [name for name, code in SOLUTIONS.items() if "def " in code])
def test_an_empty_function_is_not_answered(name):
    for empty in (lambda *inputs: ..., lambda *inputs: None):
        assert is_open(say(name, empty))


class Absurd:
    """Everything that is asked of it fails."""

    def _fail(self, *given):
        raise RuntimeError("absurd")

    __float__ = __str__ = __repr__ = __eq__ = __call__ = __bool__ = __len__ = __iter__ = _fail
    __hash__ = None


class UnprintableError(Exception):
    __str__ = __repr__ = Absurd._fail


def fail(*given):
    raise UnprintableError


def leave(*given):
    raise SystemExit


def overwrite(x, *given):
    for one in (x, *given):
        if isinstance(one, torch.Tensor):
            one.zero_()
        elif isinstance(one, list):
            one.clear()
    return x


ABSURD = [Absurd(), Absurd, fail, leave, overwrite, "", "abc", b"\xff", [], {}, (1, 2), float("nan"), float("inf"), -1,
          1e400, 10**400, 1j, True, object(), int, print, torch.zeros(3), torch.zeros(0), torch.tensor(float("nan")),
          nn.ReLU(), nn.Conv2d(3, 3, 3), nn.Module, lambda: 3, lambda: nn.Identity(), lambda *given: Absurd(),
          lambda *given: torch.zeros(2, 3), lambda *given: torch.zeros(3, 4, 3, 3, dtype=torch.complex64),
          lambda *given: "text", lambda *given: given, lambda *given: float("nan"), lambda x, *given: x * float("nan"),
          lambda x, *given: x, lambda *given: [[1], [1, 2]], lambda *given: torch.zeros(3, 4, 3, 3).to_sparse()]


@pytest.mark.parametrize("name", SOLUTIONS)
@pytest.mark.filterwarnings("ignore:Casting complex")
def test_no_answer_raises(name, capsys):
    for answer in ABSURD:
        assert not is_right(say(name, answer)), answer


WRONG = {
    "S7.1.1": [-1792, 4096, 7, 112, 1776, 6400, 0, 3],
    "S7.1.2": [7, 8, 9, 12, 11, 28],
    "S7.1.3": [3_115_008, 2_654_208, 100, 4_608, 51_200, 0],
    "S7.1.4": [lambda i, o, k, h, w: (i * o * k * k, i * o * k * k), lambda i, o, k, h, w: i * o * k * k,
               lambda i, o, k, h, w: (i * o * k * k * h * w, i * o * k * k)],
    "S7.1.5": [s7.ours, nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),  # too many parameters
               lambda: nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),  # 3 pixels
               lambda: nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1)),  # (N, 10, 1, 1)
               nn.Conv2d(3, 10, 3)],
    "S7.2.1": ["helps", "hurts", "something"],
    "S7.2.2": [78, 312, 2, 12, 7280],
    "S7.2.3": ["higher", "the same", 3],
    "S7.2.4": [lambda x, m, v, a, b, eps: F.batch_norm(x, m, v, a, b, training=True, eps=eps),
               lambda x, m, v, a, b, eps: F.batch_norm(x, m, v, eps=eps), lambda x: x,
               lambda x, m, v, a, b, eps: (x - m) / v],
    "S7.2.5": [lambda x, mask, p: x * mask, lambda x, mask, p: F.dropout(x, p), lambda x, mask, p: x[mask.bool()],
               lambda x, mask, p: x.mul_(mask).div_(1 - p)],
    "S7.2.6": [0, 0.999, 1 - 0.999 ** 1000, 0.99 ** 1000],
    "S7.3.1": ["1 and 7", "0 and 8", "2 and 5", "9"],
    "S7.3.2": [0.3, 0.03, 200, 0.2, 15],
    "S7.3.3": [250, 500, 1000],
    "S7.3.4": [lambda step, steps, peak, warmup: peak, lambda step, steps, peak, warmup: peak * step / steps],
    "S7.3.5": [lambda values, decay: [decay * value for value in values], lambda values, decay: values[-1],
               lambda values, decay: solve(SOLUTIONS["S7.3.5"])(values, decay)[1:]],
    "S7.3.6": [400, 464, 560, 2320, 16],
    "S8.1.1": [128, 8, 64, 512, 1024, 3],
    "S8.1.2": [lambda x, groups: F.group_norm(x, 1), lambda x, groups: F.group_norm(x, len(x[0]) // groups),
               lambda x, groups: F.instance_norm(x), lambda x, groups: F.batch_norm(x, None, None, training=True),
               lambda x, groups: x, lambda x, groups: (x - x.mean()) / x.std()],
    "S8.1.3": [1, 2, 16, 64],
    "S8.1.4": [1, 7, -1],
    "S8.1.5": [2, 4, 8, 64],
    "S8.1.6": ["larger batches", "a smaller momentum", "batch norm"],
    "S8.1.7": [lambda x: F.group_norm(x, 1), lambda x: F.instance_norm(x), lambda x: x,
               lambda x: F.layer_norm(x, x.shape[1:]), lambda x: F.batch_norm(x, None, None, training=True)],
    "S8.2.1": [4608, 5120, 9216, 512, 0],
    "S8.2.2": [44, 16, 19, 23, 1],
    "S8.2.3": [8192, 4096, 256, 8, 3072],
    "S8.2.4": ["the network", "the learning rate", "the loss", 3],
    "S8.2.5": [s8.plain, lambda: s8.plain("bn"), lambda: s8.wide("gn"),
               lambda: s8.plain(lambda channels: nn.GroupNorm(2, channels) if channels == 10 else nn.Identity()),
               lambda: s8.plain(lambda channels: nn.InstanceNorm2d(channels)),
               lambda: nn.Sequential(nn.Conv2d(3, 10, 3), nn.GroupNorm(2, 10), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
               lambda: nn.Sequential(nn.Conv2d(3, 10, 3), nn.GroupNorm(2, 10), nn.AdaptiveAvgPool2d(1))],
    "S8.3.1": [lambda label, classes, s: [1 - s if k == label else s / classes for k in range(classes)],
               lambda label, classes, s: F.one_hot(torch.tensor(label), classes), lambda label, classes, s: 1 - s],
    "S8.3.2": [0.25, 0.5, 0.0625, 0, 1],
    "S8.3.3": [2736, 2832, 11_328, 20_736, 2304],
    "S8.3.4": [lambda s, rounds: s, lambda s, rounds: 1.0, lambda s, rounds: 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5],
    "S8.3.5": [1e-10, 2, 1.1, 11, 1],
    "S8.4.1": [lambda d: (min(d), max(d)), lambda d: sum(d) / 5, lambda d: (0, 1)],
    "S8.4.2": ["every network", "this network", "nothing", "batch norm"],
    "S8.4.3": [0.0034, 0.0011, 0.1131, 33.63, 0.659, 1],
    "S8.4.4": [lambda right: right.sum(1), lambda right: right.sum(), lambda right: (right.sum(0) == 1).sum()],
    "S8.4.5": [lambda peaks, held_out, test: peaks[test.mean(1).argmax()],
               lambda peaks, held_out, test: peaks[held_out.mean(1).argmax()], lambda peaks, held_out, test: max(peaks),
               lambda peaks, held_out, test: held_out.max(), 0.05],
    "S9.1.1": [8, 9, 71, 73, 1e6],
    "S9.1.2": [9 * 64 * 128, 9 * 64 + 64 * 128, 9_344, 1],
    "S9.1.3": [lambda dilations: 1 + 2 * sum(dilations), lambda dilations: 3 ** len(dilations), lambda dilations: 1,
               lambda dilations: {0, *dilations}],
    "S9.1.4": [(1, 2, 4, 8), (1.9, 2.2, 3.1, 9.5), (3, 4, 2, 6), (1, 1, 4, 9), (1, 2, 4), (0, 1, 6, 8), 15],
    "S9.1.5": [2, 1, 16, 9],
    "S9.1.6": [lambda effective, size: effective[:size, :size].sum() / effective.sum(),
               lambda effective, size: effective[-size:, -size:].mean(),
               lambda effective, size: effective[2:-2, 2:-2].sum() / effective.sum() * 100,
               lambda effective, size: effective[4:8, 4:8].sum() / effective.sum(),
               lambda effective, size: effective[5:-5, 3:-3].mean() / effective.mean()],
    "S9.2.1": [1 / 2, 7 / 8, 1 / 6],
    "S9.2.2": [0.2875, 74, 0.2875 * 255, 0.2875 * 256, 114, 0],
    "S9.2.3": [lambda images, chosen: images.flip(3), lambda images, chosen: images,
               lambda images, chosen: images[chosen].flip(3),
               lambda images, chosen: torch.stack([image.flip(2) if k % 2 == 0 else image
                                                   for k, image in enumerate(images)])],
    "S9.2.4": [1 / 16, 1 / 2, 1 / 8, 3.125],
    "S9.2.5": ["shift", "hole", "all"],
    "S9.2.6": [5, 4, 3, 7, 5.4],
    "S9.3.1": [9 * 32 * 32, 10_240, 11_744, 12_032, 12_384, 12_704],
    "S9.3.2": [32 * 160, 163_840, 11_960_320, 1],
    "S9.3.3": [lambda channels, budget: budget // (2 * channels), lambda channels, budget: budget / channels,
               lambda channels, budget: round(budget / (2 * channels + 9)),
               lambda channels, budget: (budget - channels**2) // (2 * channels + 9)],
    "S9.3.4": ["C2", "C3", "C4", "all"],
    "S9.3.5": ["to save time", "because the norm has done it"],
    "S9.3.6": [5_840, 5_242_880, 5_324_800, 11_960_320],
    "S9.4.1": [lambda maps, weights: (weights[:, None, None] * maps).sum(0), lambda maps, weights: maps.sum(0).relu(),
               lambda maps, weights: maps[0], lambda maps, weights: (weights[:, None, None] * maps).relu().sum(0),
               lambda maps, weights: (weights[:, None, None] * maps.relu()).sum(0),
               lambda maps, weights: (weights.relu()[:, None, None] * maps).sum(0).relu()],
    "S9.4.2": [0.9946, 0.54, 99.5, 100, 95],
    "S9.4.3": ["A", "B", "both"],
    "S9.4.4": [106_176, 53_088, 52_640, 104_384, 104_832, 4],
    "S9.4.5": [lambda ours, theirs: sum(a for _, a in ours) / len(ours) - sum(a for _, a in theirs) / len(theirs),
               lambda ours, theirs: sum(a - b for (_, a), (_, b) in zip(ours, theirs, strict=True)) / len(ours),
               lambda ours, theirs: sum(a - dict(theirs)[seed] for seed, a in ours if seed in dict(theirs)) / 4,
               lambda ours, theirs: abs(solve(SOLUTIONS["S9.4.5"])(ours, theirs)), lambda ours, theirs: 0.0],
    "S9.4.6": ["it helps", "it hurts"],
    "S9.5.1": [50 / 190, (190 / 50) ** 0.5, 0.487, 1],
    "S9.5.2": [lambda epochs: 14 - 2 * math.log2(epochs / 10), lambda epochs: 14 - 4 * (epochs - 10) / 30,
               lambda epochs: 140 / epochs, lambda epochs: 10,
               lambda epochs: 14 * (10 / 14) ** ((epochs - 10) / 30)],
    "S9.5.3": [lambda shares, first, second, share: share * shares[first] + (1 - share) * shares[second],
               lambda shares, first, second, share: -shares[first],
               lambda shares, first, second, share: -(share * shares[second] + (1 - share) * shares[first])],
    "S9.5.4": ["stronger regularization", "fewer parameters", "less"],
    "S9.5.5": [lambda: nn.Linear(3, 10), lambda: solve(SEES_FAR_WITH_FEW.replace("90", "400"))(),
               lambda: solve(SEES_FAR_WITH_FEW.replace("dilation=2", "dilation=1"))(),
               lambda: solve(SEES_FAR_WITH_FEW.replace("groups=inputs, ", ""))(),
               lambda: solve(SEES_FAR_WITH_FEW.replace("dilation=2", "dilation=1").replace(
                   "outputs, 1,", "outputs, 1, dilation=2,"))(),
               lambda: solve(SEES_FAR_WITH_FEW.replace("stride=2", "stride=1"))(),
               lambda: solve(SEES_FAR_WITH_FEW.replace("nn.Flatten(), nn.Linear(90, 10)",
                                                       "nn.Conv2d(90, 10, 1), nn.Flatten()"))()],
    "S9.5.6": [30, 31, 120, 129, 115, 130, 132, 200, 100],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_gets_a_hint_that_does_not_give_the_right_one_away(name):
    right = solve(SOLUTIONS[name])
    for answer in WRONG[name]:
        said = say(name, answer)
        assert is_hint(said), (answer, said)
        if isinstance(right, int | float):
            assert not re.search(rf"(?<![\d.]){right:g}(?![\d.]*\d)", said.removeprefix(f"✗ {name}")), said


def test_typical_mistakes_have_hints_of_their_own():
    assert "eps" in say("S7.2.4", lambda x, m, v, a, b, eps: F.batch_norm(x, m, v, a, b))
    assert "training mode" in say("S7.2.4", lambda x, m, v, a, b, eps: F.batch_norm(x, None, None, a, b, True, eps=eps))
    assert "straight" in say("S7.3.4", lambda step, steps, peak, warmup=0.2: min(
        peak * step / (warmup * steps), peak * (steps - step) / (steps * (1 - warmup))))
    assert "inputs" in say("S7.2.5", lambda x, mask, p: x.mul_(mask).div_(1 - p))
    assert "finite" in say("S7.2.5", lambda x, mask, p: x / 0)
    assert "neighbouring" in say("S8.1.2", lambda x, groups: torch.stack(
        [F.group_norm(x[:, g::groups], 1) for g in range(groups)], 2).flatten(1, 2))
    assert "correction" in say("S8.1.2", lambda x, groups: torch.cat(
        [(part - part.mean((1, 2, 3), keepdim=True)) / part.std((1, 2, 3), keepdim=True)
         for part in x.chunk(groups, 1)], 1))
    assert "C C c P" in say("S8.2.5", lambda: nn.Sequential(
        nn.Conv2d(3, 8, 31), nn.GroupNorm(2, 8), nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 10, 1), nn.Flatten()))
    assert "IndexError: list index" in say("S7.3.5", lambda values, decay: values[99])


def test_padding_costs_the_skeleton_arithmetic():
    padded = s7.skeleton()
    padded[2].padding = (1, 1)
    shape = (1, 28, 28)
    more = multiply_accumulates(padded[:3], shape) - multiply_accumulates(s7.skeleton()[:3], shape)
    assert is_right(say("S7.1.3", more))


def test_answers_are_forgiven_their_type():
    assert is_right(say("S7.2.2", torch.tensor(156.0))) and is_right(say("S7.2.2", "156"))
    assert is_right(say("S7.3.1", " 6 AND 9 "))
    assert is_right(say("S7.3.5", lambda values, decay: torch.tensor(solve(SOLUTIONS["S7.3.5"])(values, decay))))
    assert is_right(say("S7.3.3", 347)) and is_right(say("S7.1.5", solve(TINY)()))
    at_once = TINY.replace("nn.Conv2d(4, 4, 3, bias=False), nn.ReLU(),\n        nn.AdaptiveAvgPool2d(1), nn.Flatten(), "
                           "nn.Linear(4, 10)", "nn.Conv2d(4, 2, 5), nn.Flatten(), nn.Linear(2, 10)")
    assert is_right(say("S7.1.5", solve(at_once)))  # a convolution over the whole map sees it as well


def test_a_check_leaves_random_states_and_networks_alone():
    model = solve(TINY)().train()
    before, states = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    python = random.getstate()
    for answer in (model, solve(TINY), lambda *given: torch.rand(3)):
        check("S7.1.5", answer), check("S7.2.4", answer)
    assert torch.equal(states, torch.get_rng_state()) and random.getstate() == python
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_makers():
    assert number(5, tolerance=0.5, otherwise="no")(5.4) is None and number(5, otherwise="no")(5.4) == "no"
    assert number(5, mistakes={4: "more"})(4) == "more" and choice("a", {"b": "hint"})("b") == "hint"
    assert "'a', 'b'" in choice("b", {"a": "hint"})("c")
    twice = function(lambda x: 2 * x, lambda generator: (torch.rand(3, generator=generator),),
                     {lambda x: 3 * x: "less"}, otherwise="no")
    assert [twice(lambda x, k=k: k * x) for k in (2, 3, 4)] == [None, "less", "no"]
    assert "returns a set" in twice(lambda x: {1, 2})
    ten = nn.Sequential(nn.Flatten(), nn.Linear(4, 10))
    assert network((1, 2, 2), lambda model: "small")(lambda: ten) == "small"
    assert "[2, 4]" in network((1, 2, 2), lambda model: "small")(nn.Flatten())
    with pytest.raises(KeyError):
        check("S7.9.9", 1)


# The notebooks'

def check_folded(cell: str, code: str) -> tuple[str, str]:
    """Return the name of an exercise, and what `check` says to its folded answer; the cell as it stands is open."""
    names = {"torch": torch, "nn": nn, "F": F, "check": check}
    call = ast.parse(cell).body[-1].value
    exec(cell, dict(names))
    assert ast.unparse(call).startswith("check("), cell
    exec(code, names)
    return ast.literal_eval(call.args[0]), eval(ast.unparse(call), names).data


EXAMPLE = '''\
# %% tags=["exercise"]
more = ...
check("S7.1.3", more)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# more = 460_800
# ```
#
# A hundred positions more.
# </details>

# %% tags=["exercise"]
def dropout(x, mask, p):
    ...


check("S7.2.5", dropout)

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# def dropout(x, mask, p):
#     return x * mask
# ```
#
# This answer is wrong.
# </details>
'''


def test_the_folded_answers_are_found():
    (first, said), (second, hint) = [check_folded(*found) for found in find_exercises(EXAMPLE)]
    assert (first, second) == ("S7.1.3", "S7.2.5") and is_right(said) and is_hint(hint)
    with pytest.raises(AssertionError, match="no folded answer"):
        find_exercises(EXAMPLE.replace("</details>", ""))


@pytest.mark.parametrize("name", notebooks.names())
def test_the_folded_answers_of_a_notebook_are_right(name):
    session, notebook = (part.split("_")[0] for part in name.split("/"))
    said = [check_folded(*found) for found in find_exercises((ROOT / f"{name}.py").read_text())]
    assert all(is_right(of_one) for _, of_one in said), said
    if said:
        mine = [exercise for exercise in CHECKS if exercise.startswith(f"{session}.{notebook}.")]
        assert sorted(exercise for exercise, _ in said) == sorted(mine)
