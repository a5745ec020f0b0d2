# What one types to build, test, try and train faceref. `make` lists it.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# Tests run in so many processes, each with one thread: threads of several processes would wait for each other. One more
# than there are cores, since a test that waits for a browser leaves its own to others.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()))')

.DEFAULT_GOAL := help
.PHONY: help install demo test check docs bench bench-fast train-small train-ldbfr-small train-small-blind ablate-mechanism ablate-identity ablate-references

# " --resume" where the folder of a run, $(1), holds a checkpoint
resume = $$(ls -d $(1)/checkpoints/step_* >/dev/null 2>&1 && echo --resume)

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## create .venv with faceref and the exact versions of constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit('faceref needs Python 3.11: make PYTHON=python3.11')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED) ## restore the example photograph and say where the picture is
	$(BIN)/faceref restore examples/photo.png --ref examples/references -o out/demo.png --compare

test: $(INSTALLED) ## run all tests, in one process more than there are cores (or JOBS=N)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist worksteal

check: $(INSTALLED) ## lint, formatting, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --threads

DOCS ?= out/docs
PACKAGES := restore people pictures faces pipelines models checkpoints data training evaluation
docs: $(INSTALLED) ## the API, from the docstrings, as web pages: out/docs/index.html
	$(BIN)/pdoc --output-directory $(DOCS) faceref.errors $(PACKAGES:%=faceref.%)
	@echo $(DOCS)/index.html

bench: $(INSTALLED) ## time and memory of each stage of a restoration on this machine
	$(BIN)/faceref bench --photo examples/photo.png --ref examples/references

bench-fast: $(INSTALLED) ## the fast mode beside the original one, at the released sizes: some minutes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fast_mode.py

# The stages build on each other; one that was interrupted goes on where it was. SETTINGS goes to each of them: in a
# checkout without runs/, `make train-small SETTINGS=loop.steps=2` is a rehearsal.
SETTINGS ?=
# $(1) the stages' names, in order
define train
	for stage in $(1); do \
		$(BIN)/faceref train configs/$$stage.yaml $(SETTINGS) $(call resume,runs/$$stage) || exit; \
	done
endef

train-small: $(INSTALLED) ## train the model `small` on the photographs under data/
	$(call train,small-vqgan small-ldm small-refldm small-decoder small-texture small-crisp small-denoiser small-together)
	rm -rf runs/small
	$(BIN)/faceref models export runs/small-together/model -o runs/small

train-ldbfr-small: $(INSTALLED) ## train LD-BFR at the size of `small` (blind: without references)
	$(call train,ldbfr-small-vqgan ldbfr-small-restoring ldbfr-small-ldm)

# The last two begin from the `small` that ships, and the result is that `small` with them (docs/ldbfr.md; it does not
# ship). For your own, train small-blind with autoencoder= and initial=, small-blind-fusion with model= its folder.
train-small-blind: $(INSTALLED) ## train a model for photographs without references, with LD-BFR's first stage
	$(call train,ldbfr-small-vqgan ldbfr-small-restoring small-blind small-blind-fusion)
	rm -rf runs/small-with-blind
	$(BIN)/faceref models export small -o runs/small-with-blind --blind runs/small-blind-fusion/model

# The ablations of ReF-LDM (docs/ablations.md). Each trains ABLATE once for each value, always from the LQ-only model that
# ABLATE names, and puts the models into one table. For other photographs set ABLATE, SETTINGS and MEASURE.
ABLATE ?= configs/small-refldm.yaml
MEASURE ?= --index data/lfw128/index.csv --hq data/lfw128 --degradation severe --degradation moderate
MODEL ?= runs/small-refldm/model
# $(1) the key that is varied, $(2) its values
define ablate
	for value in $(2); do \
		$(BIN)/faceref train $(ABLATE) $(1)=$$value model.name=$$value $(SETTINGS) --run-dir runs/$@/$$value $(call resume,runs/$@/$$value) || exit; \
	done
	$(BIN)/faceref evaluate $(2:%=runs/$@/%/model) $(MEASURE) -o evaluation/$@
endef

ablate-mechanism: $(INSTALLED) ## train and compare the ways to show references
	$(call ablate,mechanism,cache_kv channel_concat cross_attention spatial_concat)

ablate-identity: $(INSTALLED) ## train and compare the scalings of the identity loss
	$(call ablate,identity.scaling,none naive sqrt_alpha_bar t_below_100 t_below_500)

ablate-references: $(INSTALLED) ## measure MODEL with 1, 3, 5 and 8 references
	$(BIN)/faceref evaluate $(MODEL) $(MEASURE) --references 8 --reference-counts 1,3,5 -o evaluation/$@
