# SPDX-License-Identifier: MIT
"""Every operator of csrc/ops, natively and on an emulated AArch64: the same bits on one thread and
on three, for a batch and its rows, for all steps and pieces of them, and on every instruction set
with fused multiply-add. tests/c/operator_bits.c prints a hash for each configuration."""

import re
import subprocess

import pytest
from c_core import CLEAN, ROOT, X86, build, need
from conftest import FULL

STRIDE = 4093 if FULL else 65521  # of the sample of floats for functions of one


def lines(command):
    """{instruction set: {operator and configuration, numbered where there are several: hash}}."""
    run = subprocess.run(
        [*command, str(STRIDE)], capture_output=True, text=True, timeout=3600, env=CLEAN
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = {}
    for line in run.stdout.splitlines():
        isa, *case, bits = line.split(" ")
        of_set = found.setdefault(isa, {})
        of_set[" ".join([*case, f"#{len(of_set)}"])] = bits
    return found


@pytest.fixture(scope="module")
def native():
    return lines([build("operator_bits")])


def assert_one_hash(found, due):
    for isa, cases in found.items():
        assert list(cases) == list(due), isa
        wrong = [case for case in due if cases[case] != due[case]]
        assert not wrong, (isa, len(wrong), wrong)


def fused(found):
    """The hashes that every fused instruction set must print, after checking that they all do."""
    sets = {isa: cases for isa, cases in found.items() if not (X86 and isa == "generic")}
    first = next(iter(sets.values()))
    assert_one_hash(sets, first)
    return first


def test_every_operator_has_a_case(native):
    registry = (ROOT / "csrc/ops/registry.c").read_text()
    named = set(re.findall(r'^ *\{"(\w+)", fl_make_\w+\},$', registry, re.M))
    assert len(named) == registry.count(", fl_make_") > 40
    for isa, cases in native.items():
        tried = {case.split(" ")[0] for case in cases}
        assert tried == named | {"recurrent", "program"}, isa


@pytest.mark.skipif(not X86, reason="one instruction set has fused multiply-add here")
def test_every_fused_instruction_set_gives_the_same_bits(native):
    assert len(fused(native)) > 500


@pytest.mark.skipif(not X86, reason="native already")
@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a72"] if FULL else ["cortex-a53"])
def test_aarch64_gives_the_bits_of_x86(native, cpu):
    need("aarch64-linux-gnu-gcc", "qemu-aarch64")
    arm = build(
        "operator_bits",
        arm=True,
        compiler="aarch64-linux-gnu-gcc",
        link=["-static"],
    )
    found = lines(["qemu-aarch64", "-cpu", cpu, arm])
    assert set(found) == {"generic", "neon"}
    assert_one_hash(found, fused(native))
