"""From runs/full and the published results to what a reader sees: outputs in the notebooks, figures, READMEs.

Everything here can be made again: nothing is typed in by hand, and `check` says what is out of date.
"""

import base64
import csv
import io
import json
import os
import re
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from PIL import Image

from common import grid, notebooks, plots, report, results, sources
from common.notebooks import ROOT, CourseError, badge, key, repository, shown, tags
from common.results import write
from common.targets import NAMES

LARGEST = 500_000  # bytes of a published notebook: above it GitHub is slow to show it, or doesn't
BUDGETS = {"S7_mnist": 8000, "S8_norms": 50_000, "S9_advanced_conv": 200_000}  # parameters
GOALS = {"S7_mnist": 99.4, "S8_norms": 70.0, "S9_advanced_conv": 85.0}  # a session's target, percent
FIGURES = {  # in S*/results/figures/, and what a README says beside it
    "parameters": "Test accuracy against the number of parameters: networks trained here (last epoch; mean and "
                  "standard deviation over several seeds) and the source networks (best epoch, as their authors "
                  "report it). Left out: what was trained here and is far larger than those or far below the target",
    "seeds": "Test accuracy after the last epoch, a dot each seed, of the networks that were trained with several",
    "curves": "Loss and accuracy during training, the last notebook's networks, seed 0. Train: on the varied images, "
              "while learning; test: with the weights that are evaluated, their average where the recipe has one",
    "misclassified": "What the last notebook's network gets wrong, seed 0: true and predicted class",
}
# What is compared seed by seed: a session's (notebook, model, norm) against another.
OURS = {norm: (notebook, "ours", norm) for norm, notebook in
        [("bn", "2_batch_norm"), ("gn", "3_group_norm"), ("ln", "4_layer_norm")]}
COMPARED = {
    "S7_mnist": [(("3_augmentation", "ours", None), ("3_augmentation", "one_cycle", None)),
                 (("3_augmentation", "smallest", None), ("3_augmentation", "one_cycle", None)),
                 (("3_augmentation", "ours", None), ("3_augmentation", "smallest", None))],
    "S8_norms": [(OURS["bn"], OURS["gn"]), (OURS["bn"], OURS["ln"]), (OURS["gn"], OURS["ln"]),
                 *((ours, (ours[0], "budgeted", norm)) for norm, ours in OURS.items()),
                 *(((OURS["bn"][0], model, "bn"), (OURS["bn"][0], "short", "bn")) for model in grid.ABLATED[1:])],
    "S9_advanced_conv": [*((("5_smaller_longer", model, None), ("4_ours", "ours", None))
                           for model in ("half_size", "longer")),
                         *((("4_ours", model, None), ("4_ours", "short", None)) for model in grid.ABLATED_S9[1:])],
}
TAKEN = {"curves": "plots.curves(", "misclassified": "plots.misclassified("}  # from the last notebook's last such call


def publish(repo: str | None = None) -> list[str]:
    """Put the outputs of runs/full into the notebooks, draw the figures and fill the READMEs; return what changed.

    With `repo`, "owner/name" on GitHub, only the address of the course is rewritten, everywhere.
    Raises CourseError, before anything is published, for a notebook or a result that isn't fit for it.
    """
    if repo is not None:
        set_repository(repo)
        return [*notebooks.sync(), *write_readmes()]
    changed = notebooks.sync()
    if problems := stale_results():
        raise CourseError("\n".join(problems))
    ready = {name: with_outputs(name) for name in notebooks.names()}
    for name, notebook in ready.items():
        changed += write_if_new(ROOT / f"{name}.ipynb", (nbformat.writes(notebook) + "\n").encode())
    for session in sessions():
        draw_figures(session, ROOT, ROOT / session / "results" / "figures")
    return changed + write_readmes()


def set_repository(repo: str) -> None:
    """Write the course's address into pyproject.toml, the one place where it stands; `repo` is "owner/name"."""
    repo = repo.removesuffix(".git")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/\w[\w.-]*", repo):
        raise CourseError(f"{repo!r} is no place on GitHub: write it as REPO=owner/name")
    path = ROOT / "pyproject.toml"
    text = path.read_text()
    write(path, text.replace(f'"{repository()}"', f'"https://github.com/{repo}"'))


