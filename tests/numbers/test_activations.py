# SPDX-License-Identifier: MIT
"""sigmoid and tanh, through the kernels' own functions: a sample in CI, all 2^32 floats in full.

Errors are in ULPs of the float32 grid at the exact value (2^-149 in the subnormal range). The exact
value is taken from float64, whose own error is far below such an ULP; `test_the_reference_itself`
checks that against mpmath.
"""

import isas
import mpmath
import numpy as np
import pytest
from conftest import FULL

from fastlstm.engine.c import _core

pytestmark = pytest.mark.needs("c")

ISAS = isas.FLOATS
FUSED = [name for name in ISAS if name != "generic"]
SAMPLE = 251
STRIDE = 1 if FULL else SAMPLE
CHUNK = 1 << 22
INFINITY, SIGN = 0x7F800000, 0x80000000
LIMIT = 2.0  # ULP


def exact_sigmoid(x):
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-x.astype(np.float64)))


def exact_tanh(x):
    return np.tanh(x.astype(np.float64))


FUNCTIONS = {"sigmoid": (_core.sigmoid, exact_sigmoid), "tanh": (_core.tanh, exact_tanh)}
both = pytest.mark.parametrize("name", FUNCTIONS)


def chunks(stride=STRIDE):
    """Bit patterns from +0 up to and with +Inf, in equal steps; the tests add the negatives."""
    for first in range(0, INFINITY + 1, CHUNK * stride):
        last = min(first + CHUNK * stride, INFINITY + 1)
        yield np.arange(first, last, stride, dtype=np.uint32)
    yield np.array([INFINITY], np.uint32)


def windows():
    """Every float near a place where a formula may change; the tests add the negatives."""
    ln2 = np.log(2.0)
    places = [k * ln2 / 4 for k in range(1, 640)]
    places += [2.0**k for k in range(-30, 8)]
    places += [0.12510899, 0.5196337, 1.1012864, 1.1057638]  # where the largest errors have been
    places += [9.01, 9.02, 17.32, 17.33, 20, 30, 87.33, 88.02, 88.72, 103.27, 103.97, 104.5]
    for place in places:
        centre = int(np.float32(place).view(np.uint32))
        yield np.arange(centre - 1024, centre + 1024, dtype=np.uint32)
    for first in (0, 0x007FF000, 0x00800000, INFINITY - 4096):
        yield np.arange(first, first + 4096, dtype=np.uint32)


def floats(bits, negative=False):
    return (bits | np.uint32(SIGN) if negative else bits).view(np.float32)


def ulps(values, exact):
    """|values - exact| in units of the float32 grid at exact."""
    _, exponent = np.frexp(exact)
    return np.abs(values - exact) * np.ldexp(1.0, np.minimum(24 - exponent, 149))


def check(name, pieces, isa, baseline=None):
    """Error, order, range and symmetry over ascending `pieces`; with a baseline, only its bits."""
    function, exact_of = FUNCTIONS[name]
    count = 0
    before = {False: -np.inf, True: np.inf}
    for bits in pieces:
        results = {}
        for negative in (False, True):
            x = floats(bits, negative)
            values = function(x, isa)
            assert values.dtype == np.float32 and values.shape == x.shape
            results[negative] = values.view(np.uint32)
            count += x.size
            if baseline is not None:
                same = np.array_equal(values.view(np.uint32), function(x, baseline).view(np.uint32))
                assert same, (name, isa, baseline, x[0], x[-1])
                continue
            error = ulps(values, exact_of(x))
            worst = int(np.argmax(error))  # argmax finds a NaN first
            where = f"{name}({x[worst]!r}) on {isa} is {error[worst]:.3f} ULP away"
            assert error[worst] <= LIMIT, where
            order = np.diff(values, prepend=np.float32(before[negative]))
            assert (order <= 0 if negative else order >= 0).all(), (name, isa, "order", x[0], x[-1])
            before[negative] = values[-1]
            assert np.abs(values).max() <= 1.0
        if name == "tanh":
            assert np.array_equal(results[True], results[False] ^ np.uint32(SIGN)), (isa, "odd")
    return count


