"""What the front page shows, from the published results: the hook, the three sessions, and three findings."""

import re
from collections.abc import Callable
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from common import plots, results, session, tables
from common.claims import better
from common.receptive_field import receptive_field, window
from common.session import Session
from tools import notebooks

NORMS = {None: "", "bn": "batch norm ", "gn": "group norm ", "ln": "layer norm "}
NUMBERS = ("no", "a", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class Finding(NamedTuple):
    """What surprises: a sentence, whether the published results bear it out, and a picture of it."""

    name: str  # of its figure's file
    sentence: str
    holds: bool
    where: str  # the notebook
    draw: Callable[[], Figure]


def hook() -> str:
    """Return the page's first sentences."""
    linear = results.published_summary("S7_mnist/1_structure", "linear")
    small = results.published_summary("S7_mnist/3_augmentation", "one_block_45")
    return (f"A linear classifier of handwritten digits has {linear['params']:,} parameters and gets "
            f"{linear['mean']:.1f} % of MNIST's test images right. A convolutional network of this course has "
            f"{small['params']:,} and gets {small['mean']:.1f} %. How? In {len(notebooks.names())} PyTorch notebooks "
            "you design networks under a budget of parameters, and learn to tell a better one from a lucky one. For "
            "students who know some Python and have met PyTorch, and for those who teach them.")


def demo() -> str:
    """Return the line that sends a reader to the page where digits are drawn, or to the first notebook."""
    first = next(iter(session.read("S7_mnist").notebooks))
    ours = results.published_summary("S7_mnist/3_augmentation", "ours")
    return (f"**[Draw a digit](https://{notebooks.site(notebooks.repository())}/demo/)** in your browser: a network of "
            f"{ours['params']:,} parameters reads it as you draw. Or begin with the first notebook: "
            f"{notebooks.badge(f'S7_mnist/{first}')}")


def tabulate_sessions() -> str:
    """Return the table of the sessions, a row each."""
    rows = []
    for name in session.names():
        about = session.read(name)
        found = [row for row in results.summarize_session(name)
                 if (row["notebook"], row["model"]) == (about.closing, "ours")]
        reached = [f"{NORMS[row['norm']]}{tables.accuracy(row)} (worst {row['worst']:.2f}, n = {row['n']})"
                   for row in sorted(found, key=lambda row: row["norm"] or "")]
        asked = f"< {about.target('params').limit:,} parameters, ≥ {about.goal.limit:g} %"
        first = next(iter(about.notebooks))
        rows.append((f"[{name.split('_')[0]}: {about.title}]({name}/README.md)", asked, about.learn,
                     "<br>".join(reached), minutes(about), notebooks.badge(f"{name}/{first}")))
    head = "session | budget and target | you learn | our network, test accuracy in % | minutes | start"
    return tables.markdown(head, rows, "llllrl")


def minutes(about: Session) -> str:
    """Return how long a session's notebooks compute, by what their first cells say; "" where one doesn't say it."""
    total = 0
    for notebook in about.notebooks:
        text = " ".join(notebooks.read_source(f"{about.name}/{notebook}").cells[0].source.split())
        if found := re.search(r"\*\*It takes\*\* (?:about )?(\w+) minutes? of computing on two CPU cores", text):
            total += NUMBERS.index(found[1]) if found[1] in NUMBERS else int(found[1])
        elif not notebook.endswith("your_turn"):
            return ""
    return str(total)


def draw_sessions() -> Figure:
    """Accuracy against parameters, a panel each session: our networks with every seed, and those of others by name.

    The type is so large because a phone shows the figure at a quarter of its width.
    """
    with plt.rc_context(plots.STYLE | {"font.size": 24, "axes.titlesize": 28, "legend.fontsize": 24}):
        fig, panels = plt.subplots(1, 3, figsize=(15, 8.5))
        for ax, name in zip(panels, session.names(), strict=True):
            about = session.read(name)
            draw_panel(ax, about)
            ax.set_title(f"{name.split('_')[0]}: {about.title.split(' ')[0]}")
        fig.supxlabel("parameters", fontsize=24)
        fig.supylabel("test accuracy (%)", fontsize=24)
        fig.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, columnspacing=1,
                   handletextpad=0.3)
        for ax, name in zip(panels, session.names(), strict=True):  # once nothing moves any more
            name_others(fig, ax, session.read(name))
    plt.close(fig)
    return fig


