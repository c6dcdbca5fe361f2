# Every target makes its own environment first; nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One more than the two cores of a small machine, as tests wait as much as they work; who is done first helps the others.
SPREAD := -n 3 --dist worksteal
# What `seamless ready` asks for.
REPORT := build/test-report.json
# Where it is set, each of the hundreds of processes that tests start compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test unit check chaos bench monitoring up down lock clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): locks/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Seamless needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked dependencies ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

lock: ## Pin the dependencies again (installs uv into .venv)
	@$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o locks/runtime.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev -c locks/runtime.txt pyproject.toml -o locks/dev.txt

demo: $(READY) ## Replay real market data through the whole pipeline on the embedded stack
	$(BIN)/seamless demo

test: $(READY) ## Run all tests (unit, properties, integration on real Kafka, acceptance)
	@rm -f $(REPORT)
	$(BIN)/python -m pytest tests/unit tests/properties $(SPREAD) -q --seamless-report $(REPORT)
	$(BIN)/python -m pytest tests/chaos tests/acceptance tests/integration -m "not chaos" $(SPREAD) -q \
		--seamless-report $(REPORT)

unit: $(READY) ## Run the tests that need no Kafka
	$(BIN)/python -m pytest tests/unit tests/properties $(SPREAD) -q

check: $(READY) ## Lint, types, boundaries and documentation checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/unit/test_boundaries.py tests/unit/test_docs.py -q

chaos: $(READY) ## The long kill tests
	$(BIN)/python -m pytest tests/chaos -q

bench: $(READY) ## Measure everything against its goals, and Seamless against peers as ratios in one run
	$(BIN)/python -m benchmarks.everything

monitoring: $(READY) ## Render dashboards, rules and alerts into build/monitoring
	$(BIN)/seamless monitoring export build/monitoring

up: $(READY) ## Start the embedded stack
	$(BIN)/seamless up

down: $(READY) ## Stop the embedded stack
	$(BIN)/seamless down

clean: ## Remove the environment and everything generated
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis benchmarks/.envs benchmarks/results
	find . -name __pycache__ -prune -exec rm -rf {} +
