# SPDX-License-Identifier: MIT
"""The C core with a driver of tests/c, as one program. What is compiled alike is compiled once."""

import concurrent.futures
import functools
import os
import pathlib
import platform
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).parent.parent
X86 = platform.machine() in ("x86_64", "AMD64")
BASE = ["-std=gnu11", "-O2", "-g1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
X86_KERNELS = {
    "generic": [],
    "generic_fma": ["-mfma"],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
}
ARM_KERNELS = {"generic": [], "neon": []}
SANITIZERS = {
    "plain": [],
    "thread": ["-fsanitize=thread"],
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
}


KEPT = tempfile.TemporaryDirectory(prefix="fastlstm-c-")  # gone with the process
FOLDER = pathlib.Path(KEPT.name)


@functools.cache
def compiled(compiler, flags, source):
    target = FOLDER / f"{source.stem}-{abs(hash((compiler, flags, source)))}.o"
    subprocess.run([compiler, *flags, "-c", source, "-o", target], check=True, timeout=600)
    return target


def build(driver, *, arm=not X86, compiler=None, sanitizer="plain", define=(), link=()):
    """tests/c/DRIVER.c with the core for x86-64 or AArch64; `define`: -D flags of both, which the
    kernels do not see."""
    compiler = compiler or os.environ.get("CC", "cc")
    kernels, checks = ARM_KERNELS if arm else X86_KERNELS, SANITIZERS[sanitizer]
    macros = [f"-DFL_BUILD_{name.upper()}" for name in kernels if name != "generic"]
    jobs = []
    for name, more in kernels.items():
        # The plain C kernels take gcc a minute each with checks; `make asan` has them.
        own = [] if name.startswith("generic") else checks
        jobs.append(((*BASE, *own, *more), ROOT / "csrc" / f"kernels_{name}.c"))
    sources = [s for s in (ROOT / "csrc").glob("*.c") if not s.name.startswith("kernels_")]
    for source in [*sorted(sources), ROOT / f"tests/c/{driver}.c"]:
        jobs.append(((*BASE, *checks, *macros, *define), source))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda job: compiled(compiler, *job), jobs))
    program = FOLDER / f"{driver}-{sanitizer}-{'arm' if arm else 'x86'}"
    subprocess.run(
        [compiler, *checks, *objects, *link, "-lm", "-pthread", "-o", program],
        check=True,
        timeout=300,
    )
    return program
