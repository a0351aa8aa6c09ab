# Every target sets itself up: a virtual environment in .venv, installed once and again when pyproject.toml changes.
# Modules are compiled when they are first imported, and that is kept: compiling all of them takes a minute.
PYTHON ?= python3
BIN := .venv/bin
VENV := .venv/.made
BASE := .venv/.base-installed
DEV := .venv/.dev-installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-slow check docs bench clean

demo: $(BASE)  ## search, train, export, verify and report on real digits; everything lands in demo/
	rm -rf demo
	$(BIN)/netwright search --config examples/digits.yaml --out demo

test: $(DEV)  ## the fast tests, a file at a time in each of two processes
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(DEV)  ## statistical and long tests
	$(BIN)/pytest -m slow

check: $(DEV)  ## style, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DEV)  ## the documentation site, in site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(DEV)  ## ratios against a baseline or peer in the same run, one JSON object per line
	@for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

$(VENV):
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	@touch $@

$(BASE): pyproject.toml | $(VENV)
	$(BIN)/pip install --quiet --no-compile --editable .
	@touch $@

$(DEV): pyproject.toml | $(VENV)
	$(BIN)/pip install --quiet --no-compile --editable '.[dev]'
	@touch $(BASE) $@

clean:
	rm -rf .venv demo site build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
