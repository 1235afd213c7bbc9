# SPDX-License-Identifier: MIT
"""The C core without Python, natively and on emulated CPUs: the same bits from x86-64 and AArch64.

tests/c/bits.c is built here with the system's compiler and, where a cross compiler and qemu are
installed (gcc-aarch64-linux-gnu, qemu-user), for AArch64 too. With CI set they must be there.
"""

import os
import pathlib
import platform
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent
X86 = platform.machine() in ("x86_64", "AMD64")
FULL = bool(os.environ.get("FASTLSTM_FULL"))
NATIVE = (5000, 251) if FULL else (400, 1021)  # cases, stride of the sample of floats
EMULATED = (1000, 4093) if FULL else (100, 65521)
EMULATED_FMA = (100, 65521) if FULL else (10, 16777213)  # qemu emulates x86's fma 100 times slower

BASE = ["-std=gnu11", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
X86_KERNELS = {
    "generic": [],
    "generic_fma": ["-mfma"],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
}
ARM_KERNELS = {"generic": [], "neon": []}


def build(folder, compiler, kernels, *link, driver="bits", flags=()):
    """The core and tests/c/DRIVER.c, as a program in `folder`; flags for every file of both."""
    macros = [f"-DFL_BUILD_{name.upper()}" for name in kernels if name != "generic"]
    objects = []

    def compile_one(source, more):
        target = folder / (source.stem + ".o")
        subprocess.run(
            [compiler, *BASE, *flags, *more, *macros, "-c", source, "-o", target],
            check=True,
            timeout=300,
        )
        objects.append(target)

    for name, more in kernels.items():
        # The plain C kernels take gcc a minute each with both checks; `make asan` has them.
        slow = name.startswith("generic") and any("address" in flag for flag in flags)
        unchecked = ["-fno-sanitize=all"] if slow else []
        compile_one(ROOT / "csrc" / f"kernels_{name}.c", [*more, *unchecked])
    for source in sorted((ROOT / "csrc").glob("*.c")):
        if not source.name.startswith("kernels_"):
            compile_one(source, [])
    compile_one(ROOT / f"tests/c/{driver}.c", [])
    program = folder / driver
    subprocess.run(
        [compiler, *flags, *objects, *link, "-lm", "-pthread", "-o", program],
        check=True,
        timeout=300,
    )
    return program


def lines(command, cases, stride):
    """{instruction set: [lines without it]}."""
    run = subprocess.run(
        [*command, str(cases), str(stride)],
        check=True,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    found = {}
    for line in run.stdout.splitlines():
        isa, _, rest = line.partition(" ")
        found.setdefault(isa, []).append(rest)
    for isa, rest in found.items():
        assert len(rest) == cases + 1, isa
    return found


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    kernels = X86_KERNELS if X86 else ARM_KERNELS
    return build(tmp_path_factory.mktemp("native"), os.environ.get("CC", "cc"), kernels)


def fused(found):
    """The lines every fused instruction set must print, after checking that they all do."""
    sets = {isa: rest for isa, rest in found.items() if not (X86 and isa == "generic")}
    assert sets
    first = next(iter(sets.values()))
    for isa, rest in sets.items():
        wrong = [f"{a} / {b}" for a, b in zip(first, rest, strict=True) if a != b]
        assert not wrong, (isa, len(wrong), wrong[:5])
    return first


@pytest.mark.skipif(not X86, reason="one instruction set has fused multiply-add here")
def test_every_fused_instruction_set_gives_the_same_bits(native):
    assert len(fused(lines([native], *NATIVE))) == NATIVE[0] + 1


def need(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"not installed: {', '.join(missing)}")
    assert not missing, f"not installed: {', '.join(missing)}"


@pytest.mark.skipif(not X86, reason="native already")
@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a72"] if FULL else ["cortex-a53"])
def test_aarch64_gives_the_bits_of_x86(native, tmp_path, cpu):
    need("aarch64-linux-gnu-gcc", "qemu-aarch64")
    arm = build(tmp_path, "aarch64-linux-gnu-gcc", ARM_KERNELS, "-static")
    found = lines(["qemu-aarch64", "-cpu", cpu, arm], *EMULATED)
    assert set(found) == {"generic", "neon"}
    here = fused(lines([native], *EMULATED))
    for isa, rest in found.items():
        wrong = [f"{a} / {b}" for a, b in zip(here, rest, strict=True) if a != b]
        assert not wrong, (isa, len(wrong), wrong[:5])


@pytest.mark.skipif(not X86, reason="x86-64 only")
@pytest.mark.parametrize(
    "cpu, runnable",
    [("Nehalem", {"generic"}), ("Haswell", {"generic", "generic-fma", "avx2"})],
)
def test_emulated_x86_runs_what_its_cpu_has(native, cpu, runnable):
    need("qemu-x86_64")
    size = EMULATED_FMA if len(runnable) > 1 else EMULATED
    found = lines(["qemu-x86_64", "-cpu", cpu, native], *size)
    assert set(found) == runnable
    here = lines([native], *size)
    for isa, rest in found.items():
        assert rest == (here[isa] if isa in here else fused(here)), isa
