# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv first, once. Neither touches a system package.
.PHONY: help demo test test-slow fuzz coverage browser check format docs bench devices lock clean
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DEMO := runs/demo
PYTEST_ARGS ?=
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /: /'

$(INSTALLED): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ganport needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED)  ## train on real digits, export, generate images: one to three minutes on 2 cores
	@rm -rf $(DEMO)
	$(BIN)/python cli.py train --out $(DEMO)
	$(BIN)/python cli.py export $(DEMO)
	$(BIN)/python cli.py sample $(DEMO)/generator.onnx --out $(DEMO)/grid.png
	@echo "Look at $(CURDIR)/$(DEMO)/grid.png"

test: $(INSTALLED)  ## all tests but the slow ones; PYTEST_ARGS="-k words" selects some, PYTEST_ARGS=--cov measures coverage
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: $(INSTALLED)  ## the slow tests
	$(BIN)/python -m pytest -m slow --dist=load

fuzz: $(INSTALLED)  ## damaged and hostile inputs for all that reads input, FUZZ_SECONDS=60 each; FUZZ_TARGETS="contract onnx" selects some
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) --targets $(FUZZ_TARGETS)

coverage: override PYTEST_ARGS += --cov
coverage: test  ## `make test` with line and branch coverage: a table by file, and the total below it

# The page is tested in a real browser. Without Chromium or npm its tests are skipped, and the skip message says why.
browser:  ## install Chromium and npm for the tests of the page: as root, with apt-get
	@missing=""; \
	for program in chromium chromium-browser google-chrome chrome none; do command -v $$program >/dev/null && break; done; \
	[ $$program != none ] || missing=chromium; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "missing: $$missing. Installing needs root and apt-get; without them the tests of the page are skipped."; exit 0; fi; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null

check: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)  ## build the documentation site into site-docs/, without network; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

bench: $(INSTALLED)  ## compare the training loop with the published loops, and with PyTorch if it is installed
	$(BIN)/python -m benchmarks.training

devices: $(INSTALLED)  ## compare one generator on every engine, and write the tables of docs/devices.md; the first run downloads 4 GB
	$(BIN)/python -m benchmarks.devices --write docs/devices.md

lock:  ## pin the newest versions that pyproject.toml allows (needs uv)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--upgrade --extra dev pyproject.toml -o requirements/dev.txt
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--upgrade --extra cpu pyproject.toml -o requirements/cpu.txt

clean:  ## remove the environment, all runs and everything that was built
	rm -rf .venv runs dist site-docs .coverage
