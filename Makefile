# foretune: two commands for a newcomer, `make quickstart` and `make test`; each makes .venv first.
PYTHON ?= python3
# For pytest: make test PYTEST_ARGS='-k ledger'
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MOTO := $(VENV)/moto/.installed
PEERS := $(VENV)/.peers

.DEFAULT_GOAL := help
.PHONY: help quickstart test lint format clean

help:  ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Made when missing, filled again when the pins or the project's metadata change. torch comes first and
# pinned: without a pin the index's newest build brings gigabytes of CUDA to machines without a GPU.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "foretune needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m orchestrator.app.shipped  # learns from what ships: the first answer need not wait for it
	@touch $@

# The S3 server that the mirror is tested against; it wants an older python-dateutil than the pinned one.
$(MOTO): tests/support/moto-requirements.txt | $(STAMP)
	$(PYTHON) -m venv $(VENV)/moto
	$(VENV)/moto/bin/python -m pip install --quiet --requirement tests/support/moto-requirements.txt
	@touch $@

# The optimisers that ours is compared with; they bring several hundred megabytes that nobody else needs.
$(PEERS): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,peers]'
	@touch $@

quickstart: $(STAMP)  ## the whole story in one command, about two minutes on two cores
	$(BIN)/foretune quickstart

test: $(STAMP) $(PEERS) $(MOTO)  ## all tests that need neither a GPU nor patience
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(STAMP)  ## ruff, mypy --strict, import-linter, pydoclint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pydoclint --quiet orchestrator workers surrogates cluster

format: $(STAMP)  ## let ruff rewrite layout and what it can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the virtual environment and caches, never a run
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