def draw_panel(ax: Axes, about: Session) -> None:
    """Draw one session: others' networks as hollow squares, ours as dots with a bar from the worst seed to the best."""
    (params, goal), (theirs, ours) = (about.target("params").limit, about.goal.limit), split_points(about)
    ax.axvline(params, color="#888888", linestyle="--", label="budget, target")
    ax.axhline(goal, color="#888888", linestyle="--")
    ax.plot([point["params"] for point in theirs], [point["accuracy"] for point in theirs], "s", markersize=13,
            color=plots.COLOURS[1], markerfacecolor="white", markeredgewidth=3, label="others")
    for number, row in enumerate(ours):
        ax.plot([row["params"]] * 2, [row["worst"], best_seed(row)], color=plots.COLOURS[0], linewidth=4)
        ax.plot(row["params"], row["mean"], "o", color=plots.COLOURS[0], markersize=13,
                label="" if number else "ours, worst to best seed")
    ax.set_xscale("log")
    halves = [params / 2**k for k in range(4)]
    ax.set_xticks(halves, [f"{half / 1000:g}k" for half in halves])
    ax.minorticks_off()
    plots.space_by_error(ax)
    x, y = zip(*[(place["params"], place.get("accuracy", place.get("worst"))) for place in theirs + ours], strict=True)
    ax.set_xlim(min(*x, params / 2) / 1.2, params * 1.3)
    ax.set_ylim(100 - 1.08 * (100 - min(*y, goal)), None)


def split_points(about: Session) -> tuple[list[dict], list[dict]]:
    """Return others' networks as they report them, and the summaries of ours, as far as they are near the goal."""
    theirs = [point for point in tables.session_points(about) if point["source"]]
    known = {baseline["params"] for baseline in about.baselines}  # trained here, too, but not ours
    ours = [row for row in results.summarize_session(about.name)
            if row["params"] not in known and row["mean"] > about.goal.limit - 0.5 and row["n"] > 1
            and "epochs" not in row["model"]]  # what has another schedule than the session's last says so
    return theirs, ours


def best_seed(row: dict) -> float:
    return max(run["accuracy"] for run in row["results"])


def name_others(fig: Figure, ax: Axes, about: Session) -> None:
    """Write each author's name beside the best of their networks."""
    theirs, ours = split_points(about)
    best = {point["link"].split("/")[3]: point for point in sorted(theirs, key=lambda point: point["accuracy"])
            if "github.com" in point.get("link", "")}
    names = [next((name for name, point in best.items() if point is other), "") for other in theirs] + [""] * len(ours)
    places = [[(point["params"], point["accuracy"])] * 3 for point in theirs] + [
        [(row["params"], accuracy) for accuracy in (row["worst"], row["mean"], best_seed(row))] for row in ours]
    plots.label_points(fig, ax, names, np.array(places).reshape(-1, 2), fontsize=22)


def findings() -> list[Finding]:
    """Return the page's findings."""
    return [few_parameters(), norm_or_network(), holes()]


def few_parameters() -> Finding:
    """A network of few hundred parameters against the linear classifier."""
    linear = results.published_summary("S7_mnist/1_structure", "linear")
    ladder = [results.published_summary("S7_mnist/3_augmentation", f"one_block_{width}") for width in (11, 18, 30, 45)]
    smallest = ladder[0]

    def draw() -> Figure:
        with plt.rc_context(plots.STYLE):
            fig, ax = plt.subplots(figsize=(5, 2.8))
            ax.errorbar([row["params"] for row in ladder], [100 - row["mean"] for row in ladder],
                        [row["std"] for row in ladder], fmt="o-", capsize=3,
                        label="one block, used eight times\n(mean ± deviation over seeds)")
            ax.plot(linear["params"], 100 - linear["mean"], "s", color=plots.COLOURS[1], label="linear classifier")
            ax.set(xscale="log", yscale="log", xlabel="parameters", ylabel="test images wrong (%)",
                   xticks=(500, 1000, 2000, 4000, 8000), yticks=(0.5, 1, 2, 4, 8))
            ax.xaxis.set_major_formatter("{x:,.0f}")
            ax.yaxis.set_major_formatter("{x:g}")
            ax.minorticks_off()
            ax.legend()
        plt.close(fig)
        return fig

    return Finding(
        "few_parameters",
        f"**Size isn't everything.** A network of {smallest['params']} parameters, one block of convolutions used "
        f"eight times, makes less than a third of the mistakes of a linear classifier with {linear['params']:,}, "
        f"after {smallest['epochs']} epochs against {linear['epochs']}. "
        f"({smallest['n']} seeds each; below, equal steps are equal factors.)",
        3 * (100 - smallest["worst"]) < 100 - max(run["accuracy"] for run in linear["results"]),
        "S7_mnist/3_augmentation", draw)


