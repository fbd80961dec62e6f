"""What a session asks for and publishes: its session.toml, the one place where that stands."""

import tomllib
from typing import NamedTuple

from common.files import ROOT
from common.targets import Target

PRESETS = {"smoke": "seconds, for tests", "quick": "what `make run` does", "full": "what is published"}


class Published(NamedTuple):
    """What is published of one result of a notebook: a network, and its norm where it has one."""

    seeds: int
    weights: int = 0  # of how many seeds the weights are kept


class Session(NamedTuple):
    """A session; made by `read`."""

    name: str  # its folder
    title: str
    learn: str  # what a reader learns, for the front page
    closing: str  # the notebook in which its goal is reached
    budget: list[Target]
    goal: Target
    baselines: list[dict]  # {params, accuracy, norm and link where there is one}
    comparisons: list[tuple[str, str]]  # of "notebook/result"
    notebooks: dict[str, dict]  # its notebooks, in order: {minutes, after, results}

    def target(self, key: str) -> Target:
        """Return what the budget asks of `key`: target("params").limit."""
        return next(target for target in self.budget if target.key == key)

    def results(self, notebook: str) -> dict[str, Published]:
        """Return what `notebook` publishes, by model or model-norm; nothing for a notebook of the reader's own."""
        found = self.notebooks.get(notebook, {}).get("results", {})
        return {name: Published(**about) for name, about in found.items()}


def names() -> list[str]:
    """Return the sessions' folders, in the course's order."""
    found = (path.parent.name for path in ROOT.glob("S*/session.toml"))
    return sorted(found, key=lambda name: int(name.split("_")[0].removeprefix("S")))


def read(name: str) -> Session:
    """Return the session in the folder `name`; raises ValueError, listing the sessions, where there is none."""
    if name not in names():
        raise ValueError(f"no session {name!r}; known: {', '.join(names())}")
    about = tomllib.loads((ROOT / name / "session.toml").read_text())
    budget, (goal,) = (_targets(about[part]) for part in ("budget", "goal"))
    return Session(name, about["title"], about["learn"], about["closing"], budget, goal, about.get("baselines", []),
                   [tuple(pair) for pair in about.get("comparisons", [])], about["notebooks"])


def _targets(limits: dict[str, str]) -> list[Target]:
    """Return the targets that a table such as {params = "< 8000"} asks for."""
    split = {key: limit.split() for key, limit in limits.items()}
    return [Target(key, relation, float(limit) if "." in limit else int(limit))
            for key, (relation, limit) in split.items()]
