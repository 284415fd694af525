# Each target does all of its own set-up: a .venv beside this file, made anew when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# One worker more than there are cores: many a test waits.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))')
TOGETHER := --numprocesses $(WORKERS) --dist loadgroup
BENCH_INSTALLED := $(VENV)/.installed-bench

.PHONY: demo test coverage pictures torture bench lint format clean

demo: $(INSTALLED) ## the main job on sample data, through a local sandbox
	$(BIN)/turbobatch demo

# Hundreds of processes would compile the same modules again.
test coverage: export PYTHONDONTWRITEBYTECODE =
test: $(INSTALLED) ## every test
	$(BIN)/python -m pytest $(TOGETHER) $(TESTS)

coverage: $(INSTALLED) ## the same with branch coverage, which makes many of them half as slow again
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest $(TOGETHER) $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

pictures: $(INSTALLED) ## the pictures in docs/, anew, by the tests that look at console and report
	mkdir -p docs
	TURBOBATCH_PICTURES=docs $(BIN)/python -m pytest tests/browser/test_report_page.py tests/browser/test_console.py

torture: $(INSTALLED) ## kill the command line KILLS times and check that nothing goes out twice or is lost
	$(BIN)/python tests/acceptance/torture.py --kills $(or $(KILLS),300) $(if $(SEED),--seed $(SEED))

bench: $(BENCH_INSTALLED) ## measure everything and write benchmarks/RESULTS.md; BENCH='--quick' for a look, BENCH='--help' for more
	$(BIN)/python -m benchmarks.bench $(BENCH)

lint: $(INSTALLED) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## everything that was made
	rm -rf $(VENV) .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis turbobatch-demo build dist

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(BENCH_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all,bench]'
	touch $@
