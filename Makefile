# `make` prints this help. Everything runs in .venv, made on first use; only Python 3.11+ and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 3

.DEFAULT_GOAL := help
.PHONY: help install demo up down check test bench soak lock clean

help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## create .venv and install the locked dependencies

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Dealthread needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another with: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	@touch $(READY)

demo: $(READY) ## start everything embedded, run the whole story, print what happened
	$(BIN)/python starter.py demo

up: $(READY) ## start the embedded stack in the foreground (Ctrl-C stops it)
	$(BIN)/python starter.py up

down: $(READY) ## stop a detached stack
	$(BIN)/python starter.py down

check: $(READY) ## lint, format, types, dependency rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(READY) ## the whole suite but the soak
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not soak"

bench: $(READY) ## measure; writes bench/results.json
	$(BIN)/python -m bench

soak: $(READY) ## the long ones: the full fault matrix, memory, kills
	$(BIN)/python -m pytest -m soak

LOCK := $(BIN)/uv pip compile pyproject.toml --generate-hashes --no-header --universal --python-version 3.11 -q

lock: ## resolve both lock files anew from pyproject.toml (needs uv in .venv)
	$(LOCK) --group dev -o requirements.lock
	$(LOCK) -c requirements.lock -o requirements-runtime.lock

clean: ## remove .venv and what the embedded stack left
	rm -rf $(VENV) .dealthread
