"""The course's figures. Each function returns a Figure, already closed for pyplot: the last line of a notebook cell
shows it (once), `save` writes it. The look of all of them is `STYLE`.
"""

import functools
import io
import itertools
import statistics
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from common.receptive_field import Row
from common.results import write

# Okabe and Ito's colours, which the colour-blind tell apart; black first would look like a frame, yellow is too pale.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
STYLE = {
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.07,
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
SLANTED = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}  # long names below an axis
MAX_BYTES = 150_000


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
def samples(images, labels, classes: list[str], rows: int = 3, cols: int = 10, title: str | None = None) -> Figure:
    """The first rows x cols images with their class names.

    Args:
        images: (N, C, H, W), uint8 or float in [0, 1], C of 1 or 3.
        labels: N class numbers.
        classes: the classes' names.
    Raises:
        ValueError: images of another shape or range (normalised ones, say), or another number of labels.
    """
    pictures, labels = _pictures(images[: rows * cols]), _numbers(labels)[: rows * cols]
    _same_length(images=pictures, labels=labels)
    return _grid(pictures, [classes[k] for k in labels], rows, cols, title)


@_styled
def image(images, labels, classes: list[str], index: int) -> Figure:
    """Image number `index` of (N, C, H, W) images, large, with its class name; see `samples`."""
    fig, ax = plt.subplots(figsize=(3.2, 3.4))
    _show(ax, _pictures(images[index : index + 1])[0], f"image {index}: {classes[int(labels[index])]}")
    return fig


