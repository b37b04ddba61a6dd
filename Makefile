# `make help` lists everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO ?= demo

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all check format clean

help: ## list all targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@# torch first and pinned: another package's requirement could otherwise pull another build of it.
	$(BIN)/python -m pip install -c constraints.txt torch
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@

install: $(INSTALLED) ## create .venv with pinned dependencies

demo: $(INSTALLED) ## the whole pipeline, from recording to a page with videos and curves; resumes
	@$(BIN)/mstv demo --out $(DEMO)

test: $(INSTALLED) ## the test suite without slow tests
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-all: $(INSTALLED) ## the test suite with slow tests
	$(BIN)/python -m pytest -m "not gpu"

check: $(INSTALLED) ## linter, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## format the code and fix what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and caches, not what the demo made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build *.egg-info
