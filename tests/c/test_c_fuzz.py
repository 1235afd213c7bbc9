# SPDX-License-Identifier: MIT
"""The C core under drawn bytes, with AddressSanitizer and UBSan: a network and a call of any shape
checked from all sides, or sizes of any magnitude (tests/c/fuzz_driver.c); and programs of operators
with drawn attributes, against each operator alone (tests/c/program_driver.c).

In CI a fixed number of inputs made from a corpus, with gcc or whatever `cc` is; in full libFuzzer,
which finds its way by coverage and needs clang. An input that failed once stays in the corpus.
"""

import shutil
import subprocess
import sys

import pytest
from c_core import CLEAN, ROOT, build, need
from conftest import FULL

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the driver is written for POSIX")

WRAP = ["-Wl,--wrap=fl_alloc,--wrap=fl_alloc_lasting"]
# Small work is shared out too, and AMX's tiles take calls of any number of rows.
SHARED = ["-DFL_SPLIT_HOOK", "-DFL_THREAD_FLOP=1e3", "-DFL_TILE_ROWS=1"]
# driver: (folder of its corpus, bytes of an input at most, inputs in CI, inputs of libFuzzer's)
DRIVERS = {
    "fuzz_driver": ("corpus", 64, 150, 5000),  # 0.07 s of processor time each
    "program_driver": ("corpus_programs", 256, 2500, 200_000),
}


def corpus_of(driver):
    return sorted((ROOT / "tests/c" / DRIVERS[driver][0]).iterdir())


def drive(command):
    done = subprocess.run(
        command, capture_output=True, text=True, env=CLEAN, timeout=None if FULL else 600
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-5000:]
    return done


def fuzzer(driver, **how):
    return build(driver, flags=SHARED, link=WRAP, **how)


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_corpus_and_changes_of_it(driver):
    files, changed = corpus_of(driver), DRIVERS[driver][2]
    done = drive([fuzzer(driver, sanitizer="address"), str(changed), "1", *files])
    assert done.stdout == f"{len(files)} files, {changed} changed\n"
    assert not done.stderr and len(files) >= 10


@pytest.mark.skipif(not FULL, reason="minutes to compile, minutes to run; the corpus is run in CI")
@pytest.mark.parametrize("driver", DRIVERS)
def test_libfuzzer(driver, tmp_path):
    """What it fails with is in the corpus afterwards, to be mended and kept."""
    need("clang")
    folder, most, _, runs = DRIVERS[driver]
    grown = shutil.copytree(ROOT / "tests/c" / folder, tmp_path / "corpus")
    limits = [f"-runs={runs}", f"-max_len={most}", "-timeout=60", "-rss_limit_mb=4096"]
    found = f"-artifact_prefix={ROOT}/tests/c/{folder}/"
    done = drive([fuzzer(driver, sanitizer="libfuzzer", compiler="clang"), *limits, found, grown])
    assert f"Done {runs} runs" in done.stderr
