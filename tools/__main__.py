"""The course on the command line: python -m tools VERB; --help lists the verbs."""

import sys

import click

from tools import notebooks, runner
from tools.notebooks import CourseError


@click.group()
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def course() -> None:
    """Run, publish and check the notebooks."""


@course.command()
def run() -> None:
    """Run the closing notebooks, quickly, and check their targets."""
    runner.run_closing()


@course.command()
@click.option("--seeds", type=click.IntRange(min=1), help="Number of seeds, in place of each notebook's own.")
@click.option("--profile", help="Where they run, in place of this machine: profiles/slurm.")
@click.option("--notebooks", "chosen", default="", metavar="'NAME ...'", help="Those alone: 'S7_mnist/1_structure'.")
def results(seeds: int | None, profile: str | None, chosen: str) -> None:
    """Train what is missing or stale among the published results."""
    runner.make_results(seeds, profile, chosen)


@course.command()
def publish() -> None:
    """Put outputs into the notebooks, and results into the READMEs."""
    from tools import publisher  # it brings torch, which takes seconds: not for every verb

    print("\n".join(publisher.publish()) or "nothing to publish: all is up to date")


@course.command()
def check() -> None:
    """Compare notebooks, READMEs and results with what makes them."""
    from tools import publisher

    if problems := list(publisher.find_problems()):
        raise CourseError("\n".join(problems))


@course.command()
def sync() -> None:
    """Write every .ipynb from its .py."""
    print("\n".join(notebooks.sync()) or "every notebook is as its .py says")


@course.command()
def bench() -> None:
    """Measure the training speed against the textbook loop's."""
    from tools.bench import CASES, compare

    for session in CASES:
        compare(session)


@course.command()
def precision() -> None:
    """Measure what 16 bits do to accuracy."""
    from tools.precision import compare

    compare()


@course.command()
@click.argument("name", required=False)
@click.option("--onnx", is_flag=True, help="With 32 bits; so it is where nothing is said.")
@click.option("--int8", is_flag=True, help="With 8 bits.")
def export(name: str | None, onnx: bool, int8: bool) -> None:
    """Write a trained network, such as s7_ours, as an ONNX file; without a name all, with the tables of the READMEs."""
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise CourseError(f"{error.name} isn't here: pip install -r requirements-export.txt") from None
    from tools import export

    if not name:
        if onnx or int8:
            raise click.UsageError("which network? One of: " + ", ".join(export.NETWORKS))
        export.export_all()
    for eight in [False] * (onnx or not int8) + [True] * int8 if name else []:
        made = export.export(name, eight)
        print(f"{notebooks.relative(made.path)}: {made.kilobytes:.0f} kB, {made.accuracy:.2f} % of the test images "
              f"right, {made.differ} classified otherwise than by PyTorch")


@course.command()
@click.option("--samples", is_flag=True, help="Choose the test images anew that it shows: docs/demo/samples.json.")
def demo(samples: bool) -> None:
    """Make the page on which a reader draws a digit, for the site."""
    from tools import demo

    if samples:
        demo.choose_samples()
    demo.build(demo.BUILT)


@course.command()
@click.argument("session")
def ideas(session: str) -> None:
    """Try the ideas of a session, such as S8_norms, on held-out images."""
    from tools.ideas import try_ideas

    try_ideas(session)


@course.command()
@click.argument("name")
@click.option("-p", "parameters", nargs=2, multiple=True, metavar="PARAMETER VALUE", help="One of its parameters.")
def notebook(name: str, parameters: tuple[tuple[str, str], ...]) -> None:
    """Run one notebook, such as S7_mnist/1_structure."""
    runner.run_notebook(name, {parameter: runner.parse_value(value) for parameter, value in parameters})


def main() -> int:
    """Do what the command line says; return the exit code."""
    try:
        return course(standalone_mode=False) or 0
    except click.Abort:  # Ctrl-C
        goes_on = {"run", "results", "notebook"} & set(sys.argv[1:2])
        print("stopped" + "; finished epochs are kept, and the same command goes on from there" * bool(goes_on),
              file=sys.stderr)
        return 130
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        print(error.format_message() if isinstance(error, click.ClickException) else
              f"{type(error).__name__}: {error} (--debug says where)", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