@_styled
def misclassified(images, labels, predictions, classes: list[str], confidence=None, n: int = 10,
                  name: str | None = None) -> Figure:
    """Up to n misclassified images with the true and the predicted class, the most confident mistakes first.

    The title begins with `name`, the network's, where it is given.

    Args:
        images: (N, C, H, W), uint8 or float in [0, 1].
        labels, predictions: N class numbers each.
        confidence: N probabilities of the predicted class, in [0, 1]; without them the order is that of the data.
    Raises:
        ValueError: lengths that differ, or a confidence that is no probability.
    """
    labels, predictions = _numbers(labels), _numbers(predictions)
    _same_length(images=images, labels=labels, predictions=predictions)
    wrong = np.flatnonzero(labels != predictions)
    captions = {k: f"true: {classes[labels[k]]}\npredicted: {classes[predictions[k]]}" for k in wrong}
    if confidence is not None:
        confidence = _numbers(confidence)
        _same_length(labels=labels, confidence=confidence)
        if confidence.min() < 0 or confidence.max() > 1:
            raise ValueError("confidence must be probabilities between 0 and 1: take the softmax of the outputs")
        wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
        captions = {k: f"{captions[k]} ({_percent(confidence[k])})" for k in wrong}
    if not len(wrong):
        return _nothing(f"none of {len(labels):,} images is misclassified")
    shown = wrong[:n]
    title = f"{len(shown)} of {len(wrong):,} misclassified images"
    if confidence is not None:
        title += ", most confident first (%: the predicted class's probability)"
    if name:
        title = f"{name}: {title}"
    cols = 5
    pictures = _pictures(images[torch.as_tensor(shown)])
    return _grid(pictures, [captions[k] for k in shown], -(-len(shown) // cols), cols, title, width=2.45)


def _grid(pictures: np.ndarray, captions: list[str], rows: int, cols: int, title: str | None, width=1.05) -> Figure:
    caption_height = 0.22 * (1 + max(c.count("\n") for c in captions))
    side = min(width, 1.3)
    size = (cols * width, rows * (side + caption_height) + (0.4 if title else 0))
    fig, axes = plt.subplots(rows, cols, figsize=size, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, picture, caption in zip(axes.flat, pictures, captions, strict=False):
        _show(ax, picture, caption, size=10)
    if title:
        fig.suptitle(title, fontsize=STYLE["axes.titlesize"])
    return fig


def _nothing(why: str) -> Figure:
    fig, ax = plt.subplots(figsize=(5, 1))
    ax.axis("off")
    ax.text(0.5, 0.5, why, ha="center", va="center")
    return fig


def _show(ax: Axes, picture: np.ndarray, caption: str, size: float = 12) -> None:
    ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.set_title(caption, fontsize=size)
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


@_styled
def heat(images, maps, captions: list[str], title: str | None = None) -> Figure:
    """Images (N, C, H, W), and below each the same with its map (N, H, W), from 0 to 1, laid over it in colour."""
    pictures = _pictures(images)
    _same_length(images=pictures, maps=maps, captions=captions)
    n = len(pictures)
    if n == 0:
        return _nothing("no image to show")
    fig, axes = plt.subplots(2, n, figsize=(1.65 * n, 3.9 + (0.3 if title else 0)), squeeze=False)
    for above, below, picture, heat_map, caption in zip(*axes, pictures, maps, captions, strict=True):
        _show(above, picture, caption, size=10)
        _show(below, picture, "")
        below.imshow(torch.as_tensor(heat_map).cpu().numpy(), cmap="inferno", vmin=0, vmax=1, alpha=0.6)
    if title:
        fig.suptitle(title, fontsize=STYLE["axes.titlesize"])
    return fig


# --- the data and the errors, counted ----------------------------------------------------------------------------


@_styled
def class_counts(labels, classes: list[str]) -> Figure:
    """How many images there are of each class: a bar each, from N class numbers."""
    counts = np.bincount(_numbers(labels), minlength=len(classes))
    fig, ax = plt.subplots(figsize=(9, 3.2))
    bars = ax.bar(range(len(classes)), counts)
    ax.bar_label(bars, [f"{c:,}" for c in counts], fontsize=10)
    ax.set(ylabel="number of images", xlabel="class")
    ax.grid(False, axis="x")
    ax.margins(y=0.1)
    slanted = sum(map(len, classes)) > 100  # long names would run into each other
    ax.set_xticks(range(len(classes)), classes, fontsize=10, **(SLANTED if slanted else {}))
    return fig


@_styled
def per_class_accuracy(labels, predictions, classes: list[str]) -> Figure:
    """How many of each class's images are predicted rightly, in percent, lowest first; N class numbers each."""
    labels, predictions = _numbers(labels), _numbers(predictions)
    _same_length(labels=labels, predictions=predictions)
    right = np.bincount(labels[labels == predictions], minlength=len(classes))
    percent = 100 * right / np.maximum(np.bincount(labels, minlength=len(classes)), 1)
    order = np.argsort(percent, kind="stable")
    fig, ax = plt.subplots(figsize=(9, 3.2))
    bars = ax.bar([classes[k] for k in order], percent[order])
    ax.bar_label(bars, [f"{value:.1f}" for value in percent[order]], fontsize=10)
    ax.set(ylabel="accuracy (%)", xlabel="class", ylim=(0, 110))
    ax.set_yticks(range(0, 101, 20))
    ax.grid(False, axis="x")
    return fig


@_styled
def confusion_matrix(labels, predictions, classes: list[str]) -> Figure:
    """How often each true class (row) was predicted as each class (column). Colour shows the errors only.

    Args:
        labels, predictions: N class numbers each.
    Raises:
        ValueError: their lengths differ.
    """
    labels, predictions = _numbers(labels), _numbers(predictions)
    _same_length(labels=labels, predictions=predictions)
    k = len(classes)
    counts = np.bincount(labels * k + predictions, minlength=k * k).reshape(k, k)
    errors = np.where(np.eye(k, dtype=bool), 0, counts)  # the diagonal is a hundred times larger: no colour for it
    fig, ax = plt.subplots(figsize=(1.6 + 0.62 * k, 1.3 + 0.56 * k))
    shades = LinearSegmentedColormap.from_list("errors", ["#FFFFFF", "#D55E00"])
    ax.imshow(errors, cmap=shades, vmin=0, vmax=max(errors.max(), 1), aspect="auto")
    for i, j in itertools.product(range(k), range(k)):
        text = {"color": "#888888", "style": "italic"} if i == j else {"color": "black"}
        if i == j or counts[i, j]:
            ax.text(j, i, f"{counts[i, j]}", ha="center", va="center", fontsize=10, **text)
    ax.set_xticks(range(k), classes, **(SLANTED if max(map(len, classes)) > 3 else {}))
    ax.set_yticks(range(k), classes)
    right = int(np.trace(counts))
    ax.set(xlabel="predicted class", ylabel="true class",
           title=f"{len(labels) - right:,} errors in {len(labels):,} images (right ones in grey)")  # fmt: skip
    ax.grid(False)
    return fig


# --- training ----------------------------------------------------------------------------------------------------


@_styled
def curves(histories: dict[str, list[dict]]) -> Figure:
    """Loss and accuracy over the epochs of one or several runs: train dashed, test solid.

    The accuracy axis leaves out the first, low part of the curves, so that tenths of a percent are told apart; the
    legend says the test accuracy after the last epoch.

    Args:
        histories: a run's name -> [{epoch, train_loss, test_loss, train_accuracy, test_accuracy}, ...], accuracies
            in percent.
    Raises:
        ValueError: no run, or one without epochs.
    """
    if not histories or not all(histories.values()):
        raise ValueError("curves needs at least one run, and at least one epoch of each")
    legend_rows = 1 if len(histories) == 1 else -(-(len(histories) + 2) // 2)
    fig, panels = plt.subplots(1, 2, figsize=(10, 3.4 + 0.22 * legend_rows))
    for (name, history), colour in zip(histories.items(), itertools.cycle(COLOURS), strict=False):
        epochs = [e["epoch"] for e in history]
        marker = "o" if len(epochs) == 1 else None  # one point has no line
        for ax, what in zip(panels, ("loss", "accuracy"), strict=True):
            ax.plot(epochs, [e[f"train_{what}"] for e in history], "--", color=colour, marker=marker, alpha=0.75)
            label = f"{name}: {history[-1]['test_accuracy']:.2f} % at the end"
            ax.plot(epochs, [e[f"test_{what}"] for e in history], "-", color=colour, marker=marker, label=label)
    panels[0].set(xlabel="epoch", ylabel="cross-entropy loss", title="loss")
    panels[1].set(xlabel="epoch", ylabel="accuracy (%)", title="accuracy (its upper part)")
    panels[0].update_datalim([(epochs[0], 0)])
    panels[0].autoscale_view()
    panels[0].set_ylim(bottom=0)
    panels[1].set_ylim(*_upper_part(histories))
    for ax in panels:
        ax.xaxis.get_major_locator().set_params(integer=True)
        if max(map(len, histories.values())) == 1:
            ax.set_xticks(epochs)
    handles, labels = panels[1].get_legend_handles_labels()
    styles = [plt.Line2D([], [], color="#666666", linestyle=s) for s in ("-", "--")]
    columns = 3 if legend_rows == 1 else 2
    fig.legend(handles + styles, labels + ["test", "train"], loc="outside lower center", ncols=columns, fontsize=10)
    return fig


@_styled
def against_batch_size(accuracies: dict[str, dict[int, float]]) -> Figure:
    """Test accuracy (percent) against the batch size, a line for each norm: name -> {batch size: accuracy}."""
    fig, ax = plt.subplots(figsize=(8, 4))
    for (name, points), marker in zip(accuracies.items(), itertools.cycle("osD^vP*"), strict=False):
        ax.plot(list(points), list(points.values()), marker=marker, label=name)
    sizes = sorted({size for points in accuracies.values() for size in points})
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()
    ax.set(xlabel="images in a batch", ylabel="test accuracy (%)")
    ax.legend(fontsize=10)
    return fig


def _upper_part(histories: dict[str, list[dict]]) -> tuple[float, float]:
    """Limits of the accuracy axis (percent): from what the lowest run had halfway upwards."""
    settled = [e for h in histories.values() for e in h[len(h) // 2 :]]
    low = min(e["test_accuracy"] for e in settled)
    low = min([low] + [h[-1]["train_accuracy"] for h in histories.values()])
    high = max(e[f"{part}_accuracy"] for e in settled for part in ("train", "test"))
    margin = max(0.05 * (high - low), 0.1)
    return max(low - margin, 0), min(high + margin, 100.05)


@_styled
def per_seed(groups: dict[str, list[float]]) -> Figure:
    """The test accuracy (percent) of every seed, a dot each, and each group's mean; a group is a model or a norm.

    Raises:
        ValueError: no group, or an empty one.
    """
    if not groups or not all(groups.values()):
        raise ValueError("per_seed needs at least one group, and at least one accuracy in each")
    fig, ax = plt.subplots(figsize=(8, 1.2 + 0.6 * len(groups)))
    names = []
    for y, (name, accuracies) in enumerate(groups.items()):
        offsets = [0.16 * (0, 1, -1)[k % 3] for k in range(len(accuracies))]  # equal accuracies stay visible
        ax.plot(accuracies, [y + o for o in offsets], "o", color=COLOURS[0], alpha=0.7, label="one seed" * (y == 0))
        mean = statistics.fmean(accuracies)
        ax.plot([mean, mean], [y - 0.32, y + 0.32], color=COLOURS[1], linewidth=2.5, label="mean" * (y == 0))
        spread = f" ± {statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
        names.append(f"{name}\n{mean:.2f}{spread} %, n = {len(accuracies)}")
    ax.set_yticks(range(len(groups)), names)
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.set_xlabel("test accuracy (%)")
    ax.ticklabel_format(useOffset=False, axis="x")
    ax.grid(False, axis="y")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=10)
    return fig


# --- networks ----------------------------------------------------------------------------------------------------


@_styled
def receptive_field_growth(tables: dict[str, list[Row]], input_size=None) -> Figure:
    """How far the networks see after each layer: the largest receptive field of all branches so far.

    Args:
        tables: a network's name -> its table (`common.receptive_field.receptive_field`).
        input_size: (channels, height, width) or the image's height in pixels, drawn as a line.
    """
    fig, ax = plt.subplots(figsize=(8, 4))
    looks = zip(itertools.cycle("osD^vP*"), itertools.cycle(("-", "--")))  # a line on another one is seen through it
    for (name, table), (marker, line) in zip(tables.items(), looks, strict=False):
        fields = [max(row.rf_out) if isinstance(row.rf_out, tuple) else row.rf_out for row in table]
        seen = [1, *itertools.accumulate(fields, max)]
        ax.plot(range(len(seen)), seen, line, marker=marker, markersize=5, label=f"{name}: {seen[-1]} pixels")
    if input_size is not None:
        height = input_size[1] if isinstance(input_size, tuple | list) else input_size
        ax.axhline(height, color="#666666", linestyle=":", label=f"the image: {height} pixels")
    ax.set(xlabel="convolution and pooling layers, in order", ylabel="receptive field (pixels)")
    ax.set_ylim(bottom=0)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(fontsize=10)
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
        ax.grid(False)
    return fig


@_styled
def normalized_together(images: int = 4, channels: int = 6, groups: int = 2) -> Figure:
    """Which values share a mean and a deviation in batch, group and layer norm: those of one colour.

    A panel's cell is one channel of one image, a whole map of pixels.
    """
    image, channel = np.mgrid[:images, :channels]
    together = {"batch norm": channel, f"group norm, {groups} groups": image * groups + channel * groups // channels,
                "layer norm": image}
    fig, panels = plt.subplots(1, 3, figsize=(10, 2.9))
    for ax, (name, numbers) in zip(panels, together.items(), strict=True):
        ax.pcolormesh(np.arange(channels + 1), np.arange(images + 1), numbers, cmap="tab20", vmin=0, vmax=19,
                      edgecolors="white", linewidth=3)
        ax.set(title=f"{name}: {numbers.max() + 1} means", xlabel="channel", ylabel="image of the batch",
               aspect="equal")
        ax.set_xticks(np.arange(channels) + 0.5, range(1, channels + 1))
        ax.set_yticks(np.arange(images) + 0.5, range(1, images + 1))
        ax.invert_yaxis()
        ax.grid(False)
    return fig


@_styled
def parameters_against_accuracy(points: list[dict], limits: tuple[int, float] | None = None) -> Figure:
    """Test accuracy (percent) against the number of parameters (log axis), a labelled point per network.

    Args:
        points: [{name, params, accuracy, std (percent, or None), source}, ...]; `source` is True for a number as
            its authors report it (hollow square), False for one trained here (filled dot).
        limits: the budget of parameters and the accuracy (percent) that is asked for, drawn as lines.
    Raises:
        ValueError: no point.
    """
    if not points:
        raise ValueError("parameters_against_accuracy needs at least one point")
    fig, ax = plt.subplots(figsize=(8.5, 5.5))
    over_seeds = " (mean ± deviation over seeds)" if any(p.get("std") for p in points) else ""
    looks = {
        True: {"fmt": "s", "color": COLOURS[1], "markerfacecolor": "white", "label": "as its authors report"},
        False: {"fmt": "o", "color": COLOURS[0], "label": f"trained here{over_seeds}"},
    }
    for source, look in looks.items():
        chosen = [p for p in points if bool(p["source"]) is source]
        if chosen:
            x, y = [p["params"] for p in chosen], [p["accuracy"] for p in chosen]
            ax.errorbar(x, y, yerr=[p.get("std") or 0 for p in chosen], capsize=3, markersize=7, elinewidth=1.2,
                        linestyle="none", **look)  # fmt: skip
    ax.set_xscale("log")
    ax.set(xlabel="parameters (log scale)", ylabel="test accuracy (%)")
    _limits_with_room(ax, points)
    if limits:
        line = {"color": "#AAAAAA", "linestyle": ":", "zorder": 0}
        ax.axvline(limits[0], **line, label=f"asked for: < {limits[0]:,}, ≥ {limits[1]} %")
        ax.axhline(limits[1], **line)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=10)
    _label_points(fig, ax, points)
    return fig


def _limits_with_room(ax: Axes, points: list[dict]) -> None:
    """Limits that leave room for the names, even of a single point; ticks written 8,000 and not 8 x 10^3."""
    low, high = (f(p["params"] for p in points) for f in (min, max))
    room = max((high / low) ** 0.2, 1.3)
    ax.set_xlim(low / room, high * room)
    low, high = (f(p["accuracy"] + s * (p.get("std") or 0) for p in points) for f, s in ((min, -1), (max, 1)))
    room = max(0.12 * (high - low), 0.2)
    ax.set_ylim(low - room, high + room)
    ax.xaxis.set_major_locator(plt.LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(plt.FuncFormatter(lambda x, _: f"{x:,.0f}"))
    ax.xaxis.set_minor_formatter(plt.NullFormatter())


def _label_points(fig: Figure, ax: Axes, points: list[dict]) -> None:
    """A name beside each point, at the nearest place where it covers no other name, point or error bar's end."""
    fig.draw_without_rendering()  # the layout must be settled before places can be measured (in pixels)
    inside, pixels = ax.get_window_extent(), fig.dpi / 72  # a pixel per point of type
    ends = [(p["params"], p["accuracy"] + k * (p.get("std") or 0)) for p in points for k in (-1, 0, 1)]
    taken = [Bbox.from_extents(*(spot - 6), *(spot + 6)) for spot in ax.transData.transform(ends)]
    for point in points:
        at = (point["params"], point["accuracy"])
        note = ax.annotate(point["name"], at, (0, 0), textcoords="offset points", fontsize=10, ha="center", va="center")
        note.set_in_layout(False)
        size = note.get_window_extent().size
        for distance, angle in itertools.product((4, 12, 22, 34, 48, 64, 82), np.arange(0, 2 * np.pi, np.pi / 8)):
            away = np.array([np.cos(angle), np.sin(angle)])
            centre = away * (size / 2 + distance + 4 * pixels)
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


# --- files and small things --------------------------------------------------------------------------------------


def save(fig: Figure, path: str | Path) -> Path:
    """Writes a figure as PNG, whole or not at all, makes the folder where it is missing, and closes the figure.

    Returns:
        the path.
    Raises:
        ValueError: the PNG is over 150 kB (nothing is written), or the path doesn't end in .png.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"{path} should end in .png")
    memory = io.BytesIO()
    fig.savefig(memory, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 9})
    plt.close(fig)
    if memory.tell() > MAX_BYTES:
        raise ValueError(f"{path.name} would have {memory.tell():,} bytes, over {MAX_BYTES:,}: draw less or smaller")
    write(path, memory.getvalue())
    return path


def _numbers(values) -> np.ndarray:
    return torch.as_tensor(values).detach().cpu().numpy()


def _same_length(**named) -> None:
    lengths = {name: len(values) for name, values in named.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{n} {name}" for name, n in lengths.items())
        raise ValueError(f"one of each per image is needed, but there are {found}")


def _percent(probability: float) -> str:
    return "> 99.9 %" if probability > 0.999 else f"{100 * probability:.1f} %"
