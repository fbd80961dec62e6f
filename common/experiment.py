"""From a notebook's model and recipe to a result: read where a fresh one is there, trained where not."""

import copy
import dataclasses
import inspect
import io
import itertools
import json
import os
import re
import subprocess
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import torch
import torchsummary
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from common import results, targets, training
from common.data import ROOT, Dataset, load
from common.machine import machine
from common.receptive_field import receptive_field
from common.results import PRESETS
from common.training import Recipe

TRAIN = {"missing": "read fresh results, train the others", "always": "train again",
         "never": "stop where a result is missing or stale"}
SMOKE_IMAGES = 512


class StaleError(Exception):
    """A published result is missing, or today's code would not make it again."""


class Experiment(NamedTuple):
    """One run of a notebook; made by `start`."""

    session: str
    notebook: str
    preset: str
    seed: int
    epochs: int | None
    train: str
    output: Path  # the folder of its results
    resume: bool  # go on from a checkpoint
    checkpoints: Path  # their folder

    def data(self, name: str) -> tuple[Dataset, Dataset]:
        """Load the training and the test split of `name`, on the GPU where there is one; a few images for smoke."""
        train, test = load(name, "cuda" if torch.cuda.is_available() else "cpu")
        return (train[:SMOKE_IMAGES], test[:SMOKE_IMAGES]) if self.preset == "smoke" else (train, test)

    def recipe(self, recipe: Recipe, quick_epochs: int | None = None) -> Recipe:
        """Return `recipe` as this run's preset and epochs want it; in "quick" it has `quick_epochs`."""
        if self.preset == "quick" and quick_epochs:
            recipe = dataclasses.replace(recipe, epochs=quick_epochs)
        if self.preset == "smoke":
            recipe = dataclasses.replace(recipe, epochs=1, train_images=SMOKE_IMAGES,
                                         validation=min(recipe.validation, SMOKE_IMAGES // 4))
        return dataclasses.replace(recipe, epochs=self.epochs) if self.epochs else recipe

    def run(self, name: str, make_model, recipe: Recipe, data: tuple[Dataset, Dataset], limits: list[targets.Target],
            norm: str | None = None, seeds: int | None = None, weights: bool = True) -> tuple[dict, nn.Module | None]:
        """Return the result of `name` for this run's seed and its trained model, trained now or read.

        `make_model()` returns a new network. A result is read where its recipe, layer table and first losses are those
        of today's code: from `output`, or from the published ones. The curve is printed in both cases. A model that
        is published for `seeds` seeds only is shown, in a run with a higher one, for that seed modulo `seeds`. Where
        `weights` is False the numbers alone are kept, and None is returned for the model.

        Raises BudgetError (preset full) for a network or a recipe that misses a limit, StaleError where nothing may be
        trained.
        """
        seed = self.seed % seeds if seeds else self.seed
        model = seeded(make_model, seed)
        if self.preset == "full":
            targets.check_budget(limits, before_training(model, recipe, tuple(data[0].images.shape[1:])))
        prefix = f"{name}{f'-{norm}' if norm else ''}-seed"
        made, published = (folder / f"{prefix}{seed}.json" for folder in self.folders())
        if seed != self.seed:
            print(f"{name}: kept for {seeds} seed{'s' if seeds > 1 else ''}; shown for seed {seed}")
        if self.train == "never":
            check_fresh(made, prefix, make_model, recipe, data, weights)
        for path in dict.fromkeys([made, published]):
            if self.train == "always" or not path.exists():
                continue
            if reason := stale(path, make_model, recipe, data, weights):
                print(f"{name}: not read from {os.path.relpath(path, ROOT)}: {reason}")
                continue
            result = results.load(path)
            result["targets"] = targets.check(limits, result)  # today's
            show(result, path)
            if weights:
                model.load_state_dict(results.weights(result))
            break
        else:
            if self.train == "never":
                raise StaleError(f"no result {os.path.relpath(made, ROOT)}; `make results` makes it")
            about = {"session": self.session, "notebook": self.notebook, "model": name, "norm": norm, "seed": seed,
                     "preset": self.preset}
            checkpoint = self.checkpoints / self.notebook / f"{prefix}{seed}.pt"
            if not self.resume:
                checkpoint.unlink(missing_ok=True)
            result = about | {"network": maker(make_model)} | trained(model, recipe, data, seed, checkpoint)
            result["targets"] = targets.check(limits, result)
            result = save(result, model if weights else None, made)
            checkpoint.unlink(missing_ok=True)
        return result, model.to(data[0].images.device) if weights else None

    def folders(self) -> tuple[Path, Path]:
        """Where this notebook's results are written, and where the published ones are (for full, the same)."""
        return self.output / self.notebook, ROOT / self.session / "results" / self.notebook

    def over_seeds(self, result: dict) -> dict:
        """Return the summary (see `common.results.summary`) of `result` and of its like with other seeds."""
        same = ("model", "norm", "preset", "layers")
        like = {run["seed"]: run for folder in reversed(self.folders()) for run in results.read(folder)
                if all(run[key] == result[key] for key in same) and full_recipe(run) == full_recipe(result)}
        return results.summary(list({**like, result["seed"]: result}.values()))[0]


def start(session: str, notebook: str, preset: str, seed: int, epochs: int | None, train: str, output: str,
          resume: bool) -> Experiment:
    """Check a notebook's parameters and return its `Experiment`; raises ValueError naming the one that is wrong.

    In Colab an `output` on /content/drive mounts the student's Google Drive.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(PRESETS)}")
    if train not in TRAIN:
        raise ValueError(f"unknown value train={train!r}; known: {', '.join(TRAIN)}")
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed!r} is not a whole number of at least 0, of 19 digits at most")
    if epochs is not None and (type(epochs) is not int or epochs < 1):
        raise ValueError(f"epochs={epochs!r} is not a whole number of at least 1")
    if type(output) is not str:
        raise ValueError(f"output={output!r} is not a text")
    if type(resume) is not bool:
        raise ValueError(f"resume={resume!r} is not True or False")
    if preset == "full" and epochs and not output:
        raise ValueError("epochs with preset full would replace published results: name another folder as output")
    own = f"{preset}-{epochs}-epochs" if epochs else preset  # not where `make run` looks for the preset's results
    folder = ROOT / session / "results" if preset == "full" else ROOT / "runs" / own / session / "results"
    if output.startswith("/content/drive/"):
        mount_drive()
    if output:
        folder = Path(output).expanduser().resolve()
        checkpoints = folder / "checkpoints"
    else:
        checkpoints = ROOT / "runs" / "checkpoints" / own / session
    for place in (folder, checkpoints):
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):  # before hours of training, not after them
                pass
        except OSError as error:
            raise ValueError(f"results can't be written to {place} ({error.strerror}): name another folder as output, "
                             "or make this one a folder you may write to") from None
    return Experiment(session, notebook, preset, seed, epochs, train, folder, resume, checkpoints)


def mount_drive() -> None:
    """Mount the student's Google Drive, in Colab; raises ValueError elsewhere."""
    try:
        from google.colab import drive
    except ImportError:
        raise ValueError("an output on /content/drive: only Colab can mount it; name a folder of this machine, or "
                         "leave output empty") from None
    drive.mount("/content/drive")


def show(result: dict, path: Path) -> None:
    """Print the curve of a result that is read, as training would."""
    print(f"{result['model']}: read from {os.path.relpath(path, ROOT)}, trained on {result['device']}")
    elapsed = 0.0
    for row in result["curve"]:
        elapsed += row["seconds"]
        print(training.progress_line(row, result["max_epochs"], elapsed))


def trained(model: nn.Module, recipe: Recipe, data: tuple[Dataset, Dataset], seed: int, checkpoint: Path) -> dict:
    """Train `model` in place and return the part of its result that doesn't depend on the notebook."""
    shape = tuple(data[0].images.shape[1:])
    known, layers = before_training(model, recipe, shape), layer_table(model, shape)
    history = training.fit(model, *data, recipe, seed, checkpoint=checkpoint)
    curve = history["curve"]
    return {
        **known, "max_epochs": recipe.epochs, "epochs": len(curve), "accuracy": curve[-1]["test_accuracy"],
        "train_accuracy": curve[-1]["train_accuracy"], "curve": curve,
        "seconds": sum(row["seconds"] for row in curve), **history["machine"], "git_commit": git_commit(),
        "recipe": dataclasses.asdict(recipe), "layers": layers, "trace": history["trace"],
    }


def before_training(model: nn.Module, recipe: Recipe, shape: tuple[int, int, int]) -> dict:
    """Return what targets may ask of a network and its recipe, for images of `shape` (C, H, W)."""
    fields = [row.rf_out for row in receptive_field(model, shape)]
    return {
        "params": count_parameters(model),
        "receptive_field": max(max(field) if isinstance(field, tuple) else field for field in fields),
        **{kind: len(names) for kind, names in layer_kinds(model).items()}, "transforms": len(transforms(recipe)),
        "epochs": recipe.epochs,
    }


def save(result: dict, model: nn.Module | None, path: Path) -> dict:
    """Write `result` to `path`, a .json, and a model's weights beside it; return the result as it will be read."""
    if model is not None:
        weights = io.BytesIO()
        torch.save({name: value.cpu() for name, value in model.state_dict().items()}, weights)
        result = {**result, "weights_sha256": results.sha256(weights.getvalue())}
        results.write(path.with_suffix(".pt"), weights.getvalue())
    results.write(path, json.dumps(result, indent=1) + "\n")
    return results.load(path)


def maker(make_model) -> dict:
    """Return {name, arguments} of the function of `common.models` that `make_model` is, or is a `partial` of.

    With them `common.models.published` builds the network again.
    """
    function = getattr(make_model, "func", make_model)
    bound = inspect.signature(function).bind(*getattr(make_model, "args", ()), **getattr(make_model, "keywords", {}))
    network = {"name": function.__name__, "arguments": bound.arguments}
    try:
        json.dumps(network)
    except TypeError as error:
        raise ValueError(f"{function.__name__}{bound.args} can't be kept with its result: {error}") from None
    return network


def seeded(make_model, seed: int) -> nn.Module:
    """Return a new network with the first weights that belong to `seed`."""
    torch.manual_seed(seed)
    return make_model()


def stale(path: Path, make_model, recipe: Recipe, data: tuple[Dataset, Dataset], weights: bool = True) -> str | None:
    """Say why today's code would not make the result at `path` again, or None where it would.

    Compared are the recipe, the layer table and the losses of the first steps (see `common.training.agree`), which are
    trained again (a second).
    """
    result = results.load(path)
    if not {"recipe", "layers", "curve", "accuracy", "trace", "device", "threads", "torch", "network"} <= result.keys():
        return "it is incomplete"
    if full_recipe(result) != json.loads(json.dumps(dataclasses.asdict(recipe))):
        return "its recipe is another one"
    model = seeded(make_model, result["seed"])
    if result["layers"] != layer_table(model, tuple(data[0].images.shape[1:])):
        return "its network is another one"
    try:
        if weights:
            results.weights(result)
    except ValueError as error:
        return str(error).rpartition(": ")[2]
    here = machine(data[0].images.device)
    if result["device"].split()[0] != here["device"].split()[0]:
        return None  # another kind of device draws other random numbers, so its losses can't be compared
    trace = training.first_losses(model, *data, recipe, result["seed"], result["threads"])
    return None if training.agree(trace, result["trace"], result, here) else "training starts with other losses"


def full_recipe(result: dict) -> dict:
    """Return the recipe of a result; what recipes could not say yet when it was made is at its default."""
    return {field.name: field.default for field in dataclasses.fields(Recipe)} | result["recipe"]


def check_fresh(own: Path, prefix: str, make_model, recipe: Recipe, data: tuple[Dataset, Dataset],
                weights: bool = True) -> None:
    """Raise StaleError when there is no result beside `own` whose name begins with `prefix`, or one that is stale.

    Of the seeds the numbers are asked for, and of `own` the weights too.
    """
    paths = sorted(own.parent.glob(f"{prefix}*.json"))
    if not paths:
        raise StaleError(f"no result {os.path.relpath(own.parent, ROOT)}/{prefix}*.json; `make results` makes it")
    for path in paths:
        if reason := stale(path, make_model, recipe, data, weights and path == own):
            raise StaleError(f"{os.path.relpath(path, ROOT)} is stale: {reason}; `make results` makes it anew")


def layer_kinds(model: nn.Module) -> dict[str, list[str]]:
    """Return the names of the layers that a brief may ask for, by kind.

    The kinds: depthwise (a convolution with a filter for each channel), dilated, max_pools, global_pools, linear.
    """
    def depthwise(layer):
        return isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels == layer.out_channels

    kinds = {"depthwise": depthwise,
             "dilated": lambda layer: isinstance(layer, nn.Conv2d) and max(layer.dilation) > 1,
             "max_pools": lambda layer: isinstance(layer, nn.MaxPool2d | nn.AdaptiveMaxPool2d),
             "global_pools": lambda layer: isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)),
             "linear": lambda layer: isinstance(layer, nn.Linear)}
    return {kind: [name for name, layer in model.named_modules() if belongs(layer)] for kind, belongs in kinds.items()}


