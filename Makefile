# Everything a person or a machine does with this repository; `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.complete
FEAST := .venv-feast/.complete
AUDIT := .venv-audit/.complete

.DEFAULT_GOAL := help
.PHONY: help setup demo test check audit format bench bench-calibration bench-faults bench-features bench-memory bench-operations bench-quality \
	bench-reasons bench-recovery bench-redis bench-rules bench-service bench-simulate bench-training docs clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with everything the other targets need; needs no root.

$(STAMP): pyproject.toml constraints.txt scripts/install-redis scripts/install-haproxy
	@echo "setup: installing slidr and its exact dependencies (constraints.txt) into .venv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "setup: $(PYTHON) is older than 3.11; name a newer one with PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@scripts/install-redis || echo "setup: no redis-server, which the tests of the Redis store need"
	@scripts/install-haproxy || echo "setup: no haproxy, which the tests of scaling out need"
	@touch $@

demo: $(STAMP) ## Run the whole loop on simulated traffic: log, bundle, service, report.
	@$(BIN)/slidr demo

test: $(STAMP) ## Run every test.
	@$(BIN)/pytest -q -n 3 --dist worksteal

check: $(STAMP) ## Check style, types, layers, packages and that the generated docs are current.
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python docs/generate.py --check
	@$(BIN)/pytest -q -n 0 -rs tests/test_dependencies.py

audit: $(AUDIT) ## Ask what holes are known in the packages of constraints.txt; needs a network.
	@.venv-audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

$(AUDIT):
	@test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	@touch $@

format: $(STAMP) ## Format the code.
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: bench-features bench-rules bench-service bench-faults bench-recovery bench-redis bench-memory bench-reasons bench-operations bench-simulate bench-training bench-quality bench-calibration ## Run every benchmark; each prints one JSON object on its last line.

bench-calibration: $(STAMP) ## Calibration methods, with and without a certificate, beside fairlearn.
	@$(BIN)/python -m benchmarks.calibration

bench-faults: $(STAMP) ## A service under load with faults: kill -9, Redis gone, disk full, and more; needs redis-server.
	@$(BIN)/python -m benchmarks.faults

bench-features: $(STAMP) ## Clicks a second through the fold on one core, beside DuckDB and Polars.
	@$(BIN)/python -m benchmarks.features

bench-memory: $(STAMP) ## Bytes that Redis takes for an entity, a click_id and a decision; needs redis-server.
	@$(BIN)/python -m benchmarks.memory

bench-operations: $(STAMP) ## Replays, kills, nine days with a new robot family, 20 million decisions, a rollback; 25 minutes.
	@$(BIN)/python -m benchmarks.operations

bench-quality: $(STAMP) ## Networks, weights and recall by family on simulated logs whose truth is known.
	@$(BIN)/python -m benchmarks.quality

bench-reasons: $(STAMP) ## What reasons cost and how exact they are, on the clicks of a demo, which it runs where there is none.
	@test -e demo-output/journal.sqlite || $(BIN)/slidr demo
	@$(BIN)/python -m benchmarks.reasons

bench-recovery: $(STAMP) ## A service killed 20 times during load, its rows compared with an undisturbed run.
	@$(BIN)/python -m benchmarks.recovery

bench-redis: $(STAMP) $(FEAST) ## Clicks a second through one Redis core, beside Feast; needs redis-server.
	@$(BIN)/python -m benchmarks.redis

bench-rules: $(STAMP) ## Microseconds that list rules take a click; needs the shared lists.
	@$(BIN)/python -m benchmarks.rules

bench-service: $(STAMP) $(FEAST) ## Decisions a second over HTTP on one core, beside FastAPI with Feast; 20 minutes, ten of them a soak.
	@$(BIN)/python -m benchmarks.service

bench-simulate: $(STAMP) ## Clicks a second that the simulator draws on one core.
	@$(BIN)/python -m benchmarks.simulate

bench-training: $(STAMP) ## Seconds and memory to learn from 10 million clicks, beside a plain DataLoader loop.
	@$(BIN)/python -m benchmarks.training

# Feast has an environment of its own: what it needs is not what slidr needs.
$(FEAST): benchmarks/feast/requirements.txt
	@echo "installing Feast into .venv-feast"
	@test -x .venv-feast/bin/python || $(PYTHON) -m venv .venv-feast
	@.venv-feast/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

docs: $(STAMP) ## Write the generated pages of the docs.
	@$(BIN)/python docs/generate.py

clean: ## Remove what the targets made, the environment included.
	rm -rf .venv .venv-feast .venv-audit demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
