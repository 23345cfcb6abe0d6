# Everything runs in .venv, which the first command makes; PYTHON names the interpreter it is made of.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check clean

demo: .venv/installed
	$(BIN)/panoptic-blend demo

test: .venv/installed-dev
	$(BIN)/python -m pytest

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build *.egg-info

.venv/bin/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'panoptic_blend needs Python 3.11 or newer: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml setup.py | .venv/bin/python
	$(BIN)/python -m pip install -q -e ".[torch]"
	touch $@

.venv/installed-dev: pyproject.toml setup.py | .venv/bin/python
	$(BIN)/python -m pip install -q -e ".[dev]"
	touch .venv/installed $@
