"""The course's figures, all in one look, `STYLE`. Each function returns a Figure, already closed for pyplot: the last
line of a notebook cell shows it, once.
"""

import functools
import itertools
import math
import statistics
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from common.anatomy import blocks
from common.receptive_field import Row
from common.results import Difference, mean_and_deviation
from common.training import Misclassified

# Okabe and Ito's colours, which the colour-blind tell apart; black first would look like a frame, yellow is too pale.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
STYLE = {
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.07,
    "font.size": 11,
    "axes.titlesize": 12,
    "figure.titlesize": 12,
    "legend.fontsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
MARKERS = "osD^vP*"


def _styled(draw):
    """Draws in the course's look, and closes the figure: else a notebook would show it a second time."""

    @functools.wraps(draw)
    def wrapper(*args, **kwargs) -> Figure:
        with plt.rc_context(STYLE):
            fig = draw(*args, **kwargs)
        plt.close(fig)
        return fig

    return wrapper


# --- images ------------------------------------------------------------------------------------------------------


@_styled
def samples(images, labels, classes: list[str], rows: int = 3, title: str | None = None) -> Figure:
    """The first images, ten a row, with their class names.

    Args:
        images: (N, C, H, W), uint8 or float in [0, 1], C of 1 or 3.
        labels: N class numbers.
        classes: the classes' names.
    Raises:
        ValueError: images of another shape or range (normalised ones, say), or another number of labels.
    """
    pictures, labels = _arrays(images=_pictures(images[: 10 * rows]), labels=labels[: 10 * rows])
    return _grid(pictures, [classes[k] for k in labels], rows, 10, title)


@_styled
def misclassified(images, mistakes: list[Misclassified], classes: list[str], name: str | None = None) -> Figure:
    """The first ten of the mistakes: the image with its number, the true and the predicted class, and the confidence.

    Args:
        images: those of the whole data set (N, C, H, W), uint8 or float in [0, 1].
        mistakes: as `common.training.find_misclassified` returns them.
        classes: the classes' names.
        name: the network's, to begin the title.
    """
    if not mistakes:
        return _nothing(f"none of {len(images):,} images is misclassified")
    shown = mistakes[:10]
    captions = [f"image {m.index}\ntrue: {classes[m.label]}\npredicted: {classes[m.prediction]} "
                + ("(> 99.9 %)" if m.confidence > 0.999 else f"({100 * m.confidence:.1f} %)") for m in shown]
    title = (f"{name + ': ' if name else ''}{len(shown)} of {len(mistakes):,} misclassified images, most confident "
             "first (%: the predicted class's probability)")
    return _grid(_pictures(images[[m.index for m in shown]]), captions, -(-len(shown) // 5), 5, title, width=2.45)


def _grid(pictures: np.ndarray, captions: list[str], rows: int, cols: int, title: str | None, width=1.05) -> Figure:
    caption_height = 0.22 * (1 + max(c.count("\n") for c in captions))
    side = min(width, 1.3)
    size = (cols * width, rows * (side + caption_height) + (0.4 if title else 0))
    fig, axes = plt.subplots(rows, cols, figsize=size, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, picture, caption in zip(axes.flat, pictures, captions, strict=False):
        _show(ax, picture, caption)
    fig.suptitle(title)
    return fig


def _nothing(why: str) -> Figure:
    fig = plt.figure(figsize=(5, 1))
    fig.text(0.5, 0.5, why, ha="center", va="center")
    return fig


def _show(ax: Axes, picture: np.ndarray, caption: str) -> None:
    ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.set_title(caption, fontsize=10)
    ax.axis("off")


def _pictures(images) -> np.ndarray:
    """(N, C, H, W) images as matplotlib wants them: uint8, (N, H, W, 3) or, for one channel, (N, H, W)."""
    images = torch.as_tensor(images).detach().cpu()
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be (N, C, H, W) with 1 or 3 channels, not {tuple(images.shape)}")
    if images.is_floating_point():
        if images.numel() and (images.min() < -1e-5 or images.max() > 1 + 1e-5):  # rounding is forgiven
            raise ValueError("float images must lie in [0, 1]: show them before they are normalised, or undo that")
        images = (images * 255).round().clamp(0, 255).to(torch.uint8)
    elif images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8 or float in [0, 1], not {images.dtype}")
    return images.permute(0, 2, 3, 1).squeeze(-1).numpy()


def _arrays(**named) -> list[np.ndarray]:
    """What there is one of per image, such as labels, as arrays; raises ValueError where their lengths differ."""
    arrays = {name: torch.as_tensor(values).detach().cpu().numpy() for name, values in named.items()}
    if len(set(map(len, arrays.values()))) > 1:
        found = ", ".join(f"{len(values)} {name}" for name, values in arrays.items())
        raise ValueError(f"one of each per image is needed, but there are {found}")
    return list(arrays.values())


@_styled
def maps(values, captions: list[str]) -> Figure:
    """Maps (H, W) of any range and size, in a row: each from its smallest value, black, to its largest, white."""
    fig, axes = plt.subplots(1, len(captions), figsize=(1.9 * len(captions), 2.2), squeeze=False)
    for ax, value, caption in zip(axes[0], values, captions, strict=True):
        ax.imshow(torch.as_tensor(value).detach().cpu(), cmap="gray", interpolation="nearest")
        ax.set_title(caption, fontsize=10)
        ax.axis("off")
    return fig


@_styled
def heat(images, maps: dict, captions: list[str], title: str) -> Figure:
    """Images (N, C, H, W), and below each the same with its map laid over it in colour, a row for each of `maps`.

    `maps`: a name -> maps (N, H, W), from 0 to 1.
    """
    pictures = _pictures(images)
    if not len(pictures):
        return _nothing("no image to show")
    rows = 1 + len(maps)
    fig, axes = plt.subplots(rows, len(pictures), figsize=(1.65 * len(pictures), 0.6 + 1.8 * rows), squeeze=False)
    for ax, picture, caption in zip(axes[0], pictures, captions, strict=True):
        _show(ax, picture, caption)
    for row, (name, values) in zip(axes[1:], maps.items(), strict=True):
        for ax, picture, heat_map in zip(row, pictures, values, strict=True):
            _show(ax, picture, "")
            ax.imshow(torch.as_tensor(heat_map).cpu().numpy(), cmap="inferno", vmin=0, vmax=1, alpha=0.6)
        row[0].text(-0.08, 0.5, name, transform=row[0].transAxes, rotation=90, ha="right", va="center")
    fig.suptitle(title)
    return fig


# --- the data and the errors, counted ----------------------------------------------------------------------------


@_styled
def confusion_matrix(labels, predictions, classes: list[str]) -> Figure:
    """How often each true class (row) was predicted as each class (column), from N class numbers each.

    Colour shows the errors only: the diagonal is a hundred times larger.
    """
    labels, predictions = _arrays(labels=labels, predictions=predictions)
    k = len(classes)
    counts = np.bincount(labels * k + predictions, minlength=k * k).reshape(k, k)
    errors = np.where(np.eye(k, dtype=bool), 0, counts)
    fig, ax = plt.subplots(figsize=(1.6 + 0.62 * k, 1.3 + 0.56 * k))
    shades = LinearSegmentedColormap.from_list("errors", ["white", COLOURS[1]])
    ax.imshow(errors, cmap=shades, vmin=0, vmax=max(errors.max(), 1), aspect="auto")
    for i, j in itertools.product(range(k), range(k)):
        look = {"color": "#888888", "style": "italic"} if i == j else {"color": "black"}
        if i == j or counts[i, j]:
            ax.text(j, i, f"{counts[i, j]}", ha="center", va="center", fontsize=10, **look)
    long = max(map(len, classes)) > 3
    ax.set_xticks(range(k), classes, **({"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if long else {}))
    ax.set_yticks(range(k), classes)
    ax.set(xlabel="predicted class", ylabel="true class",
           title=f"{errors.sum():,} errors in {len(labels):,} images (right ones in grey)")
    ax.grid(False)
    return fig


# --- training ----------------------------------------------------------------------------------------------------


@_styled
def curves(runs: dict[str, dict], target: float | None = None) -> Figure:
    """The error over the epochs, on a logarithmic axis, and below it the learning rate at the start of each epoch.

    Solid is the mean test error over the seeds, with a band from the best to the worst seed; dashed is the training
    error by the same measure (`fit_accuracy`), where every seed has it.

    Args:
        runs: a name -> a summary (`common.results.summarize`).
        target: the test accuracy that is asked for (percent), drawn as a line.
    Raises:
        ValueError: no run, or one without epochs.
    """
    if not runs or not all(result["curve"] for run in runs.values() for result in run["results"]):
        raise ValueError("curves needs at least one run, and at least one epoch of each")
    columns = 2 if len(runs) > 1 else 4
    height = 4.2 + 0.22 * -(-(len(runs) + 3) // columns)
    fig, (ax, strip) = plt.subplots(2, 1, figsize=(10, height), sharex=True, height_ratios=(4.5, 1))
    for k, ((name, run), colour) in enumerate(zip(runs.items(), itertools.cycle(COLOURS), strict=False)):
        seeds = [result["curve"] for result in run["results"]]
        epochs = np.array([row["epoch"] for row in seeds[0]])
        look = {"color": colour, "marker": "o" if len(epochs) == 1 else None}  # one point has no line
        mean, best, worst = _errors(seeds, "test_accuracy")
        n = f", n = {len(seeds)}" if len(seeds) > 1 else ""
        last = mean_and_deviation([rows[-1]["test_accuracy"] for rows in seeds])
        ax.plot(epochs, mean, label=f"{name}: {last} % accuracy{n}", **look)
        if n:
            ax.fill_between(epochs, best, worst, color=colour, alpha=0.2, linewidth=0)
        if all("fit_accuracy" in row for rows in seeds for row in rows):
            ax.plot(epochs, _errors(seeds, "fit_accuracy")[0], "--", alpha=0.75, **look)
        width = 1.8 + len(runs) - 1 - k  # of equal schedules each is seen
        strip.plot(epochs - 1, [row["lr"] for row in seeds[0]], linewidth=width, clip_on=False, **look)
    handles, labels = ax.get_legend_handles_labels()
    for name, style in {"test": "-", "training": "--"}.items():
        if any(line.get_linestyle() == style for line in ax.lines):
            handles, labels = [*handles, plt.Line2D([], [], color="#666666", linestyle=style)], [*labels, name]
    if target is not None:
        handles.append(ax.axhline(100 - target, color="black", linestyle=":"))
        labels.append(f"target: {target:g} % accuracy")
    ax.set_ylabel("error (%)")
    _logarithmic(ax)
    strip.set(xlabel="epoch", ylabel="learning\nrate", ylim=(0, None))
    strip.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    fig.legend(handles, labels, loc="outside lower center", ncols=columns)
    return fig


def _errors(seeds: list[list[dict]], key: str) -> np.ndarray:
    """The mean, lowest and highest error (percent) of each epoch; 0, which has no logarithm, as half of 1 in 10,000."""
    errors = 100 - np.array([[row[key] for row in rows] for rows in seeds])
    return np.maximum([errors.mean(0), errors.min(0), errors.max(0)], 0.005)


def _logarithmic(ax: Axes) -> None:
    """Make the upright axis logarithmic, with at least three ticks, written 0.5 and not 5 x 10^-1."""
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), (1, 1.2, *range(2, 10)), np.arange(1, 10, 0.5),
                  np.arange(1, 10, 0.1)):
        ticks = [tick for power in range(-3, 3) for step in steps if low <= (tick := step * 10.0**power) <= high]
        if len(ticks) >= 3:
            break
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()


@_styled
def lines(runs: dict[str, list[float]], x: str, y: str, places: list[float] | None = None) -> Figure:
    """Values over `places` (1, 2, 3 ..., such as training steps), a line for each name; `x` and `y` name the axes."""
    fig, ax = plt.subplots(figsize=(8, 3))
    for name, values in runs.items():
        ax.plot(places or range(1, len(values) + 1), values, linewidth=1.2, label=name)
    if min(map(min, runs.values())) < 0 < max(map(max, runs.values())):
        ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel=x, ylabel=y)
    ax.legend()
    return fig


@_styled
def block_by_block(runs: dict[str, torch.Tensor], what: str) -> Figure:
    """How large something is in each block of a network in the first steps of training, a panel for each network.

    `runs`: a network's name -> values (steps, blocks); `what` they are, for the axis.
    """
    fig, panels = plt.subplots(1, len(runs), figsize=(10, 3.2), sharey=True, squeeze=False)
    for ax, (name, values) in zip(panels[0], runs.items(), strict=True):
        for block, line in enumerate(values.T, 1):
            ax.plot(range(1, len(line) + 1), line, label=f"{block}")
        ax.set(title=name, xlabel="training step", yscale="log")
        ax.xaxis.get_major_locator().set_params(integer=True)
    panels[0][0].set_ylabel(what)
    fig.legend(*ax.get_legend_handles_labels(), title="block", loc="outside right center")
    return fig


@_styled
def against(points: dict[str, dict[float, list[float]]], x: str, y: str, *, bands: dict[str, list[float]] | None = None,
            lines: dict[str, dict[float, float]] | None = None, margins: dict[str, dict[float, float]] | None = None,
            log: bool = False) -> Figure:
    """What was measured against a number that doubles, such as the batch size: the mean over seeds, and each seed.

    Args:
        points: name -> {number: [value of each seed, ...]}, a line with dots for each name.
        x, y: what the numbers and the values are, with their unit.
        bands: name -> [value of each seed, ...] of what doesn't depend on the number: from the lowest to the highest.
        lines: name -> {number: value}, dashed, for comparison.
        margins: name -> {number: standard error} of a line, drawn as a band around it.
        log: whether the values have a logarithmic axis, too.
    """
    fig, ax = plt.subplots(figsize=(8, 4))
    colours = itertools.cycle(COLOURS)
    for name, values in (bands or {}).items():
        colour = next(colours)
        ax.axhspan(min(values), max(values), color=colour, alpha=0.25, linewidth=0)
        ax.axhline(np.mean(values), color=colour, linewidth=1, label=name)
    for name, values in (lines or {}).items():
        ax.plot(*zip(*sorted(values.items()), strict=True), "--", color="grey", label=name)
    for name, errors in (margins or {}).items():
        around, places = lines[name], sorted(errors)
        low, high = ([around[place] + sign * errors[place] for place in places] for sign in (-1, 1))
        ax.fill_between(places, low, high, color="grey", alpha=0.2, linewidth=0)
    numbers = sorted({number for values in (*points.values(), *(lines or {}).values()) for number in values})
    for name, values in points.items():
        colour, found = next(colours), sorted(values.items())
        ax.plot([number for number, _ in found], [np.mean(seeds) for _, seeds in found], "o-", color=colour, label=name)
        ax.plot([number for number, seeds in found for _ in seeds], [value for _, seeds in found for value in seeds],
                ".", color=colour, alpha=0.5)
    ax.set(xlabel=x, ylabel=y)
    ax.set_xscale("log", base=2)
    ax.set_xticks(numbers, [f"{number:g}" for number in numbers])
    if log:
        _logarithmic(ax)
    fig.legend(loc="outside right upper")  # it covers nothing there
    return fig


@_styled
def per_seed(groups: dict[str, list[float]], marks: dict[str, list[float | None]] | None = None) -> Figure:
    """The test accuracy (percent) of every seed, a dot each, and each group's mean; a group is a model or a norm.

    `marks` are other accuracies to compare with, one a group or None, under their names: diamonds.
    """
    fig, ax = plt.subplots(figsize=(8, 1.2 + 0.6 * len(groups)))
    names = []
    for y, (name, accuracies) in enumerate(groups.items()):
        offsets = [0.16 * (0, 1, -1)[k % 3] for k in range(len(accuracies))]  # equal accuracies stay visible
        ax.plot(accuracies, [y + o for o in offsets], "o", color=COLOURS[0], alpha=0.7, label="one seed" * (y == 0))
        mean = statistics.fmean(accuracies)
        ax.plot([mean, mean], [y - 0.32, y + 0.32], color=COLOURS[1], linewidth=2.5, label="mean" * (y == 0))
        names.append(f"{name}\n{mean_and_deviation(accuracies)} %, n = {len(accuracies)}")
    for name, values in (marks or {}).items():
        there = [(value, y) for y, value in enumerate(values) if value is not None]
        ax.plot(*zip(*there, strict=True), "D", color=COLOURS[2], markerfacecolor="none", markersize=9, label=name)
    ax.set_yticks(range(len(groups)), names)
    ax.set(xlabel="test accuracy (%)", ylim=(len(groups) - 0.5, -0.5))
    ax.ticklabel_format(useOffset=False, axis="x")
    ax.grid(False, axis="y")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return fig


@_styled
def differences(found: dict[str, Difference], what: str = "difference (points)") -> Figure:
    """The mean difference of each name's runs from those they are compared with, and its 95 % interval.

    Those whose interval excludes 0 are filled. One pair of seeds has no interval: a hollow dot alone.
    """
    fig, ax = plt.subplots(figsize=(8, 1.2 + 0.5 * len(found)))
    for y, pair in enumerate(found.values()):
        ends = [[pair.mean - pair.low], [pair.high - pair.mean]] if pair.n > 1 else None
        sure = pair.n > 1 and pair.low * pair.high > 0
        ax.errorbar(pair.mean, y, xerr=ends, fmt="o", capsize=4, color=COLOURS[0],
                    markerfacecolor=COLOURS[0] if sure else "white")
    ax.axvline(0, color="#888888", linewidth=1, zorder=0)
    ax.set_yticks(range(len(found)), [f"{name}, n = {pair.n}" for name, pair in found.items()])
    ax.set(ylim=(len(found) - 0.5, -0.5))
    ax.grid(False, axis="y")
    fig.supxlabel(f"{what}: mean and 95 % interval", fontsize=ax.xaxis.label.get_fontsize())
    return fig


# --- networks ----------------------------------------------------------------------------------------------------

KINDS = {"convolution": COLOURS[0], "several layers": COLOURS[2], "pool": COLOURS[4], "linear": COLOURS[3],
         "other": "#BBBBBB", "image": "white"}


@_styled
def diagram(model: torch.nn.Module, shape: tuple[int, int, int]) -> Figure:
    """The blocks of a network (see `common.anatomy.blocks`) for images of `shape` (C, H, W), from left to right.

    A block's height shows the side of its map, its width the channels, both by their square roots.
    """
    image = {"name": "image", "kind": "image", "output": tuple(shape), "params": 0}
    found = blocks(model, shape)
    drawn = [image, *(row for row in found if row["output"])]
    lines = -(-len(drawn) // 10)
    columns = -(-len(drawn) // lines)
    sizes = [(row["output"][0], math.prod(row["output"][1:]) ** 0.5) for row in drawn]
    scale = np.array([0.62, 1.2]) / np.max(sizes, axis=0) ** 0.5  # inches: the widest block, and the highest
    names = [textwrap.fill(row["name"], 11) + (f"\n{row['params']:,}" if row["params"] else "") for row in drawn]
    across, down = 1.06, 1.7 + 0.18 * max(name.count("\n") for name in names)
    fig, ax = plt.subplots(figsize=(max(across * columns, 7), down * lines + 0.75))
    for k, (row, name, size) in enumerate(zip(drawn, names, sizes, strict=True)):
        centre = np.array([across * (k % columns), -down * (k // columns)])
        width, height = np.maximum(np.sqrt(size) * scale, 0.08)
        _block(ax, row, name, centre, width, height)
        for ends in [(-across / 2, -width / 2)] * (k > 0) + [(width / 2, across / 2)] * (k < len(drawn) - 1):
            head = "-|>" if ends[0] < 0 else "-"  # the way to the next block is drawn by both
            ax.annotate("", centre + (ends[1], 0), centre + (ends[0], 0), arrowprops={
                "arrowstyle": head, "color": "#666666", "linewidth": 1, "shrinkA": 0, "shrinkB": 0})
    ax.set(xlim=(-across / 2, across * (columns - 0.5)), ylim=(0.85 - down * lines, 0.85), aspect="equal")
    ax.axis("off")
    total = sum(row["params"] for row in found)
    fig.suptitle(f"{total:,} parameters; above a block: channels @ size, below: its parameters")
    kinds = [kind for kind in KINDS if kind in {row["kind"] for row in drawn[1:]}]
    patches = [plt.Rectangle((0, 0), 1, 1, facecolor=KINDS[kind], edgecolor="black") for kind in kinds]
    fig.legend(patches, kinds, loc="outside lower center", ncols=len(kinds))
    return fig


@_styled
def residual_block(layers: list[tuple[str, int]], channels: int, activation: str = "", times: int = 1) -> Figure:
    """A block whose input is added to what its layers make of it, from left to right.

    Args:
        layers: (name, channels that come out) of each; a box's height shows the channels, by their square root.
        channels: those that come in.
        activation: what follows the sum, "" for nothing.
        times: how often the block is used in a row.
    """
    drawn = [("in", channels), *layers]
    heights = [1.3 * (count / max(count for _, count in drawn)) ** 0.5 for _, count in drawn]
    fig, ax = plt.subplots(figsize=(1.5 * (len(drawn) + 2), 2.6))
    line = {"color": "#666666", "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    for x, ((name, count), height) in enumerate(zip(drawn, heights, strict=True)):
        ax.add_patch(plt.Rectangle((x - 0.2, -height / 2), 0.4, height, edgecolor="black",
                                   facecolor=KINDS["convolution"] if x else "white"))
        ax.annotate(f"{count}", (x, height / 2 + 0.05), ha="center", va="bottom")
        ax.annotate(name, (x, -0.75), ha="center", va="top")
        ax.annotate("", (x + 0.8 + 0.08 * (x == len(layers)), 0), (x + 0.2, 0),
                    arrowprops={"arrowstyle": "-|>", **line})
    end = len(drawn)
    ax.plot([0, 0, end, end], [heights[0] / 2 + 0.3, 1.1, 1.1, 0.15], **{k: line[k] for k in ("color", "linewidth")})
    ax.annotate("the input", (end / 2, 1.15), ha="center", va="bottom")
    ax.annotate("+", (end, 0), ha="center", va="center", bbox={"boxstyle": "circle", "facecolor": "white"})
    ax.annotate("", (end + 0.85, 0), (end + 0.12, 0), arrowprops={"arrowstyle": "-|>", **line})
    ax.annotate(activation, (end + 0.5, 0.08), ha="center", va="bottom")
    if times > 1:
        ax.set_title(f"{times} times in a row")
    ax.set(xlim=(-0.5, end + 0.95), ylim=(-1.15, 1.5))
    ax.axis("off")
    return fig


def _block(ax: Axes, row: dict, name: str, centre: np.ndarray, width: float, height: float) -> None:
    channels, *size = row["output"]
    ax.add_patch(plt.Rectangle(centre - (width / 2, height / 2), width, height, facecolor=KINDS[row["kind"]],
                               edgecolor="black"))
    above = f"{channels} @ {'x'.join(map(str, size))}" if size else f"{channels}"
    ax.annotate(above, centre + (0, height / 2 + 0.05), ha="center", va="bottom", fontsize=10)
    ax.annotate(name, centre - (0, 0.65), ha="center", va="top", fontsize=10)


@_styled
def receptive_field_growth(tables: dict[str, list[Row]], input_size=None, asked: float | None = None) -> Figure:
    """How far the networks see after each layer: the largest receptive field of all branches so far.

    Args:
        tables: a network's name -> its table (`common.receptive_field.receptive_field`).
        input_size: (channels, height, width) or the image's height in pixels, drawn as a line.
        asked: the receptive field in pixels that has to be exceeded, drawn as a line.
    """
    fig, ax = plt.subplots(figsize=(8, 4))
    looks = zip(itertools.cycle(MARKERS), itertools.cycle(("-", "--")))  # a line on another one is seen through it
    for (name, table), (marker, line) in zip(tables.items(), looks, strict=False):
        seen = [1, *itertools.accumulate((np.max(row.rf_out) for row in table), max)]
        ax.plot(range(len(seen)), seen, line, marker=marker, markersize=5, label=f"{name}: {seen[-1]} pixels")
    if input_size is not None:
        height = input_size if isinstance(input_size, int) else input_size[1]
        ax.axhline(height, color="#666666", linestyle=":", label=f"the image: {height} pixels")
    if asked is not None:
        ax.axhline(asked, color="#666666", linestyle="--", label=f"asked for: more than {asked:g} pixels")
    ax.set(xlabel="convolution and pooling layers, in order", ylabel="receptive field (pixels)")
    ax.set_ylim(bottom=0)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return fig


@_styled
def footprints(windows: dict[str, torch.Tensor], size: int = 11) -> Figure:
    """What one output pixel sees of the input: the darker, the more weight a pixel has; white, none.

    Args:
        windows: a name -> the map of `common.receptive_field.window`.
        size: how many pixels around the window's centre to show, an odd number.
    """
    fig, panels = plt.subplots(1, len(windows), figsize=(2.1 * len(windows), 2.5), squeeze=False)
    for ax, (name, window) in zip(panels[0], windows.items(), strict=True):
        seen = window.nonzero()
        top, left = (int(side) for side in (seen.amin(0) + seen.amax(0)) // 2 - size // 2)
        shown = window[top : top + size, left : left + size].numpy()
        shades = np.where(shown > 0, 0.2 + 0.8 * shown, 0)  # what counts a little isn't white
        ax.pcolormesh(shades, cmap="Blues", vmin=0, vmax=1, edgecolors="#CCCCCC", linewidth=0.6)
        ax.set_title(f"{name}\n{len(seen)} pixels", fontsize=10)
        ax.set(aspect="equal", xticks=[], yticks=[])
    return fig


@_styled
def neighbours(pairs: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> Figure:
    """What two neighbouring output pixels see of the input: one in blue, the other in orange, both in dark.

    `pairs`: a name -> two masks (H, W) of pixels.
    """
    fig, panels = plt.subplots(1, len(pairs), figsize=(2.4 * len(pairs), 2.6), squeeze=False)
    for ax, (name, (one, other)) in zip(panels[0], pairs.items(), strict=True):
        seen = (one | other).nonzero()
        centre = (seen.amin(0) + seen.amax(0) + 1) // 2
        top, left = (max(int(place) - 4, 0) for place in centre)
        colours = np.array(["white", COLOURS[0], COLOURS[1], "#333333"])[(one + 2 * other.int()).numpy()]
        shown = colours[top : top + 9, left : left + 9]
        ax.pcolormesh(np.array([[to_rgb(colour) for colour in row] for row in shown]),
                      edgecolors="#CCCCCC", linewidth=0.6)
        ax.set_title(f"{name}\n{int((one & other).sum())} pixels in common", fontsize=10)
        ax.set(aspect="equal", xticks=[], yticks=[])
    return fig


@_styled
def normalized_together() -> Figure:
    """Which values share a mean and a deviation in batch, group and layer norm: those of one colour.

    A panel's cell is one channel of one image, a whole map of pixels.
    """
    images, channels, groups = 4, 6, 2
    image, channel = np.mgrid[:images, :channels]
    together = {"batch norm": channel, f"group norm, {groups} groups": image * groups + channel * groups // channels,
                "layer norm": image}
    fig, panels = plt.subplots(1, 3, figsize=(10, 2.9), subplot_kw={"aspect": "equal"})
    for ax, (name, numbers) in zip(panels, together.items(), strict=True):
        ax.pcolormesh(numbers, cmap="tab20", vmin=0, vmax=19, edgecolors="white", linewidth=3)
        ax.set(title=f"{name}: {numbers.max() + 1} means", xlabel="channel", ylabel="image of the batch")
        ax.set_xticks(np.arange(channels) + 0.5, range(1, channels + 1))
        ax.set_yticks(np.arange(images) + 0.5, range(1, images + 1))
        ax.invert_yaxis()
    return fig


@_styled
def parameters_against_accuracy(points: list[dict], limits: tuple[int, float] | None = None) -> Figure:
    """Test accuracy (percent) against the number of parameters (log axis), a labelled point per network.

    Equal steps upwards are equal factors of the error: from 98 to 99 % is as far as from 99 to 99.5.

    Args:
        points: [{name, params, accuracy, std (percent, or None), source}, ...]; `source` is True for a number as
            its authors report it (hollow square), False for one trained here (filled dot).
        limits: the budget of parameters and the accuracy (percent) that is asked for, drawn as lines.
    """
    fig, ax = plt.subplots(figsize=(8.5, 5.5))
    over_seeds = " (mean ± deviation over seeds)" if any(p["std"] for p in points) else ""
    looks = {
        True: {"fmt": "s", "color": COLOURS[1], "markerfacecolor": "white", "label": "as its authors report"},
        False: {"fmt": "o", "color": COLOURS[0], "label": f"trained here{over_seeds}"},
    }
    for source, look in looks.items():
        if chosen := [(p["params"], p["accuracy"], p["std"] or 0) for p in points if p["source"] is source]:
            params, accuracies, stds = zip(*chosen, strict=True)
            ax.errorbar(params, accuracies, stds, capsize=3, markersize=7, elinewidth=1.2, linestyle="none", **look)
    ax.set(xscale="log", xlabel="parameters (log scale)", ylabel="test accuracy (%), spaced by error")
    space_by_error(ax)
    # Below, at and above each point: what the axes must show and the names must not cover.
    marks = np.array([(p["params"], p["accuracy"] + k * (p["std"] or 0)) for p in points for k in (-1, 0, 1)])
    _limits_with_room(ax, marks)
    if limits:
        line = {"color": "#AAAAAA", "linestyle": ":", "zorder": 0}
        ax.axvline(limits[0], **line, label=f"asked for: < {limits[0]:,}, ≥ {limits[1]} %")
        ax.axhline(limits[1], **line)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    label_points(fig, ax, [p["name"] for p in points], marks)
    return fig


def space_by_error(ax: Axes) -> None:
    """Let equal steps up an axis of accuracies (percent) be equal factors of the error."""
    ax.set_yscale("function", functions=(lambda accuracy: -np.log(np.maximum(100 - accuracy, 0.01)),
                                         lambda place: 100 - np.exp(-place)))


def _limits_with_room(ax: Axes, marks: np.ndarray) -> None:
    """Limits that leave room for the names, even of a single point; ticks written 8,000 and not 8 x 10^3."""
    (left, bottom), (right, top) = marks.min(0), marks.max(0)
    room = max((right / left) ** 0.2, 1.3)
    ax.set_xlim(left / room, right * room)
    most, least = 100 - bottom, max(100 - top, 0.05)  # error, percent
    room = max((most / least) ** 0.12, 1.15)
    ax.set_ylim(100 - most * room, 100 - least / room)
    ax.xaxis.set_major_locator(plt.LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.xaxis.set_minor_formatter("")


def label_points(fig: Figure, ax: Axes, names: list[str], marks: np.ndarray, fontsize: float = 10) -> None:
    """Write a name beside each point, at the nearest place where it covers no other name and none of `marks`.

    `marks` (3 x points, 2) has three places for each name, the ends of a bar with its point between them. No name: "".
    """
    fig.draw_without_rendering()  # the layout must be settled before places can be measured (in pixels)
    inside, pixels, scale = ax.get_window_extent(), fig.dpi / 72, fontsize / 10  # a pixel per point of type
    bars = ax.transData.transform(marks).reshape(-1, 3, 2)
    taken = [Bbox.from_extents(*(bar.min(0) - 6 * scale), *(bar.max(0) + 6 * scale)) for bar in bars]
    for name, at in zip(names, marks[1::3], strict=True):
        if not name:
            continue
        note = ax.annotate(name, at, (0, 0), textcoords="offset points", fontsize=fontsize, ha="center", va="center",
                           bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0},
                           in_layout=False)
        size = note.get_window_extent().size
        for distance, angle in itertools.product((4, 12, 22, 34, 48, 64, 82), np.arange(0, 2 * np.pi, np.pi / 8)):
            away = np.array([np.cos(angle), np.sin(angle)])
            centre = away * (size / 2 + (distance + 4 * pixels) * scale)
            low = ax.transData.transform(at) + centre - size / 2
            box = Bbox.from_extents(*low, *(low + size))
            if all(inside.contains(*corner) for corner in (box.p0, box.p1)) and not box.count_overlaps(taken):
                break
        taken.append(box)
        note.set_position(centre / pixels)
        if distance > 12:  # a name close by needs no line
            line = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4}
            edge = np.clip(0, centre - size / 2, centre + size / 2)  # the name's nearest
            ax.annotate("", at, edge / pixels, textcoords="offset points", arrowprops=line, in_layout=False)
