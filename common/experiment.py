"""From a notebook's network and recipe to a result: read where a fresh one is there, trained where not."""

import dataclasses
import inspect
import io
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from IPython.display import Markdown
from torch import nn

from common import anatomy, results, session, targets, training
from common.claims import claims
from common.data import Dataset, load
from common.files import ROOT, write
from common.receptive_field import largest_field
from common.session import PRESETS, Published, Session
from common.targets import Target
from common.training import Recipe

SMOKE_IMAGES = 512
OWN = Published(seeds=sys.maxsize, weights=sys.maxsize)  # a network that session.toml doesn't know: the reader's own


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run of a notebook; made by `start`."""

    session: Session
    notebook: str
    preset: str
    seed: int
    epochs: int | None
    output: Path  # the folder of its results
    checkpoints: Path  # their folder
    made_of: dict = dataclasses.field(default_factory=dict)  # this run's results are, by name, norm and seed

    def data(self, name: str) -> tuple[Dataset, Dataset]:
        """Load the training and the test split of `name`, on the GPU where there is one; a few images for smoke."""
        train, test = load(name, "cuda" if torch.cuda.is_available() else "cpu")
        return (train[:SMOKE_IMAGES], test[:SMOKE_IMAGES]) if self.preset == "smoke" else (train, test)

    def recipe(self, recipe: Recipe, quick_epochs: int | None = None, quick_images: int | None = None) -> Recipe:
        """Return `recipe` as this run's preset and epochs want it.

        In "quick" it has `quick_epochs`, and trains on the first `quick_images` images where that is given.
        """
        if self.preset == "quick" and quick_epochs:
            recipe = dataclasses.replace(recipe, epochs=quick_epochs, train_images=quick_images or recipe.train_images)
        if self.preset == "smoke":
            recipe = dataclasses.replace(recipe, epochs=1, train_images=SMOKE_IMAGES,
                                         validation=min(recipe.validation, SMOKE_IMAGES // 4))
        return dataclasses.replace(recipe, epochs=self.epochs) if self.epochs else recipe

    def at_least(self, accuracy: float) -> Target:
        """Return the target of `accuracy` percent; on the short schedules of "quick", the session's goal."""
        return self.session.goal if self.preset == "quick" else Target("accuracy", ">=", accuracy)

    def train_or_read(self, name: str, make_network, recipe: Recipe, data: tuple[Dataset, Dataset],
                      limits: list[Target], norm: str | None = None) -> tuple[dict, nn.Module | None]:
        """Return the result of `name` for this run's seed and its trained network, trained now or read.

        `make_network()` returns a new network. A result is read, from `output` or from the published ones, where its
        recipe and layer table are those of today's code. The curve is printed in both cases. What is published for
        fewer seeds than the notebook's other results is shown, in a run with a later one, for an earlier seed. Where
        the weights of a published result aren't kept the network is None, or that of an earlier seed.

        Raises BudgetError (preset full) for a network or a recipe that misses a limit, ValueError for what is no
        network for these images, no list of targets, or no name.
        """
        check_arguments(name, make_network, recipe, limits)
        about = self.session.results(self.notebook).get(results.result_name(name, norm), OWN)
        seed = self.choose_seed(name, about)
        network, shape = build(make_network, seed, data[0]), tuple(data[0].images.shape[1:])
        layers, known = anatomy.layer_table(network, shape), before_training(network, recipe, shape)
        if self.preset == "full":
            targets.check_budget(limits, known)
        seen = what_is_seen(network, data)
        name = self.choose_name(name, norm, seed, made_of := (layers, recipe, seen))
        file = f"{results.result_name(name, norm)}-seed{seed}.json"
        made, published = (folder / file for folder in self.folders())
        for path in dict.fromkeys([made, published]):
            kept, expected = (about.weights, None) if path == published else (sys.maxsize, seen)
            if not path.exists():
                continue
            if reason := staleness(path, layers, recipe, expected) or missing_weights(path, seed < kept):
                print(f"{name}: not read from {os.path.relpath(path, ROOT)}: {reason}")
                continue
            result = results.read(path)
            result["targets"] = targets.compare(limits, result)  # today's
            show_curve(result, path)
            self.made_of[name, norm, seed] = made_of
            return result, with_weights(network, path, seed, kept, data[0].images.device)
        checkpoint = self.checkpoints / self.notebook / Path(file).with_suffix(".pt")
        history = training.fit(network, *data, recipe, seed, checkpoint=checkpoint)
        last = history["curve"][-1]
        result = {
            "session": self.session.name, "notebook": self.notebook, "model": name, "norm": norm, "seed": seed,
            "preset": self.preset, "network": describe_maker(make_network), **known, "max_epochs": recipe.epochs,
            "epochs": len(history["curve"]), "accuracy": last["test_accuracy"],
            "train_accuracy": last["train_accuracy"], "curve": history["curve"],
            "seconds": sum(row["seconds"] for row in history["curve"]), **history["machine"],
            "git_commit": git_commit(),
            "recipe": dataclasses.asdict(recipe), "layers": layers, **seen, "trace": history["trace"],
        }
        result["targets"] = targets.compare(limits, result)
        result = save(result, network if made != published or seed < about.weights else None, made)
        checkpoint.unlink(missing_ok=True)
        self.made_of[name, norm, seed] = made_of
        return result, network

    def folders(self) -> tuple[Path, Path]:
        """Where this notebook's results are written, and the published ones are: the same for full without `output`."""
        return self.output / self.notebook, ROOT / self.session.name / "results" / self.notebook

    def choose_seed(self, name: str, about: Published) -> int:
        """Return this run's seed, or an earlier one for a result that has fewer seeds than the notebook's others."""
        most = max((other.seeds for other in self.session.results(self.notebook).values()), default=0)
        if about.seeds >= most or self.seed < about.seeds:
            return self.seed
        print(f"{name}: published for {about.seeds} seed{'s' if about.seeds > 1 else ''}; shown for seed "
              f"{self.seed % about.seeds}")
        return self.seed % about.seeds

    def choose_name(self, name: str, norm: str | None, seed: int, made_of: tuple) -> str:
        """Return `name`, with a number behind it where this run has another network, or recipe, of that name."""
        for number in itertools.count(1):
            candidate = name if number == 1 else f"{name}_{number}"
            if self.made_of.get((candidate, norm, seed), made_of) == made_of:
                if number > 1:
                    print(f"{name}: this name has another network, or another recipe; kept as {candidate}")
                return candidate

    def claims(self, *statements: tuple[str, bool]) -> Markdown:
        """Return `statements` (text, whether it is true) with ticks.

        A false one fails the run in the preset full, once the notebook's results are there for all of their seeds.
        """
        made, published = self.folders()
        complete = all((made / f"{name}-seed{seed}.json").exists() or (published / f"{name}-seed{seed}.json").exists()
                       for name, about in self.session.results(self.notebook).items() for seed in range(about.seeds))
        return claims(*statements, strict=self.preset == "full" and complete)

    def over_seeds(self, result: dict) -> dict:
        """Return the summary (see `common.results.summarize`) of `result` and of its like with other seeds."""
        same = ("model", "norm", "preset", "layers")
        like = {run["seed"]: run for folder in reversed(self.folders()) for run in results.read_all(folder)
                if all(run[key] == result[key] for key in same) and full_recipe(run) == full_recipe(result)}
        return results.summarize(list({**like, result["seed"]: result}.values()))[0]


