# SPDX-License-Identifier: MIT
"""The kernels by themselves, for every instruction set that runs here, under pytest-benchmark.

    pytest benchmarks/test_bench_kernels.py                      times, by group
    pytest benchmarks/test_bench_kernels.py --benchmark-disable  each once: a smoke test

A timed call runs its kernel many times in C, so divide by `runs` in the extra info for one run
(`seconds_each` is by a clock read in C). tests/ checks what the kernels compute in detail;
here it is only that they gave finite, sensible numbers.
"""

import math

import numpy as np
import pytest

import fastlstm
from fastlstm.bench import model
from fastlstm.bench.shapes import Shape
from fastlstm.engine.c import _core

pytestmark = pytest.mark.skipif(
    not hasattr(_core, "KernelProbe"), reason="another backend: there are no C kernels to time"
)
ISAS = [name for name in fastlstm.runnable_isas() if not name.endswith(("-vnni", "-dot", "-amx"))]
BEST = fastlstm.config_dict()["isa"]
TARGET_SECONDS = 200e-6
every_isa = pytest.mark.parametrize("isa", ISAS)


def runs_for(flop):
    """How often a kernel of `flop` operations has to run for about 0.2 ms at 50 GFLOP/s."""
    return max(1, math.ceil(TARGET_SECONDS * 50e9 / flop))


def timed(benchmark, kernel, flop):
    """Time `kernel(repeats)`, which returns the seconds of one run by a clock read in C."""
    runs = runs_for(flop)
    seconds = benchmark(kernel, runs)
    assert seconds > 0
    benchmark.extra_info.update(runs=runs, seconds_each=seconds, gflops=flop / seconds / 1e9)


@pytest.mark.benchmark(group="gemm")
@every_isa
@pytest.mark.parametrize(
    "rows, k, hidden", [(1, 128, 128), (4, 128, 128), (24, 128, 128), (24, 512, 512), (48, 80, 128)]
)
def test_gemm(benchmark, isa, rows, k, hidden):
    """The input product of a chunk: `rows` rows, k inputs, 4 x hidden sums."""
    timed(benchmark, _core.KernelProbe(isa, rows, k, hidden).gemm, 8 * rows * k * hidden)


@pytest.mark.benchmark(group="step")
@pytest.mark.parametrize(
    "rows, hidden", [(1, 16), (1, 64), (1, 128), (1, 256), (4, 128), (24, 128), (32, 256)]
)
@pytest.mark.parametrize("cell, gates, isa", [*(("lstm", 4, isa) for isa in ISAS),
                                              ("gru", 3, BEST), ("rnn_tanh", 1, BEST)])  # fmt: skip
def test_step(benchmark, isa, rows, hidden, cell, gates):
    """One time step: the recurrent product with the gates behind it."""
    probe = _core.KernelProbe(isa, rows, hidden, hidden, cell)
    timed(benchmark, probe.step, 2 * gates * rows * hidden * hidden)
    h = probe.result()
    assert h.shape == (rows, hidden)
    assert np.isfinite(h).all()
    assert 0 < np.abs(h).max() <= 1  # tanh, times a gate or mixed with the h before


@pytest.mark.benchmark(group="gates")
@every_isa
@pytest.mark.parametrize(
    "function, exact",
    [(_core.sigmoid, lambda x: 1 / (1 + np.exp(-x))), (_core.tanh, np.tanh)],
    ids=["sigmoid", "tanh"],
)
def test_gates(benchmark, isa, function, exact):
    """The gates' functions over a vector that fits the second-level cache."""
    x = np.random.default_rng(0).uniform(-6, 6, 65536).astype(np.float32)
    y = benchmark(function, x, isa)
    np.testing.assert_allclose(y, exact(x.astype(np.float64)), rtol=0, atol=1e-6)


@pytest.mark.benchmark(group="pack")
@every_isa
@pytest.mark.parametrize("hidden", [64, 256, 500])
def test_pack(benchmark, isa, hidden):
    """Weights into panels, into a network that exists."""
    shape = Shape(2, 3, hidden, hidden)
    weights = model.make_weights(shape)
    net = _core.Net("lstm", hidden, hidden, 0, 1, 1, isa)
    names = [f"{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    benchmark(net.set, 0, 0, *(weights[name] for name in names), None)
    x = model.make_input(shape)
    y, _ = net.forward(x, None, None, None, True, False, 1)
    np.testing.assert_allclose(y, model.forward64(weights, shape, x)[0], rtol=0, atol=1e-5)


@pytest.mark.benchmark(group="limits")
@every_isa
def test_fma_peak(benchmark, isa):
    """What every per cent of the peak is counted from."""
    gflops = benchmark.pedantic(_core.fma_peak, (isa, 0.02), rounds=3)
    assert gflops > 0
    benchmark.extra_info["gflops"] = gflops


@pytest.mark.benchmark(group="limits")
@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
@pytest.mark.parametrize("isa", fastlstm.runnable_isas())
def test_peak_of_products(benchmark, isa, dtype):
    """The roofs of int8 and bfloat16."""
    gops = benchmark.pedantic(_core.fma_peak, (isa, 0.02, dtype), rounds=3)
    assert gops > 0
    benchmark.extra_info["gops"] = gops


@pytest.mark.benchmark(group="limits")
@pytest.mark.parametrize("kib", [16, 256, 4096])
def test_read_bandwidth(benchmark, kib):
    gigabytes = benchmark.pedantic(_core.read_bandwidth, (kib * 1024, 0.02), rounds=3)
    assert gigabytes > 0
    benchmark.extra_info["gigabytes_per_second"] = gigabytes
