# The commands that people type. Everything is installed into .venv from the lock files.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run test check bench bench-sizes soak fuzz image-test lock clean

run: $(VENV)/installed
	@$(BIN)/gitpat-proxy demo

test: $(VENV)/installed-development
	@tests/install-debian-packages
	@$(BIN)/python -m pytest -m "not alone" --numprocesses 3 --dist worksteal; first=$$?; \
	    $(BIN)/python -m pytest -m alone && exit $$first

check: $(VENV)/installed-development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/installed-development
	@$(BIN)/python -m bench

# make bench-sizes OPTIONS='--quick --rounds 1'
bench-sizes: $(VENV)/installed-development
	@$(BIN)/python -m bench.sizes $(OPTIONS)

# make soak SECONDS=1800 OPTIONS='--kill-proxy-every 120 --reload-every 30'
soak: $(VENV)/installed-development
	@$(BIN)/python -m bench.soak $(or $(SECONDS),60) $(OPTIONS)

# make fuzz SECONDS=600 PROCESSES=2 ONLY='tests.git credentials'
fuzz: $(VENV)/installed-development
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) --processes $(or $(PROCESSES),1) $(ONLY)

image-test:
	@tests/image/run

# Exact versions with hashes, for every supported Python, and no address of any index.
lock: $(VENV)/installed-development
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet \
	    --extra build pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet \
	    --all-extras pyproject.toml --output-file requirements-development.lock

clean:
	rm -rf $(VENV) demo

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "gitpat-proxy needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Making the virtual environment $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing what requirements.lock lists ..."
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/installed-development: requirements-development.lock | $(VENV)/installed
	@echo "Installing what requirements-development.lock lists ..."
	@$(PIP) install --require-hashes --requirement requirements-development.lock
	@touch $@
