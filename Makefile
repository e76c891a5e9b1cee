# `make demo` and `make test` need python3 (3.11 or newer) and nothing else; both work in `.venv`.
PYTHON ?= python3
BIN := .venv/bin
# Python compiles what is imported, and keeps that; pip would compile all files, which takes as long as all else.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --constraint constraints.txt

.PHONY: demo test lint docs clean

demo: .venv/.demo
	$(BIN)/bioscan demo

# A file of tests in one process, so that what its tests share is made once.
test: .venv/.test lint
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site of docs/, into site/; it opens from the disk.
docs: .venv/.docs
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv build dist site bioscan-demo *.egg-info

.venv:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; found " + sys.version.split()[0] + ". Run `make PYTHON=...`." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/.demo: setup.cfg constraints.txt | .venv
	$(PIP) --editable .
	@touch $@

.venv/.test: setup.cfg constraints.txt | .venv
	$(PIP) --editable '.[test]'
	@touch $@ .venv/.demo .venv/.docs

.venv/.docs: setup.cfg constraints.txt | .venv
	$(PIP) --editable '.[docs]'
	@touch $@
