# The published runs as a grid, which `make results` makes: it asks the notebooks what is stale, tells Snakemake to run
# that again, and gives what is there one date, since a clone dates files at random. With snakemake itself:
#
#   snakemake --profile profiles/slurm --config preset=smoke    seconds a cell, into runs/smoke: does the cluster work?
#   snakemake --report runs/grid.html --config seeds=10         what was made, in one page
#
# A cell is one notebook with one seed, run by the same command that runs a single notebook by hand.

import shlex
import sys

from common import grid
from common.grid import GRID

NOTEBOOKS, SEEDS, PRESET = grid.asked(config)
CELLS = grid.cells(NOTEBOOKS, SEEDS, PRESET)
SHOWN = [f"runs/full/{name}.ipynb" for name in NOTEBOOKS] if PRESET == "full" else []
SESSIONS = {name.split("/")[0]: [] for name in GRID}
for name in GRID:
    SESSIONS[name.split("/")[0]].append(name)
REPORTED = [f"runs/report/{session}/results.csv" for session, names in SESSIONS.items()
            if PRESET == "full" and set(names) <= set(NOTEBOOKS)]
COMMON = f"{shlex.quote(sys.executable)} -m common"


localrules: all


rule all:
    input:
        [file for cell in CELLS for file in cell.makes],
        SHOWN,
        REPORTED,


# Trains what a seed of a notebook lacks. update(): what is there is read by the notebook, so it isn't deleted first. Where
# a cell fails, Snakemake would put the files back as they were before, and what was trained anew would be lost; so it
# finds no copies.
for cell in CELLS:
    rule:
        name: cell.name
        input: [file for needed in cell.needs for file in needed.makes]
        output: [update(file) for file in cell.makes]
        log: f"runs/grid/{PRESET}/{cell.name}.log"
        params: notebook=cell.notebook, seed=cell.seed
        threads: 1
        resources: mem_mb=4000, runtime=GRID[cell.notebook].minutes
        shell:
            "rm -rf $(printf '.snakemake/backups/%s ' {output}); "
            "{COMMON} notebook {params.notebook} -p preset {PRESET} -p seed {params.seed} > {log} 2>&1"


# Runs each notebook once more, with nothing to train, so that it shows all its seeds.
for name in NOTEBOOKS if PRESET == "full" else []:
    rule:
        name: grid.rule(name, "shown")
        input: grid.shown(name, CELLS)
        output: f"runs/full/{name}.ipynb"
        log: f"runs/grid/full/{grid.rule(name, 'shown')}.log"
        params: notebook=name
        threads: 1
        resources: mem_mb=4000, runtime=GRID[name].minutes
        shell: "{COMMON} notebook {params.notebook} -p preset full -p train never > {log} 2>&1"


# What `snakemake --report` shows of a session.
rule report:
    input: lambda wildcards: [f"runs/full/{name}.ipynb" for name in SESSIONS[wildcards.session]]
    output:
        [report(f"runs/report/{{session}}/{file}", category="{session}", labels={"": what}) for file, what in [
            ("results.csv", "all networks"), ("comparisons.csv", "compared seed by seed"), ("seeds.png", "every seed"),
            ("parameters.png", "parameters"), ("curves.png", "training"), ("misclassified.png", "mistakes")]]
    log: "runs/grid/full/{session}_report.log"
    resources: mem_mb=4000, runtime=30
    shell: "{COMMON} tables {wildcards.session} runs/report/{wildcards.session} > {log} 2>&1"
