"""Claims: what a notebook says of its results, as code that fails where it is false."""

from IPython.display import Markdown

from common.results import difference


class ClaimError(Exception):
    """A notebook claims what its results contradict."""


def claims(*statements: tuple[str, bool], strict: bool = True) -> Markdown:
    """Return a list of `statements` (text, whether it is true) with a tick or a cross for each.

    `strict` raises ClaimError for the false ones, after all were looked at. See `Experiment.claims` in a notebook.
    """
    false = [text for text, true in statements if not true]
    if strict and false:
        raise ClaimError("the results contradict: " + "; ".join(false))
    lines = [f"- {'✓' if true else '✗'} {text}" for text, true in statements]
    note = "\n\nClaims are about the full schedule and all seeds: one seed can't show a difference." if false else ""
    return Markdown("\n".join(lines) + note)


def better(one: dict, other: dict) -> bool:
    """Whether `one` is better than `other`, both summaries, by `Difference.verdict`; one pair of seeds never is."""
    return difference(one, other).verdict == "better"


def undecided(one: dict, other: dict) -> bool:
    """Whether at least two pairs of seeds can't tell which of two summaries is better."""
    return difference(one, other).verdict == "no clear difference"
