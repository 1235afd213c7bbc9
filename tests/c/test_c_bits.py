# SPDX-License-Identifier: MIT
"""The C core without Python, natively and on emulated CPUs: the same bits from x86-64 and AArch64.

tests/c/bits.c is built here with the system's compiler and, where a cross compiler and qemu are
installed (gcc-aarch64-linux-gnu, qemu-user), for AArch64 too. With CI set they must be there.
"""

import subprocess
import sys

import pytest
from c_core import CLEAN, X86, build, need
from conftest import ASAN, FULL

NATIVE = (5000, 251) if FULL else (200, 1021)  # cases, stride of the sample of floats
EMULATED = (1000, 4093) if FULL else (48, 262139)  # each cell in each format twice
ALL_FLOATS = "20f0d2de9e6bdc2c d76c27206c5ed729 38592753ccd478c2"  # of sigmoid, tanh, all kinds
EMULATED_FMA = (100, 65521) if FULL else (10, 16777213)  # qemu emulates x86's fma 100 times slower


def lines(command, cases, stride):
    """{instruction set: [lines without it]}."""
    run = subprocess.run(
        [*command, str(cases), str(stride)],
        check=True,
        capture_output=True,
        text=True,
        timeout=1800,
        env=CLEAN,
    )
    found = {}
    for line in run.stdout.splitlines():
        isa, _, rest = line.partition(" ")
        found.setdefault(isa, []).append(rest)
    for isa, rest in found.items():
        assert len(rest) == cases + 1, isa
    return found


@pytest.fixture(scope="module")
def native():
    return build("bits", model=True)


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


@pytest.mark.skipif(not FULL, reason="minutes; CI hashes every 1021st float, above")
def test_the_activations_of_all_floats_have_one_hash(native):
    """sigmoid, tanh and the others over all 2^32 floats: the same bits on every fused instruction
    set, and in every release."""
    (hashes,) = fused({isa: rest[:1] for isa, rest in lines([native], 1, 1).items()})
    assert hashes == f"activations {ALL_FLOATS}"


@pytest.mark.skipif(not X86, reason="native already")
@pytest.mark.parametrize(
    "cpu, runnable, size",
    [
        ("cortex-a53", {"generic", "neon"}, EMULATED if FULL else EMULATED_FMA),
        ("cortex-a76", {"generic", "neon", "neon-dot"}, EMULATED),
    ],
)
def test_aarch64_gives_the_bits_of_x86(native, cpu, runnable, size):
    """The Cortex-A76 has sdot, the other not."""
    need("aarch64-linux-gnu-gcc", "qemu-aarch64")
    arm = build("bits", arm=True, compiler="aarch64-linux-gnu-gcc", link=["-static"])
    found = lines(["qemu-aarch64", "-cpu", cpu, arm], *size)
    assert set(found) == runnable
    here = fused(lines([native], *size))
    for isa, rest in found.items():
        wrong = [f"{a} / {b}" for a, b in zip(here, rest, strict=True) if a != b]
        assert not wrong, (isa, len(wrong), wrong[:5])


@pytest.mark.skipif(not X86, reason="x86-64 only")
@pytest.mark.parametrize(
    "cpu, runnable",
    [
        ("Nehalem", {"generic"}),
        ("Haswell", {"generic", "generic-fma", "avx2"}),
        ("Skylake-Server", {"generic", "generic-fma", "avx2"}),
    ],
)
def test_emulated_x86_runs_what_its_cpu_has(native, cpu, runnable):
    """The real Skylake-Server has AVX-512; qemu emulates it without, and says so by CPUID."""
    need("qemu-x86_64")
    size = EMULATED_FMA if len(runnable) > 1 else EMULATED
    found = lines(["qemu-x86_64", "-cpu", cpu, native], *size)
    assert set(found) == runnable
    here = lines([native], *size)
    for isa, rest in found.items():
        assert rest == (here[isa] if isa in here else fused(here)), isa


LACKING = """
import fastlstm
print(fastlstm.LSTM(2, 3))
for isa in ("avx512-amx", "avx512-vnni", "avx512", "avx2-vnni", "avx2", "generic-fma", "neon"):
    try:
        print(fastlstm.LSTM(2, 3, isa=isa))
    except ValueError as e:
        print(e)
"""


@pytest.mark.skipif(not X86, reason="x86-64 only")
@pytest.mark.skipif(ASAN, reason="the extension needs a library that qemu has no memory for")
def test_a_forced_instruction_set_that_the_cpu_lacks_is_refused(tmp_path):
    """The whole package on an emulated Nehalem."""
    need("qemu-x86_64")
    command = ["qemu-x86_64", "-cpu", "Nehalem", sys.executable, "-c"]
    # What this machine says of its own CPU to NumPy's OpenBLAS does not hold of the emulated one.
    here = {name: value for name, value in CLEAN.items() if name != "OPENBLAS_CORETYPE"}

    def run(script, **environment):
        return subprocess.run(
            [*command, script],
            capture_output=True,
            text=True,
            env={**here, **environment},
            cwd=tmp_path,
        )

    lacks = "is built, but this CPU lacks it; it can run: generic"
    done = run(LACKING)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "LSTM(2, 3, isa='generic')",
        *(f"isa '{isa}' {lacks}" for isa in ("avx512-amx", "avx512-vnni", "avx512", "avx2-vnni")),
        *(f"isa '{isa}' {lacks}" for isa in ("avx2", "generic-fma")),
        "isa 'neon' is not built into this package; it can run: generic",
    ]
    done = run("import fastlstm", FASTLSTM_ISA="avx2")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ImportError: FASTLSTM_ISA=avx2: isa 'avx2' {lacks}"
