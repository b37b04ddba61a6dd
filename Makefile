# `make help` lists everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO ?= demo
EXTRAS ?= dev
ENVIRONMENTS := data_tools/engines/environments
# MineRL tells where the player stands only with numpy<1.24; its data reader takes any.
MINERL_NUMPY ?= numpy

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all check format minerl-env craftground-env clean

help: ## list all targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@# torch first and pinned: another package's requirement could otherwise pull another build of it.
	$(BIN)/python -m pip install -c constraints.txt torch
	$(BIN)/python -m pip install -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

install: $(INSTALLED) ## create .venv with pinned dependencies

demo: $(INSTALLED) ## the whole pipeline, from recording to a page with videos and curves; resumes
	@$(BIN)/mstv demo --out $(DEMO)

# Two tests at a time, those of a file one after the other: they share what the file makes. Then those that watch a clock.
PYTEST := $(BIN)/python -m pytest --durations=40

test: $(INSTALLED) ## the test suite without slow tests
	$(PYTEST) -m "not slow and not gpu and not alone" -n 2 --dist loadfile
	$(PYTEST) -m "alone and not slow and not gpu"

test-all: $(INSTALLED) ## the test suite with slow tests
	$(PYTEST) -m "not gpu and not alone" -n 2 --dist loadfile
	$(PYTEST) -m "alone and not gpu"

check: $(INSTALLED) ## linter, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## format the code and fix what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.minerl/.installed: $(ENVIRONMENTS)/minerl.txt
	$(PYTHON) -m venv .minerl
	@# gym 0.19 is built from source by tools that newer releases broke.
	.minerl/bin/python -m pip install --quiet 'setuptools<66' 'wheel<0.40' '$(MINERL_NUMPY)' -r $<
	.minerl/bin/python -m pip install --quiet --no-build-isolation --no-deps gym==0.19.0
	@# READTHEDOCS leaves out the build of the game, which downloads far more; the first start of an environment does it.
	READTHEDOCS=1 .minerl/bin/python -m pip install --quiet --no-build-isolation --no-deps minerl==0.4.4
	.minerl/bin/python -W ignore -c 'import minerl.data'
	touch $@

minerl-env: .minerl/.installed ## create .minerl, an environment with MineRL's data reader and engine
	@echo "MineRL's data reader is ready: .minerl/bin/python"
	@echo "Its engine also needs Java 8 as JAVA_HOME, a display (or xvfb-run) and the network for the game's download at"
	@echo "its first start; try it: mstv-data doctor --engine minerl --engine-python .minerl/bin/python"

.craftground/.installed: $(ENVIRONMENTS)/craftground.txt constraints.txt
	$(PYTHON) -m venv .craftground
	.craftground/bin/python -m pip install --quiet -c constraints.txt torch
	.craftground/bin/python -m pip install --quiet -c constraints.txt -r $<
	.craftground/bin/python -W ignore -c 'import craftground'
	touch $@

craftground-env: .craftground/.installed ## create .craftground, an environment with CraftGround's engine
	@echo "CraftGround is installed: .craftground/bin/python"
	@echo "It also needs Java 21 (JDK), cmake, a C++ compiler, OpenGL with a display (or xvfb-run) and the network for"
	@echo "the game's download at its first start; try it:"
	@echo "mstv-data doctor --engine craftground --engine-python .craftground/bin/python"

clean: ## remove the environment and caches, not what the demo made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build *.egg-info
