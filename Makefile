# Every target installs what it needs: on a fresh machine `make demo` or `make test` is enough.
# With another Python: make PYTHON=python3.12 ...

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(VENV)/bin/pip
STAMP := $(VENV)/.installed

# The constraints file for the Python in use, if there is one; otherwise only the bounds in pyproject.toml apply.
PINS = $(wildcard constraints-$(shell $(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null).txt)
INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(PINS))

.DEFAULT_GOAL := help
.PHONY: help demo test test-all docs oracles lint audit fuzz checkpoint text-checkpoint sweep bench bench-compare frontier soak bench-gpu clean

help:  ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP)  ## search, sample fairly and evaluate on the embedded faces, with pictures (five minutes)
	$(PY) -m jaxdiff demo

# Test workers, about 2 GiB each. Each file is run by one worker, so that its tests share compiled programs.
WORKERS ?= 2

PYTEST = $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: lint  ## lint, then run the tests that are not marked slow with WORKERS processes (2)
	$(PYTEST) -m 'not slow'

test-all: lint  ## lint, then run all tests, and those of bits as users compile them
	$(PYTEST) --as-users

# Seconds for all readers together.
FUZZ_SECONDS ?= 3600

fuzz: $(STAMP)  ## try every reader with damaged files for FUZZ_SECONDS (an hour), and print what came of it
	$(PY) -m tests.fuzzing --seconds $(FUZZ_SECONDS)

docs: $(STAMP)  ## build the documentation into out/docs and run the tutorials; warnings are errors
	$(INSTALL) -e '.[programs,test,docs]'
	$(PY) -m sphinx -W --keep-going -b html -d out/docs-cache docs out/docs

# Of open-clip-torch the vocabulary alone is read, so that nothing that it needs is installed; diffusers merges LoRA by peft.
oracles: $(STAMP)  ## compare with diffusers, transformers and torch-fidelity; installs them and PyTorch first
	$(INSTALL) -e '.[programs,test,bench]'
	$(INSTALL) --no-deps 'open-clip-torch==3.3.0' 'peft==0.21.2' 'accelerate==1.15.0'
	$(PY) -m pytest tests/oracles

lint: $(STAMP)  ## check style, format, import laws and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check --quiet
	$(VENV)/bin/lint-imports
	$(VENV)/bin/ty check --python $(VENV)

checkpoint: $(STAMP)  ## train the shipped models of faces and of series (an hour on two cores), or resume their training
	$(PY) -m train --preset tiny --data embedded --attributes group --out runs/faces
	mkdir -p checkpoints/embedded
	cp runs/faces/model.safetensors checkpoints/embedded/model.safetensors
	$(PY) -m train series --preset tiny --prior imputation --out runs/series
	mkdir -p checkpoints/series
	cp runs/series/model.safetensors checkpoints/series/model.safetensors

text-checkpoint: $(STAMP)  ## train the shipped text-to-image pipeline with PyTorch (two hours on two cores), or resume
	$(INSTALL) -e '.[programs,test,bench]'
	$(PY) -m bench.text_checkpoint

MODEL ?= checkpoints/embedded
ATTRIBUTE ?= group
REAL ?= embedded
NAMES ?=
SWEEP ?= out/sweep
COUNT ?= 1024
SEEDS ?= 2

sweep: $(STAMP)  ## run every search, and evaluate sets over a sweep of tau; MODEL, ATTRIBUTE, REAL, NAMES, SWEEP, COUNT and SEEDS can be set
	$(PY) -m sample sweep --model $(MODEL) --attribute $(ATTRIBUTE) --solver ddim --steps 25 --reference $(REAL) \
	  $(addprefix --value-names ,$(NAMES)) --count $(COUNT) --batches 1 4 16 64 --out $(SWEEP)
	$(PY) -m evaluate sweep --sweep $(SWEEP) --real $(REAL) $(addprefix --value-names ,$(NAMES)) --size 32 \
	  --attribute $(ATTRIBUTE) --seeds $(SEEDS) --out $(SWEEP)/report

bench: $(STAMP)  ## compare speed with PyTorch (installed first); cost of methods, quality of solvers, spread of tau, many devices, kills
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

bench-compare: $(STAMP)  ## compare the speed of HEAD with that of a commit: make bench-compare BASE=<commit>
	$(PY) -m bench compare --base "$(BASE)"

frontier: $(STAMP)  ## label kept against parity for every fair method, over three models (many hours of two cores), or resume
	$(PY) -m bench frontier --out out/frontier

soak: $(STAMP)  ## draw, search and evaluate in one process for SECONDS (7200): memory, descriptors and compilations must be flat
	$(PY) -m bench soak --seconds $(SECONDS) --out out/soak.csv

SECONDS ?= 7200

# Nothing is installed: the Python in use must have JAX and PyTorch for the GPU.
bench-gpu:  ## compare speed with PyTorch on one GPU, in less than ten minutes, with a Python that has both: make bench-gpu PY=python3
	$(PY) -m evaluate speed --network faces64 --device gpu --batch-size 128 --train-batch-size 64 --steps 25 --authors-steps 10 \
	  --count 512 --rounds 5 --no-compare-runs --compile-limit 90 --budget 450 --out out/speed/gpu

audit: | $(PIP)  ## compare the pinned versions with known vulnerabilities, by pip-audit; needs PyPI
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)-audit/bin/pip-audit --no-deps --disable-pip $(addprefix -r ,$(wildcard constraints-*.txt))

clean:  ## remove the environment and caches, but no runs, pictures or reports
	rm -rf $(VENV) $(VENV)-audit build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

$(PIP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "jaxdiff needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo absent)." >&2; \
	  echo "Choose another, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)

# Order-only, so that an existing environment is kept and updated.
$(STAMP): pyproject.toml $(wildcard constraints-*.txt) | $(PIP)
	@echo "Installing jaxdiff and its dependencies into $(VENV), once: one to three minutes," \
	  "$(if $(PINS),at the versions in $(PINS).,within the bounds of pyproject.toml: no constraints file for this Python.)"
	@$(INSTALL) -e '.[programs,test]'
	@touch $@
