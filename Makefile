# Everything a contributor runs. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
STAMP := node_modules/.package-lock.json

.PHONY: help run test unit check bench fuzz build clean ci format

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(STAMP): package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

build: $(STAMP) ## install what is missing and compile to dist/
	@npx tsc -p tsconfig.json

run: build ## weir on 127.0.0.1:6432 in front of an embedded PostgreSQL
	@node dist/lib/cli/main.js

test: build ## every test; TEST=path runs one file or folder
	@echo 'On two cores this takes about 15 minutes; make unit takes one.'
	@node dist/test/run.js $(TEST)

unit: build ## the tests that need no PostgreSQL
	@node dist/test/run.js unit

check: build ## types, format, lint, ranks and cycles
	@npx biome check .
	@npx eslint --max-warnings=0 lib test bench
	@node dist/test/run.js unit/tree

fuzz: build ## the property tests for longer: SEED=n STEPS=n
	@node dist/test/run.js --fuzz

bench: build ## direct, PgBouncer and weir in turn; see bench/README.md
	@node dist/bench/main.js $(BENCH)

format: $(STAMP) ## rewrite the sources in the project's format
	@npx biome check --write .

clean: ## remove what was built
	rm -rf dist

ci: ## what decides whether a change lands
	bash .ci/run
