# Every target sets itself up: a virtual environment in .venv, the extension built and installed.
#
#   make demo        a PyTorch checkpoint writes prose, without PyTorch; NAME=sentiment: that example's model
#   make example NAME=sentiment   an application from nothing: data, training, comparison, deployment
#   make test        what a change must pass            make test-full   the long version
#   make test-mutants   code broken on purpose: is it noticed? MUTANTS="c 14 15" for some of them
#   make bench       the table against PyTorch, ONNX Runtime, OpenVINO and ncnn; BENCH="--suite targets"
#   make study       what LSTM, GRU and RNN remember: figures and a table, in examples/memory
#   make asan        the suite on an extension built with AddressSanitizer and UBSan, by clang
#   make tsan        the C core's own threads under ThreadSanitizer, without Python
#   make fuzz        the loaders under atheris, SECONDS=60 for each of the targets
#   make coverage    lines of C and branches of Python that the tests take; TESTS="tests/test_x.py ..."
#   make lint        formatters and linters, Python and C
#   make wheels      wheels for Linux, x86-64 and AArch64, and their tests; WHEELS="--only cp311"
#   make docs        the documentation as a site, in build/site; every warning is an error

PYTHON ?= python3
# Of the command line alone: some systems have a variable NAME in every shell.
NAME :=
VENV := .venv
BIN := $(VENV)/bin
# a process for each CPU, a file to each: what a file compiles is compiled once; in conftest.py's order
TESTED := $(BIN)/python -m pytest -q --dist loadfile --no-loadscope-reorder
PYTEST := $(TESTED) -n auto
# half the CPUs, for two runs at a time; of two CPUs each run is one process, which collects tests once
HALF := $(shell n=$$(getconf _NPROCESSORS_ONLN || echo 2); [ $$n -ge 4 ] && echo $$((n / 2)) || echo 0)
# Hundreds of processes of the tests import the package: compiled once, whatever the caller's setting is.
export PYTHONDONTWRITEBYTECODE :=
C_FILES := $(shell find csrc tests/c benchmarks -name "*.[ch]")
SOURCES := $(wildcard csrc/*.h csrc/*/*.[ch] csrc/*/*/*.[ch] fastlstm/engine/c/*.p* setup.py pyproject.toml)

.PHONY: demo example test test-backends test-numba test-numpy test-nocompiler test-full test-mutants bench study asan tsan fuzz coverage lint format \
	docs wheel wheels clean

demo: $(VENV)/.built
	$(if $(NAME),$(BIN)/python examples/$(NAME)/deploy.py $(ARGS),$(BIN)/fastlstm demo)

# NAME: text, sentiment, speech, translation, stocks or anomalies.
example: $(VENV)/.examples
	$(if $(NAME),,$(error say which: make example NAME=sentiment))
	$(BIN)/python examples/$(NAME)/train.py
	$(BIN)/python examples/$(NAME)/evaluate.py
	$(BIN)/python examples/$(NAME)/deploy.py

test: $(VENV)/.test lint
	$(PYTEST) --durations 40 tests
	$(MAKE) -j2 -Otarget test-numba test-numpy

# The same tests on the other backends, some with a fifth of the draws. tests/conftest.py leaves out what a
# backend does not promise (`needs`) and what it has no part in (`once`).
EACH_BACKEND := $(addprefix tests/,numbers bits training api files threads cli \
	models/test_model.py models/test_model_stream.py models/test_saved.py models/test_nn_published.py \
	models/test_keras_published.py models/test_onnx_speech.py)
test-backends: $(VENV)/.test
	$(MAKE) -j2 -Otarget test-numba test-numpy

# A lane each of test-backends; the benchmarks' smoke test is in the shorter one.
test-numba: $(VENV)/.test
	FASTLSTM_BACKEND=numba $(TESTED) -n $(HALF) $(EACH_BACKEND)

test-numpy: $(VENV)/.test
	FASTLSTM_BACKEND=numpy $(TESTED) -n $(HALF) $(EACH_BACKEND) tests/models/test_keras.py
	$(TESTED) -n $(HALF) benchmarks --benchmark-disable

# Installing and running in a new environment where no compiler can be found, and the pure wheel.
test-nocompiler:
	$(PYTHON) tests/engines/without_compiler.py

test-full: $(VENV)/.test lint
	FASTLSTM_FULL=1 $(BIN)/python -m pytest -q -n auto --dist worksteal tests --durations 60
	$(MAKE) test-mutants

# The sources broken on purpose, in one way after the other: the test named for each must fail.
test-mutants: $(VENV)/.test
	$(BIN)/python tests/support/mutants.py $(MUTANTS)

bench: $(VENV)/.bench
	$(BIN)/fastlstm bench $(BENCH)

study: $(VENV)/.bench
	$(BIN)/python examples/memory/study.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

# A second environment, so that the sanitized extension never meets the ordinary one; its own folder
# too, or children of tests would import the package from here.
asan: $(VENV)-asan/.asan
	cd $(VENV)-asan && ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	FASTLSTM_ASAN=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	LD_PRELOAD="$$(clang -print-file-name=libclang_rt.asan-$$(uname -m).so)" \
	bin/python -P -m pytest -q -n auto --dist loadfile -c ../pyproject.toml --rootdir .. -p no:cacheprovider --timeout 3600 \
	$(addprefix ../,$(or $(TESTS),tests))

tsan: $(VENV)/.test
	$(BIN)/python -m pytest -q tests/c/test_c_threads.py tests/c/test_c_split.py tests/c/test_c_session.py \
	tests/c/test_c_pool.py tests/c/test_c_contract.py -k "tsan or [thread"

# Kept and grown: fuzz-corpus/; what is found: fuzz-findings/. ENGINE=plain for more inputs a second.
FUZZ := pickle zip safetensors onnx hdf5 numpy stream script npz pt2 nested keras fastlstm json packed frozen \
	file model
fuzz: $(VENV)/.test
	$(BIN)/pip install -q atheris==3.0.0
	for target in $(FUZZ); do \
	$(BIN)/python tests/files/fuzz/fuzz_load.py $$target --engine $(or $(ENGINE),atheris) \
	--seconds $(or $(SECONDS),60) --runs $(or $(RUNS),-1) --corpus fuzz-corpus/$$target || exit 1; done

# A copy of the sources with an instrumented extension. Lines are counted over all instruction sets;
# without atomic counters, which threads would wait for: how often a line ran may be wrong, not whether.
COVERED := $(addprefix tests/,numbers/test_parity.py numbers/test_variants.py numbers/test_activations.py \
	numbers/test_int8.py numbers/test_bfloat16.py bits/test_thread_bits.py training/test_backward.py training/test_checkpoint.py training/test_dropout.py \
	api/test_stream.py api/test_argument_checks.py api/test_state_dict.py api/test_cells.py \
	api/test_quantize.py api/test_onnxruntime_refused.py models \
	api/test_invalid_calls.py files threads/test_split_units.py threads/test_many_threads.py \
	packaging/test_package.py cli/test_cli_files.py)
SOBER := not mutants and not time_and_memory and not heaviest and not (threads and generic)
COPY := build/coverage
coverage: $(VENV)/.test
	$(BIN)/pip install -q gcovr
	rm -rf $(COPY) && mkdir -p $(COPY)
	cp -r csrc docs examples fastlstm tests $(wildcard *.py *.toml *.md *.in) LICENSE Makefile $(COPY)
	rm -f $(COPY)/fastlstm/engine/c/*.so
	cd $(COPY) && FASTLSTM_REQUIRE_C=1 FASTLSTM_CFLAGS="-O1 --coverage" \
	$(CURDIR)/$(BIN)/python setup.py -q build_ext --inplace
	cd $(COPY) && PYTHONPATH=$$PWD $(CURDIR)/$(BIN)/python -m coverage run --branch --source fastlstm \
	-m pytest -q -p no:cacheprovider $(or $(TESTS),$(COVERED) -k "$(SOBER)")
	cd $(COPY) && $(CURDIR)/$(BIN)/python -m coverage report --omit "fastlstm/demo/*" \
	--include "fastlstm/*.py,fastlstm/engine/*.py,fastlstm/training/*,fastlstm/layers/*"
	cd $(COPY) && $(CURDIR)/$(BIN)/python -m coverage report -m --fail-under 100 \
	--include "fastlstm/engine/arguments.py,fastlstm/files/*"
	cd $(COPY) && $(CURDIR)/$(BIN)/gcovr --filter csrc/ --merge-mode-functions merge-use-line-0 \
	--gcov-suspicious-hits-threshold 0 \
	--gcov-ignore-parse-errors negative_hits.warn_once_per_file --print-summary --fail-under-line 95

docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "build/site/index.html"

wheel: $(VENV)/.built
	$(BIN)/pip install -q build
	$(BIN)/python -m build --wheel
	ls -l dist

# For Linux, of several Pythons, tried where there is one, AArch64 under qemu; then the C core compiled for
# macOS and Windows. release/wheels.py says what it needs; WHEELS="--only musl --write" and others are its options.
wheels: $(VENV)/.test
	$(BIN)/python release/wheels.py $(WHEELS)
	$(BIN)/python release/targets.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.built: $(BIN)/python $(SOURCES)
	$(BIN)/pip install -q -e .
	touch $@

# Each also builds: pip builds anew whatever is installed, and that takes minutes.
$(VENV)/.test: $(BIN)/python $(SOURCES)
	$(BIN)/pip install -q -e '.[test,docs]'
	touch $(VENV)/.built $@

$(VENV)/.bench: $(BIN)/python $(SOURCES)
	$(BIN)/pip install -q -e '.[bench]'
	touch $(VENV)/.built $@

$(VENV)/.examples: $(BIN)/python $(SOURCES)
	$(BIN)/pip install -q -e '.[examples]'
	touch $(VENV)/.built $@

# By clang: of the plain C kernels gcc takes many minutes with ASan, and clang with UBSan.
$(VENV)-asan/.asan: $(SOURCES)
	$(PYTHON) -m venv $(VENV)-asan
	rm -rf build
	CC=clang FASTLSTM_REQUIRE_C=1 FASTLSTM_KERNEL_CFLAGS="-g1 -O2 -fsanitize=address" \
	FASTLSTM_CFLAGS="-g1 -O2 -shared-libasan -fsanitize=address,undefined -fno-sanitize-recover=undefined" \
	$(VENV)-asan/bin/pip install -q '.[test]'
	touch $@

clean:
	rm -rf build dist *.egg-info fastlstm/engine/c/*.so $(VENV)/.built $(VENV)/.test $(VENV)/.bench $(VENV)/.examples
