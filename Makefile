# Commands from a bare machine: Python 3.11 or later, pip, make, gcc. Everything goes into .venv.
# Another interpreter for the environment: make setup PYTHON=python3.12
# Arguments for pytest:                    make test ARGS="tests/ops -x"

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip
READY  := $(VENV)/.ready
ARGS   ?=
FUZZ_MINUTES ?= 30
TESTS  := $(BIN)/python -m pytest --numprocesses auto --dist worksteal
# README.md and the pages of docs: every study finds its own blocks in them.
PUBLISH := --results docs/results --documents '[., docs]'
# No page holds these yet: NAME_cuda.json, with the name of the GPU.
CUDA    := --results docs/results

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-slow test-all fuzz bench experiments gpu ethanol scatter lint format docs build release audit clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## make the virtual environment .venv, or bring it up to date

# Torch comes first and alone, so that no later step chooses another build of it.
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || { echo "== creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "== installing torch"
	@$(PIP) install --quiet --constraint constraints.txt torch
	@echo "== installing e3hyena and what its tests and demo need"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Two tasks side by side, one core each.
demo: $(READY)  ## train on the embedded molecules, print a table and plots (10 minutes on 2 cores)
	@mkdir -p runs
	$(BIN)/e3hyena train --preset chain > runs/demo_chain.log 2>&1 & \
	  $(BIN)/e3hyena train --preset demo && wait $$! || { tail runs/demo_chain.log; exit 1; }
	$(BIN)/python docs/demo.py runs/demo runs/demo_chain

test: $(READY)  ## run the tests
	$(TESTS) $(ARGS)

test-slow: $(READY)  ## run the tests that take long
	$(TESTS) -m slow $(ARGS)

test-all: $(READY)  ## run all tests
	$(TESTS) -m "slow or not slow" $(ARGS)

# Hypothesis first, a new seed every round; then bad inputs, and a training killed 50 times.
fuzz: $(READY)  ## let Hypothesis draw and damage what is read (FUZZ_MINUTES, half an hour)
	end=$$(( $$(date +%s) + 60 * $(FUZZ_MINUTES) )); \
	while [ $$(date +%s) -lt $$end ]; do \
	  HYPOTHESIS_PROFILE=fuzz timeout --foreground $$(( end - $$(date +%s) + 1 )) \
	    $(BIN)/python -m pytest -x -q -m hypothesis tests $(ARGS); \
	  code=$$?; [ $$code -eq 0 ] || [ $$code -eq 124 ] || exit $$code; \
	done
	$(BIN)/python -m tests.fuzz
	KILLS=50 $(BIN)/python -m pytest -q -s -m slow tests/training/test_kill.py

bench: $(READY)  ## measure speed and memory, rewrite the tables in README and docs (20 minutes)
	for what in operator ragged convolution block sets gridding transforms memory pages swap parallel; do \
	  $(BIN)/python docs/benchmarks $$what --fresh true $(PUBLISH) || exit 1; done

experiments: $(READY)  ## run or continue the comparisons and rewrite their tables and plots (hours)
	for what in molecules chains recall_set recall nbody scaling symmetry path; do \
	  $(BIN)/python docs/benchmarks $$what $(PUBLISH) || exit 1; done

# Stops and goes on: parity is a file, and every study keeps the cells that it has measured.
gpu: runs/gpu/parity  ## on a machine with a GPU: parity, tables, captured passes (10 minutes there)
	$(BIN)/python docs/benchmarks launches --device cuda $(CUDA)
	$(BIN)/python docs/benchmarks ragged --device cuda $(CUDA)
	$(BIN)/python docs/benchmarks operator --device cuda --length 16384 --irreps '[32x0e+32x1o]' \
	  --crossover_lengths '[1024, 4096, 8192, 32768]' --memory_lengths '[65536]' $(CUDA)
	$(BIN)/python docs/benchmarks scaling --device cuda --irreps '[32x0e+32x1o]' --together '[]' \
	  --rows '[query_key, coordinate, linear_attention, attention, attention_half]' \
	  --passes '[forward, backward]' --lengths '[1024, 16384, 65536, 262144, 1048576]' \
	  --time_limit 1 $(CUDA)
	$(BIN)/e3hyena train --preset demo --capture true --accelerator gpu --max_minutes 1 \
	  --output runs/gpu/demo

runs/gpu/parity: $(READY) tests/cuda/parity.py tests/cuda/test_parity.py tests/cuda/test_captured.py
	$(BIN)/python -c "import torch; assert torch.cuda.is_available(), 'torch sees no GPU'"
	$(BIN)/python -m pytest -q -x tests/cuda
	@mkdir -p $(@D) && touch $@

# Both trainings side by side; each continues where it was interrupted.
ethanol: $(READY)  ## train forces of ethanol, run dynamics, rewrite docs/forces.md (an hour)
	$(BIN)/e3hyena data fetch md17
	$(BIN)/e3hyena train --preset ethanol & \
	  $(BIN)/e3hyena train --preset ethanol --output runs/ethanol_local \
	    --model.mixer null --optim.epochs 240 && wait $$!
	$(BIN)/python docs/benchmarks ethanol --runs '[runs/ethanol, runs/ethanol_local]' \
	  --fresh true $(PUBLISH)

scatter: $(READY)  ## build torch-scatter for this torch (several minutes; optional, faster segment sums)
	@$(PIP) install --quiet --constraint constraints.txt setuptools wheel
	$(PIP) install --no-build-isolation --constraint constraints.txt torch-scatter

lint: $(READY)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## build the documentation site into docs/_build/html
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m sphinx --fail-on-warning docs docs/_build/html

build: $(READY)  ## build the wheel and the source archive into dist/
	$(BIN)/python -m build

release: $(READY)  ## check everything for a release: make release VERSION=1.2.3
	$(MAKE) lint test test-slow docs build
	$(BIN)/python docs/release.py $(VERSION)

audit: $(READY)  ## look the pinned dependencies up in the advisories (needs a network)
	@$(PIP) install --quiet pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps

clean:  ## remove the environment, caches and build products (runs/ stays)
	rm -rf $(VENV) dist build docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
