# SPDX-License-Identifier: MIT
"""The C core with a driver of tests/c, as one program. What is compiled alike is compiled once in a
run of the tests, by whichever of its processes needs it first."""

import concurrent.futures
import functools
import hashlib
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import pytest

import fastlstm

ROOT = pathlib.Path(__file__).parents[2]
X86 = platform.machine() in ("x86_64", "AMD64")
BASE = [f"-I{ROOT / 'csrc'}", "-std=gnu11", "-g1", "-ffp-contract=off"]
BASE += ["-Wall", "-Wextra", "-Werror"]
# What setup.py gives the files that the compiler has to vectorise itself. With checks, and for
# kernels, whose vectors are in the source, -O1 takes half the time.
VECTORISED = ["-O3", "-fno-trapping-math", "-fno-math-errno"]
X86_KERNELS = {
    "generic": [],
    "generic_fma": ["-mfma"],
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
}
ARM_KERNELS = {"generic": [], "neon": []}
# Kernels of int8 for CPUs with instructions for products of codes: the set that has the others, and
# flags beside that set's.
DOT_KERNELS = {
    "avx2_vnni": ("avx2", ["-mavxvnni"]),
    "avx512_vnni": ("avx512", ["-mavx512vnni"]),
    "neon_dot": ("neon", ["-march=armv8.2-a+dotprod"]),
}
for _kernels in (X86_KERNELS, ARM_KERNELS):
    _kernels |= {
        name: [*_kernels[base], *flags]
        for name, (base, flags) in DOT_KERNELS.items()
        if base in _kernels
    }
# Products of tiles, whose file is assembly where it is more than the base's. Linux alone gives a
# process tiles; tests/c/amx_model.c carries the instructions out on CPUs that lack them.
TILED_KERNELS = {"avx512_amx": "avx512"}
if sys.platform == "linux":
    X86_KERNELS |= {name: X86_KERNELS[base] for name, base in TILED_KERNELS.items()}
# Drivers whose own sums are many fused multiply-adds, which without -mfma are calls of libm. They
# run on this CPU alone.
FUSED = ("operators_driver",) if X86 and "generic-fma" in fastlstm.runnable_isas() else ()
SANITIZERS = {
    "plain": [],
    "thread": ["-fsanitize=thread"],
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
}
# for C programs: they know nothing of this package, and have sanitizers of their own
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("FASTLSTM_", "LD_PRELOAD"))}
# clang's: of the plain C kernels UBSan would take minutes to compile, ASan alone takes seconds.
# What is drawn is an input's bytes modulo what fits, so that operands of comparisons are no hints
# for the fuzzer, and to note them took 30 % of its time.
LIBFUZZER = ["-fsanitize=fuzzer-no-link,address", "-fno-sanitize-coverage=trace-cmp"]
LIBFUZZER += ["-Wno-pass-failed"]
# Of the kernels' unrolled tiles clang takes half an hour to compile ASan's checks in line, 10 s
# to compile them as calls.
LIBFUZZER_KERNELS = [*LIBFUZZER, "-mllvm", "-asan-instrumentation-with-call-threshold=0"]
LIBFUZZER_CORE = ["-fsanitize=undefined", "-fno-sanitize-recover=undefined", "-DFL_LIBFUZZER"]
LIBFUZZER_LINK = ["-fsanitize=fuzzer,address,undefined"]


def need(*programs):
    """Skips the test without them; with CI set they must be there."""
    missing = [p for p in programs if not shutil.which(p)]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"not installed: {', '.join(missing)}")
    assert not missing, f"not installed: {', '.join(missing)}"


def folder():
    """Where the run's processes keep what is compiled; conftest.py makes and removes it."""
    return pathlib.Path(os.environ.get("FASTLSTM_C_FOLDER") or tempfile.gettempdir())


INCLUDES = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)


@functools.cache
def text_of(path):
    return path.read_text()


@functools.cache
def included(source):
    """Texts of a source and of all headers of this project that it includes, directly or not."""
    found, todo = {}, [source]
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found[path] = text_of(path)
        for name in INCLUDES.findall(found[path]):
            near = [path.parent / name, ROOT / "csrc" / name]
            todo.append(next(p.resolve() for p in near if p.exists()))
    return "".join(found[path] for path in sorted(found))


@functools.cache
def preprocessed(compiler, flags, source):
    """The hash of what the compiler sees."""
    command = [*compiler, *flags, source, "-E"]
    text = subprocess.run(command, check=True, capture_output=True, env=CLEAN).stdout
    return hashlib.sha256(text).digest()


