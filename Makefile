# EdgeECG: `make help` lists what there is. Everything runs in .venv at the root, made on first use.

FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
VERSION := import sys; print("py%d%d" % sys.version_info[:2])
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c '$(FITS)' 2>/dev/null && command -v "$$p" && break; done)
# The CPU build of torch: from where pip already looks, else from PyTorch's own index.
TORCH ?= torch==2.13.0+cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
EXTRAS ?= dev
JOBS ?= 2

BIN := .venv/bin
STAMP := .venv/.ready
PIP = $(BIN)/python -m pip --disable-pip-version-check install -qq
# One thread a worker: the workers share the cores.
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

unexport PYTHONPATH
unexport PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench clean distclean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 11

setup: $(STAMP) ## the environment in .venv, with all that tests and demo need

$(STAMP): pyproject.toml $(wildcard constraints/*.txt)
	@if [ -z "$(PYTHON)" ]; then \
		echo "error: EdgeECG's environment needs Python 3.11 to 3.13 with venv; install one (Debian:" \
			"apt-get install python3-venv) or name it: make PYTHON=/path/to/python3.12" >&2; exit 2; fi
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null || { \
		echo "error: $(PYTHON) is not Python 3.11 to 3.13 with venv: name another one" >&2; exit 2; }
	@rm -f $@
	@wanted=$$("$(PYTHON)" -c '$(VERSION)'); there=$$($(BIN)/python -c '$(VERSION)' 2>/dev/null); \
		[ "$(origin PYTHON)" = file ] && $(BIN)/python -c '$(FITS)' 2>/dev/null && wanted=$$there; \
		[ "$$there" = "$$wanted" ] && $(BIN)/python -m pip --version >/dev/null 2>&1 \
			|| "$(PYTHON)" -m venv --clear .venv
	@set -e; version=$$($(BIN)/python -c '$(VERSION)'); \
		echo "installing edgeecg[$(EXTRAS)] into .venv ($$version; a few minutes the first time)"; \
		$(PIP) "$(TORCH)" -c constraints/$$version.txt 2>/dev/null \
			|| $(PIP) "$(TORCH)" -c constraints/$$version.txt --extra-index-url $(TORCH_INDEX); \
		$(PIP) -e '.[$(EXTRAS)]' -c constraints/$$version.txt
	@touch $@

demo: $(STAMP) ## train, evaluate, quantize, build and stream on synthetic patients, in minutes
	$(BIN)/edgeecg demo --out runs/demo

test: lint ## ruff, mypy and all tests (EDGEECG_DATA=... adds those on real recordings)
	$(PYTEST)

lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP) ## every benchmark, one after the other; figures go to runs/bench
	@set -e; mkdir -p runs/bench; for script in benchmarks/*.py; do \
		echo "== $$script"; $(BIN)/python "$$script" --out runs/bench; done

clean: ## remove caches and build outputs (runs/ stays)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the environment too
	rm -rf .venv
