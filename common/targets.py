"""Targets: what a network has to reach, as code."""

import operator
from dataclasses import dataclass

RELATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
NAMES = {"params": "parameters", "epochs": "epochs", "accuracy": "test accuracy, %",
         "receptive_field": "receptive field after the average, pixels", "depthwise": "depthwise convolutions",
         "dilated": "dilated convolutions", "max_pools": "max-pools", "global_pools": "global average pools",
         "linear": "linear layers", "transforms": "augmenting transforms"}


class BudgetError(Exception):
    """A network or its recipe isn't what its session allows."""


@dataclass(frozen=True)
class Target:
    """A limit on one value of a result: Target("params", "<", 10_000).

    Raises ValueError for a value that results don't have, for an unknown relation, for a limit that is no number.
    """

    key: str  # one of NAMES
    relation: str  # one of RELATIONS
    limit: float

    def __post_init__(self):
        for value, known in ((self.key, NAMES), (self.relation, RELATIONS)):
            if value not in known:
                raise ValueError(f"a target can't ask for {value!r}; known: {', '.join(known)}")
        if not isinstance(self.limit, int | float):
            raise ValueError(f"a target's limit is a number, not {self.limit!r}")

    def is_met(self, value: float | None) -> bool:
        """Whether `value` keeps to the limit; an unknown one (None) doesn't."""
        return value is not None and RELATIONS[self.relation](value, self.limit)


def compare(targets: list[Target], values: dict) -> list[dict]:
    """Compare `values`, a result, with `targets`: a dict {name, limit, value, met} for each."""
    return [{"name": NAMES[t.key], "limit": f"{t.relation} {t.limit:,}", "value": values[t.key],
             "met": t.is_met(values[t.key])} for t in targets]


def check_budget(targets: list[Target], values: dict) -> None:
    """Raise BudgetError when `values`, what is known before training, breaks one of the limits; others are left."""
    for t in targets:
        if t.key in values and not t.is_met(values[t.key]):
            found = "unknown" if values[t.key] is None else f"{values[t.key]:,}"
            raise BudgetError(f"{NAMES[t.key]}: {found}, the limit is {t.relation} {t.limit:,}: "
                              "change the network or its recipe")
