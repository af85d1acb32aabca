# Two commands on a fresh machine: `make cockpit` and `make test`. Needs Python 3.11+, make and libgomp1.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
PYTHON ?= python3
PORT ?= 8501
ESTATE ?= ./estate
VENV := .venv
BIN := $(VENV)/bin
TESTS ?= tests
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help cockpit test cycles lint format bench soak demo image screens clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/uv
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet -c constraints.txt -e .
	@$(BIN)/python -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || [ "$$(uname)" != Linux ] || { echo "libgomp1 is missing (LightGBM needs it): apt-get install libgomp1"; exit 1; }
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/uv
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet -c constraints.txt -e '.[dev,flaml,azure]'
	@touch $@ $(VENV)/.core

cockpit: $(VENV)/.core ## the demo estate, a worker and the cockpit on http://localhost:8501 (PORT=, ESTATE=)
	@exec $(BIN)/esml up --with-demo $(ESTATE) --port $(PORT)

test: $(VENV)/.dev ## every test; says at the end what it skipped and why
	@./tests/browser.sh $(BIN)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TESTS)

cycles: $(VENV)/.dev ## of the tests only the whole cycles on the stand-in for Azure
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m cycle tests/azure

lint: $(VENV)/.dev ## ruff, mypy --strict (pages and benchmarks too), the imports' contract
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports && $(BIN)/hadolint Dockerfile

format: $(VENV)/.dev ## format the code
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: $(VENV)/.dev ## ratios against a reference, one JSON line each
	@for b in benchmarks/bench_*.py; do $(BIN)/python -m benchmarks.$$(basename $$b .py) || exit 1; done

soak: $(VENV)/.dev ## 20 random kill -9, invariants after each (KILLS=, SEED=)
	@$(BIN)/python -m tests.soak --kills $${KILLS:-20} --seed $${SEED:-0}

demo: $(VENV)/.core ## the demo's whole cycle in $(ESTATE), without the cockpit
	@$(BIN)/esml demo $(ESTATE)

image: ## the Dockerfile's steps in a clean folder (needs no Docker engine)
	@bash deploy/image-check.sh

screens: $(VENV)/.dev ## screenshots of every page into docs/screens (a cockpit must be up; PORT=)
	@$(BIN)/python -m cockpit.shots http://127.0.0.1:$(PORT) docs/screens

clean: ## remove what can be made again (not your estate)
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis docs/screens; find . -name __pycache__ -type d -prune -exec rm -rf {} +
