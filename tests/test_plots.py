"""What the figures show: their labels, ticks, limits and sizes."""

import io
import itertools
import os

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402
from torch import nn  # noqa: E402

from common import plots  # noqa: E402
from common.receptive_field import receptive_field  # noqa: E402

torch.set_num_threads(1)

CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(256, (40, 3, 32, 32), generator=GENERATOR, dtype=torch.uint8)
LABELS = torch.arange(40) % 10


def titles(fig):
    return [ax.get_title() for ax in fig.axes if ax.get_title()]


def texts(ax):
    return [t.get_text() for t in ax.texts if t.get_text()]


def ticks(axis):
    return [t.get_text() for t in axis.get_ticklabels()]


def history(*accuracies, start=1):
    return [
        {"epoch": start + i, "lr": 0.1, "train_loss": 2.0 / (i + 1), "train_accuracy": a - 0.5,
         "test_loss": 1.5 / (i + 1), "test_accuracy": a, "seconds": 1.0}
        for i, a in enumerate(accuracies)
    ]  # fmt: skip


def point(name, params, accuracy, std=None, source=False):
    return {"name": name, "params": params, "accuracy": accuracy, "std": std, "source": source}


def table(depth=3):
    layers = [nn.Conv2d(1, 1, 3, padding=1) for _ in range(depth)]
    return receptive_field(nn.Sequential(*layers, nn.MaxPool2d(2)), (1, 16, 16))


BOARD = torch.zeros(20, 20)
BOARD[6:13:2, 6:13:2] = 1.0
CROWD = [point(f"network number {i}", 40_000 + 2_500 * (i % 4), 78 + 0.4 * i, 0.2, bool(i % 2)) for i in range(10)]
FIGURES = {
    "samples": lambda: plots.samples(IMAGES[:20], LABELS[:20], CLASSES, rows=2),
    "image": lambda: plots.image(IMAGES, LABELS, CLASSES, 3),
    "class_counts": lambda: plots.class_counts(LABELS, CLASSES),
    "curves": lambda: plots.curves({f"a longer name {i}": history(*np.linspace(50, 80 + i, 20)) for i in range(7)}),
    "misclassified": lambda: plots.misclassified(IMAGES, LABELS, LABELS.flip(0), CLASSES),
    "confusion_matrix": lambda: plots.confusion_matrix(LABELS, LABELS.flip(0), CLASSES),
    "receptive_field_growth": lambda: plots.receptive_field_growth({"a": table(), "b": table(9)}, (1, 16, 16)),
    "parameters_against_accuracy": lambda: plots.parameters_against_accuracy(CROWD),
    "against_batch_size": lambda: plots.against_batch_size({"a": {4: 60.0, 64: 70.0}, "b": {4: 65.0, 64: 68.0}}),
    "normalized_together": lambda: plots.normalized_together(),
    "heat": lambda: plots.heat(IMAGES[:8], torch.rand(8, 32, 32), ["true: automobile\npredicted: automobile"] * 8, "a"),
    "per_class_accuracy": lambda: plots.per_class_accuracy(LABELS, LABELS.flip(0), CLASSES),
    "footprints": lambda: plots.footprints({"dilations 1, 1, 1": BOARD, "dilations 2, 2, 2": BOARD}),
    "per_seed": lambda: plots.per_seed({"a": [99.41, 99.45], "b": [99.5, 99.52]}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_small_closed_and_readable(name, tmp_path, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_: pytest.fail("a figure function called plt.show()"))
    before, look = plt.get_fignums(), dict(matplotlib.rcParams)
    fig = FIGURES[name]()
    assert isinstance(fig, matplotlib.figure.Figure)
    assert plt.get_fignums() == before and dict(matplotlib.rcParams) == look
    assert plots.save(fig, tmp_path / f"{name}.png").stat().st_size < 150_000
    words = [t for t in fig.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]
    assert words and min(t.get_fontsize() for t in words) >= 10
    drawn, (width, height) = fig.get_tightbbox(), fig.get_size_inches()
    assert drawn.x0 > -0.02 and drawn.y0 > -0.02 and drawn.x1 < width + 0.02 and drawn.y1 < height + 0.02


def test_samples():
    fig = plots.samples(IMAGES, LABELS, CLASSES, rows=2, cols=3, title="training images")
    assert len(fig.axes) == 6 and titles(fig) == CLASSES[:6]
    assert fig.get_suptitle() == "training images"
    assert np.array_equal(fig.axes[1].images[0].get_array(), IMAGES[1].permute(1, 2, 0).numpy())
    few = plots.samples(IMAGES[:2], LABELS[:2], CLASSES, rows=1, cols=4)
    assert titles(few) == CLASSES[:2] and sum(len(ax.images) for ax in few.axes) == 2
    assert len(plots.samples(IMAGES, LABELS, CLASSES).axes) == 30


def test_images_of_one_channel_and_floats():
    grey = torch.rand(3, 1, 28, 28, generator=GENERATOR)
    grey[0, 0, 0, 0], grey[0, 0, 0, 1] = 0.0, 1.0
    fig = plots.samples(grey, LABELS[:3], CLASSES, rows=1, cols=3)
    shown = fig.axes[0].images[0]
    assert shown.get_array().shape == (28, 28) and shown.get_array().dtype == np.uint8
    assert shown.get_cmap().name == "gray" and shown.get_clim() == (0, 255)
    assert (shown.get_array()[0, 0], shown.get_array()[0, 1]) == (0, 255)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.randn(4, 3, 8, 8), "before they are normalised"),
        (torch.zeros(3, 8, 8), "N, C, H, W"),
        (torch.zeros(4, 8, 8, 3), "N, C, H, W"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.int64), "uint8"),
    ],
)
def test_wrong_images_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        plots.samples(images, LABELS[: len(images)], CLASSES)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="5 images, 4 labels"):
        plots.samples(IMAGES[:5], LABELS[:4], CLASSES)
    with pytest.raises(ValueError, match="3 predictions"):
        plots.confusion_matrix(LABELS[:4], LABELS[:3], CLASSES)
    with pytest.raises(ValueError, match="40 labels, 2 predictions"):
        plots.misclassified(IMAGES, LABELS, LABELS[:2], CLASSES)
    with pytest.raises(ValueError, match="2 confidence"):
        plots.misclassified(IMAGES, LABELS, LABELS, CLASSES, [0.5, 0.5])


