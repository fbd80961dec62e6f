"""Figures show the numbers they are given, and can be read."""

import io
import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from torch import nn

from common import plots
from common.layers import SeparableConv
from common.receptive_field import receptive_field
from common.results import Difference
from common.training import Misclassified

plt.switch_backend("agg")
torch.set_num_threads(1)

CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
IMAGES = torch.randint(256, (40, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(40) % 10


def words(texts):
    return [text.get_text() for text in texts if text.get_text()]


def titles(fig):
    return words(ax.title for ax in fig.axes)


def shown(ax, n=0):
    """The n-th picture of `ax` as (C, H, W)."""
    return torch.as_tensor(np.atleast_3d(ax.images[n].get_array())).permute(2, 0, 1)


def summary(*seeds):
    """Of runs with these test accuracies; one more of every 100 training images is right."""
    return {"results": [{"curve": [{"epoch": i, "lr": 0.1 / i, "test_accuracy": a, "fit_accuracy": min(a + 1, 100)}
                                   for i, a in enumerate(accuracies, 1)]} for accuracies in seeds]}


def png_size(fig):
    fig.savefig(png := io.BytesIO(), format="png")
    return len(png.getvalue())


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


def test_misclassified_images_have_their_own_captions():
    mistakes = [Misclassified(12, 2, 9, 0.9996), Misclassified(7, 7, 0, 0.91), Misclassified(4, 4, 5, 0.6)]
    fig = readable(plots.misclassified(IMAGES, mistakes, CLASSES, name="ours"))
    assert titles(fig) == ["image 12\ntrue: bird\npredicted: truck (> 99.9 %)",
                           "image 7\ntrue: horse\npredicted: airplane (91.0 %)",
                           "image 4\ntrue: deer\npredicted: dog (60.0 %)"]
    assert fig.get_suptitle().startswith("ours: 3 of 3 misclassified")
    assert [torch.equal(shown(ax), IMAGES[k]) for ax, k in zip(fig.axes, (12, 7, 4), strict=False)] == [True] * 3
    assert len(titles(readable(plots.misclassified(IMAGES, mistakes * 5, CLASSES)))) == 10
    assert words(plots.misclassified(IMAGES, [], CLASSES).texts)[0].startswith("none of 40")


def test_values_against_a_number_that_doubles():
    points = {"ghosts": {2: [50.0, 52.0], 128: [70.0], 16: [60.0, 62.0, 64.0]}}
    ax, = readable(plots.against(points, "images", "accuracy (%)", bands={"group norm": [40.0, 44.0]},
                                 lines={"root": {2: 55.0, 128: 65.0}}, margins={"root": {2: 0.0, 128: 5.0}},
                                 log=True)).axes
    drawn = {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in ax.lines}
    assert drawn["ghosts"] == [(2, 51.0), (16, 62.0), (128, 70.0)] and drawn["root"] == [(2, 55.0), (128, 65.0)]
    assert list(ax.lines[drawn_at(ax, "group norm")].get_ydata()) == [42.0, 42.0]
    assert len(ax.lines[-1].get_xdata()) == 6  # a dot each seed
    band = ax.collections[-1].get_paths()[0].vertices.tolist()
    assert [128, 60.0] in band and [128, 70.0] in band and [2, 55.0] in band
    assert words(ax.get_xticklabels()) == ["2", "16", "128"] and ax.get_xscale() == ax.get_yscale() == "log"


def drawn_at(ax, name):
    return [line.get_label() for line in ax.lines].index(name)


def test_heat_lies_over_its_image():
    maps = torch.rand(3, 32, 32)
    captions = [f"true: automobile\npredicted: {name}" for name in CLASSES[:3]]
    fig = readable(plots.heat(IMAGES[:3], {"predicted": maps, "true": maps.flip(0)}, captions, "looked at"))
    assert titles(fig) == captions and words(fig.axes[3].texts + fig.axes[6].texts) == ["predicted", "true"]
    assert torch.equal(shown(fig.axes[5]), IMAGES[2]) and torch.equal(shown(fig.axes[5], 1)[0], maps[2])
    assert torch.equal(shown(fig.axes[8], 1)[0], maps[0])


def test_confusion_matrix():
    true, predicted = [0] * 50 + [0, 0, 1, 2], [0] * 50 + [1, 1, 1, 0]
    ax, = readable(plots.confusion_matrix(true, predicted, CLASSES)).axes
    cells = {t.get_position(): int(t.get_text()) for t in ax.texts}  # (predicted, true), as the axes say
    assert cells == {(k, k): 0 for k in range(10)} | {(0, 0): 50, (1, 0): 2, (1, 1): 1, (0, 2): 1}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    colours = ax.images[0].get_array()
    assert (colours[0, 1], colours[2, 0], colours.sum()) == (2, 1, 3)  # of the errors only


def test_curves_show_errors_over_seeds():
    runs = {"two seeds": summary([90, 98, 99.2], [92, 99, 99.6]), "longer": summary([80, 90, 95, 100])}
    fig = readable(plots.curves(runs, target=99.4))
    errors, rates = fig.axes
    two, fit, longer, longer_fit, target = (list(line.get_ydata()) for line in errors.lines)
    assert two == pytest.approx([9, 1.5, 0.6]) and longer == pytest.approx([20, 10, 5, 0.005])
    assert fit == pytest.approx([8, 0.5, 0.005]) and longer_fit[-1] == 0.005  # a logarithm has no 0
    assert target == pytest.approx([0.6] * 2)
    band, = errors.collections
    assert band.get_paths()[0].get_extents().intervaly == pytest.approx([0.4, 10])
    assert [line.get_linestyle() for line in errors.lines] == ["-", "--", "-", "--", ":"]
    assert [list(line.get_xydata()[1]) for line in rates.lines] == [[1, 0.05], [1, 0.05]]  # after one epoch
    assert words(fig.legends[0].get_texts()) == [
        "two seeds: 99.40 ± 0.28 % accuracy, n = 2", "longer: 100.00 % accuracy", "test", "training",
        "target: 99.4 % accuracy"]
    assert {"0.01", "0.5", "10"} <= set(words(errors.get_yticklabels()))


def test_curves_of_older_results_and_of_one_epoch():
    old = summary([71], [72])
    del old["results"][1]["curve"][0]["fit_accuracy"]
    fig = readable(plots.curves({"old": old}))
    line, = fig.axes[0].lines
    assert line.get_marker() == "o" and "training" not in words(fig.legends[0].get_texts())
    for nothing in ({}, {"none": summary([])}):
        with pytest.raises(ValueError, match="at least one"):
            plots.curves(nothing)


@pytest.mark.parametrize("accuracies", [[88.9, 87.7, 86.1], [10, 99.99], [99.1, 99.16], [50, 71.5]])
def test_errors_have_ticks_at_every_range(accuracies):
    fig = readable(plots.curves({"a": summary(accuracies)}))
    low, high = fig.axes[0].get_ylim()
    ticks = [float(text) for text in words(fig.axes[0].get_yticklabels())]
    assert 3 <= len(ticks) <= 20 and all(low <= tick <= high for tick in ticks)


def test_figures_stay_small():
    runs = {f"a network's long name {i}": summary(*(100 - np.geomspace(60 + i, i + k + 2, 25) for k in range(3)))
            for i in range(7)}
    assert png_size(readable(plots.curves(runs, 99.4))) < 150_000


def test_differences_are_filled_where_their_interval_excludes_zero():
    ax, = readable(plots.differences({"no EMA": Difference(3, -0.2, -0.3, -0.1),
                                      "no shift": Difference(3, 0.1, -0.1, 0.3),
                                      "one": Difference(1, 0.4, math.nan, math.nan)})).axes
    assert words(ax.get_yticklabels()) == ["no EMA, n = 3", "no shift, n = 3", "one, n = 1"]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([-0.2, 0.1, 0.4])
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False, True, True]
    bars = [bar.get_segments()[0][:, 0].tolist() for bar in ax.collections]
    assert bars == [pytest.approx([-0.3, -0.1]), pytest.approx([-0.1, 0.3])]


def test_per_seed():
    ax, = readable(plots.per_seed({"batch norm": [84.5, 84.9, 84.1], "one": [82.0]})).axes
    assert words(ax.get_yticklabels()) == ["batch norm\n84.50 ± 0.40 %, n = 3", "one\n82.00 %, n = 1"]
    assert list(ax.lines[0].get_xdata()) == [84.5, 84.9, 84.1]
    assert list(ax.lines[1].get_xdata()) == pytest.approx([84.5, 84.5])  # the mean's bar
    assert len({tuple(xy) for xy in plots.per_seed({"same": [99.4] * 3}).axes[0].lines[0].get_xydata()}) == 3
    ax, = plots.per_seed({"one": [82.0], "other": [81.0], "third": [80.0]}, {"theirs": [None, 83.0, 79.5]}).axes
    assert ax.lines[-1].get_xydata().tolist() == [[83.0, 1], [79.5, 2]] and ax.lines[-1].get_label() == "theirs"


def test_receptive_field_growth():
    layers = [nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)]
    plain = receptive_field(nn.Sequential(*layers, nn.MaxPool2d(2)), (1, 16, 16))
    skip_last = plain[:2] + [plain[0]]  # a small skip connection, written last, takes nothing back
    ax, = readable(plots.receptive_field_growth({"plain": plain, "skip": skip_last}, (1, 16, 16), asked=7)).axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[1, 3, 5, 7, 8], [1, 3, 5, 5], [16, 16], [7, 7]]


