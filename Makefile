# Every target sets itself up: a virtual environment in .venv, the extension built and installed.
#
#   make demo        a PyTorch checkpoint writes prose, without PyTorch
#   make test        what a change must pass            make test-full   the long version
#   make bench       the table against PyTorch, ONNX Runtime, OpenVINO and ncnn; BENCH="--suite targets"
#   make study       what LSTM, GRU and RNN remember: figures and a table, in examples/memory
#   make asan        the suite on an extension built with AddressSanitizer and UBSan, by clang
#   make tsan        the C core's own threads under ThreadSanitizer, without Python
#   make lint        formatters and linters, Python and C

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard csrc/* fastlstm/_*.p* setup.py pyproject.toml)

.PHONY: demo test test-backends test-nocompiler test-full bench study asan tsan lint format wheel clean

demo: $(VENV)/.built
	$(BIN)/fastlstm demo

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -q tests
	$(MAKE) test-backends
	$(BIN)/python -m pytest -q benchmarks --benchmark-disable

# The same tests on the other backends: all but those of the C code itself; of how near checkpointed
# gradients are, whose sums BLAS makes; and, for NumPy, of bits and of gradients below 2^-126.
ANY := parity stream state_dict dropout invalid cli checkpoint backward torch_module nan
test-backends: $(VENV)/.test
	FASTLSTM_BACKEND=numba $(BIN)/python -m pytest -q $(patsubst %,tests/test_%.py,$(ANY) bits threads_gil) \
	-k "not the_whole_tapes"
	FASTLSTM_BACKEND=numpy $(BIN)/python -m pytest -q $(patsubst %,tests/test_%.py,$(ANY)) \
	-k "not a_huge_gradient and not keep_their_order and not the_whole_tapes"

# Installing and running where no compiler can be found.
test-nocompiler: $(VENV)/.test
	$(BIN)/python -m pytest -q tests/test_backends.py -k "compiler or extension or pure"

test-full: $(VENV)/.test lint
	FASTLSTM_FULL=1 $(BIN)/python -m pytest -q tests --timeout 7200 --durations 20

bench: $(VENV)/.bench
	$(BIN)/fastlstm bench $(BENCH)

study: $(VENV)/.bench
	$(BIN)/python examples/memory/study.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror csrc/*.c csrc/*.h tests/c/*.c

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i csrc/*.c csrc/*.h tests/c/*.c

# A second environment, so that the sanitized extension never meets the ordinary one; its own folder
# too, or children of tests would import the package from here.
asan: $(VENV)-asan/.asan
	cd $(VENV)-asan && ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	LD_PRELOAD="$$(clang -print-file-name=libclang_rt.asan-$$(uname -m).so)" \
	bin/python -P -m pytest -q -c ../pyproject.toml --rootdir .. -p no:cacheprovider --timeout 3600 \
	$(addprefix ../,$(or $(TESTS),tests))

tsan: $(VENV)/.test
	$(BIN)/python -m pytest -q tests/test_c_team.py tests/test_c_lone.py tests/test_c_contract.py \
	-k "tsan or [thread"

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