def with_outputs(name: str) -> NotebookNode:
    """Return the paired notebook `name` with the outputs that runs/full has for it.

    Raises CourseError for one that wasn't run, ran in another version, in part or for no time, failed, or is too large.
    """
    path = ROOT / "runs" / "full" / f"{name}.ipynb"
    again = "run `make results`"
    if not path.exists():
        raise CourseError(f"{name}: no {shown(path)} to publish; {again}")
    pair, executed = notebooks.read(ROOT / f"{name}.ipynb"), notebooks.read(path)
    if not executed.metadata.get("papermill", {}).get("duration"):
        raise CourseError(f"{name}: {shown(path)} ran for 0.000 s; {again}")
    ran = [cell for cell in executed.cells if "injected-parameters" not in tags(cell)]
    if executed.metadata.papermill.get("parameters") != {"preset": "full", "train": "never"}:
        raise CourseError(f"{name}: {shown(path)} ran with other parameters than `make results` gives it; {again}")
    if any(output.output_type == "error" for cell in ran for output in cell.get("outputs", [])):
        raise CourseError(f"{name}: {shown(path)} shows an error; {again}")
    if list(map(identity, pair.cells)) != list(map(identity, ran)):
        raise CourseError(f"{name}: {shown(path)} is of another version of the notebook; {again}")
    code = [cells for cells in zip(pair.cells, ran, strict=True) if cells[0].cell_type == "code"]
    for count, (cell, done) in enumerate(code, 1):
        if cell.source and not done.execution_count:
            raise CourseError(f"{name}: {shown(path)} was stopped in the middle; {again}")
        cell.outputs, cell.execution_count = cleaned(done.outputs), count
    if (size := len(nbformat.writes(pair).encode())) > LARGEST:
        raise CourseError(f"{name}: {size / 1000:,.0f} kB with its outputs, the limit is {LARGEST / 1000:,.0f} kB: "
                          "show less, or smaller figures")
    return pair


def identity(cell: NotebookNode) -> tuple:
    """What must be the same in a notebook and its run: all but the address in the set-up cell and in the badge."""
    kind, source, tagged = key(cell)
    return kind, "" if "setup" in tagged else notebooks.BADGE.sub("", source), tagged


def smaller(png: str) -> str:
    """Return a PNG, in base64, with a palette of 256 colours: a chart of lines and text takes a third of the bytes."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    small = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return min(png, base64.b64encode(small.getvalue()).decode(), key=len)


def cleaned(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Return outputs without widgets, with the pieces of a stream put together and figures made smaller."""
    kept: list[NotebookNode] = []
    for output in outputs:
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
            continue
        if kept and output.output_type == "stream" == kept[-1].output_type and output.name == kept[-1].name:
            kept[-1].text += output.text
        else:
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])
            kept.append(output)
    return kept


def stale_results() -> list[str]:
    """Return a line for every notebook one of whose published results is missing or stale: it says so itself."""
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for name in notebooks.names():
            print(f"{name}: are its results those of today's code?", flush=True)  # it takes minutes
            try:
                notebooks.execute(ROOT / f"{name}.ipynb", Path(folder) / f"{name}.ipynb",
                                  {"preset": "full", "train": "never"})
            except CourseError as error:
                problems.append(re.sub(r" \(cell outputs: .*\)$", "", str(error)))
    return problems


def draw_figures(session: str, ran: Path, folder: Path) -> None:
    """Draw a session's figures of its published results into `folder`: the parameters, and every seed.

    The others are taken from its last notebook, as it was run below the folder `ran`.
    """
    rows = summaries(session)
    if not rows:
        return
    points = sources.points(session)
    # The first networks of a session, generous or plain, would press all that is close to the target into a corner.
    largest = 1.5 * max((point["params"] for point in points), default=float("inf"))
    points += [{"name": report.title(row), "params": row["params"], "accuracy": row["mean"], "std": row["std"],
                "source": False}
               for row in rows if row["params"] <= largest and row["mean"] > GOALS[session] - 0.5]
    if points:
        limits = (BUDGETS[session], GOALS[session])
        plots.save(plots.parameters_against_accuracy(points, limits), folder / "parameters.png")
    several = [row for row in rows if row["n"] > 1] or rows
    plots.save(plots.per_seed({report.title(row): [run["accuracy"] for run in row["results"]] for row in several}),
               folder / "seeds.png")
    last = [name for name in notebooks.names() if name.startswith(f"{session}/")][-1]
    cells = notebooks.read(ran / f"{last}.ipynb").cells
    for name, call in TAKEN.items():
        images = [output.data["image/png"] for cell in cells if call in cell.source
                  for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
        if images:
            write(folder / f"{name}.png", base64.b64decode(images[-1]))


def write_report(session: str, folder: Path) -> None:
    """Write a session's figures and tables into `folder`: what `snakemake --report` puts into one page."""
    draw_figures(session, ROOT / "runs" / "full", folder)
    keys = ("notebook", "model", "norm", "params", "receptive_field", "epochs", "mean", "std", "n", "worst")
    write_csv(folder / "results.csv", keys, [[row[key] for key in keys] for row in summaries(session)])
    pairs = [(report.title(one), report.title(other), *(difference := report.paired(one, other)), difference.verdict)
             for one, other in comparisons(session)]
    write_csv(folder / "comparisons.csv", ("model", "against", "pairs", "mean", "low", "high", "verdict"), pairs)


def write_csv(path: Path, head: tuple, rows: list) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *(
        ["" if value != value else f"{value:.2f}" if isinstance(value, float) else value for value in row]
        for row in rows)])
    write(path, text.getvalue())


