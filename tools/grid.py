"""The published runs as a grid, which the Snakefile makes: a cell is a notebook with a seed, all its networks in it."""

from typing import NamedTuple

from common import session
from tools.notebooks import CourseError, check_name, names


class Cell(NamedTuple):
    """One run of a notebook: all of its results for one seed. What is there and fresh is read, the rest is trained."""

    notebook: str
    seed: int
    preset: str

    @property
    def name(self) -> str:
        """The name of its rule."""
        return f"{self.notebook.replace('/', '_')}_seed{self.seed}"

    @property
    def log(self) -> str:
        """What it prints; beside it lies a .done where it has run."""
        return f"runs/grid/{self.preset}/{self.name}.log"


def about(notebook: str) -> dict:
    """Return what session.toml says of a notebook; nothing of one of the reader's own."""
    name, _, own = notebook.partition("/")
    return session.read(name).notebooks.get(own, {})


def minutes(notebook: str) -> int:
    """Return what one seed of a notebook takes on one core of a slow machine."""
    return about(notebook).get("minutes", 60)


def seed_counts(notebook: str) -> list[int]:
    """Return for how many seeds each of a notebook's results is published."""
    return [result["seeds"] for result in about(notebook).get("results", {}).values()]


def find_needed(cell: Cell, among: list[Cell]) -> list[Cell]:
    """Return the cells that have to run before `cell`, as far as they are `among` those asked for.

    Those are the notebooks whose results it shows, and, for what has fewer seeds, the seed that it shows instead.
    """
    after = {f"{cell.notebook.partition('/')[0]}/{name}" for name in about(cell.notebook).get("after", [])}
    shown = {cell.seed % count for count in seed_counts(cell.notebook)} - {cell.seed}
    return [other for other in among if other.notebook in after
            or other.notebook == cell.notebook and other.seed in shown]


def list_cells(config: dict) -> list[Cell]:
    """Return the cells that Snakemake's --config asks for: its notebooks (all), seeds (as published), preset (full).

    Raises CourseError for what isn't known.
    """
    if unknown := config.keys() - {"notebooks", "seeds", "preset"}:
        raise CourseError(f"unknown --config {', '.join(sorted(unknown))}; known: notebooks, seeds, preset")
    seeds, preset = str(config.get("seeds", "")), config.get("preset", "full")
    if seeds and not (seeds.isdecimal() and int(seeds)):
        raise CourseError(f"--config seeds={seeds}: not a whole number of at least 1")
    if preset not in session.PRESETS:
        raise CourseError(f"--config preset={preset}: unknown; known: {', '.join(session.PRESETS)}")
    chosen = dict.fromkeys(map(check_name, str(config.get("notebooks", "")).split())) or names()
    return [Cell(name, seed, preset) for name in chosen
            for seed in range(int(seeds or max(seed_counts(name), default=1)))]
