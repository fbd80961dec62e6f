"""The course on the command line: python -m common VERB; --help lists the verbs."""

import argparse
import sys
from pathlib import Path

from common import notebooks, runner
from common.notebooks import CourseError


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m common", description="Run, publish and check the notebooks.")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run", help="run the closing notebooks in the quick preset and check their targets")
    results = verbs.add_parser("results", help="train what is missing or stale among the published results")
    results.add_argument("--seeds", type=at_least_one, help="number of seeds, in place of each notebook's own")
    results.add_argument("--profile", help="where they run, in place of this machine: profiles/slurm")
    results.add_argument("--notebooks", default="", metavar="'NAME ...'", help="those alone: 'S7_mnist/1_structure'")
    publish = verbs.add_parser("publish", help="put outputs into the notebooks, and results into the READMEs")
    publish.add_argument("--repo", metavar="OWNER/NAME", help="the course's new place on GitHub")
    tables = verbs.add_parser("tables", help="write a session's figures and tables, for snakemake --report")
    tables.add_argument("session", choices=list(dict.fromkeys(name.split("/")[0] for name in notebooks.names())))
    tables.add_argument("folder", type=Path)
    verbs.add_parser("check", help="compare notebooks, READMEs and results with what makes them")
    verbs.add_parser("sync", help="write every .ipynb from its .py")
    bench = verbs.add_parser("bench", help="measure the training speed against the textbook loop's")
    bench.add_argument("sessions", metavar="SESSION", nargs="*", help="such as S7_mnist; all that have a benchmark")
    one = verbs.add_parser("notebook", help="run one notebook")
    one.add_argument("name", metavar="NAME", help="such as S7_mnist/1_structure")
    one.add_argument("-p", nargs=2, action="append", default=[], metavar=("PARAMETER", "VALUE"), dest="parameters")
    for verb in verbs.choices.values():  # --debug may stand after the verb too
        verb.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def do(options: argparse.Namespace) -> int:
    """Do what the command line says; return the exit code."""
    if options.verb == "run":
        return 0 if runner.run() else 1
    if options.verb == "notebook":
        runner.notebook(options.name, {name: runner.value(text) for name, text in options.parameters})
        return 0
    if options.verb == "sync":
        print("\n".join(notebooks.sync()) or "every notebook is as its .py says")
        return 0
    if options.verb == "results":
        if runner.all_results(options.seeds, options.profile, options.notebooks):
            return 0
        print("some failed, their logs are in runs/grid/; `make results` goes on from here", file=sys.stderr)
        return 1
    if options.verb == "bench":
        from common import bench

        bench.main(options.sessions)
        return 0
    from common import publisher  # it brings torch, which takes seconds: not for the verbs above

    if options.verb == "publish":
        print("\n".join(publisher.publish(options.repo)) or "nothing to publish: all is up to date")
        return 0
    if options.verb == "tables":
        publisher.write_report(options.session, options.folder)
        return 0
    problems = publisher.check()
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


def main() -> int:
    options = arguments().parse_args()
    try:
        return do(options)
    except KeyboardInterrupt:
        print("\nstopped; finished epochs are kept, and the same command goes on from there", file=sys.stderr)
        return 130
    except Exception as error:
        if options.debug:
            raise
        what = str(error) if isinstance(error, CourseError) else f"{type(error).__name__}: {error} (--debug says where)"
        print(what, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
