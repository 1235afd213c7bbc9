# SPDX-License-Identifier: MIT
"""Shared fixtures and the two hypothesis profiles: "ci" (default) and "full" (FASTLSTM_FULL=1)."""

import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch or NumPy's BLAS can start a pool

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from runners import RUNNERS

FULL = os.environ.get("FASTLSTM_FULL", "") not in ("", "0")
ASAN = bool(os.environ.get("FASTLSTM_ASAN"))  # `make asan`
BACKEND = os.environ.get("FASTLSTM_BACKEND") or "c"
# What a backend promises, by the words of @pytest.mark.needs:
# bits     a row's outputs have the same bits whatever the batch, the cuts of time and the threads
# threads  calls of one object by many Python threads at once, and forks in the middle of them
# workers  worker threads of the backend's own, as many as num_threads says
# sums     gradients are summed in one order, whatever the tape's pieces
# c        the C extension: its allocator, its functions, its instruction sets
PROMISES = {
    "c": {"bits", "threads", "workers", "sums", "c"},
    "numba": {"bits", "threads"},
    "numpy": set(),  # its sums are those of its BLAS, which takes another order for another shape
}
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]

settings.register_profile(
    "ci", derandomize=True, deadline=None, print_blob=True, suppress_health_check=QUIET
)
settings.register_profile(
    "full", derandomize=False, deadline=None, print_blob=True, suppress_health_check=QUIET
)
settings.load_profile("full" if FULL else "ci")


not_with_asan = pytest.mark.skipif(ASAN, reason="AddressSanitizer's own memory would be measured")


def fewer(n):
    """n draws or repetitions of the C core's, a fifth of them on another backend in CI."""
    return n if FULL or BACKEND == "c" else max(1, n // 5)


def pytest_configure(config):
    """A folder for what the processes of a run compile (support/c_core.py), removed at its end."""
    if not os.environ.get("FASTLSTM_C_FOLDER"):  # pytest-xdist's workers inherit it
        os.environ["FASTLSTM_C_FOLDER"] = tempfile.mkdtemp(prefix="fastlstm-c-")
        config.add_cleanup(forget_compiled)


def forget_compiled():
    shutil.rmtree(os.environ.pop("FASTLSTM_C_FOLDER"), ignore_errors=True)


def pytest_generate_tests(metafunc):
    """A test with an `isa` argument runs once per instruction set this CPU can run, of those with
    kernels of floats of their own."""
    marks = metafunc.definition.iter_markers("parametrize")
    if "isa" in metafunc.fixturenames and not any("isa" in m.args[0] for m in marks):
        import isas

        metafunc.parametrize("isa", isas.FLOATS)


@pytest.fixture(scope="module")
def parts_of_any_size():
    """Products are made of bfloat16 parts where a precision asks for it, however small, instead of
    in float32 where parts do not pay: for tests of what parts are, on small layers and models."""
    from fastlstm.engine import parts

    everything = dict.fromkeys(parts.BITS, 0)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "FEWEST_PRODUCTS": 0, "MATRIX_OUTPUTS": 0, "CONV_OUTPUTS": 0,
            "MATRIX_WEIGHTS": everything, "CONV_WEIGHTS": everything, "LAYER_WEIGHTS": everything,
        }.items():  # fmt: skip
            patch.setattr(parts, name, value)
        yield


def promised(item):
    """Whether the chosen backend promises all that a test needs. Tests marked `once` compute
    through no backend, or as other tests do already, and run with the C core alone."""
    needed = {word for mark in item.iter_markers("needs") for word in mark.args}
    unknown = needed - PROMISES["c"]
    if unknown:
        raise pytest.UsageError(f"{item.nodeid} needs {unknown}, which conftest.py does not know")
    once = item.get_closest_marker("once") is not None
    return needed <= PROMISES[BACKEND] and not (once and BACKEND != "c")


# Files that take half a minute and more, after those that compile C: processes of a run take a file
# at a time, and if one of these came last the other processes would wait for it.
LONG = (
    *("test_load_mutants.py", "test_load_hostile.py", "test_documents.py", "test_wheel.py"),
    *("test_parity.py", "test_backward.py", "test_variants.py", "test_backends.py"),
    *("test_hostile_graphs.py", "test_invalid_calls.py", "test_examples.py"),
)


def earliest(item):
    """Where a file stands in the order of a run."""
    if item.path.parent.name == "c":
        return -1
    return LONG.index(item.path.name) if item.path.name in LONG else len(LONG)


def pytest_collection_modifyitems(config, items):
    """Deselects what the backend does not promise. The files that take longest come first. In full
    one test may take an hour: the limit for CI does not hold."""
    left_out = [item for item in items if not promised(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if promised(item)]
    items.sort(key=earliest)
    for item in items if FULL else ():
        item.add_marker(pytest.mark.timeout(5400))


@pytest.fixture
def rng(request):
    """A generator seeded by the test's name, so that every test is repeatable alone."""
    return np.random.default_rng(list(request.node.nodeid.rpartition("::")[2].encode()))


@pytest.fixture(params=RUNNERS)
def runner(request, tmp_path):
    """f(an onnx.ModelProto) -> (f([arrays]) -> [arrays]): see support/runners.py. Its `kind` is the
    name there."""

    def made(model):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return RUNNERS[request.param](path)

    made.kind = request.param
    return made


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """f(name) -> (path of an ONNX file, torch module) of support/small_models.py; made once."""
    import small_models

    folder, made = tmp_path_factory.mktemp("small"), {}

    def of(name):
        if name not in made:
            made[name] = small_models.export(name, folder)
        return made[name]

    return of


@pytest.fixture
def memory_path():
    """A folder in memory where the system has one: for files written anew thousands of times."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)