def comparisons(session: str) -> list[tuple[dict, dict]]:
    """Return the pairs of summaries that `COMPARED` names, as far as both have published results."""
    found = {(row["notebook"], row["model"], row["norm"]): row for row in results.summary(
        [run for run in results.read(ROOT / session / "results") if run["preset"] == "full"])}
    return [(found[one], found[other]) for one, other in COMPARED.get(session, []) if one in found and other in found]


def sessions() -> list[str]:
    return list(dict.fromkeys(name.split("/")[0] for name in notebooks.names()))


def summaries(session: str) -> list[dict]:
    """Return the summaries of a session's published results, by notebook and then by accuracy.

    Runs that have no accuracy to reach, such as those on a short schedule, are left out.
    """
    found = [run for run in results.read(ROOT / session / "results") if run["preset"] == "full"
             and any(target["name"] == NAMES["accuracy"] for target in run["targets"])]
    return sorted(results.summary(found), key=lambda row: (row["notebook"], row["mean"]))


def readmes() -> dict[Path, str]:
    """Return every README as it should be, its generated sections filled from the published results."""
    paths = [ROOT / "README.md", *(ROOT / session / "README.md" for session in sessions())]
    return {path: fill(path.read_text(), sections(path.parent), shown(path)) for path in paths if path.exists()}


def write_readmes() -> list[str]:
    return [line for path, text in readmes().items() for line in write_if_new(path, text.encode())]


def fill(text: str, contents: dict[str, str], where: str) -> str:
    """Return `text` with `contents[NAME]` between each <!-- generated: NAME --> and its <!-- end: NAME -->.

    Raises CourseError for a NAME that isn't known, and for a marker without its other half.
    """
    for name in re.findall(r"<!-- (?:generated|end): (.*?) -->", text):
        if name not in contents:
            raise CourseError(f"{where} has a section {name!r}; known: {', '.join(contents)}")
        begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise CourseError(f"{where} needs {begin} and, after it, {end}, once each")
        text = f"{text[:text.index(begin)]}{begin}\n{contents[name]}\n{text[text.index(end):]}"
    return text


def sections(folder: Path) -> dict[str, str]:
    """Return the generated sections of a README in `folder`, by name."""
    url = repository()
    filled = {"clone": f"```bash\ngit clone {url}\ncd {url.rsplit('/', 1)[-1]}\nmake run\nmake test\n```"}
    for session in sessions():
        rows = summaries(session)
        filled[f"results {session}"] = results_table(session, rows, folder)
        filled[f"comparisons {session}"] = comparisons_table(session)
        filled[f"bench {session}"] = bench_table(session)
        filled[f"figures {session}"] = figures(session, folder)
        filled[f"notebooks {session}"] = notebook_table(session, folder)
    return filled


