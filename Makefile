# Every target makes what it needs: `make demo` or `make test` is the only command on a fresh machine.
# Another Python: make PYTHON=python3.12 ...

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(VENV)/bin/pip
STAMP := $(VENV)/.installed

# The pins of the Python in use where there are any, else the bounds in pyproject.toml alone.
PINS = $(wildcard constraints-$(shell $(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null).txt)
INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(PINS))

.DEFAULT_GOAL := help
.PHONY: help demo test docs oracles lint checkpoint sweep bench bench-gpu clean

help:  ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP)  ## search, sample fairly, judge and look, on the embedded faces (four minutes)
	$(PY) -m jaxdiff demo

# Workers of the tests: each takes some 2 GiB. A file is run by one, so that its tests share what they compile.
WORKERS ?= 2

test: lint  ## lint, then every test, by WORKERS processes (2)
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

docs: $(STAMP)  ## build the documentation into out/docs, tutorials run; warnings are errors
	$(INSTALL) -e '.[programs,test,docs]'
	$(PY) -m sphinx -W --keep-going -b html -d out/docs-cache docs out/docs

oracles: $(STAMP)  ## solvers against diffusers, FID Inception against torch-fidelity; installs them and PyTorch first
	$(INSTALL) -e '.[programs,test,bench]'
	$(PY) -m pytest tests/oracles

lint: $(STAMP)  ## ruff, its format, the import laws, and the types of the library
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check --quiet
	$(VENV)/bin/lint-imports
	$(VENV)/bin/ty check --python $(VENV)

checkpoint: $(STAMP)  ## train the model that the repository carries (an hour of two cores), or go on training it
	$(PY) -m train --preset tiny --data embedded --attributes group --out runs/faces
	mkdir -p checkpoints/embedded
	cp runs/faces/model.safetensors checkpoints/embedded/model.safetensors

MODEL ?= checkpoints/embedded
ATTRIBUTE ?= group
REAL ?= embedded
NAMES ?=
SWEEP ?= out/sweep
COUNT ?= 1024
SEEDS ?= 2

sweep: $(STAMP)  ## every search beside a sweep of tau that is judged; MODEL, ATTRIBUTE, REAL, NAMES, SWEEP, COUNT and SEEDS can be set
	$(PY) -m sample sweep --model $(MODEL) --attribute $(ATTRIBUTE) --solver ddim --steps 25 --reference $(REAL) \
	  $(addprefix --value-names ,$(NAMES)) --count $(COUNT) --batches 1 4 16 64 --out $(SWEEP)
	$(PY) -m evaluate sweep --sweep $(SWEEP) --real $(REAL) $(addprefix --value-names ,$(NAMES)) --size 32 \
	  --attribute $(ATTRIBUTE) --seeds $(SEEDS) --out $(SWEEP)/report

bench: $(STAMP)  ## speed beside PyTorch (installed first), cost of the methods, solvers' quality, tau's spread, many devices, kills
	$(INSTALL) -e '.[programs,test,bench]'
	$(PY) -m evaluate speed --network small --steps 25 --authors-steps 20 --count 64 --rounds 5 --out out/speed/small
	$(PY) -m evaluate speed --network large --steps 10 --batch-size 8 --train-batch-size 8 --train-steps 2 --rounds 5 \
	  --tasks sampling training --out out/speed/large
	$(PY) -m bench switching
	$(PY) -m bench safety
	$(PY) -m bench solvers
	$(PY) -m bench search
	$(PY) -m bench devices
	$(PY) -m bench sampler
	$(PY) -m bench kills

# Nothing is installed: machines with GPUs are often lent, with JAX and PyTorch for their cards in a Python of their own.
bench-gpu:  ## speed beside PyTorch on one GPU, in one call of less than ten minutes, by a Python that has both: make bench-gpu PY=python3
	$(PY) -m evaluate speed --network faces64 --device gpu --batch-size 128 --train-batch-size 64 --steps 25 --authors-steps 10 \
	  --count 512 --rounds 5 --no-compare-runs --compile-limit 90 --budget 450 --out out/speed/gpu

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