def test_image():
    fig = plots.image(IMAGES, LABELS, CLASSES, 13)
    assert titles(fig) == ["image 13: cat"]
    assert np.array_equal(fig.axes[0].images[0].get_array(), IMAGES[13].permute(1, 2, 0).numpy())


def test_class_counts():
    (ax,) = plots.class_counts([0, 0, 2] + [3] * 1200, ["a", "b", "c", "d", "none"]).axes
    assert [bar.get_height() for bar in ax.patches] == [2, 0, 1, 1200, 0]
    assert texts(ax) == ["2", "0", "1", "1,200", "0"]
    assert ticks(ax.xaxis) == ["a", "b", "c", "d", "none"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("class", "number of images")
    assert ax.get_ylim()[0] == 0


def test_curves_show_train_dashed_and_test_solid():
    fig = plots.curves({"seed 0": history(90, 98, 99.2), "seed 1": history(91, 98, 99.5)})
    loss, accuracy = fig.axes
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "cross-entropy loss")
    assert (accuracy.get_xlabel(), accuracy.get_ylabel()) == ("epoch", "accuracy (%)")
    assert [line.get_linestyle() for line in accuracy.lines] == ["--", "-", "--", "-"]
    assert list(accuracy.lines[1].get_ydata()) == [90, 98, 99.2]
    assert list(accuracy.lines[0].get_ydata()) == [89.5, 97.5, 98.7]
    assert list(loss.lines[2].get_ydata()) == [2.0, 1.0, 2.0 / 3] and list(loss.lines[3].get_xdata()) == [1, 2, 3]
    colours = [to_hex(line.get_color()) for line in accuracy.lines]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert loss.get_ylim()[0] == 0
    (legend,) = fig.legends
    assert [t.get_text() for t in legend.get_texts()] == [
        "seed 0: 99.20 % at the end", "seed 1: 99.50 % at the end", "test", "train",
    ]  # fmt: skip


