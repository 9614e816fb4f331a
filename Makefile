# make run: an experiment with a report, from nothing. make test: the tests, from nothing.
PYTHON ?= python3
VENV := .venv
# the CPU build, where the package index has it under this version; any torch>=2.9,<2.14 will do
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin

.PHONY: run test test-hosts lint install clean

run: $(VENV)/installed
	$(BIN)/sparring compare --folder runs/atlas

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -q $(TESTS)

# in environments of their own under .cache/hosts; HOSTS="pykeen torchkge" for some of them
test-hosts:
	TORCH="$(TORCH)" PYTHON=$(PYTHON) scripts/test_hosts.sh $(HOSTS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

install: $(VENV)/installed-dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) runs