def start(session_name: str, notebook: str, preset: str, seed: int, epochs: int | None, output: str) -> Experiment:
    """Check a notebook's parameters and return its `Experiment`; raises ValueError naming the one that is wrong.

    In Colab an `output` on /content/drive mounts the student's Google Drive.
    """
    about, running = session.read(session_name), Path(os.environ.get("JPY_SESSION_NAME", ""))
    if running.parent == ROOT / session_name and running.stem not in about.notebooks:
        notebook = running.stem  # a copy of a notebook: its results are its own
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed!r} is not a whole number of at least 0, of 19 digits at most")
    if epochs is not None and (type(epochs) is not int or epochs < 1):
        raise ValueError(f"epochs={epochs!r} is not a whole number of at least 1")
    if type(output) is not str:
        raise ValueError(f"output={output!r} is not a text")
    if preset == "full" and epochs and not output:
        raise ValueError("epochs with preset full would replace published results: name another folder as output")
    own = f"{preset}-{epochs}-epochs" if epochs else preset  # not where `make run` looks for the preset's results
    if output.startswith("/content/drive/"):
        mount_drive()
    if output:
        folder = Path(output).expanduser().resolve()
        checkpoints = folder / "checkpoints"
    else:
        folder = ROOT / (session_name if preset == "full" else f"runs/{own}/{session_name}") / "results"
        checkpoints = ROOT / "runs" / "checkpoints" / own / session_name
    for place in (folder, checkpoints):
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):  # before hours of training, not after them
                pass
        except OSError as error:
            raise ValueError(f"results can't be written to {place} ({error.strerror}): name another folder as output, "
                             "or make this one a folder you may write to") from None
    return Experiment(about, notebook, preset, seed, epochs, folder, checkpoints)