def results_table(session: str, rows: list[dict], folder: Path) -> str:
    """Return a session's results in Markdown: a row for each model, and what the source networks reach.

    The links are those of a README in `folder`.
    """
    if not rows:
        return "*No result is published yet: `make results`, then `make publish`.*"
    goal = GOALS[session]
    lines = ["| notebook | model | parameters | epochs | test accuracy, % | seeds | worst seed, % "
             f"| first epoch ≥ {goal} % | its targets met |",
             "| :--- | :--- | ---: | ---: | ---: | ---: | ---: | :--- | :--- |"]
    for row in rows:
        met = sum(all(target["met"] for target in run["targets"]) for run in row["results"])
        images = row["results"][0].get("recipe", {}).get("train_images")
        epochs = f"{row['epochs']}" + (f" of {images:,} images" if images else "")
        path = os.path.relpath(ROOT / session / f"{row['notebook']}.ipynb", folder)
        number = f"{session.split('_')[0]}.{row['notebook'].split('_')[0]}"
        lines.append(f"| [{number}]({path}) | {report.title(row)} | {row['params']:,} | {epochs} | "
                     f"{report.accuracy(row)} | {row['n']} | "
                     f"{row['worst']:.2f} | {reached(row, goal)} | "
                     f"{'✓' if met == row['n'] else '✗'} {met} of {row['n']} |")
    lines += ["", "Accuracy after the last epoch, never the best one: mean ± standard deviation over the seeds. "
              "A network's targets are those of its notebook: an early one's are lower than the session's."]
    if theirs := sources.points(session):
        said = ", ".join(f"{point['accuracy']:.2f} % with {point['name']}" for point in theirs)
        lines.append(f"The source networks' best epoch, as their authors report it: {said} parameters.")
    return "\n".join(lines)


def comparisons_table(session: str) -> str:
    """Return what is compared seed by seed, in Markdown."""
    if not (pairs := comparisons(session)):
        return "*Nothing is compared yet.*"
    said = ("Seed by seed: the mean difference of the runs with the same seed, and its 95 % interval (Student's t). "
            "\"Better\" and \"worse\" are said only where the interval excludes 0; about one in twenty such "
            "intervals misses the true difference.")
    if any(one["model"].startswith("short") for one, _ in pairs):
        said += " \"Short\": four epochs of 15,000 images, one ingredient out."
    return f"{report.differences(pairs)}\n\n{said}"


def reached(row: dict, goal: float) -> str:
    """Return the mean first epoch at which a model had `goal` percent, and in how many of its runs where not in all."""
    mean, runs = results.mean_epoch_until(row["results"], goal)
    if mean is None:
        return "never"
    return f"{mean:.1f}" + (f" ({runs} of {row['n']})" if runs < row["n"] else "")


def bench_table(session: str) -> str:
    """Return what `make bench` printed when it was last kept."""
    path = ROOT / session / "results" / "bench.json"
    return json.loads(path.read_text())["table"] if path.exists() else "*Not measured yet: `make bench`.*"


def figures(session: str, folder: Path) -> str:
    paths = {caption: ROOT / session / "results" / "figures" / f"{name}.png" for name, caption in FIGURES.items()}
    shown = [f"![{caption}]({os.path.relpath(path, folder)})\n\n*{caption}.*"
             for caption, path in paths.items() if path.exists()]
    return "\n\n".join(shown) or "*No figure is published yet.*"


def notebook_table(session: str, folder: Path) -> str:
    lines = ["| notebook | |", "| :--- | :--- |"]
    for name in notebooks.names():
        if name.startswith(f"{session}/"):
            heading = re.search(r"^# # (.*)", (ROOT / f"{name}.py").read_text(), re.MULTILINE)[1]
            lines.append(f"| [{heading}]({os.path.relpath(ROOT / name, folder)}.ipynb) | {badge(name, repository())} |")
    return "\n".join(lines)


def write_if_new(path: Path, content: bytes) -> list[str]:
    if path.exists() and path.read_bytes() == content:
        return []
    write(path, content)
    return [shown(path)]


def check() -> list[str]:
    """Return a line for everything that isn't as what makes it says, with the command that makes it anew."""
    made = [f"{shown(path)} isn't what the results say" for path, text in readmes().items() if path.read_text() != text]
    gates = [(notebooks.pairs_differ(), "make sync"), (notebooks.setups_differ(), "make sync"),
             (made, "make publish"), (outputs_missing(), "make results publish"),
             (stale_results(), "make results publish")]
    return [f"{problem}: run `{command}`" for problems, command in gates for problem in problems]


def outputs_missing() -> list[str]:
    """Return a line for every notebook with a cell that a reader would see without what it does."""
    return [f"{name}.ipynb has a cell that never ran" for name in notebooks.names() if (ROOT / f"{name}.ipynb").exists()
            and any(cell.cell_type == "code" and cell.source and not cell.execution_count
                    for cell in notebooks.read(ROOT / f"{name}.ipynb").cells)]