def test_the_accuracy_axis_tells_tenths_of_a_percent_apart():
    slow_start = (40, 90, 97, 98.5, 98.7, 98.9, 99.0, 99.1, 99.15)
    fig = plots.curves({"a": history(*slow_start, 99.2), "b": history(*slow_start, 99.5)})
    fig.draw_without_rendering()
    _, accuracy = fig.axes
    low, high = accuracy.get_ylim()
    assert low > 97 and 99.5 < high < 100.1
    pixels = accuracy.transData.transform([(10, 99.2), (10, 99.5)])[:, 1]
    assert pixels[1] - pixels[0] > 20
    cifar = plots.curves({"a": history(*np.linspace(30, 85, 20))}).axes[1]
    assert cifar.get_ylim()[0] < 60 and cifar.get_ylim()[1] > 85


def test_curves_of_one_epoch_and_of_none():
    loss, accuracy = plots.curves({"smoke": history(12.5)}).axes
    assert accuracy.lines[1].get_marker() == "o" and ticks(accuracy.xaxis) == ["1"]
    assert loss.get_ylim()[1] > 2.0
    for nothing in ({}, {"a": []}):
        with pytest.raises(ValueError, match="at least one"):
            plots.curves(nothing)


def test_curves_of_a_run_that_diverged():
    diverged = history(10, 10, 10)
    diverged[-1]["train_loss"] = diverged[-1]["test_loss"] = float("nan")
    assert np.isfinite(plots.curves({"too high a rate": diverged}).axes[0].get_ylim()).all()


def test_misclassified_ranks_by_confidence():
    predictions, confidence = LABELS.clone(), torch.full((40,), 0.999)
    for index, predicted, sure in ((4, 5, 0.6), (7, 0, 0.91), (12, 9, 0.9996)):
        predictions[index], confidence[index] = predicted, sure
    fig = plots.misclassified(IMAGES, LABELS, predictions, CLASSES, confidence)
    assert titles(fig) == [
        "true: bird\npredicted: truck (> 99.9 %)",
        "true: horse\npredicted: airplane (91.0 %)",
        "true: deer\npredicted: dog (60.0 %)",
    ]
    assert fig.get_suptitle().startswith("3 of 3 misclassified images, most confident first")
    assert np.array_equal(fig.axes[0].images[0].get_array(), IMAGES[12].permute(1, 2, 0).numpy())
    plain = plots.misclassified(IMAGES, LABELS, predictions, CLASSES, n=2)
    assert titles(plain) == ["true: deer\npredicted: dog", "true: horse\npredicted: airplane"]
    assert plain.get_suptitle() == "2 of 3 misclassified images"


def test_misclassified_with_no_error_and_with_a_wrong_confidence():
    (ax,) = plots.misclassified(IMAGES, LABELS, LABELS, CLASSES, torch.ones(40)).axes
    assert texts(ax) == ["none of 40 images is misclassified"]
    with pytest.raises(ValueError, match="softmax"):
        plots.misclassified(IMAGES, LABELS, LABELS, CLASSES, torch.full((40,), 7.0))


def test_confusion_matrix():
    (ax,) = plots.confusion_matrix([0] * 50 + [0, 0, 1, 2], [0] * 50 + [1, 1, 1, 0], ["cat", "dog", "frog"]).axes
    assert ticks(ax.xaxis) == ticks(ax.yaxis) == ["cat", "dog", "frog"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    cells = {t.get_position(): t.get_text() for t in ax.texts}  # (predicted, true)
    assert cells == {(0, 0): "50", (1, 0): "2", (1, 1): "1", (0, 2): "1", (2, 2): "0"}
    shades = ax.images[0].get_array()
    assert shades.max() == 2 and not np.diag(shades).any()
    assert "3 errors in 54 images" in ax.get_title()


def test_receptive_field_growth():
    skip_last = table()[:2] + [table()[0]]  # a small skip connection, written last, takes nothing back
    (ax,) = plots.receptive_field_growth({"plain": table(), "skip": skip_last}, (1, 16, 16)).axes
    assert list(ax.lines[0].get_ydata()) == [1, 3, 5, 7, 8] and list(ax.lines[0].get_xdata()) == [0, 1, 2, 3, 4]
    assert list(ax.lines[1].get_ydata()) == [1, 3, 5, 5]
    assert "pixels" in ax.get_ylabel() and "layers" in ax.get_xlabel()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "plain: 8 pixels", "skip: 5 pixels", "the image: 16 pixels",
    ]  # fmt: skip
    (ax,) = plots.receptive_field_growth({"plain": table()}).axes
    assert len(ax.lines) == 1


