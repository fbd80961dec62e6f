# make run      run the closing notebooks in the quick preset, and check their targets
# make test     the tests
# make check    ruff, and that notebooks, READMEs and results are what makes them
# make results  train what is missing or stale among the published results, on all cores or on a cluster (SEEDS=n,
#               PROFILE=profiles/slurm, NOTEBOOKS="NAME ..."; safe to stop and start again)
# make publish  put outputs into the notebooks and results into the READMEs (REPO=owner/name: only move the course)
# make soak     hundreds of kills, cut downloads and damaged files; rewrites RELIABILITY.md (half an hour)
# make bench    training speed against the textbook loop
# make sync     write every .ipynb from its .py

COURSE := .venv/bin/python -m common
NEWEST := for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done
PYTHON = $(shell $(NEWEST))
MALLOC := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10000000000  # as in common.notebooks.ENVIRONMENT

.PHONY: run test soak check results publish bench sync

run: .venv/installed
	@$(COURSE) run

results: .venv/installed-grid
	@$(COURSE) results $${SEEDS:+--seeds "$$SEEDS"} $${PROFILE:+--profile "$$PROFILE"} \
		$${NOTEBOOKS:+--notebooks "$$NOTEBOOKS"}

publish: .venv/installed
	@$(COURSE) publish $${REPO:+--repo "$$REPO"}

sync: .venv/installed
	@$(COURSE) sync

bench: .venv/installed
	@$(COURSE) bench

check: .venv/installed-dev
	@.venv/bin/ruff check --extend-exclude '*.ipynb' .
	@$(COURSE) check

test: .venv/installed-dev
	@$(MALLOC) .venv/bin/python -m pytest -q

soak: .venv/installed-dev
	@$(MALLOC) SOAK=1 .venv/bin/python -m pytest -q tests/test_published.py
	@.venv/bin/python tests/faults.py

.venv/installed: requirements.txt
	@test -n "$(PYTHON)" || { echo "this course needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --disable-pip-version-check -q -r requirements.txt
	@touch $@

.venv/installed-grid: .venv/installed requirements-grid.txt
	.venv/bin/python -m pip install --disable-pip-version-check -q -r requirements-grid.txt
	@touch $@

.venv/installed-dev: .venv/installed-grid requirements-dev.txt
	.venv/bin/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	@touch $@
