# SPDX-License-Identifier: MIT
"""threadpoolctl finds the engine, says how many threads it may use, and limits them."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.needs("workers")

LIMITS = """
{imports}
import numpy as np

assert fastlstm.get_num_threads() == 3

def own(info=None):
    return [i for i in info or threadpoolctl.threadpool_info() if i["user_api"] == "fastlstm"]

[info] = own()
assert info["version"] == fastlstm.__version__
assert info["num_threads"] == 3 and info["internal_api"] == "fastlstm" and info["workers"] == 0
assert info["filepath"] == fastlstm.engine.backend.__file__

layer, x = fastlstm.LSTM(64, 128), np.ones((60, 64, 64), np.float32)  # work for many threads

def workers(n=None):
    layer(x, num_threads=n)
    return own()[0]["workers"]

with threadpoolctl.threadpool_limits(1):
    assert fastlstm.get_num_threads() == own()[0]["num_threads"] == 1
    assert workers() == 0, "limited to one thread, a call has made workers"
    assert workers(2) == 1, "a call's own num_threads stands"
assert fastlstm.get_num_threads() == 3
assert workers() == 2
for limit in (dict(limits=2, user_api="fastlstm"), dict(limits=dict(fastlstm=2)),
              dict(limits=[dict(info, num_threads=2)])):
    with threadpoolctl.threadpool_limits(**limit):
        assert fastlstm.get_num_threads() == 2
    assert fastlstm.get_num_threads() == 3
for limit in (dict(limits=1, user_api="blas"), dict(limits=dict(blas=1)), dict(limits=None)):
    with threadpoolctl.threadpool_limits(**limit):
        assert fastlstm.get_num_threads() == 3
for n in (0, -1, 1025, 2**31 - 1):  # out of range: as it was
    with threadpoolctl.threadpool_limits(n, user_api="fastlstm"):
        assert fastlstm.get_num_threads() == 3
controller = threadpoolctl.ThreadpoolController().select(user_api="fastlstm")
with controller.limit(limits=1):
    fastlstm.set_num_threads(7)
    assert own()[0]["num_threads"] == 7, "both set the same number"
assert fastlstm.get_num_threads() == 3, "the limit's end puts back what it found"

import fastlstm.threadpool
assert len(own()) == 1
print("fine")
"""

IMPORTS = {
    "before": "import threadpoolctl, fastlstm.threadpool, fastlstm",
    "after": "import fastlstm, fastlstm.threadpool, threadpoolctl",
    "listed before": "import fastlstm, threadpoolctl; threadpoolctl.threadpool_info()\n"
    "import fastlstm.threadpool",
}


def python(script, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith("FASTLSTM_")} | environment
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)


@pytest.mark.parametrize("order", IMPORTS)
def test_limits_whichever_is_imported_first(order):
    script = LIMITS.format(imports=IMPORTS[order])
    done = python(script, FASTLSTM_NUM_THREADS="3")
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


def test_other_libraries_named_like_ours_are_left_alone(tmp_path):
    """A `_core.` of someone else's lacks our symbols."""
    source, library = tmp_path / "other.c", tmp_path / "_core.other.so"
    source.write_text("int fastlstm_other(void) { return 1; }\n")
    command = [os.environ.get("CC", "cc").split()[0], "-shared", "-fPIC", source, "-o", library]
    if sys.platform == "win32" or subprocess.run(command).returncode:
        pytest.skip("no C compiler to make a library with")
    done = python(
        f"import ctypes; ctypes.CDLL({str(library)!r}); import fastlstm.threadpool, threadpoolctl\n"
        "ours = fastlstm.engine.backend.__file__\n"
        "print([i['filepath'] == ours for i in threadpoolctl.threadpool_info() "
        "if i['prefix'] == '_core.'])"
    )
    assert done.stdout == "[True]\n", done.stderr


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_nothing_of_ours_to_limit_without_the_c_core(backend):
    if backend == "numba":
        pytest.importorskip("numba")
    done = python(
        "import sys; sys.modules['fastlstm.engine.c._core'] = None\n"
        "import fastlstm.threadpool, threadpoolctl, numpy as np\n"
        "layer, x = fastlstm.LSTM(3, 4), np.ones((5, 2, 3), np.float32)\n"
        "want = layer(x)[0]\n"
        "with threadpoolctl.threadpool_limits(1):\n"
        "    assert (layer(x)[0] == want).all()\n"
        "    apis = {i['user_api']: i['num_threads'] for i in threadpoolctl.threadpool_info()}\n"
        "print(apis)",
        FASTLSTM_BACKEND=backend,
    )
    assert done.returncode == 0, done.stderr
    assert "fastlstm" not in done.stdout and "'blas': 1" in done.stdout


def test_without_threadpoolctl():
    """The package does without it, and its module says what to install."""
    done = python(
        "import sys; sys.modules['threadpoolctl'] = None; import fastlstm\n"
        "fastlstm.set_num_threads(2); assert fastlstm.get_num_threads() == 2\n"
        "import fastlstm.threadpool"
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError") and "pip install 'fastlstm[threadpoolctl]'" in last


def test_importing_fastlstm_registers_nothing():
    done = python(
        "import threadpoolctl, fastlstm\n"
        "print([i for i in threadpoolctl.threadpool_info() if i['user_api'] == 'fastlstm'])"
    )
    assert done.stdout == "[]\n", done.stderr
