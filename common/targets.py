"""Targets: what a model has to reach, as code."""

import operator
from typing import NamedTuple

RELATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
NAMES = {"params": "parameters", "epochs": "epochs", "accuracy": "test accuracy, %",
         "receptive_field": "receptive field after the average, pixels", "depthwise": "depthwise convolutions",
         "dilated": "dilated convolutions", "max_pools": "max-pools", "global_pools": "global average pools",
         "linear": "linear layers", "transforms": "augmenting transforms"}


class BudgetError(Exception):
    """A network or its recipe isn't what its session allows."""


class Target(NamedTuple):
    """A limit on one value of a result: Target("params", "<", 8000)."""

    key: str  # a key of the result, one of NAMES
    relation: str  # one of RELATIONS
    limit: float

    def met(self, value: float) -> bool:
        """Whether `value` keeps to the limit; raises KeyError for an unknown relation."""
        return RELATIONS[self.relation](value, self.limit)


# What session 9 asks of a network and its recipe, but for the accuracy.
S9_BRIEF = [Target("params", "<", 200_000), Target("receptive_field", ">", 44), Target("depthwise", ">=", 1),
            Target("dilated", ">=", 1), Target("max_pools", "<=", 0), Target("global_pools", ">=", 1),
            Target("linear", ">=", 1), Target("transforms", ">=", 3)]


def check(targets: list[Target], values: dict) -> list[dict]:
    """Compare `values`, a result, with `targets`: a dict {name, limit, value, met} for each."""
    return [{"name": NAMES[t.key], "limit": f"{t.relation} {t.limit:,}", "value": values[t.key],
             "met": t.met(values[t.key])} for t in targets]


def check_budget(targets: list[Target], values: dict) -> None:
    """Raise BudgetError when `values`, what is known before training, breaks one of the limits; others are left."""
    for t in targets:
        if t.key in values and not t.met(values[t.key]):
            raise BudgetError(f"{values[t.key]:,} {NAMES[t.key]}, the limit is {t.relation} {t.limit:,}: "
                              "change the network or its recipe")
