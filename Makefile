# Every target does its own set-up: scripts/bootstrap installs what is missing and is instant when nothing is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
SOURCES := worker/jobworker operator/jobworker_operator examples tests scripts

.PHONY: help bootstrap check test chaos kill-iterations demo demo-down bench-worker bench-iteration images lock format clean \
        bootstrap-python bootstrap-redis bootstrap-postgres bootstrap-s3 bootstrap-ruby-sidekiq bootstrap-cluster

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bootstrap: bootstrap-python bootstrap-redis bootstrap-postgres bootstrap-s3 bootstrap-ruby-sidekiq bootstrap-cluster ## install everything that the other targets need

bootstrap-python bootstrap-redis bootstrap-postgres bootstrap-s3 bootstrap-ruby-sidekiq bootstrap-cluster:
	@scripts/bootstrap $(@:bootstrap-%=%)

check: bootstrap-python ## format, lint, types, walls, unit and component tests (under a minute)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -q tests/unit tests/component

test: check bootstrap-redis bootstrap-postgres bootstrap-s3 bootstrap-ruby-sidekiq bootstrap-cluster ## everything that CI runs: check, then real Redis, real processes, a real cluster
	$(BIN)/pytest -q tests/simulation
	$(BIN)/pytest -q tests/integration
	$(BIN)/pytest -q tests/cluster

chaos: bootstrap-python bootstrap-redis ## kill workers, Redis and connections, prove that no job is lost (SECONDS=600 SEED=7 KILLS=2000)
	@$(BIN)/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS))

kill-iterations: bootstrap-python bootstrap-redis bootstrap-postgres bootstrap-s3 ## kill workers inside of imports and exports, count the effects (KILLS=2000 SEED=7)
	@$(BIN)/python -m tests.kills $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

demo: bootstrap-python bootstrap-cluster ## a cluster, an import, a rollout in the middle of it, and the numbers
	@$(BIN)/python -m examples.demo up

demo-down: bootstrap-python ## remove all that the demo left running
	@$(BIN)/python -m examples.demo down

bench-worker: bootstrap-python bootstrap-redis ## the worker beside its peers on this machine; QUICK=1: in five minutes
	@$(BIN)/python -m bench.worker $(if $(WRITE_DOCS),--write-docs)

bench-iteration: bootstrap-python bootstrap-redis ## what checkpoints, rows, going on and memory of long jobs cost; QUICK=1: in three minutes
	@$(BIN)/python -m bench.iteration $(if $(WRITE_DOCS),--write-docs)

images: bootstrap-python bootstrap-cluster ## build the container images
	$(BIN)/python -m tests.cluster.tool build-images

format: bootstrap-python ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: bootstrap-python ## pin the newest allowed versions with their hashes
	cd requirements && for name in worker operator examples dev; do \
	  uv pip compile -q --upgrade --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
	    --custom-compile-command "make lock" $$name.in -o $$name.txt; done
	cd bench/worker/peers/python/requirements && for name in *.in; do \
	  uv pip compile -q --upgrade --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
	    --custom-compile-command "make lock" $$name -o $${name%.in}.txt; done

clean: ## remove what tools left in the checkout
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
