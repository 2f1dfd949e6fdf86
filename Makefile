# `make` lists the commands. Each one sets up .venv first where it is missing or older than pyproject.toml.

PYTHON ?= python3
ARGS ?=

VENV := .venv
# Written last, with the folder it was made in: an interrupted, copied or moved .venv is not taken for a good one.
READY := $(VENV)/.ready
HALF_MADE := $(VENV)/.half-made
LOG := $(VENV)/install.log
CLUSTER_TOOLS := $(VENV)/.cluster-tools
ifneq ($(shell cat $(READY) 2>/dev/null),$(shell pwd -P))
.PHONY: $(READY)
endif

CHECK_VERSION := "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	|| { echo 'error: $(PYTHON) is not Python 3.11 or newer; name one, as in: make train PYTHON=python3.12' >&2; exit 1; }
CHECK_VENV := "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
	|| { echo 'error: $(PYTHON) has no venv module; install it (Debian, Ubuntu: apt install python3-venv), or uv' >&2; exit 1; }

ifeq ($(shell command -v uv 2>/dev/null),)
CHECK := $(CHECK_VERSION); $(CHECK_VENV)
NEW_VENV := "$(PYTHON)" -m venv $(VENV)
INSTALL := $(VENV)/bin/python -m pip install
else
# Files cannot be linked from a cache on another file system: uv would try, and warn.
LINK_MODE = $(shell df -P . "$$(uv cache dir)" 2>/dev/null \
	| awk 'NR > 1 && $$NF != fs { n++; fs = $$NF } END { if (n > 1) print "--link-mode copy" }')
INSTALL = uv pip install $(LINK_MODE) --python $(VENV)/bin/python
ifeq ($(origin PYTHON),file)
# uv finds a Python that fits pyproject.toml by itself, and fetches one where there is none.
NEW_VENV := uv venv --quiet --allow-existing $(VENV)
else
CHECK := $(CHECK_VERSION)
NEW_VENV := uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV)
endif
endif

.PHONY: help train benchmark test test-campaign test-cluster coverage lint site clean
.DEFAULT_GOAL := help

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1	/p' $(firstword $(MAKEFILE_LIST))

train: $(READY)  ## train a model: make train ARGS="model=gaussian data=freyface"
	@$(VENV)/bin/python train.py $(ARGS)

# Each worker has a core to itself, so more threads of torch's would only be in each other's way.
WORKERS := -n auto --maxprocesses 4 --dist loadfile
test: $(READY)  ## run the tests: make test ARGS="tests/data -k split"
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(VENV)/bin/python -m pytest $(WORKERS) $(ARGS)

test-campaign: $(READY)  ## run the long campaigns: bad settings, kills, damaged and hostile run folders
	@AEVB_CAMPAIGN=long OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(VENV)/bin/python -m pytest $(WORKERS) --timeout 7200 \
		tests/campaigns $(ARGS)

test-cluster: $(CLUSTER_TOOLS)  ## test the sweeps on SLURM and Ray
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --override-ini testpaths=tests/cluster $(ARGS)

coverage: $(READY)  ## run the tests, and list the lines that they do not reach
	@$(VENV)/bin/python -m coverage erase
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(VENV)/bin/python -m coverage run -m pytest $(WORKERS) $(ARGS)
	@$(VENV)/bin/python -m coverage combine --quiet
	@$(VENV)/bin/python -m coverage report

benchmark: $(READY)  ## compare the speed of training with that of peers: make benchmark ARGS="--data data"
	@$(INSTALL) --quiet --editable '.[dev,benchmark]'
	@$(VENV)/bin/python benchmarks/speed.py $(ARGS)

lint: $(READY)  ## check the code: style, format, layers, types
	@$(VENV)/bin/python -m ruff check
	@$(VENV)/bin/python -m ruff format --check
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/python -m mypy

site: $(READY)  ## build the documentation in build/site
	@$(VENV)/bin/python -m zensical build --config-file zensical.toml --strict

clean:  ## remove .venv and all caches; data and outputs stay
	rm -rf $(VENV) .cache .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist htmlcov
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@$(CHECK)
	@[ ! -e $(READY) ] || [ "$$(cat $(READY))" = "$$(pwd -P)" ] || touch $(HALF_MADE)
	@if [ -e $(HALF_MADE) ] || ! $(VENV)/bin/python -c '' 2>/dev/null; then rm -rf $(VENV); fi
	@mkdir -p $(VENV) && pwd -P > $(HALF_MADE)
	@echo 'creating $(VENV)'
	@$(NEW_VENV)
	@echo 'installing aevb and what it needs, which takes some minutes; details: $(LOG)'
	@$(INSTALL) --editable '.[dev]' >$(LOG) 2>&1 || { tail -n 20 $(LOG) >&2; exit 1; }
	@$(VENV)/bin/python -c 'import torchvision' \
		|| { echo 'error: this torchvision is not for this torch: let both come from one place (is PIP_FIND_LINKS' \
			'or PIP_EXTRA_INDEX_URL set?) and run make again' >&2; exit 1; }
	@mv $(HALF_MADE) $(READY)

# SLURM comes from Debian's or Ubuntu's packages, if root asks; where it is missing its tests are skipped, and say so.
$(CLUSTER_TOOLS): $(READY)
	@if [ "$$(id -u)" = 0 ]; then tests/cluster/slurm.sh install || true; fi
	@$(INSTALL) --quiet --editable '.[dev,submitit,ray]'
	@touch $@