def mount_drive() -> None:
    """Mount the student's Google Drive, in Colab; raises ValueError elsewhere."""
    try:
        from google.colab import drive
    except ImportError:
        raise ValueError("an output on /content/drive: only Colab can mount it; name a folder of this machine, or "
                         "leave output empty") from None
    drive.mount("/content/drive")


def check_arguments(name: str, make_network, recipe: Recipe, limits) -> None:
    """Raise ValueError for what `train_or_read` can't be given: now, not after hours of training."""
    if not name.isidentifier():
        raise ValueError(f"{name!r} can't name a network's files: use letters, digits and _ only")
    if not isinstance(limits, list) or not all(isinstance(limit, Target) for limit in limits):
        raise ValueError('the targets are no list such as [Target("accuracy", ">=", 90.0)]')
    try:
        json.dumps([describe_maker(make_network), dataclasses.asdict(recipe)])
    except TypeError as error:
        raise ValueError(f"{name} couldn't be kept: what its recipe and its network are made with has to be plain "
                         f"numbers and strings ({error})") from None


def build(make_network, seed: int, train: Dataset) -> nn.Module:
    """Return a new network with the first weights that belong to `seed`, after one image has passed through it.

    Raises ValueError where it isn't a network for the images and classes of `train`.
    """
    if isinstance(make_network, nn.Module):
        raise ValueError("give the function that makes the network, not the network: its class, or lambda: MyNetwork()")
    torch.manual_seed(seed)
    network = make_network()
    if make_network() is network:
        raise ValueError("the function returns the same network each time, trained or not: make it inside the function")
    if not isinstance(network, nn.Module):
        raise ValueError(f"the function returns no network but {type(network).__name__}: is its return missing?")
    training.try_network(network, train)
    return network


def before_training(network: nn.Module, recipe: Recipe, shape: tuple[int, int, int]) -> dict:
    """Return what targets may ask of a network and its recipe, for images of `shape` (C, H, W)."""
    pixels, reason = largest_field(network, shape)
    if reason:
        print(f"receptive field: unknown ({reason})")
    return {
        "params": anatomy.count_parameters(network), "receptive_field": pixels,
        **{kind: len(names) for kind, names in anatomy.layer_kinds(network).items()},
        "transforms": len(list_transforms(recipe)), "epochs": recipe.epochs,
    }


def what_is_seen(network: nn.Module, data: tuple[Dataset, Dataset]) -> dict:
    """Return what tells runs apart that have the same recipe and layers: the data, and what the network computes."""
    return {"images": [len(split) for split in data], "output": training.first_output(network, data[0])}