def norm_or_network() -> Finding:
    """The lead of batch norm in two networks."""
    found = {name: {norm: results.published_summary("S8_norms/4_three_norms", f"{name}_8_epochs", norm)
                    for norm in ("bn", "gn", "ln")} for name in ("shared", "budgeted")}
    leads = {name: [results.difference(norms["bn"], norms[other]) for other in ("gn", "ln")]
             for name, norms in found.items()}

    def draw() -> Figure:
        fig = plots.differences({f"{name}: over {other} norm": lead for name, pair in leads.items()
                                 for other, lead in zip(("group", "layer"), pair, strict=True)},
                                "lead of batch norm (points of accuracy)")
        fig.set_size_inches(5, 2.6)
        return fig

    return Finding(
        "norm_or_network",
        "**One network proves nothing about norms.** In the network `shared` of session 8 batch norm is more than "
        "three times as far ahead of group and layer norm as in `budgeted`, after eight epochs of one recipe, "
        f"which was found with `shared` and batch norm ({leads['shared'][0].n} seeds each).",
        all(better(norms["bn"], norms[other]) for norms in found.values() for other in ("gn", "ln"))
        and all(much.mean > 3 * little.mean for much, little in zip(*leads.values(), strict=True)),
        "S8_norms/4_three_norms", draw)


def holes() -> Finding:
    """What three dilated convolutions see, with equal dilations and with different ones."""
    shape = (1, 64, 64)
    stacks = {", ".join(map(str, dilations)): nn.Sequential(*(
        nn.Conv2d(1, 1, 3, padding=dilation, dilation=dilation) for dilation in dilations))
        for dilations in ((2, 2, 2), (1, 2, 3))}
    windows = {f"dilations {name}": window(stack, shape) for name, stack in stacks.items()}
    width, = {receptive_field(stack, shape)[-1].rf_out for stack in stacks.values()}
    with_holes, without = (int((found > 0).sum()) for found in windows.values())
    return Finding(
        "holes",
        f"**A receptive field can have holes.** Three 3x3 convolutions with a dilation of 2 span {width} x {width} "
        f"pixels and see {with_holes} of them; with dilations of 1, 2 and 3 they see all {without}. (The darker, the "
        "more a pixel counts.)",
        without == width**2 and with_holes < width**2 / 3,
        "S9_advanced_conv/1_convolutions", lambda: plots.footprints(windows, size=15))


def list_findings() -> str:
    """Return the findings with their figures; raises CourseError for one that the results no longer bear out."""
    said = []
    for finding in findings():
        if not finding.holds:
            raise notebooks.CourseError(f"the front page says what the results don't: {finding.sentence}")
        number = f"{finding.where.split('_')[0]}.{finding.where.split('/')[1].split('_')[0]}"
        alt = finding.sentence.partition("**")[2].partition("**")[0]
        # the blank line after the image is for the site, which shows no image that stands beside a comment
        said.append(f"{finding.sentence} ([{number}]({finding.where}.ipynb))\n\n"
                    f"<img src=\"docs/{finding.name}.png\" width=\"420\" alt=\"{alt}\">\n")
    return "\n".join(said)


def figures() -> dict[str, Figure]:
    """Return the page's figures, by the names of their files in docs/."""
    return {"front": draw_sessions(), **{finding.name: finding.draw() for finding in findings()}}


# The page's generated sections: by name, what makes each.
SECTIONS = {"hook": hook, "demo": demo, "sessions": tabulate_sessions, "findings": list_findings}
