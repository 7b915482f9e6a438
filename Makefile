# make demo | test | nightly | lint | clean | ... Everything is installed into .venv, nothing outside.

PYTHON ?= python3
JOBS ?= 2
# The tests of a file, or of a machine's RTL, in one process (tests/conftest.py); in their order.
SPREAD := -n $(JOBS) --dist loadfile --no-loadscope-reorder
# Extras to install. `train` (PyTorch) adds the tests of everything that trains; without it they skip.
EXTRAS ?= test

BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test nightly volume bench folds clock boards fit explore workloads compare search speed activity fuzz formats formal silero release docs site lint format clean
.DEFAULT_GOAL := test

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@

.PHONY: .venv
.venv: $(STAMP)

demo: .venv
	$(BIN)/einchip run examples/japanese_vowels --arch small

lint: .venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest $(SPREAD)

# The long version: more random programs, larger machines.
nightly: lint
	$(BIN)/pytest $(SPREAD) --nightly

# 2,800 random networks on the RTL of four machines; the result is committed.
volume: .venv
	$(BIN)/python -m tests.system.volume 700 tests/system/volume.json

# Japanese Vowels, compressed 8 times in every format and fine-tuned; result and table are committed.
# Ten minutes; needs PyTorch: make formats EXTRAS=test,train
formats: .venv
	$(BIN)/python examples/japanese_vowels/formats.py

# Cycles of every published matrix, and of layers, against the roofline; result and page are committed.
# An hour.
bench: .venv
	$(BIN)/einchip bench --batch 1 --batch 16 --port 16 --port 8 --no-cold --layers

# Every published matrix on the RTL of `base`; ten minutes.
workloads: .venv
	$(BIN)/python -m tests.workloads.rtl

# Seconds of the search of contraction trees, from 3 to 30 tensors; the result is committed.
search: .venv
	$(BIN)/python -m tests.mapper.bench_search tests/mapper/bench_search.json

# Matrices of every format and paper against the baselines of the literature; result and page are
# committed. Half an hour.
COMPARED = "TT-LSTM UCF11 160x120x3 rank4" "BT-LSTM UCF11" "TR-LSTM UCF11 end-to-end" \
	"HT-LSTM UCF11" "tednet CP-LSTM UCF11 features 2048->2048" \
	"tednet TK2-LSTM UCF11 features 2048->2048" "MPO-LSTM Fig.2 bond 3" \
	"FT-LSTM speaker verification 40->768 4 cores rank 2 W" \
	"FT-LSTM row-MNIST 28->256 4 cores rank 2 U" \
	"MPS/general TT LSTM UCF11 57600->256" "MPS VGG-FC7" \
	"fully decomposed TT-LSTM PTB 1500 hidden, layer rank 10"
compare: .venv
	$(BIN)/einchip compare $(COMPARED) --json docs/compare.json
	$(BIN)/einchip compare --file src/einchip/compare/orientation.yaml --row ours \
		--row ours-alone --row analytic-two --json docs/compare-orientation.json
	$(BIN)/python -m einchip.compare.page docs > docs/compare.md

# How fast RTL and simulator are; the result is committed, its tables are in docs/verification.md.
speed: .venv
	$(BIN)/python -m tests.verify.speed tests/verify/speed.json

# Switching activity of the RTL against the counters; the result is committed, its table is in
# docs/traces.md. Ten minutes.
activity: .venv
	$(BIN)/python -m tests.trace.measure tests/trace/activity.json

# 13,000 damaged files through every reader; the result is committed. Needs EXTRAS=test,train.
fuzz: .venv
	$(BIN)/python -m tests.models.fuzz 13000 tests/models/fuzz.json

# Voice activity detection, dense and compressed; the result is committed. Needs espeak-ng.
silero: .venv
	$(BIN)/python -m pip install --quiet --no-deps silero-vad==6.2.3
	$(BIN)/python examples/silero_vad/run.py --json examples/silero_vad/results/base.json

# Cycles and FPGA cells of every fold; result and page are committed. Hours; EXTRAS=test,fpga.
folds: .venv
	mkdir -p bench
	$(BIN)/python -m einchip.workloads.folds bench/folds.json

# The clock of every unit of `small` on ECP5. Half an hour; needs EXTRAS=test,fpga.
clock: .venv
	mkdir -p bench
	$(BIN)/python -m einchip.fpga.clock bench/clock.json small

# The bitstream of every board; reports and page are committed. Twenty minutes; needs EXTRAS=test,fpga.
boards: .venv
	$(BIN)/python -m einchip.fpga.targets.page build > docs/boards.new
	mv docs/boards.new docs/boards.md

# What each unit takes, by Yosys, of what is missing or stale; measurements and page are committed.
# Half an hour for all; needs EXTRAS=test,fpga.
fit: .venv
	$(BIN)/python -m einchip.fpga.fit.measure
	$(BIN)/python -m einchip.fpga.fit.page > docs/fit.new
	mv docs/fit.new docs/fit.md

# Machines and formats for Japanese Vowels; results, page and plot are committed. Ten minutes.
explore: .venv
	$(BIN)/einchip explore examples/explore/space.yaml examples/japanese_vowels --budget 160 \
		--objective cycles,energy,area,error --jobs $(JOBS) --json examples/explore/results.json
	$(BIN)/python -m einchip.explore.page examples/explore/results.json docs

# Wheel and sdist in dist, installed alone and used on every Python; the record is committed. Fifteen
# minutes; needs Python 3.11 to 3.13 and a package index.
release: .venv
	rm -rf dist
	$(BIN)/python -m tests.release.matrix tests/release/matrix.json dist

# The rules of AXI on every unit, of what is missing or stale, and RTL broken on purpose; results and
# page are committed. Five minutes for all.
formal: .venv
	$(BIN)/python -m tests.formal.prove tests/formal/results.json
	$(BIN)/python -m tests.formal.page > docs/formal.new
	mv docs/formal.new docs/formal.md

docs: .venv
	$(BIN)/python -m einchip.isa > docs/isa.md
	$(BIN)/python -m einchip.register_map
	$(BIN)/python -m einchip.schemas
	$(BIN)/python -m einchip.cli.page > docs/cli.new
	mv docs/cli.new docs/cli.md

# The pages as a site, in build/site; a warning is an error. Nothing is fetched.
site: .venv
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: .venv
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf src/*.egg-info
