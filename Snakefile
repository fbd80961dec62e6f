# The published runs as a grid, which `make results` makes. Snakemake says which cells run, how many at a time and where;
# a cell is one notebook with one seed, and reads by itself what is there and fresh.
#
#   snakemake --profile profiles/slurm --config preset=smoke    seconds a cell, into runs/smoke: does the cluster work?

import sys

from tools import grid

CELLS = grid.list_cells(config)


def done(cell):  # says that it has run
    return f"runs/grid/{cell.preset}/{cell.name}.done"


localrules: all


rule all:
    input: [done(cell) for cell in CELLS],


for cell in CELLS:
    rule:
        name: cell.name
        input: [done(needed) for needed in grid.find_needed(cell, CELLS)]
        output: touch(done(cell))
        log: done(cell).replace(".done", ".log")
        params: python=sys.executable, notebook=cell.notebook, preset=cell.preset, seed=cell.seed
        threads: 1
        resources: mem_mb=4000, runtime=grid.about(cell.notebook).get("minutes", 60)
        shell:
            "{params.python:q} -m tools notebook {params.notebook:q} -p preset {params.preset} -p seed {params.seed} > {log} 2>&1"