def names_on(fig):
    (ax,) = fig.axes
    return [t for t in ax.texts if t.get_text()]


def test_parameters_against_accuracy():
    points = [point("source", 58_314, 80.1, source=True), point("ours", 47_920, 84.9, 0.25)]
    fig = plots.parameters_against_accuracy(points)
    (ax,) = fig.axes
    assert ax.get_xscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("parameters (log scale)", "test accuracy (%)")
    fig.draw_without_rendering()
    assert {"50,000", "60,000"} <= set(ticks(ax.xaxis) + [t.get_text() for t in ax.get_xticklabels(minor=True)])
    source, ours = ax.containers
    assert source.lines[0].get_marker() == "s" and ours.lines[0].get_marker() == "o"
    assert source.lines[0].get_xydata().tolist() == [[58_314, 80.1]]
    assert ours.lines[2][0].get_segments()[0][:, 1].tolist() == pytest.approx([84.65, 85.15])
    assert [t.get_text() for t in names_on(fig)] == ["source", "ours"]
    words = [t.get_text() for t in fig.legends[0].get_texts()]
    assert words == ["as its authors report", "trained here (mean ± deviation over seeds)"]
    words = [t.get_text() for t in plots.parameters_against_accuracy(points, (50_000, 80.0)).legends[0].get_texts()]
    assert words[0] == "asked for: < 50,000, ≥ 80.0 %"
    with pytest.raises(ValueError, match="at least one"):
        plots.parameters_against_accuracy([])


