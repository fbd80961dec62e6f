"""Exercises: `check` looks at a student's answer and says whether it is right, or hints at what isn't.

A session's checks stand in a module of its own, such as `common.exercises.s7`: CHECKS has, by name, what `number`,
`choice`, `function` and `network` make. Such a check takes an answer and returns None where it is right, a hint where
it is wrong, and ... where there is none yet.
"""

import copy
import importlib
import math
import traceback

import torch
from IPython.display import Markdown
from torch import nn

DRAWS = 12  # random inputs that a function is tried on


def check(name: str, answer) -> Markdown:
    """Return what to say of the `answer` to exercise `name`, such as "S7.1.2"; ... is no answer yet.

    Never raises, whatever the answer is, nor changes it or torch's random state. An unknown name raises KeyError or
    ImportError.
    """
    judge = importlib.import_module(f"common.exercises.{name.partition('.')[0].lower()}").CHECKS[name]
    try:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            hint = ... if answer is None or answer is ... else judge(answer)
    except (Exception, SystemExit) as error:  # an answer may do anything
        hint = f"It can't be checked: {traceback.format_exception_only(error)[-1].strip()}"
    if hint is ...:
        return Markdown(f"{name}: not answered yet")
    return Markdown(f"✓ {name}: right" if hint is None else f"✗ {name}: not yet. {hint}")


def number(value: float, tolerance: float = 1e-6, mistakes: dict[float, str] | None = None, otherwise: str = ""):
    """Return the check of a number; `mistakes` are typical wrong ones, each with its hint, for others `otherwise`."""
    def judge(answer):
        given = float(answer)
        if abs(given - value) <= tolerance:
            return None
        nearest = min(mistakes or {math.inf: otherwise}, key=lambda wrong: abs(given - wrong))
        return mistakes[nearest] if abs(given - nearest) <= tolerance else otherwise

    return judge


def choice(right: str, mistakes: dict[str, str]):
    """Return the check of a choice between `right` and the `mistakes`, each of which has a hint."""
    def judge(answer):
        given = str(answer).strip().lower()
        if given == right:
            return None
        return mistakes.get(given, f"Choose one of: {', '.join(map(repr, sorted([right, *mistakes])))}.")

    return judge


def function(reference, make_inputs, mistakes: dict | None = None, otherwise: str = ""):
    """Return the check of a function that should do what `reference` does, which returns numbers or a tensor.

    `make_inputs(generator)` draws arguments. `mistakes` are typical wrong functions, each with its hint.
    """
    def judge(answer):
        generator = torch.Generator().manual_seed(0)
        draws = [make_inputs(generator) for _ in range(DRAWS)]
        given = [copy.deepcopy(inputs) for inputs in draws]
        found = [answer(*inputs) for inputs in given]
        if all(value is None or value is ... for value in found):
            return ...
        if isinstance(found[0], set | dict | str):
            return f"It returns a {type(found[0]).__name__}: return a number or a tensor."
        found, right = [as_tensor(value) for value in found], apply(reference, draws)
        for one, other in zip(found, right, strict=True):
            if one.shape != other.shape:
                return (f"It should return {len(other)} numbers." if other.dim() == 1 and not one.dim() else
                        f"It returns something of shape {list(one.shape)} where {list(other.shape)} is right.")
        if any(not agree(as_tensor(one), as_tensor(other)) for before, after in zip(draws, given, strict=True)
               for one, other in zip(before, after, strict=True)):
            return "It changes its inputs: make a new tensor or list."
        if all_agree(found, right):
            return None
        if any(not value.isfinite().all() for value in found):
            return "It returns values that are no finite numbers."
        return next((hint for wrong, hint in (mistakes or {}).items() if all_agree(found, apply(wrong, draws))),
                    otherwise)

    return judge


def network(shape: tuple[int, int, int], judge_network):
    """Return the check of a network for images of `shape` (C, H, W) in ten classes, or of a function that makes one.

    `judge_network` takes it, in evaluation mode.
    """
    def judge(answer):
        made = answer if isinstance(answer, nn.Module) else answer()
        if made is None or made is ...:
            return ...
        if not isinstance(made, nn.Module):
            return f"It is no network (nn.Module) and makes none: {type(made).__name__}."
        made = copy.deepcopy(made).eval()
        logits = made(torch.zeros(2, *shape))
        if tuple(logits.shape) != (2, 10):
            return f"For two images it returns {list(logits.shape)}, not [2, 10]: is there a flatten at the end?"
        return judge_network(made)

    return judge


def draw(generator: torch.Generator, low: int, high: int) -> int:
    """Return a whole number from `low` to `high`, both included, for the inputs that a function is tried on."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def apply(of, draws: list[tuple]) -> list[torch.Tensor]:
    return [as_tensor(of(*copy.deepcopy(inputs))) for inputs in draws]


def as_tensor(value) -> torch.Tensor:
    """Return a number, a sequence of them or a tensor as a tensor to compare."""
    return torch.as_tensor(value, dtype=torch.float64).detach().cpu()


def agree(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def all_agree(found: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(map(agree, found, right))