def without_macros(compiler, flags, source):
    """The flags without macros that make no difference to a source. Most are named in none of its
    files; of others the preprocessor tells, which takes a tenth of a second and more."""
    macros = [flag for flag in flags if flag.startswith("-D")]
    text = included(source)
    named = [m for m in macros if re.search(rf"\b{m[2:].partition('=')[0]}\b", text)]
    plain = tuple(flag for flag in flags if flag not in macros)
    if named and preprocessed(compiler, (*plain, *named), source) == preprocessed(
        compiler, plain, source
    ):
        named = []
    return (*plain, *named)


def compiled(compiler, flags, source):
    """The object file of a source, compiled unless another test or process has done so already,
    with the same flags but for macros that make no difference to it."""
    import fcntl

    flags = without_macros(tuple(compiler), tuple(flags), source)
    told = repr((compiler, flags)) + included(source)
    target = folder() / f"{source.stem}-{hashlib.sha256(told.encode()).hexdigest()[:16]}.o"
    if target.exists():
        return target
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            made = target.with_suffix(".new")
            command = [*compiler, *flags, source, "-c", "-o", made]
            subprocess.run(command, check=True, timeout=1500, env=CLEAN)
            made.rename(target)  # complete, or not there
    return target


def kernels_of(arm, sanitizer, model):
    """{set: flags} of the instruction sets to compile; with a sanitizer those that run here."""
    if arm:
        return ARM_KERNELS
    runs = {name.replace("-", "_") for name in fastlstm.runnable_isas()}
    runs |= {"avx512_amx"} if model and "avx512_vnni" in runs else set()
    return {k: v for k, v in X86_KERNELS.items() if sanitizer == "plain" or k in runs}


def prefix(name):
    """What the name of a set's file of kernels begins with."""
    return "int8" if name in DOT_KERNELS else "tiled" if name in TILED_KERNELS else "kernels"


def build(driver, *, arm=not X86, compiler=None, sanitizer="plain", flags=(), link=(), model=False):
    """The path of tests/c/DRIVER.c with the core for x86-64 or AArch64, made once in a process;
    `flags`: of both, but not of the kernels; sanitizer: of SANITIZERS, or "libfuzzer"; model: with
    that of AMX (amx_model.c), which programs for other systems than x86-64 Linux do without."""
    compiler = compiler or os.environ.get("CC", "cc")
    return linked(driver, arm, compiler, sanitizer, tuple(flags), tuple(link), model)


@functools.cache
def linked(driver, arm, compiler, sanitizer, flags, link, model):
    model = model and not arm and "avx512_amx" in X86_KERNELS
    compiler = shlex.split(compiler)
    kernels = kernels_of(arm, sanitizer, model)
    fuzzed = sanitizer == "libfuzzer"
    checks = [*LIBFUZZER, *LIBFUZZER_CORE] if fuzzed else SANITIZERS[sanitizer]
    linking = LIBFUZZER_LINK if fuzzed else checks
    macros = [f"-DFL_BUILD_{name.upper()}" for name in kernels if name != "generic"]
    jobs = []
    for name, more in kernels.items():
        # Plain C has no checks of its own, which are the slowest there; `make asan` and libFuzzer
        # have them. It is vectors in the source too, but for fused multiply-add; and under qemu
        # faster code counts for more.
        plain = name.startswith("generic")
        own = LIBFUZZER_KERNELS if fuzzed else [] if plain else checks
        level = "-O2" if arm or plain else "-O1"
        file = f"{prefix(name)}_{name}.c"
        jobs.append(((*BASE, level, *own, *more, *macros), ROOT / "csrc/kernels/isa" / file))
    sources = [s for s in (ROOT / "csrc").rglob("*.c") if s.parent.name != "isa"]
    level = ["-O1"] if checks else VECTORISED
    sources = [*sorted(sources), ROOT / f"tests/c/{driver}.c"]
    if model:
        flags = [*flags, "-DFL_AMX_MODEL"]
        sources.append(ROOT / "tests/c/amx_model.c")
    for source in sources:
        fma = ["-mfma"] if source.stem in FUSED and "generic_fma" in kernels else []
        jobs.append(((*BASE, *level, *checks, *macros, *flags, *fma), source))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda job: compiled(compiler, *job), jobs))
    which = hashlib.sha256(repr((compiler, flags, link, model)).encode()).hexdigest()[:8]
    program = folder() / f"{driver}-{sanitizer}-{'arm' if arm else 'x86'}-{which}-{os.getpid()}"
    subprocess.run(
        [*compiler, *linking, *objects, *link, "-lm", "-pthread", "-o", program],
        check=True,
        timeout=300,
        env=CLEAN,
    )
    return program
