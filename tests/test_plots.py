"""Figures show the numbers they are given, and can be read."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from torch import nn

from common import plots
from common.receptive_field import receptive_field

plt.switch_backend("agg")
torch.set_num_threads(1)

CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
IMAGES = torch.randint(256, (40, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(40) % 10
SURE = torch.full((40,), 0.999)


def words(texts):
    return [text.get_text() for text in texts if text.get_text()]


def titles(fig):
    return words(ax.title for ax in fig.axes)


def shown(ax, n=0):
    """The n-th picture of `ax` as (C, H, W)."""
    return torch.as_tensor(np.atleast_3d(ax.images[n].get_array())).permute(2, 0, 1)


def history(*accuracies):
    return [{"epoch": i, "train_loss": 2 / i, "train_accuracy": a - 0.5, "test_loss": 1.5 / i, "test_accuracy": a}
            for i, a in enumerate(accuracies, 1)]


def point(name, params, accuracy, std=None, source=False):
    return {"name": name, "params": params, "accuracy": accuracy, "std": std, "source": source}


def readable(fig):
    """`fig`, which must be closed, have no text below 10 points, and nothing that sticks out."""
    assert not plt.get_fignums()
    fig.draw_without_rendering()
    assert min(text.get_fontsize() for text in fig.findobj(Text) if text.get_text() and text.get_visible()) >= 10
    drawn, (width, height) = fig.get_tightbbox(), fig.get_size_inches()
    assert drawn.x0 > -0.02 and drawn.y0 > -0.02 and drawn.x1 < width + 0.02 and drawn.y1 < height + 0.02
    return fig


def test_images_have_their_own_labels():
    fig = readable(plots.samples(IMAGES, LABELS, CLASSES, rows=2))
    assert titles(fig) == CLASSES * 2
    assert all(torch.equal(shown(ax), image) for ax, image in zip(fig.axes, IMAGES[:20], strict=True))
    few = plots.samples(IMAGES[:2], LABELS[:2], CLASSES, rows=1)
    assert titles(few) == CLASSES[:2] and sum(len(ax.images) for ax in few.axes) == 2


@pytest.mark.parametrize("images, word", [
    (torch.randn(4, 3, 8, 8), "normalised"), (torch.zeros(3, 8, 8), "N, C, H, W"),
    (torch.zeros(4, 8, 8, 3), "N, C, H, W"), (torch.zeros(4, 3, 8, 8, dtype=torch.int64), "uint8"),
])
def test_wrong_images_are_refused(images, word):
    with pytest.raises(ValueError, match=word):
        plots.samples(images, LABELS[: len(images)], CLASSES)


def test_misclassified_ranks_by_confidence():
    predictions, confidence = LABELS.clone(), SURE.clone()
    for index, predicted, sure in ((4, 5, 0.6), (7, 0, 0.91), (12, 9, 0.9996)):
        predictions[index], confidence[index] = predicted, sure
    fig = readable(plots.misclassified(IMAGES, LABELS, predictions, CLASSES, confidence, name="ours"))
    assert titles(fig) == ["true: bird\npredicted: truck (> 99.9 %)", "true: horse\npredicted: airplane (91.0 %)",
                           "true: deer\npredicted: dog (60.0 %)"]
    assert fig.get_suptitle().startswith("ours: 3 of 3 misclassified")
    assert [torch.equal(shown(ax), IMAGES[k]) for ax, k in zip(fig.axes, (12, 7, 4), strict=False)] == [True] * 3
    assert words(plots.misclassified(IMAGES, LABELS, LABELS, CLASSES, SURE).texts)[0].startswith("none of 40")
    with pytest.raises(ValueError, match="softmax"):
        plots.misclassified(IMAGES, LABELS, LABELS, CLASSES, SURE * 7)


def test_heat_lies_over_its_image():
    maps = torch.rand(3, 32, 32)
    captions = [f"true: automobile\npredicted: {name}" for name in CLASSES[:3]]
    fig = readable(plots.heat(IMAGES[:3], maps, captions, "looked at"))
    assert titles(fig) == captions
    assert torch.equal(shown(fig.axes[5]), IMAGES[2]) and torch.equal(shown(fig.axes[5], 1)[0], maps[2])


def test_confusion_matrix():
    true, predicted = [0] * 50 + [0, 0, 1, 2], [0] * 50 + [1, 1, 1, 0]
    ax, = readable(plots.confusion_matrix(true, predicted, CLASSES)).axes
    cells = {t.get_position(): int(t.get_text()) for t in ax.texts}  # (predicted, true), as the axes say
    assert cells == {(k, k): 0 for k in range(10)} | {(0, 0): 50, (1, 0): 2, (1, 1): 1, (0, 2): 1}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    colours = ax.images[0].get_array()
    assert (colours[0, 1], colours[2, 0], colours.sum()) == (2, 1, 3)  # of the errors only


def test_curves_show_train_dashed_and_test_solid():
    fig = readable(plots.curves({"seed 0": history(90, 98, 99.2), "seed 1": history(91, 98, 99.5)}))
    lines = [[(line.get_linestyle(), list(line.get_ydata())) for line in ax.lines] for ax in fig.axes]
    assert lines[0][:2] == [("--", [2, 1, 2 / 3]), ("-", [1.5, 0.75, 0.5])]
    assert lines[1][2:] == [("--", [90.5, 97.5, 99]), ("-", [91, 98, 99.5])]
    assert words(fig.legends[0].get_texts()) == [
        "seed 0: 99.20 % at the end", "seed 1: 99.50 % at the end", "test", "train"]
    readable(plots.curves({f"a longer name {i}": history(50, 80 + i) for i in range(9)}))  # more than there are colours


def test_per_seed():
    ax, = readable(plots.per_seed({"batch norm": [84.5, 84.9, 84.1], "one": [82.0]})).axes
    assert words(ax.get_yticklabels()) == ["batch norm\n84.50 ± 0.40 %, n = 3", "one\n82.00 %, n = 1"]
    assert list(ax.lines[0].get_xdata()) == [84.5, 84.9, 84.1]
    assert list(ax.lines[1].get_xdata()) == pytest.approx([84.5, 84.5])  # the mean's bar
    assert len({tuple(xy) for xy in plots.per_seed({"same": [99.4] * 3}).axes[0].lines[0].get_xydata()}) == 3


def test_receptive_field_growth():
    layers = [nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)]
    plain = receptive_field(nn.Sequential(*layers, nn.MaxPool2d(2)), (1, 16, 16))
    skip_last = plain[:2] + [plain[0]]  # a small skip connection, written last, takes nothing back
    ax, = readable(plots.receptive_field_growth({"plain": plain, "skip": skip_last}, (1, 16, 16))).axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[1, 3, 5, 7, 8], [1, 3, 5, 5], [16, 16]]


def test_footprints_are_centred_and_counted():
    board = torch.zeros(20, 20)
    board[6:13:2, 6:13:2] = 1.0
    ax, _ = readable(plots.footprints({"dilations 2, 2, 2": board, "the same again": board}, size=11)).axes
    assert ax.get_title() == "dilations 2, 2, 2\n16 pixels"
    assert np.array_equal(ax.collections[0].get_array(), board[4:15, 4:15])


def test_parameters_against_accuracy():
    points = [point("source", 58_314, 80.1, source=True), point("ours", 47_920, 84.9, 0.25)]
    ax, = plots.parameters_against_accuracy(points, (50_000, 80.0)).axes
    source, ours = ax.containers
    assert source.lines[0].get_xydata().tolist() == [[58_314, 80.1]] and source.lines[0].get_marker() == "s"
    assert ours.lines[0].get_xydata().tolist() == [[47_920, 84.9]] and words(ax.texts) == ["source", "ours"]
    assert ours.lines[2][0].get_segments()[0][:, 1].tolist() == pytest.approx([84.65, 85.15])
    assert [line.get_xdata()[0] for line in ax.lines if "asked" in str(line.get_label())] == [50_000]


@pytest.mark.parametrize("spread, fewest", [(4.0, 37_000), (0.5, 37_000), (0.1, 37_000), (4.0, 500)])
def test_names_beside_points_never_overlap(spread, fewest):
    rng = np.random.default_rng(0)
    points = [point(f"a network's long name {i}", rng.uniform(fewest, 50_000), 80 + spread * rng.normal(),
                    0.1 * spread if i % 2 else None, i % 3 == 0) for i in range(12)]
    ax, = readable(plots.parameters_against_accuracy(points)).axes
    boxes = [note.get_window_extent() for note in ax.texts if note.get_text()]
    assert len(boxes) == 12 and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    spots, inside = ax.transData.transform([(p["params"], p["accuracy"]) for p in points]), ax.get_window_extent()
    assert not any(box.contains(*spot) for box in boxes for spot in spots)
    assert all(inside.contains(*corner) for box in boxes for corner in (box.p0, box.p1))
