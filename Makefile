# ecg-edge: `make demo` answers the sample pages, `make test` runs the tests; both set up .venv first.
# Needs python3 (3.11 to 3.13) with venv; everything else comes from PyPI.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DATA   ?= $(or $(ECG_EDGE_DATA),../shared/data)
RUN    ?= runs/ecg5

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow fuzz test-arm lint format models reading samples clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The device: numpy, Pillow and one engine; no tensorflow.
$(VENV)/.device: $(BIN)/python pyproject.toml
	$(BIN)/pip install --quiet --editable .
	@touch $@

# The workshop: everything that trains, exports, measures and tests.
$(VENV)/.workshop: $(BIN)/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.device

demo: $(VENV)/.device ## answer the sample pages
	$(BIN)/python -m runtime classify models/samples

test: $(VENV)/.workshop ## fast tests, under five minutes on two cores
	$(BIN)/python -m pytest -m "not slow" -n 2

test-slow: $(VENV)/.workshop ## slow tests: soak, browser, cluster, engines, a wheel elsewhere
	$(BIN)/python -m pytest -m slow

reading: $(VENV)/.workshop ## measure how pages are read, into docs/reading.md
	$(BIN)/python -m train reading --signals $(DATA)/signals --data $(DATA)/ecg5 --out runs/reading --report docs/reading.md

samples: $(VENV)/.workshop ## draw the sample pages again
	$(BIN)/python -m train draw samples --out models/samples

fuzz: $(VENV)/.workshop ## a minute of spoilt files of every kind
	$(BIN)/python tests/fuzz_classify.py --inputs 200000 --seconds 60

test-arm: $(VENV)/.workshop ## the bundles on emulated aarch64 (needs apt: qemu-user-static, mmdebstrap)
	$(BIN)/python -m export.arm

lint: $(VENV)/.workshop ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.workshop ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

models: $(VENV)/.workshop ## train on $(DATA)/ecg5 and export the bundles under models/
	$(BIN)/python -m train $(DATA)/ecg5 --signals $(DATA)/signals --out $(RUN) --models cnn,cnn-accurate,svm,random-forest,decision-tree
	$(BIN)/python -m export $(RUN) --models cnn,cnn-accurate --formats tflite-int8,tflite-float32 --out models

clean: ## remove what the targets made, but not models or data
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