@pytest.mark.parametrize("spread", [4.0, 0.5, 0.1])
def test_names_beside_points_never_overlap(spread):
    rng = np.random.default_rng(0)
    points = [point(f"network {i}, norm", int(p), a, 0.1 * spread if i % 2 else None, i % 3 == 0)
              for i, (p, a) in enumerate(zip(rng.uniform(37_000, 50_000, 12), 80 + spread * rng.normal(size=12),
                                             strict=True))]  # fmt: skip
    fig = plots.parameters_against_accuracy(points)
    fig.draw_without_rendering()
    (ax,) = fig.axes
    boxes = [note.get_window_extent() for note in names_on(fig)]
    assert len(boxes) == 12
    assert not [1 for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
    spots = ax.transData.transform([(p["params"], p["accuracy"]) for p in points])
    assert not [1 for box in boxes for spot in spots if box.contains(*spot)]
    inside = ax.get_window_extent()
    assert all(inside.x0 <= b.x0 and b.x1 <= inside.x1 and inside.y0 <= b.y0 and b.y1 <= inside.y1 for b in boxes)


def test_per_seed():
    fig = plots.per_seed({"batch norm": [84.5, 84.9, 84.1], "one": [82.0]})
    (ax,) = fig.axes
    assert ax.get_xlabel() == "test accuracy (%)"
    assert ticks(ax.yaxis) == ["batch norm\n84.50 ± 0.40 %, n = 3", "one\n82.00 %, n = 1"]
    dots, mean, _, _ = ax.lines
    assert sorted(dots.get_xdata()) == [84.1, 84.5, 84.9] and dots.get_linestyle() == "None"
    assert list(mean.get_xdata()) == pytest.approx([84.5, 84.5])
    assert len({tuple(xy) for xy in plots.per_seed({"same": [99.4] * 3}).axes[0].lines[0].get_xydata()}) == 3
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["one seed", "mean"]
    with pytest.raises(ValueError, match="at least one"):
        plots.per_seed({"none": []})


def test_save_writes_whole_files_only(tmp_path, monkeypatch):
    path = tmp_path / "figures" / "seeds.png"
    fig = plots.per_seed({"a": [99.4]})
    assert plots.save(fig, str(path)) == path
    assert path.read_bytes().startswith(b"\x89PNG") and os.listdir(path.parent) == ["seeds.png"]
    first = path.read_bytes()
    plots.save(plots.per_seed({"a": [99.4]}), path)
    assert path.read_bytes() == first  # equal data, equal bytes: no churn in the repository

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        plots.save(plots.per_seed({"b": [1.0]}), path)
    assert path.read_bytes() == first and os.listdir(path.parent) == ["seeds.png"]


def test_save_refuses_large_files_and_other_formats(tmp_path):
    fig, ax = plt.subplots(figsize=(6, 6))
    ax.imshow(np.random.default_rng(0).random((500, 500)))
    with pytest.raises(ValueError, match="large.png would have .* over 150,000"):
        plots.save(fig, tmp_path / "large.png")
    assert not plt.get_fignums() and not os.listdir(tmp_path)
    with pytest.raises(ValueError, match="end in .png"):
        plots.save(plots.per_seed({"a": [1.0]}), tmp_path / "figure.jpg")


def test_colours_are_those_the_colour_blind_tell_apart():
    okabe_ito = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"}
    assert set(plots.COLOURS) == okabe_ito
    memory = io.BytesIO()
    plots.curves({str(i): history(50, 60) for i in range(9)}).savefig(memory)  # more runs than colours
    assert memory.tell()


def test_against_batch_size():
    fig = plots.against_batch_size({"batch norm": {4: 60.0, 16: 65.5}, "layer norm": {4: 64.0, 16: 64.5}})
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in fig.axes[0].lines}
    assert lines == {"batch norm": ([4, 16], [60.0, 65.5]), "layer norm": ([4, 16], [64.0, 64.5])}
    assert [label.get_text() for label in fig.axes[0].get_xticklabels()] == ["4", "16"]


def test_normalized_together():
    panels = plots.normalized_together(images=3, channels=4).axes
    numbers = [ax.collections[0].get_array().reshape(3, 4) for ax in panels]
    assert [ax.get_title() for ax in panels] == ["batch norm: 4 means", "group norm, 2 groups: 6 means",
                                                 "layer norm: 3 means"]
    assert (numbers[0] == numbers[0][0]).all() and (numbers[2].T == numbers[2][:, 0]).all()
    assert (numbers[1][:, 0] == numbers[1][:, 1]).all() and (numbers[1][:, 1] != numbers[1][:, 2]).all()


def test_heat():
    maps = torch.rand(3, 32, 32, generator=GENERATOR)
    fig = plots.heat(IMAGES[:3], maps, ["a", "b", "c"], "looked at")
    assert titles(fig) == ["a", "b", "c"] and fig.get_suptitle() == "looked at"
    below = fig.axes[3].images
    assert np.array_equal(below[0].get_array(), IMAGES[0].permute(1, 2, 0).numpy())
    assert np.allclose(below[1].get_array(), maps[0]) and below[1].get_clim() == (0, 1) and below[1].get_alpha() < 1
    with pytest.raises(ValueError, match="maps"):
        plots.heat(IMAGES[:3], maps[:2], ["a", "b", "c"])


def test_per_class_accuracy():
    ax = plots.per_class_accuracy([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0], ["cat", "dog"]).axes[0]
    assert ticks(ax.xaxis) == ["dog", "cat"] and [bar.get_height() for bar in ax.patches] == [50, 75]
    assert texts(ax) == ["50.0", "75.0"] and ax.get_ylabel() == "accuracy (%)"


def test_footprints_are_centred_and_counted():
    ax = plots.footprints({"board": BOARD}, size=11).axes[0]
    assert ax.get_title() == "board\n16 pixels"
    shown = np.asarray(ax.collections[0].get_array())
    assert shown.shape == (11, 11) and np.array_equal(shown, BOARD[4:15, 4:15])
