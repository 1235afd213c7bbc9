# SPDX-License-Identifier: MIT
"""The lone stream in C (tests/c/lone_driver.c): partners that stop answering, and sanitizers.

The driver's threads sleep at random at every place of the protocol, so that the caller takes over
from partners and seats them again thousands of times; every call's bits are compared with one
thread's.
"""

import os
import re
import subprocess

import pytest
from conftest import FULL
from test_c_bits import ARM_KERNELS, BASE, ROOT, X86, X86_KERNELS

CALLS = 20000 if FULL else 400
BRIEF = 1_000_000 if FULL else 3000  # of few steps each
SANITIZERS = {
    "plain": [],
    "thread": ["-fsanitize=thread"],
    "address": ["-fsanitize=address,undefined"],
}
FOUND = re.compile(r"seated (\d+), spans (\d+), left behind (\d+), rejoined (\d+), sleeps (\d+)")


@pytest.fixture(scope="module", params=SANITIZERS)
def driver(request, tmp_path_factory):
    folder, flags = tmp_path_factory.mktemp(request.param), SANITIZERS[request.param]
    kernels = X86_KERNELS if X86 else ARM_KERNELS
    macros = [f"-DFL_BUILD_{name.upper()}" for name in kernels if name != "generic"]
    common = [os.environ.get("CC", "cc"), *BASE, *flags, *macros, "-DFL_LONE_HOOK", "-g1"]
    objects = []

    def compile_one(source, *more):
        objects.append(folder / (source.stem + ".o"))
        command = [*common, *more, "-c", source, "-o", objects[-1]]
        subprocess.run(command, check=True, timeout=300)

    for name, more in kernels.items():
        compile_one(ROOT / "csrc" / f"kernels_{name}.c", *more)
    for source in sorted((ROOT / "csrc").glob("*.c")):
        if not source.name.startswith("kernels_"):
            compile_one(source)
    compile_one(ROOT / "tests/c/lone_driver.c")
    program = folder / "lone_driver"
    subprocess.run([*common, *objects, "-lm", "-pthread", "-o", program], check=True, timeout=300)
    return program


def run(driver, *arguments):
    """The five counts the driver prints; a wrong bit or a sanitizer's finding fails."""
    done = subprocess.run(
        [driver, *map(str, arguments)], capture_output=True, text=True, timeout=3600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    assert "WARNING" not in done.stderr, done.stderr[-5000:]
    return map(int, FOUND.search(done.stdout).groups())


@pytest.mark.parametrize("callers", [1, 4])
def test_late_partners_cost_no_bit(driver, callers):
    _, spans, left_behind, rejoined, sleeps = run(driver, "bits", CALLS, callers, callers)
    assert sleeps
    if callers == 1:  # several may hold each other's workers most of the time
        assert spans and left_behind and rejoined


def test_calls_of_few_steps(driver):
    seated, spans, left_behind, *_ = run(driver, "brief", BRIEF, 11, 2)
    assert seated > BRIEF / 100 and spans and left_behind


def test_without_sleeps(driver):
    run(driver, "calm", CALLS, 7)


def test_a_poll_ends_the_call(driver):
    run(driver, "stop", 50 if FULL else 5, 3)
