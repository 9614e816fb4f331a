# make run: a model with settings that fit chooses, and a comparison with a report, from nothing;
#   the same command continues where it was stopped.
# make test: all tests.  make check: lint and the fast tests, in under two minutes.
# make docs: the site, in docs/_build/html.  make release-check: wheel and sdist, checked, in dist.
PYTHON ?= python3
VENV := .venv
# the CPU build, where the package index has it under this version; any torch>=2.9,<2.14 will do
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
# one process per core; PyTorch keeps to one thread in each (tests/conftest.py); bytecode is kept,
# as compiling the tests takes some ten seconds in each
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal

.PHONY: run test check lint docs mutants campaign test-hosts build release-check install clean

run: $(VENV)/installed
	$(BIN)/sparring fit atlas --minutes 0.3 --folder runs/atlas --resume
	$(BIN)/sparring compare --folder runs/atlas-samplers

test: $(VENV)/installed-dev
	$(PYTEST) $(TESTS)

check: lint
	$(PYTEST) -m "not slow" $(TESTS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/pyright

# without a network; warnings are errors, links between pages are checked. GALLERY=0 leaves the tutorials out
docs: $(VENV)/installed-docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -b html -W --keep-going -q -D plot_gallery=$(or $(GALLERY),1) docs docs/_build/html

# break the library on purpose, one change at a time, and see that a test notices
mutants: $(VENV)/installed-dev
	$(BIN)/python -m pytest -q -n auto -m mutant tests/mutants

# break files, kill runs and fill disks on purpose: hours; goes on where it was stopped. SHARE=0.01 for some of it
campaign: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m campaign $(SHARE)

# in environments of their own under .cache/hosts; HOSTS="pykeen torchkge" for some of them
test-hosts:
	TORCH="$(TORCH)" PYTHON=$(PYTHON) scripts/test_hosts.sh $(HOSTS)

build: $(VENV)/installed-release
	rm -rf dist
	$(BIN)/python -m build --outdir dist

# metadata and contents of what would be published, and the wheel by itself in an empty environment
release-check: build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	TORCH="$(TORCH)" PYTHON=$(PYTHON) scripts/try_wheel.sh dist/*.whl

install: $(VENV)/installed-dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[report,benchmarks,serve]"
	touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ $(VENV)/installed

$(VENV)/installed-release: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet "build>=1.2" "twine>=6.1" "check-wheel-contents>=0.6"
	touch $@

$(VENV)/installed-docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) runs dist docs/_build docs/_generated docs/gallery docs/reference/api
