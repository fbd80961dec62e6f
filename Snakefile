# The published runs as a grid, which `make results` makes. Snakemake says which cells run, how many at a time and where;
# a cell is one notebook with one seed, and reads by itself what is there and fresh.
#
#   snakemake --profile profiles/slurm --config preset=smoke    seconds a cell, into runs/smoke: does the cluster work?

import sys

from tools import grid

CELLS = grid.list_cells(config)


def done(cell):  # says that it has run
    return cell.log.replace(".log", ".done")


localrules: all


rule all:
    input: [done(cell) for cell in CELLS],


for cell in CELLS:
    rule:
        name: cell.name
        input: [done(needed) for needed in grid.find_needed(cell, CELLS)]
        output: touch(done(cell))
        log: cell.log
        params: python=sys.executable, notebook=cell.notebook, preset=cell.preset, seed=cell.seed
        threads: 1
        resources: mem_mb=4000, runtime=grid.minutes(cell.notebook)
        shell:  # tools/progress.py reads the log, and its last line
            "{params.python:q} -m tools notebook {params.notebook:q} -p preset {params.preset} -p seed {params.seed} > {log} 2>&1"
            " || {{ echo exit code $? >> {log}; exit 1; }}"
