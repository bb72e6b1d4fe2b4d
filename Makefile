# Every target sets up what it needs in .venv; a machine needs Python 3.11 and make only.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: install demo test faults properties quarter check reference samples ui bench clean

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: install
	$(BIN)/quant-assets demo

# Bytecode is kept whatever the environment says: six workers and all that they start would compile
# everything anew.
test: install
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 6 --dist loadfile --no-loadscope-reorder

# What the suite does briefly, at length: 50 kills of a run, five writers for a minute.
faults: install
	KILLS=50 SECONDS_OF_WRITERS=60 $(BIN)/python -m pytest quant_assets_tests/orchestration/runs/test_faults.py

# Properties on new examples, fifty times as many as the suite, which tries the same each time: 5,000
# of most, and 50 to 1,250 where each example has a warehouse, a source or a file of its own.
properties: install
	$(BIN)/python -m pytest -n 2 -m hypothesis --hypothesis-profile search

# A quarter of evenings, with two index changes, outages and days off, where the suite has two weeks.
quarter: install
	MEMBERS=$(or $(MEMBERS),30) $(BIN)/python -m pytest -s -p no:logging quant_assets_tests/refreshing/test_quarter.py

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/dagster definitions validate -m quant_assets.definitions

# What each job prints and logs, typed on the demo.
samples: install
	examples/sample_runs.sh > docs/sample-runs.md

# What docs/ says of every table and every command; the suite tells when it is out of date.
reference: install
	$(BIN)/quant-assets config dictionary > docs/data-dictionary.md
	$(BIN)/python -m typer quant_assets.cli.app utils docs --name quant-assets > docs/commands.md

ui: install
	$(BIN)/quant-assets ui --port 3000

bench: install
	$(BIN)/python -m quant_assets_tests.bench

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
