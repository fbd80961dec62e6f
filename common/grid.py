"""The published runs as a grid, which the Snakefile makes: a cell is a notebook with a seed, all models in it."""

from typing import NamedTuple

from common import notebooks
from common.notebooks import CourseError, known
from common.results import PRESETS


class Published(NamedTuple):
    """What a notebook publishes."""

    seeds: int  # how many, where nobody asks for another number
    minutes: int  # what a seed takes on one core of a slow machine: the time limit of its job on a cluster
    every: tuple[str, ...] = ()  # the results that each seed has: a model, or model-norm
    numbers: tuple[str, ...] = ()  # those of them whose weights are not kept
    first: dict[str, int] = {}  # the results that only the first so many seeds have; later ones show those
    weights: int = 3  # of how many seeds the repository, which has to stay small, has the weights; see .gitignore


LAYOUTS = ("unbudgeted-bn", "wide-bn", "narrowed-bn", "evened_out-bn", "widened_input-bn", "budgeted-bn")
NORMS = ("S8_norms/2_batch_norm", "S8_norms/3_group_norm", "S8_norms/4_layer_norm")
ABLATED = ("short", "short_sgd", "short_hard_labels", "short_flip_by_chance", "short_last_weights", "short_unshared")
ABLATED_S9 = ("short", "short_sgd", "short_hard_labels", "short_unvaried")
GRID = {
    "S7_mnist/1_structure": Published(1, 30, first={"structure": 1, "skeleton": 1}),
    "S7_mnist/2_regularization": Published(1, 60, first={"reduced": 1, "rebalanced": 1, "regularized": 1}),
    "S7_mnist/3_augmentation": Published(10, 90, ("ours",), first={"rotated": 1, "one_cycle": 5, "smallest": 5},
                                         weights=5),
    "S8_norms/1_layout": Published(1, 60, first=dict.fromkeys(LAYOUTS, 1)),
    "S8_norms/2_batch_norm": Published(5, 180, ("budgeted-bn", "ours-bn"), tuple(f"{name}-bn" for name in ABLATED),
                                       {"widened_input-bn": 1, "transitions-bn": 1}),
    "S8_norms/3_group_norm": Published(5, 120, ("budgeted-gn", "ours-gn"),
                                       first={"widened_input-gn": 1, "transitions-gn": 1}),
    "S8_norms/4_layer_norm": Published(5, 120, ("budgeted-ln", "widened_again-ln", "ours-ln"),
                                       first={"widened_input-ln": 1, "transitions-ln": 1}),
    "S8_norms/5_side_by_side": Published(1, 60, first={f"batch_{size}-{norm}": 1 for norm in ("bn", "gn", "ln")
                                                       for size in (4, 16, 64, 256)}),
    "S9_advanced_conv/1_convolutions": Published(1, 15),
    "S9_advanced_conv/2_augmentation": Published(1, 15),
    "S9_advanced_conv/3_inverted_bottlenecks": Published(1, 180, ("inverted_bottlenecks",), weights=2),
    "S9_advanced_conv/4_ours": Published(3, 180, ("ours",), ABLATED_S9, weights=2),
    "S9_advanced_conv/5_smaller_longer": Published(1, 360, ("half_size", "longer"), weights=2),
}

COMPARED = {  # the notebooks whose published numbers a notebook sets beside its own
    "S9_advanced_conv/4_ours": ["S9_advanced_conv/3_inverted_bottlenecks"],
    "S9_advanced_conv/5_smaller_longer": ["S9_advanced_conv/4_ours"],
}


class Cell(NamedTuple):
    """One run of a notebook: all of its results for one seed."""

    notebook: str
    seed: int
    preset: str

    @property
    def name(self) -> str:
        """The name of its rule."""
        return rule(self.notebook, f"seed{self.seed}")

    @property
    def makes(self) -> list[str]:
        """Its files, below the course's folder: each result, and the weights that are in the repository."""
        published = GRID[self.notebook]
        few = [result for result, seeds in published.first.items() if self.seed < seeds]
        session, notebook = self.notebook.split("/")
        folder = f"{session}/results" if self.preset == "full" else f"runs/{self.preset}/{session}/results"
        kinds = ("json", "pt") if self.seed < published.weights else ("json",)
        files = [f"{result}-seed{self.seed}.{kind}" for result in (*published.every, *few) for kind in kinds]
        files += [f"{result}-seed{self.seed}.json" for result in published.numbers]
        return [f"{folder}/{notebook}/{file}" for file in files]

    @property
    def needs(self) -> list["Cell"]:
        """The cells whose results it shows."""
        earlier = {self.seed % seeds for seeds in GRID[self.notebook].first.values() if self.seed >= seeds}
        needed = [(self.notebook, seed) for seed in sorted(earlier)]
        if self.preset == "full":  # in the others it makes its own, or does without
            needed += [(name, 0) for name in COMPARED.get(self.notebook, ())]
            if self.notebook == "S8_norms/5_side_by_side":
                needed += [(norm, self.seed) for norm in NORMS] + [(NORMS[0], seed) for seed in range(3)]
        return [Cell(*cell, self.preset) for cell in dict.fromkeys(needed)]


def rule(notebook: str, what: str) -> str:
    """Return the name of a rule of the Snakefile."""
    return f"{notebook.replace('/', '_')}_{what}"


def asked(config: dict) -> tuple[list[str], int | None, str]:
    """Return the notebooks, the number of seeds and the preset that Snakemake's --config asks for.

    Raises CourseError for what isn't known.
    """
    if unknown := config.keys() - {"notebooks", "seeds", "preset"}:
        raise CourseError(f"unknown --config {', '.join(sorted(unknown))}; known: notebooks, seeds, preset")
    seeds, preset = str(config.get("seeds", "")), config.get("preset", "full")
    if seeds and not (seeds.isdecimal() and int(seeds)):
        raise CourseError(f"--config seeds={seeds}: not a whole number of at least 1")
    if preset not in PRESETS:
        raise CourseError(f"--config preset={preset}: unknown; known: {', '.join(PRESETS)}")
    names = str(config["notebooks"]).split() if config.get("notebooks") else list(GRID)
    return list(dict.fromkeys(map(known, names))), int(seeds) if seeds else None, preset


def cells(names: list[str], seeds: int | None = None, preset: str = "full") -> list[Cell]:
    """Return the cells of these notebooks, for `seeds` seeds each, or as many as are published of it.

    The cells that they need are among them, and in preset full those that have results already: they may be stale.
    Raises CourseError for a notebook that isn't there.
    """
    asked = [Cell(name, seed, preset) for name in map(known, names)
             for seed in sorted({*range(seeds or GRID[name].seeds), *(kept(name) if preset == "full" else ())})]
    return list(dict.fromkeys(cell for one in asked for cell in (*one.needs, one) if cell.makes))


def kept(name: str) -> set[int]:
    """Return the seeds of which notebook `name` has published results."""
    session, notebook = name.split("/")
    files = (notebooks.ROOT / session / "results" / notebook).glob("*-seed*.json")
    return {int(file.stem.rpartition("-seed")[2]) for file in files}


def shown(name: str, among: list[Cell]) -> list[str]:
    """Return the files that notebook `name` shows when it is run for no seed: of all seeds, and of those it needs."""
    own = [cell for cell in among if cell.notebook == name]
    theirs = {name, *(needed.notebook for cell in own for needed in cell.needs)}
    return [file for cell in among if cell.notebook in theirs for file in cell.makes]
