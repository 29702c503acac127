# Two commands: `make detect` shows scores and heatmaps, `make test` runs the whole suite.
CHROMIUM := chromium chromium-driver
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
IMAGES ?= demo/examples
.DEFAULT_GOAL := detect

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/:/'

.PHONY: help detect demo page test fuzz conformance check chromium lower-bounds benchmark profile benchmark-tiny \
	benchmark-references benchmark-finetuning benchmark-page screenshots card figure tiny clean

detect: $(VENV)/base.stamp  ## scores and heatmaps of IMAGES (default: the sample photographs)
	$(BIN)/fbclip detect $(IMAGES) --tile auto --output outputs

demo: $(VENV)/demo.stamp  ## the page in the browser; PORT= for another port
	$(BIN)/fbclip demo $(if $(PORT),--port $(PORT))

page: $(VENV)/test.stamp  ## a page that computes the bundled model in the browser, to demo/static/; needs npm
	$(BIN)/python demo/make_page.py

test: check chromium  ## the whole suite, after the linters
	@! command -v npm >/dev/null || $(BIN)/python demo/make_page.py --fetch 2>/dev/null || true  # for the page's test, else skipped
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0

fuzz: $(VENV)/test.stamp  ## 10,000 odd inputs: each gives a result or one line; COUNT= for another number
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py $(if $(COUNT),--count $(COUNT))

conformance: $(VENV)/test.stamp  ## transformers' own tests of models and processors, fetched from the package registry
	OMP_NUM_THREADS=1 $(BIN)/python tests/conformance/__main__.py -n 2

check: $(VENV)/test.stamp  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy hub demo recipe

chromium:  # for the demo's tests, where packages may be installed; else they are skipped, and say so
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(CHROMIUM) >/dev/null; fi || true

lower-bounds: $(VENV)/test.stamp  ## the quick tests with the lowest version of every library, in an environment that goes again
	$(BIN)/python tests/lower_bounds.py

benchmark: $(VENV)/test.stamp  ## time and memory against the literal reference; SMALL=1 for a small model
	$(BIN)/python tests/benchmark.py $(if $(SMALL),--small)

profile: $(VENV)/test.stamp  ## what the vision tower and the head spend their time on, by kind of operator
	$(BIN)/python tests/benchmark_profile.py

benchmark-page: $(VENV)/test.stamp chromium  ## the page's latency, and what a load leaves: minutes
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmark_page.py

screenshots: $(VENV)/test.stamp chromium  ## the README's screenshots of the page
	$(BIN)/python tests/screenshots.py

figure: $(VENV)/base.stamp  ## the README's figure: the bundled model on all sample photographs
	$(BIN)/python demo/make_figure.py

card: $(VENV)/base.stamp  ## MODEL_CARD.md, from what training and evaluation of the bundled model wrote
	$(BIN)/python -m modeling_fbclip.hub

tiny: $(VENV)/tiny.stamp  ## make the bundled model (hours), its figures and card; SMOKE=1 for a try of seconds
	$(BIN)/python -m recipe $(if $(SMOKE),--smoke) $(RECIPE)
ifndef SMOKE
	$(if $(DATA),$(BIN)/python tests/benchmark_tiny.py "$(DATA)" --record)
	$(MAKE) figure card
endif

benchmark-tiny: $(VENV)/test.stamp  ## the bundled model and baselines on a folder of data sets, squashed and in tiles: DATA=, TILE=
	$(BIN)/python tests/benchmark_tiny.py "$(DATA)" $(if $(TILE),--tile $(TILE))

benchmark-references: $(VENV)/test.stamp  ## what good images, and images among themselves, bring: DATA=
	$(BIN)/python tests/benchmark_references.py "$(DATA)"

benchmark-finetuning: $(VENV)/test.stamp  ## the plain fine-tuning on half of each data set below DATA=, beside references
	$(BIN)/python tests/benchmark_finetuning.py "$(DATA)"

clean:
	rm -rf $(VENV) outputs

INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/base.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	touch $@

$(VENV)/demo.stamp: $(VENV)/base.stamp
	$(INSTALL) --editable ".[demo]"
	touch $@

$(VENV)/test.stamp: $(VENV)/base.stamp
	$(INSTALL) --editable ".[test]"
	touch $@

$(VENV)/tiny.stamp: $(VENV)/base.stamp
	$(INSTALL) --editable ".[tiny]"
	touch $@
