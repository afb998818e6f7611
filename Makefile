# Picket: `make run` and `make test` are all a new user needs; `make help` lists the rest.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
SHELL := /bin/sh

# The first Python that is new enough; python3 where none is, for the message below.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && exit; \
  done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Tests start hundreds of processes: each would compile all of Picket and its libraries anew.
unexport PYTHONDONTWRITEBYTECODE
# A third worker, though two cores will do: every other test waits for something.
FAST := not kafka and not postgres and not relay and not kubernetes and not engine and not cilium and not journey and not slow

.PHONY: help setup run test check fast soak fuzz bench format generate requirements clean

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.developer ## Only the environment: .venv in this folder

run: $(VENV)/.runtime ## The main job on the example: flows and policies of examples/, alerts at http://127.0.0.1:8080
	@$(BIN)/picket up --cluster demo --flows examples/shop.jsonl.gz --policies examples/policies $(ARGS)

test: $(VENV)/.developer ## Everything: check, then all tests with their real parts
	@$(BIN)/python -m tests.run

check: $(VENV)/.developer ## Format, lint, types, import layers, generated files, fast tests
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports --no-logo
	@$(BIN)/python -m schemas.generate --check
	@$(BIN)/python -m pytest -q -n 3 -m "$(FAST)"

fast: $(VENV)/.developer ## The fast tests alone
	@$(BIN)/python -m pytest -q -n 3 -m "$(FAST)"

soak: $(VENV)/.developer ## On a real Cilium, as root: races of 200 policies, packet probes of 200 sets, docs/probes.md
	@$(BIN)/python -m pytest -q -m soak tests/real
	@$(BIN)/python -m tests.real.probes --sets 200 --seed 1 --write $(ARGS)

fuzz: $(VENV)/.developer ## A million inputs for each target of the fuzzer; hours: docs/fuzzing.md
	@$(BIN)/python -m tests.fuzz --runs 1000000 $(ARGS)

bench: $(VENV)/.developer ## The benchmarks: a table, and JSON in bench/results
	@$(BIN)/python -m bench $(ARGS)

format: $(VENV)/.developer ## Format, and mend what the linter can mend
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

generate: $(VENV)/.developer ## Write generated code and documents anew: protos, JSON Schemas, AsyncAPI, settings
	@$(BIN)/python -m schemas.generate
	@$(BIN)/python -m schemas.jsonschemas
	@$(BIN)/python -m schemas.asyncapi
	@$(BIN)/python -m cli.reference > docs/settings.md

requirements: $(VENV)/.developer ## Pin the dependencies of pyproject.toml anew, with hashes
	@$(PIP) install --quiet uv
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra install pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra install --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt

clean: ## Remove the environment and all caches of this folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Picket needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "$(VENV) cannot be made: install Python's venv module (Debian: python3-venv)" >&2; exit 2; }

# Hashes of all packages are checked; where they come from is pip's business, as it is configured.
define install
	@total=$$(grep -c == $(1)); \
	  { $(PIP) install --no-compile --require-hashes -r $(1) 2>&1; echo "exit $$?"; } | awk -v total=$$total ' \
	    /^(Collecting|Requirement already|Ignoring) / { if (++n % 25 == 0) print "  " n " of " total " packages" } \
	    /^Installing collected/ { print "  installing them" } \
	    /^WARNING: Retrying/ { if (!slow++) print "  the network does not answer; trying again" } \
	    /^ *ERROR/ { print } \
	    /^exit / { code = $$2 } \
	    { fflush() } END { exit code }' \
	  || { echo "The packages could not be installed. Is there a network? pip may need to be told of a" >&2; \
	       echo "proxy (HTTPS_PROXY), a mirror (PIP_INDEX_URL) or a certificate (PIP_CERT)." >&2; exit 2; }
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
endef

# An environment with the developers' packages has all that running needs.
$(VENV)/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV), once"
	$(call install,requirements.txt)
	@touch $@

$(VENV)/.developer: requirements-dev.txt pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV) with what tests and checks need, once"
	$(call install,requirements-dev.txt)
	@touch $@ $(VENV)/.runtime
