# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv first, once.
.PHONY: help demo test test-slow browser check format bench lock clean
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DEMO := runs/demo

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /: /'

$(INSTALLED): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ganport needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED)  ## train on real digits, export, draw: one to three minutes on 2 cores
	@rm -rf $(DEMO)
	$(BIN)/python cli.py train --out $(DEMO)
	$(BIN)/python cli.py export $(DEMO)
	$(BIN)/python cli.py sample $(DEMO)/generator.onnx --out $(DEMO)/grid.png
	@echo "Look at $(CURDIR)/$(DEMO)/grid.png"

test: $(INSTALLED) browser  ## the whole suite but the slow tests
	$(BIN)/python -m pytest

test-slow: $(INSTALLED)  ## the slow tests
	$(BIN)/python -m pytest -m slow --dist=load

# The page is tested in a real browser. Where neither is here nor can be had, its tests are skipped, and say so.
browser:
	@for program in chromium npm; do \
		command -v $$program >/dev/null && continue; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
		then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$program >/dev/null; \
		else echo "$$program is not installed: the tests of the page are skipped"; fi; \
	done

check: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)  ## our training loop beside the ones that the descriptions write, and PyTorch's where it is installed
	$(BIN)/python -m benchmarks.training

lock:  ## pin the newest versions that pyproject.toml allows (needs uv)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--upgrade --extra dev pyproject.toml -o requirements/dev.txt
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--upgrade --extra cpu pyproject.toml -o requirements/cpu.txt

clean:  ## remove the environment and all runs
	rm -rf .venv runs dist
