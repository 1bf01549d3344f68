# The environment is made by whichever target needs it first, so on a fresh machine `make run` is the only command.

VENV := .venv
BIN := $(VENV)/bin
# Touched at the end of an installation that went well.
READY := $(VENV)/.installed
# Extra arguments: make run ARGS=--help, make test ARGS="-k watch".
ARGS :=
# What CI checks, in this order.
CI_STEPS := lint types audit-code audit-deps check-gen check-docs breaking test

# buf looks for python and the plugins on PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv run test sim chaos load machines bench storm gen gen-java check-gen docs check-docs lint format types breaking release-image ci clean validate-proto fuzz schemathesis audit-code audit-deps

help: ## Show this help
	@echo "Usage: make <target> [ARGS=…]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(READY) ## Make the environment .venv (PYTHON=… chooses the interpreter)
	@echo "$(VENV) is ready."

$(READY): pyproject.toml constraints.txt tools/venv.sh
	@PYTHON="$(PYTHON)" sh tools/venv.sh $(VENV)
	@touch $@

run: $(READY) ## Start server, broker and simulated dock, and show two commands live
	@$(BIN)/dockgate dev $(ARGS)

test: $(READY) ## Run all tests
	@$(BIN)/python -m pytest $(ARGS)

chaos: $(READY) ## Kill the server 200 times under load and check every promise (ARGS=--help)
	@PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

load: $(READY) ## Start with 100,000 open commands, leave 10,000 unanswered, and measure (ARGS=--help)
	@PYTHONPATH=tests $(BIN)/python -m load $(ARGS)

bench: $(READY) ## Measure the gateway beside the limits of its parts, under five minutes (ARGS=--help)
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

storm: $(READY) ## Let 100 docks tell 5,000 events a second, and measure (ARGS=--help)
	@PYTHONPATH=tests $(BIN)/python -m load.events $(ARGS)

sim: $(READY) ## Let a million commands live in virtual time, with every fault there is
	@PYTHONPATH=tests $(BIN)/python -m simulation --lives 1000000 $(ARGS)

fuzz: $(READY) ## Feed the gateway what nobody meant, over MQTT and HTTP (ARGS=--help)
	@PYTHONPATH=tests $(BIN)/python -m fuzz $(ARGS)

schemathesis: $(READY) ## Call all that the OpenAPI document describes, for minutes, and compare
	@CONFORMANCE_PHASES=examples,coverage,fuzzing CONFORMANCE_EXAMPLES=300 CONFORMANCE_OPTIONS="$(ARGS)" \
		$(BIN)/python -m pytest -rP --show-capture=stdout tests/conformance

machines: $(READY) ## Look for a sequence of steps that breaks the lifecycle or a watch, for minutes
	@$(BIN)/python -m pytest --hypothesis-profile=large --hypothesis-show-statistics --show-capture=no \
		tests/store/test_lifecycle_machine.py tests/commands/test_watch_machine.py $(ARGS)

gen: validate-proto ## Generate gen/ from proto/ (ARGS=python for that language alone)
	@$(BIN)/python -m tools.generate $(ARGS)

gen-java: validate-proto ## Generate stubs for Java into build/java (needs mvn)
	@$(BIN)/python -m tools.generate java

check-gen: validate-proto ## Check that gen/ is what proto/ generates
	@$(BIN)/python -m tools.generate --check

docs: validate-proto ## Make docs/methods/, docs/events/ and the OpenAPI document from proto/
	@$(BIN)/python tools/make_docs.py

check-docs: validate-proto ## Check that docs/ is what proto/ makes
	@$(BIN)/python tools/make_docs.py --check

lint: validate-proto ## Check style of Python and schema
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/buf lint
	@$(BIN)/buf format proto --diff --exit-code

format: $(READY) ## Format Python and schema
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format
	@$(BIN)/buf format proto --write

types: $(READY) ## Check types
	@$(BIN)/mypy

audit-code: $(READY) ## Look for what is insecure in our own code
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive server tools

audit-deps: $(READY) ## Look for dependencies that are known to be insecure (needs the internet; ARGS=--strict)
	@$(BIN)/python -m tools.audit_deps $(ARGS)

breaking: validate-proto ## Check that the schema still serves clients of the last release
	@$(BIN)/python tools/check_breaking.py

release-image: validate-proto ## Make the current schema the one that `breaking` compares with
	@$(BIN)/buf build proto --exclude-source-info --output proto/release.binpb
	@echo "proto/release.binpb is written; say what changed in CHANGELOG.md."

ci: $(READY) ## Everything that CI checks, with times
	@MAKE="$(MAKE)" sh tools/steps.sh $(CI_STEPS)

clean: ## Remove the environment, caches and build results
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find server tests tools gen -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The schema imports it; fetched once per release of protovalidate.
validate-proto: $(READY)
	@$(BIN)/python tools/fetch_validate_proto.py
