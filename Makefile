# `make help` lists what there is to do. Everything runs in .venv, which `make setup` makes from requirements/lock.txt.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
READY := .venv/.ready
BUNDLE := respiratory_muscle_ct_segmentation

PORT := 8000

.PHONY: help setup demo serve test check bench lock wheel evaluate-respiratory

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with every pinned package (minutes the first time, then nothing)

$(READY): requirements/lock.txt pyproject.toml scripts/setup
	@scripts/setup

demo: $(READY) ## make a phantom chest CT as DICOM, analyse it, print the measurements
	$(BIN)/myotome phantom thorax -n 1 --seed 7 --recipe clinical --format dicom -o demo/phantom --overwrite
	$(BIN)/myotome analyze demo/phantom/case_000007/dicom --bundle $(BUNDLE) -o demo/result --overwrite

serve: $(READY) ## start the label server with an Orthanc and two demo studies, to be opened in a browser (PORT=8000)
	@scripts/system_packages Orthanc
	$(BIN)/myotome serve --with-orthanc --state demo/serve --port $(PORT) --open

test: $(READY) ## run the tests
	@scripts/test

check: $(READY) ## lint, format and the layers of the house
	@scripts/check

evaluate-respiratory: $(READY) ## score the shipped weights and print the table of bars
	@scripts/evaluate_respiratory

bench: $(READY) ## measure the inference engine against its peers (hours; `scripts/bench --help` for less)
	@scripts/bench

wheel: $(READY) ## build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation

lock: $(READY) ## resolve requirements/lock.in into lock.txt
	@$(BIN)/uv pip compile --quiet --no-header --no-annotate --upgrade --override requirements/overrides.txt requirements/lock.in -o requirements/lock.txt
