# SPDX-License-Identifier: MIT
"""bfloat16: rounding, and the sums of the gemm against fused multiply-adds in the order of
TDPBF16PS, written here in float64, on every instruction set that runs here and on AArch64
(tests/c/bfloat16_driver.c). Millions of sums: all exponents, zeros, cancelling, the bounds below
which numbers are zeros."""

import subprocess

import numpy as np
import pytest
from c_core import CLEAN, X86, build, need
from conftest import FULL

F, D = np.float32, np.float64
# As dispatch.c lists them.
SETS = (
    *("avx512-amx", "avx512-vnni", "avx512", "avx2-vnni", "avx2"),
    *("neon-dot", "neon", "generic-fma", "generic"),
)
CASES = 2400 if FULL else 80  # of some 4,500 sums
KINDS = ("plain", "wide", "cancelling", "zeros", "bounds", "special")


@pytest.fixture(scope="module")
def driver():
    return [build("bfloat16_driver", model=True)]


def piped(driver, data, *arguments):
    done = subprocess.run(
        [*driver, *arguments], input=data, capture_output=True, env=CLEAN, check=True
    )
    return np.frombuffer(done.stdout, F)


# ---- the rules


LARGEST = 255 * 2.0**120  # of bfloat16


def rounded(x, bound=2.0**-56):
    """To the nearest of 8 bits of precision, ties to even, by arithmetic of doubles."""
    x = np.asarray(x, F).astype(D)
    m, e = np.frexp(x)
    near = np.ldexp(np.rint(m * 256), e - 8)  # exact, and rint takes ties to even
    near = np.where(np.abs(near) >= 2.0**128, np.copysign(np.inf, x), near)
    near = np.where(np.abs(near) < bound, 0.0, near)
    return np.where(np.isfinite(x), near, x).astype(F)


def split(x, parts, bound=2.0**-56):
    """(parts, ...): each part is what the ones before it leave, rounded."""
    x = np.asarray(x, F)
    if parts == 1:
        return rounded(x, bound)[None]
    rest, taken = np.where(np.isfinite(x), x, 0).astype(F), []
    for _ in range(parts):
        part = np.clip(rounded(rest, bound), -LARGEST, LARGEST).astype(F)
        rest = rest - part
        taken.append(part)
    taken[0] = np.where(np.isfinite(x), taken[0], F(np.nan))
    return np.array(taken)


def fma(a, b, c):
    """a b + c, rounded once to float32. The product of two bfloat16 numbers is exact in float64.
    The sum there is rounded to odd, after which rounding it to float32 is as if it had been exact
    (Boldo and Melquiond 2008)."""
    p, c = a.astype(D) * b, c.astype(D)
    s = p + c
    back = s - p
    rest = (p - (s - back)) + (c - back)  # what the sum lost (Knuth)
    bits = s.view(np.int64)
    even = (rest != 0) & np.isfinite(s) & np.isfinite(rest) & (bits & 1 == 0)
    toward = np.where((rest > 0) == (s > 0), 1, -1)
    odd = np.where(even, bits + toward, bits)
    return odd.view(D).astype(F)


def sums(x, w, start):
    """(rows, columns): the sums of the parts x (parts, rows, k) and w (parts, columns, k), and the
    smallest of all that is met and is not 0."""
    parts, rows, columns = len(x), x.shape[1], w.shape[1]
    total, least = np.broadcast_to(start, (rows, columns)).astype(F), np.inf
    # smallest products first: the weights' part, and the row's
    pairs = [(i, j) for j in reversed(range(parts)) for i in reversed(range(parts - j))]
    for k0 in range(0, x.shape[2], 32):
        for i, j in pairs:
            chains = []
            for first in (0, 1):
                chain = np.zeros_like(total)
                for k in range(k0 + first, min(k0 + 32, x.shape[2]), 2):
                    a, b = x[i, :, k : k + 1], w[j, :, k]
                    chain = fma(np.broadcast_to(a, total.shape), b, chain)
                    least = min(least, np.abs(chain[chain != 0]).min(initial=np.inf))
                chains.append(chain)
            piece = chains[0] + chains[1]
            total = total + piece
            least = min(least, *(np.abs(a[a != 0]).min(initial=np.inf) for a in (piece, total)))
    return total, least


