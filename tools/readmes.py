"""The READMEs' generated sections, each between <!-- generated: NAME --> and <!-- end: NAME -->: tables and figures."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from common import results, session, tables
from common.files import ROOT
from common.session import Session
from common.targets import NAMES
from tools import front, notebooks
from tools.notebooks import GITHUB, CourseError, badge, relative, repository

FIGURES = {  # in S*/results/figures/, and what a README says beside it
    "parameters": "Test accuracy against the number of parameters: networks trained here (last epoch; mean and "
                  "standard deviation over several seeds) and the source networks (best epoch, as their authors "
                  "report it). Of several recipes for a network the most accurate is shown; where the budget leaves "
                  "the epochs open, of each number of epochs. Left out: what has more than twice the budget, or is far "
                  "below the target",
    "seeds": "Test accuracy after the last epoch, a dot each seed, of networks with several that come near the target",
    "curves": "Error after each epoch, on a logarithmic axis: the mean over seeds, with a band from the best seed to "
              "the worst. Dashed, where it was recorded: on training images, measured in the same way. Below: the "
              "learning rate",
    "misclassified": "What our network gets wrong, seed 0: true and predicted class",
}


def fill_readmes() -> dict[Path, str]:
    """Return every README as it should be, its generated sections filled from the published results."""
    paths = [ROOT / "README.md", *ROOT.glob("S*/README.md")]
    return {path: fill(path.read_text(), make_sections(path.parent), relative(path)) for path in paths}


def fill(text: str, contents: dict[str, str | Callable[[], str]], where: str) -> str:
    """Return `text` with `contents[NAME]`, or what that function returns, in each of its sections.

    Raises CourseError, naming `where`, for a NAME that isn't known, and for a marker without its other half.
    """
    for name in dict.fromkeys(re.findall(r"<!-- (?:generated|end): (.*?) -->", text)):
        if name not in contents:
            raise CourseError(f"{where} has a section {name!r}; known: {', '.join(contents)}")
        begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise CourseError(f"{where} needs {begin} and, after it, {end}, once each")
        content = contents[name]
        made = content() if callable(content) else content
        text = f"{text[:text.index(begin)]}{begin}\n{made}\n{text[text.index(end):]}"
    return text


def make_sections(folder: Path) -> dict[str, str | Callable[[], str]]:
    """Return the generated sections, or what makes them, by name, with the links of a README in `folder`."""
    address = repository()
    clone = f"git clone {GITHUB}{address}\ncd {address.partition('/')[2]}"
    sections = {"clone": f"```bash\n{clone}\nmake run\nmake test\n```"}
    if folder == ROOT:
        sections |= front.SECTIONS
    sections["notebooks"] = list_notebooks([session.read(name) for name in session.names()], folder)
    for name in session.names():
        about = session.read(name)
        limits = [f"{NAMES[target.key]} {target.relation} {target.limit:,}" for target in (about.goal, *about.budget)]
        sections |= {
            f"goal {name}": f"**Asked for:** {'; '.join(limits)}.",
            f"notebooks {name}": list_notebooks([about], folder),
            f"results {name}": tabulate_results(about, folder),
            f"comparisons {name}": tabulate_comparisons(about),
            f"figures {name}": list_figures(about, folder),
            **{f"{measured} {name}": read_table(name, measured) for measured in ("bench", "precision", "export")},
        }
    return sections


def read_table(name: str, measured: str) -> str:
    """Return the table of what `make bench`, or `python -m tools` precision or export, measured of a session."""
    path = ROOT / name / "results" / f"{measured}.json"
    return json.loads(path.read_text())["table"] if path.exists() else "*Not measured yet.*"


def list_notebooks(sessions: list[Session], folder: Path) -> str:
    """Return the table of the sessions' notebooks: their titles, and their badges."""
    rows = []
    for name in (f"{about.name}/{notebook}" for about in sessions for notebook in about.notebooks):
        title = notebooks.read_source(name).cells[0].source.splitlines()[0].removeprefix("# ")
        rows.append((f"[{title}]({os.path.relpath(ROOT / name, folder)}.ipynb)", badge(name)))
    return tables.markdown("notebook | ", rows, "ll")


def tabulate_results(about: Session, folder: Path) -> str:
    """Return the table of a session's results, a row for each model, and say what the source networks reach."""
    rows = []
    for row in results.summarize_session(about.name):
        met = sum(all(target["met"] for target in run["targets"]) for run in row["results"])
        mean, reached = results.mean_epoch_until(row["results"], about.goal.limit)
        first = "never" if mean is None else f"{mean:.1f}"
        if 0 < reached < row["n"]:
            first += f" ({reached} of {row['n']})"
        path = os.path.relpath(ROOT / about.name / f"{row['notebook']}.ipynb", folder)
        number = f"{about.name.split('_')[0]}.{row['notebook'].split('_')[0]}"
        rows.append((f"[{number}]({path})", tables.title(row), f"{row['params']:,}",
                     row["epochs"], tables.accuracy(row), row["n"], f"{row['worst']:.2f}", first,
                     f"{'✓' if met == row['n'] else '✗'} {met} of {row['n']}"))
    head = ("notebook | model | parameters | epochs | test accuracy, % | seeds | worst seed, % "
            f"| first epoch ≥ {about.goal.limit} % | its targets met")
    sources = []
    for baseline in about.baselines:
        name = tables.describe_baseline(baseline)
        linked = f"[{name}]({baseline['link']})" if "link" in baseline else name
        sources.append(f"{baseline['accuracy']:.2f} % with {linked}")
    text = (f"{tables.markdown(head, rows, 'llrrrrrll')}\n\n"
            "Accuracy after the last epoch, never the best one: mean ± standard deviation over the seeds. "
            "A network's targets are those of its notebook, which may be lower or higher than the session's.")
    if sources:
        text += f"\nWhat others report of their networks, at the best epoch: {', '.join(sources)} parameters."
    return text


def tabulate_comparisons(about: Session) -> str:
    """Return the table of what a session compares seed by seed, as far as it is published."""
    found = {f"{row['notebook']}/{results.result_name(row['model'], row['norm'])}": row
             for row in results.summarize(results.read_all(ROOT / about.name / "results"))}
    pairs = [(found[one], found[other]) for one, other in about.comparisons if one in found and other in found]
    said = ("Seed by seed: the mean difference of the runs with the same seed, and its 95 % interval (Student's t). "
            "\"Better\" and \"worse\" are said only where the interval excludes 0; about one in twenty such "
            "intervals misses the true difference.")
    if any("short" in one["model"] for one, _ in pairs):
        said += " \"Short\": four epochs of 15,000 images."
    return f"{tables.difference_table(pairs)}\n\n{said}"


def list_figures(about: Session, folder: Path) -> str:
    """Return a session's figures that are there, with their captions."""
    paths = {ROOT / about.name / "results" / "figures" / f"{name}.png": caption for name, caption in FIGURES.items()}
    return "\n\n".join(f"![{caption}]({os.path.relpath(path, folder)})\n\n*{caption}.*"
                       for path, caption in paths.items() if path.exists())
