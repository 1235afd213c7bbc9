# SPDX-License-Identifier: MIT
"""Shared fixtures and the two hypothesis profiles: "ci" (default) and "full" (FASTLSTM_FULL=1)."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch or NumPy's BLAS can start a pool

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

FULL = os.environ.get("FASTLSTM_FULL", "") not in ("", "0")
ASAN = bool(os.environ.get("FASTLSTM_ASAN"))  # `make asan`
BACKEND = os.environ.get("FASTLSTM_BACKEND") or "c"
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


def pytest_generate_tests(metafunc):
    """A test with an `isa` argument runs once per instruction set this CPU can run."""
    marks = metafunc.definition.iter_markers("parametrize")
    if "isa" in metafunc.fixturenames and not any("isa" in m.args[0] for m in marks):
        import fastlstm

        metafunc.parametrize("isa", fastlstm.runnable_isas())


def pytest_collection_modifyitems(items):
    """In full, one test may take an hour: the limit for CI does not hold."""
    for item in items if FULL else ():
        item.add_marker(pytest.mark.timeout(5400))


@pytest.fixture
def rng(request):
    """A generator seeded by the test's name, so that every test is repeatable alone."""
    return np.random.default_rng(list(request.node.nodeid.rpartition("::")[2].encode()))


@pytest.fixture
def memory_path():
    """A folder in memory where the system has one: for files written anew thousands of times."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)
