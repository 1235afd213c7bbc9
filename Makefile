# Every target sets itself up: a virtual environment in .venv, the extension built and installed.
#
#   make demo        a PyTorch checkpoint writes prose, without PyTorch
#   make test        what a change must pass            make test-full   the long version
#   make bench       the table against PyTorch, ONNX Runtime, OpenVINO and ncnn; BENCH="--suite targets"
#   make study       what LSTM, GRU and RNN remember: figures and a table, in examples/memory
#   make asan        the suite on an extension built with AddressSanitizer and UBSan, by clang
#   make tsan        the C core's own threads under ThreadSanitizer, without Python
#   make fuzz        the loaders under atheris, SECONDS=60 for each of the targets
#   make coverage    lines of C and branches of Python that the tests take; TESTS="tests/test_x.py ..."
#   make lint        formatters and linters, Python and C

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# a process for each CPU, a file to each: what a file compiles is compiled once
PYTEST := $(BIN)/python -m pytest -q -n auto --dist loadfile
SOURCES := $(wildcard csrc/* fastlstm/_*.p* setup.py pyproject.toml)

.PHONY: demo test test-backends test-nocompiler test-full bench study asan tsan fuzz coverage lint format \
	wheel clean

demo: $(VENV)/.built
	$(BIN)/fastlstm demo

test: $(VENV)/.test lint
	$(PYTEST) --durations 10 tests
	$(MAKE) test-backends
	$(PYTEST) benchmarks --benchmark-disable

# The same tests on the other backends, some with a fifth of the draws (conftest.py): all but those
# of the C code, its threads and instruction sets, and of what no engine has a part in (formats,
# the benchmark, packaging). Further, where sums are BLAS's: how near checkpointed gradients are to
# whole ones and, for NumPy, bits. NumPy's calls share nothing but its BLAS, which is not ours to test.
ANY := parity variants variant_arguments state_dict invalid stream nan cells dropout backward \
	gradient_sums checkpoint torch_module torch_training interrupt_training threads_gil memory \
	save verify demo examples cli cli_files load_torch load_onnx load_keras
NUMBA := bits many_threads fork
NOT := not the_whole_tapes and not worker_spins and not tiny_work and not no_thread_can_be_made \
	and not functions_at_the_edges and not functions_and_slopes
test-backends: $(VENV)/.test
	FASTLSTM_BACKEND=numba $(PYTEST) $(patsubst %,tests/test_%.py,$(ANY) $(NUMBA)) \
	-k "$(NOT)"
	FASTLSTM_BACKEND=numpy $(PYTEST) $(patsubst %,tests/test_%.py,$(ANY)) \
	-k "$(NOT) and not keep_their_order and not bits_of and not test_checkpoints"

# Installing and running in a new environment where no compiler can be found, and the pure wheel.
test-nocompiler:
	$(PYTHON) tests/without_compiler.py

test-full: $(VENV)/.test lint
	FASTLSTM_FULL=1 $(BIN)/python -m pytest -q -n auto --dist worksteal tests --durations 60

bench: $(VENV)/.bench
	$(BIN)/fastlstm bench $(BENCH)

study: $(VENV)/.bench
	$(BIN)/python examples/memory/study.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror csrc/*.[ch] tests/c/*.[ch]

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i csrc/*.[ch] tests/c/*.[ch]

# A second environment, so that the sanitized extension never meets the ordinary one; its own folder
# too, or children of tests would import the package from here.
asan: $(VENV)-asan/.asan
	cd $(VENV)-asan && ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	FASTLSTM_ASAN=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	LD_PRELOAD="$$(clang -print-file-name=libclang_rt.asan-$$(uname -m).so)" \
	bin/python -P -m pytest -q -n auto --dist loadfile -c ../pyproject.toml --rootdir .. -p no:cacheprovider --timeout 3600 \
	$(addprefix ../,$(or $(TESTS),tests))

tsan: $(VENV)/.test
	$(BIN)/python -m pytest -q tests/test_c_team.py tests/test_c_lone.py tests/test_c_contract.py \
	-k "tsan or [thread"

# Kept and grown: fuzz-corpus/; what is found: fuzz-findings/. ENGINE=plain for more inputs a second.
FUZZ := pickle zip safetensors onnx hdf5 numpy stream script npz keras own file
fuzz: $(VENV)/.test
	$(BIN)/pip install -q atheris==3.0.0
	for target in $(FUZZ); do \
	$(BIN)/python tests/fuzz/fuzz_load.py $$target --engine $(or $(ENGINE),atheris) \
	--seconds $(or $(SECONDS),60) --runs $(or $(RUNS),-1) --corpus fuzz-corpus/$$target || exit 1; done

# A copy of the sources with an instrumented extension. Lines are counted over all instruction sets;
# without atomic counters, which threads would wait for: how often a line ran may be wrong, not whether.
COVERED := $(patsubst %,tests/test_%.py,parity stream checks state_dict cells backward checkpoint lone \
	thread_bits many_threads invalid activations dropout package variants load_* save cli_files)
SOBER := not mutants and not time_and_memory and not heaviest and not (threads and generic)
COPY := build/coverage
coverage: $(VENV)/.test
	$(BIN)/pip install -q gcovr
	rm -rf $(COPY) && mkdir -p $(COPY)
	cp -r csrc docs examples fastlstm tests $(wildcard *.py *.toml *.md *.in) LICENSE Makefile $(COPY)
	rm -f $(COPY)/fastlstm/*.so
	cd $(COPY) && FASTLSTM_REQUIRE_C=1 FASTLSTM_CFLAGS="-O1 --coverage" \
	$(CURDIR)/$(BIN)/python setup.py -q build_ext --inplace
	cd $(COPY) && PYTHONPATH=$$PWD $(CURDIR)/$(BIN)/python -m coverage run --branch --source fastlstm \
	-m pytest -q -p no:cacheprovider $(or $(TESTS),$(COVERED) -k "$(SOBER)")
	cd $(COPY) && $(CURDIR)/$(BIN)/python -m coverage report --include "fastlstm/*.py" --omit "fastlstm/cli*,fastlstm/demo/*"
	cd $(COPY) && $(CURDIR)/$(BIN)/python -m coverage report -m --fail-under 100 \
	--include "fastlstm/checks.py,fastlstm/loaders/*"
	cd $(COPY) && $(CURDIR)/$(BIN)/gcovr --filter csrc/ --merge-mode-functions merge-use-line-0 \
	--gcov-suspicious-hits-threshold 0 \
	--gcov-ignore-parse-errors negative_hits.warn_once_per_file --print-summary --fail-under-line 95

wheel: $(VENV)/.built
	$(BIN)/pip install -q build
	$(BIN)/python -m build --wheel
	ls -l dist

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.built: $(BIN)/python $(SOURCES)
	$(BIN)/pip install -q -e .
	touch $@

$(VENV)/.test: $(VENV)/.built
	$(BIN)/pip install -q -e '.[test]'
	touch $@

$(VENV)/.bench: $(VENV)/.built
	$(BIN)/pip install -q -e '.[bench]'
	touch $@

# By clang: of the plain C kernels gcc takes many minutes with ASan, and clang with UBSan.
$(VENV)-asan/.asan: $(SOURCES)
	$(PYTHON) -m venv $(VENV)-asan
	rm -rf build
	CC=clang FASTLSTM_REQUIRE_C=1 FASTLSTM_KERNEL_CFLAGS="-g1 -O2 -fsanitize=address" \
	FASTLSTM_CFLAGS="-g1 -O2 -shared-libasan -fsanitize=address,undefined -fno-sanitize-recover=undefined" \
	$(VENV)-asan/bin/pip install -q '.[test]'
	touch $@

clean:
	rm -rf build dist *.egg-info fastlstm/*.so $(VENV)/.built $(VENV)/.test $(VENV)/.bench
