# SPDX-License-Identifier: MIT
"""Breaks the code on purpose, in a copy, and sees that the test which holds the promise fails.

    python tests/support/mutants.py [c] [python] [NUMBER ...]      `make test-mutants` runs all

A copy of the sources is built once, with one set of kernels; the tests must pass there. Each
mutation (mutations.py, mutations_c.py) is then made in a copy of that copy, whose object files need
not be compiled anew but where the sources changed. The table that is printed is the one in
docs/reliability.md. Exits with 1 if a test passed on broken code, a copy could not be built, or
what is to be broken is no longer there.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from isas import FLOATS
from mutations import PYTHON
from mutations_c import C

ROOT = Path(__file__).parents[2]
MUTATIONS = PYTHON + C
LIMIT = 1800  # s, for one build or one test: a mutant may hang
# Quick to build. The bits are those of any other build: none depends on the optimiser.
BUILD = {
    "FASTLSTM_REQUIRE_C": "1",
    "FASTLSTM_KERNELS": FLOATS[0].replace("-", "_"),
    "FASTLSTM_CFLAGS": "-O1",
    "FASTLSTM_KERNEL_CFLAGS": "-O1",
}


def run(copy, *arguments, **environment):
    """Exit code and output of Python in the copy; None and a word if it did not end."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FASTLSTM_")}
    try:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=copy, timeout=LIMIT, text=True,
            env=inherited | {"PYTHONPATH": str(copy)} | environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None, "did not end"
    return done.returncode, done.stdout


def build(copy):
    code, said = run(copy, "setup.py", "-q", "build_ext", "--inplace", **BUILD)
    return code == 0, said[-2000:]


def tests(copy, *names):
    """pytest's exit code: 1 is a test that failed, below 0 a crash; and its output."""
    options = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider")
    return run(copy, *options, *(f"tests/{name}" for name in names))


def sound_copy(folder, chosen):
    """The sources as they are, built; the tests of the chosen mutations pass."""
    copy = Path(folder, "sound")
    ignored = (
        ".git",
        ".venv*",
        ".hypothesis",
        "build",
        "dist",
        "*.egg-info",
        "*.so",
        "__pycache__",
    )
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*ignored))
    built, said = build(copy)
    if not built:
        sys.exit(f"the sources as they are cannot be built:\n{said}")
    code, said = tests(copy, *sorted({test for *_, test in chosen}))
    if code != 0:
        sys.exit(f"tests fail on the sources as they are:\n{said[-4000:]}")
    return copy


def survived(folder, n, sound, file, old, new, test):
    """What is wrong with a mutation: an empty string when its test failed, as it must."""
    copy = Path(folder, f"broken-{n}")
    shutil.copytree(sound, copy)  # with the files' times, by which the build knows what is old
    try:
        target = copy / file
        text = target.read_text()
        if old not in text:
            return "nothing there to break"
        target.write_text(text.replace(old, new))
        if file.startswith(("csrc/", "fastlstm/engine/c/")):
            built, said = build(copy)
            if not built:
                return f"not built: {said}"
        code, said = tests(copy, test)
        return "" if code is not None and (code == 1 or code < 0) else f"{code}: {said[-300:]}"
    finally:
        shutil.rmtree(copy)


def main(words):
    chosen = list(enumerate(MUTATIONS, 1))
    if "c" in words or "python" in words:
        chosen = [(n, m) for n, m in chosen if ("c" if m in C else "python") in words]
    numbers = {int(word) for word in words if word.isdigit()}
    chosen = [(n, m) for n, m in chosen if not numbers or n in numbers]
    wrong, start = 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fastlstm-mutants-") as folder:
        sound = sound_copy(folder, [m for _, m in chosen])
        print(f"built and tested in {time.monotonic() - start:.0f} s", flush=True)

        def tried(numbered):
            n, (_, *how) = numbered
            start = time.monotonic()
            return survived(folder, n, sound, *how), time.monotonic() - start

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for (n, (what, *how)), (said, took) in zip(
                chosen, pool.map(tried, chosen), strict=True
            ):
                wrong += bool(said)
                end = f" **survived** {said}" if said else f" {took:.0f} s"
                print(f"| {n} | {what} | `tests/{how[-1]}` |{end}", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} mutants were found")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