def transforms(recipe: Recipe) -> list[str]:
    """Return the names of the transforms by which a recipe augments, those of albumentations one by one."""
    return [transform for name, options in recipe.augmentation
            for transform in ([step for step, _ in options["transforms"]] if name == "albumentations" else [name])
            ] + ["alternating_flip"] * recipe.alternating_flip


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def multiply_accumulates(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return the multiply-accumulates of the convolutions and linear layers for one image of `shape` (C, H, W)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:  # counts a multiplication and an addition as two
        copy.deepcopy(model).eval()(torch.zeros(1, *shape, device=next(model.parameters()).device))
    return counter.get_total_flops() // 2


def summary(model: nn.Module, shape: tuple[int, int, int]) -> str:
    """Return torchsummary's table for an input of `shape` (C, H, W); a layer that is used again counts once."""
    model = copy.deepcopy(model).to("cpu").eval()  # it runs on noise, which batch norm's statistics are not to see
    for module in model.modules():
        hide_weights_when_used_again(module)
    with redirect_stdout(io.StringIO()) as text:
        torchsummary.summary(model, shape, device="cpu")
    return text.getvalue()


def hide_weights_when_used_again(module: nn.Module) -> None:
    """Take the weights of `module` away after every call but its first, and give them back before the next.

    torchsummary looks at a layer after each call, and would count the weights once more each time.
    """
    weights, calls = dict(module._parameters), itertools.count()

    def after(module, inputs, output):
        if next(calls):
            module._parameters.update(dict.fromkeys(weights))

    module.register_forward_pre_hook(lambda module, inputs: module._parameters.update(weights))
    module.register_forward_hook(after)


def layer_table(model: nn.Module, shape: tuple[int, int, int]) -> list[dict]:
    """Return the rows of torchsummary's table as {layer, output, params}, with `output` (C, H, W) or (features,)."""
    rows = re.findall(r"^\s*(\S+-\d+)\s+\[-1, (.*?)\]\s+([\d,]+)$", summary(model, shape), re.MULTILINE)
    return [{"layer": layer, "output": [int(n) for n in output.split(",")], "params": int(params.replace(",", ""))}
            for layer, output, params in rows]


def git_commit() -> str | None:
    """Return the checkout's commit, with "+" where it has changes besides, or None outside git."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
