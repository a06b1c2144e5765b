# `make demo` and `make test` set up what they need; nothing outside this folder is touched.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
IMAGE ?= clew-jobs

.PHONY: setup demo rehearse test test-aws browser prism lint wheel bench stand job-requirements image clean

setup: .venv/ready

.venv/ready: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "clew needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv sync --quiet --frozen --inexact --extra dev --extra forges --python $(BIN)/python
	@touch $@

demo: setup
	$(BIN)/python -m demo.story

test: setup
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

# The same story on the rehearsal of AWS, to a live endpoint; then the workflow files there.
ON_AWS := tests/system/sagemaker/test_workflows.py
rehearse: .venv/stand-ready
	$(BIN)/python -m demo.rehearsal
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ON_AWS)

# What needs the rehearsal of AWS: its own contract, and clew on it, but for what `rehearse` runs.
test-aws: .venv/stand-ready
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile tests/unit/stand tests/unit/infra tests/unit/test_sagemaker_requests.py tests/unit/forges/test_codecommit.py tests/system/sagemaker --ignore $(ON_AWS)

# What draws the report's plots as forges do; tests that need it are skipped without it.
browser: tests/browser/node_modules/.package-lock.json

tests/browser/node_modules/.package-lock.json: tests/browser/package-lock.json
	npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund

# What holds requests to GitHub against its own OpenAPI description; without it they are skipped.
prism: tests/forge/node_modules/.package-lock.json

tests/forge/node_modules/.package-lock.json: tests/forge/package-lock.json
	npm ci --prefix tests/forge --ignore-scripts --no-audit --no-fund

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --quiet --persona pedantic .github
	PATH="$(BIN):$$PATH" $(BIN)/actionlint
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-actions .github/actions/*/action.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.gitlab-ci .gitlab-ci.yml
	$(BIN)/shellcheck .ci/run

wheel: setup
	$(BIN)/python tests/wheel.py

bench: .venv/stand-ready
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/resolve.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python -m benchmarks.trigger
	$(BIN)/python -m benchmarks.records

# A rehearsal of AWS on this machine: prints the environment to export, Ctrl-C stops it.
stand: .venv/stand-ready
	$(BIN)/python -m tests.stand

.venv/stand-ready: .venv/ready
	$(BIN)/uv sync --quiet --frozen --inexact --python $(BIN)/python \
		--extra dev --extra forges --extra sagemaker --extra mlflow-app --extra stand
	@touch $@

# What jobs on AWS's framework images are given. Their Pythons begin with 3.9; from 3.11 on it is
# uv.lock's versions.
job-requirements: setup
	@mkdir -p build
	$(BIN)/uv export --quiet --frozen --no-hashes --no-emit-project --no-annotate --no-header \
		--extra sagemaker | sed -E "s/ ; (.*)/ ; (\1) and python_full_version >= '3.11'/; \
		/;/!s/$$/ ; python_full_version >= '3.11'/" > build/constraints.txt
	grep -oE '^dvc(-s3)?==[0-9.]+' build/constraints.txt | $(BIN)/uv pip compile --quiet - \
		--universal --python-version 3.9 --generate-hashes --no-annotate \
		--custom-compile-command "make job-requirements" --constraints build/constraints.txt \
		--output-file scripts/clew/container/requirements.txt

# An image of one's own for jobs, see image/README.md.
image:
	docker build --tag $(IMAGE) --file image/Dockerfile .

clean:
	rm -rf .venv .demo .rehearsal build dist tests/forge/node_modules
