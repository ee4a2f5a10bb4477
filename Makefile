# Everything runs from .venv, which is made from requirements.lock (pinned versions) on first use.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Processes that share the tests, a file at a time; much of the time is waiting for a server.
WORKERS ?= 2
PRISM_VERSION := v2.77.0
BIGTABLE_VERSION := v1.33.0
SHARED = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test quick check bench soak results prism flink bigtable transformers lock clean

demo: $(READY)
	$(BIN)/lockstep demo --out demo-out

test: $(READY)
	$(SHARED) -m "not soak"

quick: $(READY)
	$(SHARED) -m "not soak and not slow"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layout.py

bench: $(READY)
	$(BIN)/python -m benchmarks

soak: $(READY)
	$(BIN)/python -m pytest -m "soak or hypothesis" --hypothesis-profile=explore

results: $(READY)
	$(BIN)/python -m benchmarks.results

# Engines for the conformance suite (docs/conformance.md), in .engines/, which git passes over. Where
# Go, Java or Maven are missing they say so and do nothing, and tests that need them are skipped.
prism:
	deploy/prism.sh $(PRISM_VERSION)

flink:
	deploy/flink/job-server.sh

# Bigtable's emulator, for tests of the store of accounts, likewise.
bigtable:
	deploy/bigtable.sh $(BIGTABLE_VERSION)

# PyTorch, Transformers and a small encoder (5 GB) for tests and benchmarks of text encoders, likewise.
transformers: $(READY)
	deploy/transformers.sh $(BIN)/python

# Writes requirements.lock anew from pyproject.toml; review the diff.
lock:
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet ".[dev]"
	$(VENV)-lock/bin/pip freeze --exclude lockstep > requirements.lock
	rm -rf $(VENV)-lock

$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) demo-out bench-out build *.egg-info