def test_a_diagram_shows_every_block():
    layers = [layer for i in range(9) for layer in (nn.Conv2d(2**i, 2 ** (i + 1), 3, padding=1), nn.ReLU())]
    network = nn.Sequential(*layers, *[nn.MaxPool2d(2)] * 5, SeparableConv(512, 512, stride=2, dilation=2),
                            nn.Conv2d(512, 512, 3, stride=2, padding=1, groups=512), nn.Flatten(), nn.Linear(512, 10))
    fig = readable(plots.diagram(network, (1, 64, 64)))
    texts = [text for text in fig.axes[0].texts if text.get_text()]
    found = words(texts)
    assert found[:4] == ["1 @ 64x64", "image", "2 @ 64x64", "3x3 conv\n20"] and found[-2:] == ["10", "linear\n5,130"]
    assert len(found) == 2 * (1 + 9 + 5 + 4)
    boxes = [text.get_window_extent() for text in texts]
    boxes += [patch.get_window_extent() for patch in fig.axes[0].patches]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    heights = [patch.get_height() for patch in fig.axes[0].patches]
    assert heights[0] == 2 * heights[11] > heights[-1] > 0  # 64 and 16 pixels, by their roots
    assert png_size(fig) < 150_000


def test_a_residual_block_shows_channels_and_the_way_around():
    ax, = readable(plots.residual_block([("1x1, norm,\nReLU", 160), ("1x1, norm", 40)], 40, "SiLU", times=2)).axes
    heights = [patch.get_height() for patch in ax.patches if isinstance(patch, plt.Rectangle)]
    assert heights == pytest.approx([heights[1] / 2, heights[1], heights[1] / 2])  # 40 and 160, by their roots
    texts = [text for text in ax.texts if text.get_text()]
    assert words(texts) == ["40", "in", "160", "1x1, norm,\nReLU", "40", "1x1, norm", "the input", "+", "SiLU"]
    boxes = [text.get_window_extent() for text in texts if text.get_text() != "+"]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert ax.get_title() == "2 times in a row"
    around, = ax.lines
    assert around.get_xdata()[0] == 0 and around.get_xdata()[-1] == 3  # from the input to the sum