def drawn(kind, rng):
    """x, w and the start of the sums of a case, float32, not rounded yet."""
    rows, columns = int(rng.integers(1, 120)), int(rng.integers(1, 150))
    k = int(rng.choice([1, 2, 3, 15, 16, 31, 32, 33, 47, 63, 64, 65, 70, 100]))
    shape = (rows + columns, k)
    values = rng.standard_normal(shape)
    start = rng.standard_normal((rows, columns))
    if kind == "wide":  # products and sums stay below 2^128
        values = np.ldexp(rng.uniform(1, 2, shape), rng.integers(-70, 60, shape))
        values *= rng.choice([-1, 1], shape)
        start = np.ldexp(start, rng.integers(-100, 100, start.shape))
    elif kind == "cancelling":
        values[:, 1::2] = values[:, : k // 2 * 2 : 2]
        values[rows:, 1::2] *= -1
        values[:, 3::4] *= 1 + 2.0**-8
        start *= 2.0**-20
    elif kind == "zeros":
        values *= rng.choice([0.0, -0.0, 1.0], shape, p=[0.4, 0.2, 0.4])
        start *= rng.choice([0.0, -0.0, 1.0], start.shape)
    elif kind == "bounds":
        values = np.ldexp(rng.choice([-1, 1], shape) * rng.uniform(0.99, 1.01, shape),
                          rng.integers(-57, -54, shape))  # fmt: skip
        start = np.ldexp(rng.choice([-1, 1], start.shape), rng.integers(-103, -100, start.shape))
        start = start * (1 + 2.0**-23 * rng.integers(0, 2, start.shape))
    elif kind == "special":
        values = rng.integers(0, 1 << 32, shape, dtype=np.uint32).view(F)
        start = start.astype(F)
        start[rng.random(start.shape) < 0.1] = np.inf
    return F(values[:rows]), F(values[rows:]), F(start)


def check_sums(driver, sets, cases, seed, parts=1):
    """The numbers of the sets that ran, and of sums that each gave."""
    rng, data, due, kinds = np.random.default_rng(seed), [], [], []
    for case in range(cases):
        kind = KINDS[case % len(KINDS)]
        x, w, start = drawn(kind, rng)
        onto = case % 2
        start = start if onto else start[0]
        header = np.array([len(x), len(w), x.shape[1], 3 + case // 2 % 2, onto], np.uint32)
        data += [header.tobytes(), *(a.tobytes() for a in (x, w, start))]
        with np.errstate(all="ignore"):
            total, least = sums(split(x, parts), split(w, parts), start)
        if kind != "special":
            assert np.isfinite(total).all() and least >= 2.0**-126  # no subnormal anywhere
        due.append(total.reshape(-1))
        kinds += [kind] * total.size
    due, kinds, ran = np.concatenate(due), np.array(kinds), 0
    for number, name in enumerate(SETS[:sets]):
        got = piped(driver, b"".join(data), "gemm", str(number), str(parts))
        if not len(got):
            continue
        ran += 1
        here = np.ones(len(due), bool)
        if name == "generic" and X86:  # products that overflow are infinite without fusing
            here = kinds != "special"
        number = ~np.isnan(due)
        assert len(got) == len(due) and (np.isnan(got) == ~number)[here].all(), name
        wrong = (got.view(np.uint32) != due.view(np.uint32)) & number & here
        assert not wrong.any(), (name, wrong.sum(), set(kinds[wrong]))
    return ran, len(due)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_sums_are_fused_multiply_adds_in_amx_s_order(driver, parts):
    cases = CASES if parts == 1 or FULL else CASES // (2 * parts)
    ran, count = check_sums(driver, len(SETS), cases, parts, parts)
    assert ran >= 1 and count >= (10_000_000 if FULL else 300_000 if parts == 1 else 40_000)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_millions_of_sums_are_fused_multiply_adds(driver, parts):
    """Written as loops in C, so that there can be many more of them; on a CPU with tiles their own.
    Without fused multiply-add the same, since no product overflows."""
    ran = []
    for number, name in enumerate(SETS):
        wanted = 10_000_000 if FULL else 1_000_000 if not ran else 100_000
        got = subprocess.run([*driver, "sums", str(number), str(parts), str(wanted), str(parts)],
                             capture_output=True, env=CLEAN, text=True)  # fmt: skip
        assert got.returncode == 0, (name, got.stderr)
        if got.stdout:
            assert int(got.stdout) >= wanted
            ran.append(name)
    assert ran
    print(f"{parts} parts: {wanted} sums on each of {', '.join(ran)}")


@pytest.mark.skipif(not X86, reason="native already")
def test_aarch64_has_the_same_sums():
    need("aarch64-linux-gnu-gcc", "qemu-aarch64")
    arm = build("bfloat16_driver", arm=True, compiler="aarch64-linux-gnu-gcc", link=["-static"])
    assert check_sums(["qemu-aarch64", "-cpu", "cortex-a53", arm], len(SETS), 12, 2)[0] == 2


def test_every_bfloat16_number_and_its_neighbours_are_rounded(driver):
    """All of them, halfway between any two, the float32 numbers beside each of these, the bounds,
    and a million drawn patterns."""
    every = (np.arange(1 << 16, dtype=np.uint32) << 16).view(F)
    bits = np.concatenate([every.view(np.uint32) + np.uint32(d) for d in
                           (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)])  # fmt: skip
    drawn = np.random.default_rng(3).integers(0, 1 << 32, 1_000_001, dtype=np.uint32)
    x = np.concatenate([bits, drawn]).view(F)
    with np.errstate(invalid="ignore", over="ignore"):
        due = rounded(x)
    number = ~np.isnan(x)
    ran = 0
    for isa in range(len(SETS)):
        got = piped(driver, x.tobytes(), "split", str(isa))
        if len(got):
            ran += 1
            assert np.array_equal(
                got[number].view(np.uint32) << 1, due[number].view(np.uint32) << 1
            )
            assert (np.signbit(got) == np.signbit(due))[number & (due != 0)].all()
            assert np.isnan(got[~number]).all() and not (got.view(np.uint32) & 0xFFFF).any()
    assert ran >= 1


def test_parts_are_what_is_left_rounded(driver):
    """Drawn patterns, those beside the largest of bfloat16 and the bounds, of two and three parts;
    three are the number itself. The bounds that gradients take, too."""
    rng = np.random.default_rng(5)
    near = [LARGEST, 2.0**-56, 2.0**-40, 2.0**-72, 2.0**-47, 2.0**-64, 1.0, 2.0**127]
    near = (F(near).view(np.uint32) + np.arange(-70_000, 70_000, 7).reshape(-1, 1)).reshape(-1)
    drawn = rng.integers(0, 1 << 32, 400_000, dtype=np.uint32)
    x = np.concatenate([np.uint32(near), drawn]).view(F)
    x = np.concatenate([x, -x])[: 1 << 20]
    tame = np.isfinite(x)
    ran = 0
    for isa in range(len(SETS)):
        for parts in (2, 3):
            for bound in (2.0**-56, 2.0**-40, 2.0**-72):
                got = piped(driver, x.tobytes(), "split", str(isa), str(parts), str(bound))
                if not len(got):
                    continue
                ran += 1
                got = got.reshape(parts, -1)
                due = split(x, parts, bound)
                assert np.array_equal(got[:, tame], due[:, tame])
                assert np.isnan(got[0, ~tame]).all() and not got[1:, ~tame].any()
                assert not (got.view(np.uint32) & 0xFFFF).any() and np.isfinite(got[:, tame]).all()
                whole = got[:, tame].astype(D).sum(0)
                error = np.abs(whole - x[tame])
                assert (error <= np.maximum(2.0**-16 * np.abs(x[tame]), bound)).all()
                if parts == 3:
                    large = np.abs(x[tame]) >= bound * 2**24
                    assert large.sum() > 1000 and not error[large].any()
    assert ran >= 6


def test_the_package_s_own_rounding_of_weights_is_the_kernels_(driver):
    from fastlstm.engine import bfloat16

    x = np.random.default_rng(4).integers(0, 1 << 32, 1_000_000, dtype=np.uint32).view(F)
    ours = bfloat16.rounded(x)
    kernels = piped(driver, x.tobytes(), "split", str(SETS.index("generic")))
    assert np.array_equal(ours.view(np.uint32), kernels.view(np.uint32))


def test_biases_below_their_bound_are_zeros(driver):
    b = F([2.0**-103, -(2.0**-103), 2.0**-104, -(2.0**-104), 1.9999 * 2.0**-104, 1e-45, 0.5, -3])
    got = piped(driver, b.tobytes(), "bias", str(SETS.index("generic")))
    assert got.tolist() == [2.0**-103, -(2.0**-103), 0, 0, 0, 0, 0.5, -3]
