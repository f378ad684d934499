# Everything a contributor runs. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# The whole development tree, or what running takes; the one replaces the other. `make run` is content with either.
STAMP := node_modules/.package-lock.json
RUN_STAMP := node_modules/.for-running
INSTALLED := $(if $(wildcard $(STAMP)),$(STAMP),$(RUN_STAMP))
NPM_CI := npm ci --no-audit --no-fund --no-progress --loglevel=error --update-notifier=false

# Folders too: they change when a file is removed.
sources = $(shell find $(1) -mindepth 1 \( -type d -o -name "*.ts" \))

.PHONY: help run test unit check bench fuzz build lib clean ci format

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(STAMP): package-lock.json
	@echo 'Installing what development takes (about 600 MB) ...'
	@$(NPM_CI)
	@touch $@

$(RUN_STAMP): package-lock.json .build/package-lock.json
	@echo 'Installing what running takes (about 130 MB) ...'
	@$(NPM_CI) --omit=dev
	@cd .build && $(NPM_CI)
	@# npm writes it for any tree; here it means the whole one.
	@rm -f $(STAMP)
	@touch $@

# Whatever has no source any more goes.
define prune
find dist -name '*.js' 2> /dev/null | while read -r file; do source=$${file#dist/}; [ -e "$${source%.js}.ts" ] || rm -f "$$file" "$$file.map"; done
endef

dist/.built: tsconfig.json $(STAMP) $(call sources,lib test bench)
	@echo 'Compiling (about a minute on two cores) ...'
	@$(prune)
	@node node_modules/typescript/bin/tsc -p tsconfig.json
	@touch $@ dist/.built-lib

dist/.built-lib: tsconfig.json .build/tsconfig.json $(INSTALLED) $(call sources,lib)
	@echo 'Compiling (about a minute on two cores) ...'
	@$(prune)
	@node $(if $(wildcard $(STAMP)),node_modules,.build/node_modules)/typescript/bin/tsc -p .build/tsconfig.json
	@touch $@

build: dist/.built ## install what is missing and compile to dist/

lib: dist/.built-lib ## install and compile only what running weir takes

run: dist/.built-lib ## weir on 127.0.0.1:6432 before an embedded PostgreSQL: PORT=n DATA_DIR=path
	@exec node dist/lib/cli/main.js $(if $(PORT),--port $(PORT)) $(if $(DATA_DIR),--data-dir '$(DATA_DIR)')

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
