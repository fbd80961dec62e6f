# make run       run the closing notebooks side by side in the quick preset, and check their targets
# make test      the quick tests, minutes; make test-all: all of them
# make check     ruff, and that notebooks, READMEs and results are what makes them
# make results   train what is missing or stale among the published results, on all cores or on a cluster (SEEDS=n,
#                PROFILE=profiles/slurm, NOTEBOOKS="NAME ..."; safe to stop and start again)
# make publish   put outputs into the notebooks and results into the READMEs
# make sync      write every .ipynb from its .py, with the address of git's origin in badges and set-up cells
# make soak      hundreds of kills, cut downloads and damaged files; rewrites docs/reliability.md (half an hour)
# make site      notebooks, pages, docstrings and a page to draw digits on, as a site in runs/site/html
# make bench     training speed against the textbook loop

COURSE := .venv/bin/python -m tools
PIP := .venv/bin/python -m pip install --disable-pip-version-check -q
NEWEST := for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done
PYTHON = $(shell $(NEWEST))

.PHONY: run test test-all check results publish sync soak bench site

run: .venv/installed
	@$(COURSE) run

test: .venv/installed-dev
	@.venv/bin/python -m pytest -q -m "not slow"

test-all: .venv/installed-dev
	@.venv/bin/python -m pytest -q

check: .venv/installed-dev
	@.venv/bin/ruff check --extend-exclude '*.ipynb' .
	@$(COURSE) check

results: .venv/installed-grid
	@$(COURSE) results $${SEEDS:+--seeds "$$SEEDS"} $${PROFILE:+--profile "$$PROFILE"} \
		$${NOTEBOOKS:+--notebooks "$$NOTEBOOKS"}

publish: .venv/installed
	@$(COURSE) publish

sync: .venv/installed
	@$(COURSE) sync

soak: .venv/installed-dev
	@PYTHONPATH=. .venv/bin/python tests/faults.py

site: .venv/installed-site
	@$(COURSE) demo
	@.venv/bin/python -m sphinx -q -W --keep-going -b html -c docs . runs/site/html
	@ls runs/site/html/S*/*.html > /dev/null
	@! grep -rl '<p>| ' runs/site/html/S* || { echo "tables that the site shows as text"; exit 1; }
	@! grep -rlE --include='*.html' '<img src="(docs|results)/' runs/site/html || { echo "images that the site hasn't got"; exit 1; }
	@echo "runs/site/html/index.html"

bench: .venv/installed
	@$(COURSE) bench

.venv/installed: requirements.txt
	@test -n "$(PYTHON)" || { echo "this course needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) -r requirements.txt
	@touch $@

.venv/installed-grid: .venv/installed requirements-grid.txt
	$(PIP) -r requirements-grid.txt
	@touch $@

.venv/installed-site: .venv/installed requirements-site.txt requirements-export.txt docs/package.json
	$(PIP) -r requirements-site.txt
	npm install --silent --no-audit --no-fund --no-package-lock --prefix docs
	@touch $@

.venv/installed-dev: .venv/installed-grid requirements-dev.txt requirements-export.txt
	$(PIP) -r requirements-dev.txt
	@touch $@
