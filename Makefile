# make demo: set up and run the main job on the built-in corpus.   make test: set up and run the tests.
PYTHON ?= python3
CONSTRAINTS ?= -c constraints.txt
EXTRAS ?= synthetic,dev
BIN := .venv/bin

.PHONY: demo check-recipes attack test test-browser docs lint format parity parity-padded constraints clean

.venv/.ready: pyproject.toml constraints.txt
	@echo "setting up .venv: 1 to 3 minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(CONSTRAINTS) -e '.[$(EXTRAS)]'
	@touch $@

demo: .venv/.ready  ## train, decode and score on the built-in corpus: log-mels beside a small pre-trained model
	$(BIN)/python -m mlsuperb.run -m +exp=demo upstream=fbank,mhubert_tiny

check-recipes: .venv/.ready  ## every recipe on the built-in corpus, a few steps: killed, carried on, called again
	$(BIN)/python scripts/check_recipes.py

attack: .venv/.ready  ## kills, faults and damaged inputs, all seeded, for ten minutes; writes docs/reliability.md
	$(BIN)/python scripts/attack --minutes 10 --seed $${SEED:-0}

# one thread a worker: two workers of two threads on two cores slow each other manifold
test: .venv/.ready  ## all tests, on the CPU, without a network
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-browser: .venv/.ready  ## open reports and the demo in the system's Chromium; screenshots in .screenshots
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then \
	  $(BIN)/pip install --quiet $(CONSTRAINTS) -e '.[$(EXTRAS),browser,demo]' && $(BIN)/python -m pytest tests/browser -rs; \
	else echo "test-browser skipped: no Chromium here (Debian: apt install chromium)"; fi

docs: .venv/.ready  ## the documentation site, in site/; links are checked, nothing is fetched when it is read
	$(BIN)/pip install --quiet $(CONSTRAINTS) -e '.[$(EXTRAS),docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html; with its search: $(BIN)/python -m http.server -d site"

lint: .venv/.ready  ## style, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.ready  ## apply the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# 202511: the last release for Python 3.10 and 3.11. 202611: asks for 3.12; what is compared runs on 3.11, too
.venv-espnet/.ready: RELEASE := 202511
.venv-espnet-202611/.ready: RELEASE := 202611
.venv-espnet-202611/.ready: ALSO := omniio
.venv-espnet/.ready .venv-espnet-202611/.ready: .venv/.ready
	$(PYTHON) -m venv $(@D)
	echo "$(CURDIR)/.venv/lib/$$($(BIN)/python -c 'import sys; print(f"python{sys.version_info[0]}.{sys.version_info[1]}")')/site-packages" > $$($(@D)/bin/python -c 'import site; print(site.getsitepackages()[0])')/mlsuperb-venv.pth
	$(@D)/bin/pip install --quiet --no-deps --ignore-requires-python espnet==$(RELEASE) espnet_tts_frontend s3prl==0.4.18
	$(@D)/bin/pip install --quiet typeguard humanfriendly torch_complex einops configargparse sentencepiece h5py kaldiio editdistance librosa $(ALSO)
	@touch $@

parity: parity-padded .venv-espnet/.ready  ## compare heads, decoding, imported models and learning with ESPnet, in environments of their own
	.venv-espnet/bin/python scripts/parity_espnet.py

parity-padded: .venv-espnet-202611/.ready  ## the same with ESPnet 202611, which does not depend on padding: whole batches, too
	.venv-espnet-202611/bin/python scripts/parity_espnet.py

constraints:  ## write constraints.txt anew from the newest releases that pyproject.toml allows
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/pip install --quiet -e '.[$(EXTRAS),docs,browser,demo]'
	.venv-constraints/bin/pip freeze --exclude-editable | sed -e 's/$$/ ; python_version >= "3.11"/' -e '1i # Written by `make constraints`: what `make demo` and `make test` install.' > constraints.txt
	rm -rf .venv-constraints

clean:  ## remove environments, runs and caches
	rm -rf .venv .venv-espnet .venv-espnet-202611 .venv-constraints exp build dist site .screenshots .pytest_cache .ruff_cache .mypy_cache