def test_footprints_are_centred_and_counted():
    board = torch.zeros(20, 20)
    board[6:13:2, 6:13:2] = 1.0
    ax, _ = readable(plots.footprints({"dilations 2, 2, 2": board, "the same again": board}, size=11)).axes
    assert ax.get_title() == "dilations 2, 2, 2\n16 pixels"
    assert np.array_equal(ax.collections[0].get_array(), board[4:15, 4:15])


def test_neighbours_share_the_dark_pixels():
    one, other = torch.zeros(2, 20, 20, dtype=torch.bool)
    one[7:10, 7:10] = other[7:10, 9:12] = True  # a stride of 2
    ax, = readable(plots.neighbours({"stride 2": (one, other)})).axes
    assert ax.get_title() == "stride 2\n3 pixels in common"
    colours = ax.collections[0].get_array()
    assert colours.shape == (9, 9, 3)
    counts = {tuple(colour.round(2)): int((colours == colour).all(2).sum()) for colour in np.unique(
        colours.reshape(-1, 3), axis=0)}
    assert sorted(counts.values()) == [3, 6, 6, 81 - 15]


def test_parameters_against_accuracy():
    points = [point("source", 58_314, 80.1, source=True), point("ours", 47_920, 84.9, 0.25)]
    ax, = plots.parameters_against_accuracy(points, (50_000, 80.0)).axes
    source, ours = ax.containers
    assert source.lines[0].get_xydata().tolist() == [[58_314, 80.1]] and source.lines[0].get_marker() == "s"
    assert ours.lines[0].get_xydata().tolist() == [[47_920, 84.9]] and words(ax.texts) == ["source", "ours"]
    assert ours.lines[2][0].get_segments()[0][:, 1].tolist() == pytest.approx([84.65, 85.15])
    assert [line.get_xdata()[0] for line in ax.lines if "asked" in str(line.get_label())] == [50_000]
    low, middle, high = ax.transData.transform([(50_000, accuracy) for accuracy in (60, 80, 90)])[:, 1]
    assert middle - low == pytest.approx(high - middle)  # half of the error each


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


def test_maps_keep_their_values_whatever_their_range():
    found = [torch.randn(5, 4), 100 * torch.rand(3, 3)]
    fig = readable(plots.maps(found, ["a", "b"]))
    assert titles(fig) == ["a", "b"]
    for ax, value in zip(fig.axes, found, strict=True):
        assert np.allclose(ax.images[0].get_array(), value)
        assert ax.images[0].get_clim() == pytest.approx((value.min().item(), value.max().item()))


def test_lines_of_losses_and_blocks():
    ax, = readable(plots.lines({"a": [2.3, 1.5, 1.0], "b": [2.2]}, "step", "loss")).axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[2.3, 1.5, 1.0], [2.2]]
    assert list(ax.lines[0].get_xdata()) == [1, 2, 3]
    ax, = plots.lines({"a": [0.0, 1.0]}, "input", "output", places=[-1.0, 1.0]).axes
    assert list(ax.lines[0].get_xdata()) == [-1, 1]
    fig = readable(plots.block_by_block({"plain": torch.rand(7, 3) + 0.1, "norm": torch.ones(7, 3)}, "size"))
    assert titles(fig) == ["plain", "norm"] and [len(ax.lines) for ax in fig.axes] == [3, 3]
    assert fig.axes[0].get_ylabel() == "size" and words(fig.legends[0].texts) == ["1", "2", "3"]