def test_the_reference_itself():
    """float64's sigmoid and tanh are within 2^-20 float32 ULP of mpmath's, over the range."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-110, 110, 500), rng.standard_normal(500)]).astype(np.float32)
    with mpmath.workdps(50):
        sigmoid = [1 / (1 + mpmath.exp(-mpmath.mpf(float(v)))) for v in x]
        tanh = [mpmath.tanh(mpmath.mpf(float(v))) for v in x]
        for ours, exact in ((exact_sigmoid(x), sigmoid), (exact_tanh(x), tanh)):
            for a, b in zip(ours, exact, strict=True):
                ulp = mpmath.ldexp(1, max(int(mpmath.frexp(abs(b))[1]) - 24, -149))
                assert abs(mpmath.mpf(float(a)) - b) <= mpmath.ldexp(ulp, -20)


@both
def test_within_2_ulp_and_monotone_over_the_sample(name, isa):
    """In full all floats on one of the fused sets, whose bits are the others' too (below), and on
    the set without."""
    stride = STRIDE if isa in (ISAS[0], "generic") else SAMPLE
    count = check(name, chunks(stride), isa)
    assert count >= 2 * (INFINITY // stride)


@both
def test_within_2_ulp_at_every_boundary(name, isa):
    for window in windows():
        check(name, [window], isa)


@both
def test_same_bits_on_every_fused_instruction_set(name):
    if len(FUSED) < 2:
        pytest.skip("this CPU runs one instruction set with fused multiply-add; nothing to compare")
    for isa in FUSED[1:]:
        check(name, chunks(), isa, baseline=FUSED[0])
        for window in windows():
            check(name, [window], isa, baseline=FUSED[0])


@both
def test_nan_gives_nan(name, isa):
    payloads = np.arange(INFINITY + 1, SIGN, 251 if FULL else 65537, dtype=np.uint32)
    payloads = np.append(payloads, np.array([INFINITY + 1, 0x7FC00000, SIGN - 1], np.uint32))
    for negative in (False, True):
        assert np.isnan(FUNCTIONS[name][0](floats(payloads, negative), isa)).all()


@pytest.mark.parametrize(
    "name, x, value",
    [
        ("sigmoid", 0.0, 0.5), ("sigmoid", -0.0, 0.5), ("sigmoid", 1e-45, 0.5),
        ("sigmoid", np.inf, 1.0), ("sigmoid", 3e38, 1.0), ("sigmoid", 20.0, 1.0),
        ("sigmoid", -np.inf, 0.0), ("sigmoid", -3e38, 0.0), ("sigmoid", -110.0, 0.0),
        ("tanh", 0.0, 0.0), ("tanh", -0.0, -0.0), ("tanh", 1e-45, 1e-45), ("tanh", -1e-45, -1e-45),
        ("tanh", np.inf, 1.0), ("tanh", -np.inf, -1.0), ("tanh", 10.0, 1.0), ("tanh", -3e38, -1.0),
    ],
)  # fmt: skip
def test_exact_values(name, x, value, isa):
    got = FUNCTIONS[name][0](np.array([x], np.float32), isa)
    assert got.tobytes() == np.array([value], np.float32).tobytes(), got


@both
def test_any_length_and_address(name, isa):
    """The vector's tail and unaligned loads: each element is what it is alone."""
    x = np.random.default_rng(1).uniform(-20, 20, 200).astype(np.float32)
    whole = FUNCTIONS[name][0](x, isa)
    for n in range(70):
        for start in (0, 1, 3, 17):
            part = FUNCTIONS[name][0](x[start : start + n], isa)
            assert part.tobytes() == whole[start : start + n].tobytes(), (n, start)


def test_the_check_can_fail():
    """A tanh made from a sigmoid, as others ship it, is caught: 8 % relative error near 0."""
    x = np.float32(1e-7) * np.arange(1, 100, dtype=np.float32)
    wrong = np.float32(2) * exact_sigmoid(2 * x).astype(np.float32) - np.float32(1)
    assert ulps(wrong, exact_tanh(x)).max() > 1e3
