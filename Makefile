# make run    set up what is missing and start Threadbox
# make test   the whole test command: lint, types, import rules, tests (on a bare machine it sets up everything)
# make unit   the quick part of the tests that need no Docker (tests/parts.py); PLATFORMS=1: also the bot in a Slack and a Discord
# make bench  timings, side by side with AutoGen's own executor, as tables and JSON; fails with the bars that were missed
# make soak   thirty threads of mixed cells for MINUTES=10; fails if anything is left, lost or grows
# make lock   compile the hashed requirements again
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
# bytecode is kept although the environment may say otherwise: half of a test process's start is compiling
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run setup dev test unit bench soak lint lock clean

run: setup
	@$(BIN)/threadbox run

setup: $(VENV)/.runtime
	@.ci/machine docker

dev: $(VENV)/.dev

$(VENV)/.runtime: requirements.txt pyproject.toml
	@.ci/machine uv
	@test -e $(VENV)/.dev || { .ci/venv requirements.txt && touch $@; }

$(VENV)/.dev: requirements-dev.txt pyproject.toml
	@.ci/machine uv
	@.ci/venv requirements-dev.txt
	@touch $@ $(VENV)/.runtime

test: dev
	@.ci/machine docker compose chromium postgres emulate gvisor
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m sandbox.image_build
	@$(BIN)/python -W error -m tests.suites

unit: dev
	@$(BIN)/python -W error -m tests.parts core
	@$(if $(PLATFORMS),$(BIN)/python -W error -m tests.parts platforms)

bench: dev
	@.ci/machine docker
	@$(BIN)/python -m sandbox.image_build
	$(BIN)/python -m tests.benchmarks.executor

soak: MINUTES ?= 10
soak: dev
	@.ci/machine docker
	$(BIN)/python -m tests.benchmarks.soak --minutes $(MINUTES)

lint: dev
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock:
	@.ci/machine uv
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev --extra bench pyproject.toml -o requirements-dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header sandbox/image/requirements.in -o sandbox/image/requirements.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache
