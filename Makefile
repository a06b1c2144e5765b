# `make demo` and `make test` set up what they need; nothing outside this folder is touched.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin

.PHONY: setup demo test test-aws lint wheel bench stand clean

setup: .venv/ready

.venv/ready: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "clew needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv sync --quiet --frozen --inexact --extra dev --python $(BIN)/python
	@touch $@

demo: setup
	$(BIN)/python demo/story.py

test: setup
	$(BIN)/python -m pytest

# What needs the rehearsal of AWS: its own contract, and clew on it.
test-aws: .venv/stand-ready
	$(BIN)/python -m pytest tests/unit/stand tests/unit/test_sagemaker_requests.py tests/system/sagemaker

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel: setup
	$(BIN)/python tests/wheel.py

bench: setup
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/resolve.py
	$(BIN)/python benchmarks/overhead.py

# A rehearsal of AWS on this machine: prints the environment to export, Ctrl-C stops it.
stand: .venv/stand-ready
	$(BIN)/python -m tests.stand

.venv/stand-ready: .venv/ready
	$(BIN)/uv sync --quiet --frozen --inexact --python $(BIN)/python \
		--extra dev --extra sagemaker --extra mlflow-app --extra stand
	@touch $@

clean:
	rm -rf .venv .demo build dist
