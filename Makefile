# Every target sets itself up: the first run fills .venv from requirements.lock, later runs find it ready.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
DEMO_OUT ?= runs/demo
TORCH ?= 2.13.0

BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(shell cat requirements.lock requirements-nodeps.lock pyproject.toml | cksum | cut -d' ' -f1)
# One thread a process: two test workers on two cores otherwise fight over them.
SINGLE := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
PASSED := build/passed.txt
HEAVY := torch,transformers,trl,diffusers,accelerate,peft,hydra,omegaconf,matplotlib,rich,scipy,stable_baselines3,sb3_contrib

.PHONY: help setup demo test lint types imports site neighbours test-torch-free test-rest test-all format lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(READY) ## Make the virtual environment .venv (about two minutes the first time)

$(READY): requirements.lock requirements-nodeps.lock pyproject.toml
	@echo "== setup: installing requirements.lock into $(VENV)"
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"python is {sys.version.split()[0]}, expected 3.11 or later: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq -r requirements.lock
	@$(BIN)/python -m pip install -qq --no-deps -r requirements-nodeps.lock
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.ready-*
	@touch $@

demo: setup ## Evaluate, train and evaluate again; tables and pictures in runs/demo
	@$(BIN)/editenv demo out=$(DEMO_OUT)

test: lint types imports site test-torch-free test-rest ## Run every check, the same ones as CI

lint: setup ## ruff: rules and formatting
	@echo "== ruff check"
	@$(BIN)/ruff check .
	@echo "== ruff format --check"
	@$(BIN)/ruff format --check .

types: setup ## pyright
	@echo "== pyright"
	@$(BIN)/pyright

imports: setup ## import-linter: which part may import which
	@echo "== import-linter"
	@PYTHONPATH=tools $(BIN)/lint-imports --no-logo --no-cache

site: setup ## mkdocs: the documentation as a site in build/site, with no warning
	@echo "== mkdocs build --strict"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q --strict

test-torch-free: setup ## The environment's tests where torch and its kin cannot be imported
	@echo "== tests without torch"
	@mkdir -p build && rm -f $(PASSED)
	@$(SINGLE) EDITENV_FORBID=$(HEAVY) EDITENV_PASSED=$(PASSED) $(BIN)/pytest -q -n $(WORKERS) --dist loadfile

test-rest: setup ## The tests that test-torch-free did not pass, with every package
	@echo "== the other tests"
	@$(SINGLE) EDITENV_PASSED=$(PASSED) $(BIN)/pytest -n $(WORKERS) --dist loadfile --durations=10

test-all: setup ## The whole test suite
	@echo "== whole test suite"
	@$(SINGLE) $(BIN)/pytest -n $(WORKERS) --dist loadfile --durations=10

# openenv and verifiers ask for different versions of mcp, so each is resolved without the other.
neighbours: setup ## Whether packages people use beside this one can be installed next to the lock (resolved, not installed)
	@for beside in "gradio>=6.31 trackio>=0.43 openenv>=0.10" "gradio>=6.31 trackio>=0.43 verifiers>=0.4"; do \
		echo "== resolving $$beside"; \
		$(BIN)/python -m pip install -qq --dry-run -r requirements.lock $$beside; \
	done

format: setup ## Let ruff rewrite the source
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# torch is held, since the figures were measured with it. The accelerator libraries that some of its wheels pull in are
# left out: pip adds them where they apply, and elsewhere they would only cost gigabytes.
lock: setup ## Resolve the newest versions anew (torch stays at TORCH) and write requirements.lock
	@mkdir -p build
	@$(BIN)/python -m pip install -qq --dry-run --ignore-installed --report build/lock.json '.[all]' torch==$(TORCH)
	@{ sed -n '/^#/p' requirements.lock; $(BIN)/python -c 'import json; \
		found = [one["metadata"] for one in json.load(open("build/lock.json"))["install"]]; \
		names = [(one["name"], one["version"].split("+")[0]) for one in found if one["name"] != "editenv"]; \
		print(*(f"{n}=={v}" for n, v in sorted(names, key=lambda p: p[0].lower()) \
			if not n.startswith(("nvidia", "cuda", "triton"))), sep="\n")'; } > build/requirements.lock
	@mv build/requirements.lock requirements.lock

clean: ## Remove caches and build products (not .venv, not runs)
	@rm -rf build *.egg-info .ruff_cache .pytest_cache .import_linter_cache .hypothesis
