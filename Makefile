# What one types to build, test, try and train faceref. `make` lists it.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test check bench train-small

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## create .venv with faceref and the exact versions of constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit('faceref needs Python 3.11: make PYTHON=python3.11')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED) ## restore the example photograph and say where the picture is
	$(BIN)/faceref restore examples/photo.png --ref examples/references -o out/demo.png --compare

test: $(INSTALLED) ## run all tests
	$(BIN)/pytest

check: $(INSTALLED) ## lint, formatting, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

bench: $(INSTALLED) ## time and memory of a restoration on this machine, as a table
	$(BIN)/python benchmarks/bench.py

# The stages build on each other; one that was interrupted goes on where it was.
train-small: $(INSTALLED) ## train the model `small` on the photographs under data/
	for stage in vqgan ldm refldm; do \
		$(BIN)/faceref train configs/small-$$stage.yaml $$(ls -d runs/small-$$stage/checkpoints/step_* >/dev/null 2>&1 && echo --resume) || exit; \
	done
	rm -rf runs/small
	$(BIN)/faceref models export runs/small-refldm/model runs/small
