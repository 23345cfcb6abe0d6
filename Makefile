# Everything runs in .venv, which the first command makes; PYTHON names the interpreter it is made of.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check docs release-check clean

demo: .venv/installed
	$(BIN)/panoptic-blend demo

test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/installed-docs
	rm -rf build/docs docs/api/*.rst
	$(BIN)/python -m sphinx -q -W --keep-going -j auto -c docs . build/docs
	@echo "see build/docs/index.html"

release-check: .venv/installed-dev
	.ci/release-check

clean:
	rm -rf .venv build dist *.egg-info docs/api/*.rst

.venv/bin/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'panoptic_blend needs Python 3.11 or newer: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml setup.py | .venv/bin/python
	$(BIN)/python -m pip install -q -e ".[torch]"
	touch $@

.venv/installed-dev: pyproject.toml setup.py | .venv/bin/python
	$(BIN)/python -m pip install -q -e ".[dev]"
	touch .venv/installed $@

.venv/installed-docs: pyproject.toml setup.py | .venv/bin/python
	$(BIN)/python -m pip install -q -e ".[docs]"
	touch .venv/installed $@
