# Everything from a bare machine: Python 3.11 or later, and a network for the first run.
#   make train    train HAPPO on VMAS        make test    what CI runs
#   make help     the rest

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The files of tests on all cores, each process with one thread of torch's.
AT_ONCE := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile
DOCS_READY := $(VENV)/.ready-docs
# First and by its exact version: a CPU build serves where pip finds one; a bare "torch" would bring the newest CUDA.
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: train test test-all bench gpu same docs format clean help

train: $(READY)  ## train HAPPO on VMAS (more: make train ARGS="run.seed=1")
	$(BIN)/hetrl train happo $(ARGS)

test: $(READY)  ## lint, format, types, import directions, and the tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(AT_ONCE) $(ARGS)

test-all: $(READY)  ## the tests, slow ones too
	$(AT_ONCE) -m "not gpu" $(ARGS)

bench: $(READY)  ## measure speed and memory against vmas, TorchRL and BenchMARL
	$(BIN)/python tests/benchmark/run.py $(ARGS)

gpu: $(READY)  ## check and measure hetrl on a GPU, within 20 minutes (make gpu DRY=1: a rehearsal without one)
	$(BIN)/python tests/benchmark/gpu $(if $(DRY),--dry --out $(VENV)) $(ARGS)

same: $(READY)  ## train every recipe a little, at a commit and here, and compare bit for bit: make same ARGS=COMMIT
	$(BIN)/python tests/benchmark/same_numbers.py against $(ARGS)

docs: $(DOCS_READY)  ## build the documentation into site/
	$(BIN)/mkdocs build --strict

format: $(READY)  ## sort imports, fix what can be fixed, format
	$(BIN)/ruff check --fix $(ARGS)
	$(BIN)/ruff format $(ARGS)

clean:  ## remove the virtual environment, caches and site/; runs/ stays
	rm -rf $(VENV) site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find hetrl tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "hetrl needs Python 3.11 or later; say which: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up $(VENV), once."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install "$(TORCH)"
	$(BIN)/python -m pip install -q -e ".[dev]" -c constraints.txt
	touch $@

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install -q -e ".[docs]" -c constraints.txt
	touch $@
