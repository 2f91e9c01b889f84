# Every target makes what it needs: `make demo` or `make test` is the only command on a fresh machine.
# Another Python: make PYTHON=python3.12 ...

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(VENV)/bin/pip
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench

# The pins of the Python in use where there are any, else the bounds in pyproject.toml alone.
PINS = $(wildcard constraints-$(shell $(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null).txt)
INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(PINS))

.DEFAULT_GOAL := help
.PHONY: help demo test lint checkpoint sweep bench clean

help:  ## print the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP)  ## train, search, sample fairly and judge, on the embedded faces
	$(PY) -m demo

test: lint  ## lint, then every test
	$(PY) -m pytest

lint: $(STAMP)  ## ruff and the import laws
	$(VENV)/bin/ruff check
	$(VENV)/bin/lint-imports

checkpoint: $(STAMP)  ## train the small model that the repository carries
	$(PY) -m train --preset tiny --data embedded --out runs/faces
	mkdir -p checkpoints/embedded
	cp runs/faces/model.safetensors checkpoints/embedded/model.safetensors

sweep: $(STAMP)  ## the demo's figures over several seeds
	$(PY) -m demo --sweep

bench: $(BENCH_STAMP)  ## speed, beside diffusers on PyTorch
	$(PY) -m evaluate speed

clean:  ## remove the environment and the caches; runs, pictures and reports stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

$(PIP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "jaxdiff needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo absent)." >&2; \
	  echo "Name another, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)

# Order-only: an environment that is there is kept, and brought up to date.
$(STAMP): pyproject.toml $(wildcard constraints-*.txt) | $(PIP)
	@echo "Installing jaxdiff and what it needs into $(VENV), once: one to three minutes," \
	  "$(if $(PINS),at the versions in $(PINS).,within the bounds of pyproject.toml: no constraints file for this Python.)"
	@$(INSTALL) -e '.[programs,test]'
	@touch $@

$(BENCH_STAMP): $(STAMP)
	@echo "Installing PyTorch and diffusers into $(VENV), once: some minutes, and gigabytes where pip takes a build for CUDA."
	@$(INSTALL) -e '.[programs,test,bench]'
	@touch $@
