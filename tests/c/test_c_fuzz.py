# SPDX-License-Identifier: MIT
"""The C entry points under drawn bytes (tests/c/fuzz_driver.c), with AddressSanitizer and UBSan: a
network and a call of any shape checked from all sides, or sizes of any magnitude.

In CI a fixed number of inputs made from tests/c/corpus, with gcc or whatever `cc` is; in full
libFuzzer, which finds its way by coverage and needs clang. An input that failed once stays in the
corpus.
"""

import shutil
import subprocess
import sys

import pytest
from c_core import CLEAN, ROOT, build, need
from conftest import FULL

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the driver is written for POSIX")

WRAP = ["-Wl,--wrap=fl_alloc,--wrap=fl_alloc_lasting"]
CORPUS = sorted((ROOT / "tests/c/corpus").iterdir())
CHANGED = 400
RUNS = 5000  # of libFuzzer's, 0.07 s of processor time each


def drive(command):
    done = subprocess.run(
        command, capture_output=True, text=True, env=CLEAN, timeout=None if FULL else 600
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-5000:]
    return done


def fuzzer(**how):
    return build("fuzz_driver", flags=["-DFL_SPLIT_HOOK"], link=WRAP, **how)


def test_the_corpus_and_changes_of_it():
    done = drive([fuzzer(sanitizer="address"), str(CHANGED), "1", *CORPUS])
    assert done.stdout == f"{len(CORPUS)} files, {CHANGED} changed\n"
    assert not done.stderr and len(CORPUS) >= 10


@pytest.mark.skipif(not FULL, reason="minutes to compile, minutes to run; the corpus is run in CI")
def test_libfuzzer(tmp_path):
    """What it fails with is in tests/c/corpus afterwards, to be mended and kept."""
    need("clang")
    grown = shutil.copytree(ROOT / "tests/c/corpus", tmp_path / "corpus")
    limits = [f"-runs={RUNS}", "-max_len=64", "-timeout=60", "-rss_limit_mb=4096"]
    found = f"-artifact_prefix={ROOT}/tests/c/corpus/"
    done = drive([fuzzer(sanitizer="libfuzzer", compiler="clang"), *limits, found, grown])
    assert f"Done {RUNS} runs" in done.stderr