def list_transforms(recipe: Recipe) -> list[str]:
    """Return the names of the transforms by which a recipe augments, those of albumentations one by one."""
    return [transform for name, options in recipe.augmentation
            for transform in ([step for step, _ in options["transforms"]] if name == "albumentations" else [name])
            ] + ["alternating_flip"] * recipe.alternating_flip


def staleness(path: Path, layers: list[dict], recipe: Recipe, seen: dict | None = None) -> str | None:
    """Say why today's code would not make the result at `path` again, by recipe and layers; None where it would.

    Where it is given, what `what_is_seen` returns is compared too.
    """
    result = results.read(path)
    if full_recipe(result) != json.loads(json.dumps(dataclasses.asdict(recipe))):
        return "its recipe is another one"
    if result["layers"] != layers:
        return "its network is another one"
    if seen:
        if result["images"] != seen["images"]:
            return "its data are others"
        if not results.same_output(seen["output"], result["output"], tolerance=0.05):
            return "its network computes something else"
    return None


def missing_weights(path: Path, kept: bool) -> str | None:
    """Say so where the weights beside a result should be kept and aren't there."""
    return "its weights are missing" if kept and not path.with_suffix(".pt").exists() else None


def full_recipe(result: dict) -> dict:
    """Return the recipe of a result; what recipes could not say yet when it was made is at its default."""
    return {field.name: field.default for field in dataclasses.fields(Recipe)} | result["recipe"]


def show_curve(result: dict, path: Path) -> None:
    """Print the curve of a result that is read, as training would: ten lines at most."""
    print(f"{result['model']}: read from {os.path.relpath(path, ROOT)}, trained on {result['device']}")
    elapsed, every = 0.0, math.ceil(len(result["curve"]) / 10)
    for row in result["curve"]:
        elapsed += row["seconds"]
        if (len(result["curve"]) - row["epoch"]) % every == 0:
            print(training.progress_line(row, result["max_epochs"], elapsed))


def with_weights(network: nn.Module, path: Path, seed: int, kept: int, device: torch.device) -> nn.Module | None:
    """Return `network`, on `device`, with the weights of the result at `path`, which are there for `kept` seeds.

    Those of an earlier seed stand in for those of a later one; without any, None is returned. Raises ValueError where
    the earlier seed's result isn't there yet, or is of another network.
    """
    if kept == 0:
        return None
    if seed >= kept:
        print(f"the weights of seed {seed} aren't kept: the network is that of seed {seed % kept}")
        layers = results.read(path)["layers"]
        path = path.with_name(path.name.replace(f"-seed{seed}.", f"-seed{seed % kept}."))
        if not path.exists() or results.read(path)["layers"] != layers:
            raise ValueError(f"{path.name} isn't there, or is of another network: run the notebook with "
                             f"seed={seed % kept} first")
    network.load_state_dict(results.read_weights(results.read(path)))
    return network.to(device)


def save(result: dict, network: nn.Module | None, path: Path) -> dict:
    """Write `result` to `path`, a .json, and a network's weights beside it; return the result as it will be read."""
    if network is not None:
        weights = io.BytesIO()
        torch.save({name: value.cpu() for name, value in network.state_dict().items()}, weights)
        result = {**result, "weights_sha256": results.sha256(weights.getvalue())}
        write(path.with_suffix(".pt"), weights.getvalue())
    write(path, json.dumps(result, indent=1) + "\n")
    return results.read(path)


def describe_maker(make_network) -> dict:
    """Return {name, arguments} of the function that `make_network` is, or is a `partial` of.

    With them `common.pretrained` builds a network of the course again.
    """
    function, given = getattr(make_network, "func", make_network), getattr(make_network, "args", ())
    bound = inspect.signature(function).bind(*given, **getattr(make_network, "keywords", {}))
    return {"name": getattr(function, "__name__", repr(function)),
            "arguments": json.loads(json.dumps(bound.arguments, default=repr))}


def git_commit() -> str | None:
    """Return the checkout's commit, with "+" where it has changes besides, or None outside git."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
