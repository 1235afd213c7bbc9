# SPDX-License-Identifier: MIT
"""The bits of int8 layers do not change: rows of a batch, cuts of time, lengths, threads, layouts,
instruction sets, with or without fused multiply-add. One comparison is one row of one call, its y
and its state as bytes."""

import isas
import layer_bits
import pytest
from conftest import FULL
from layer_bits import FORWARD, LAYERS

import fastlstm

pytestmark = pytest.mark.needs("c")

ISAS = isas.EVERY
FEW = (1, 2, 3, 5, 8, 17, 33, 64, 65)  # batches, on all instruction sets but the best
LEAST = {  # comparisons that a test makes at least, over all layers and the best instruction set
    "test_any_batch_gives_each_row_its_own_bits": 2145 * len(LAYERS),
    "test_every_cut_of_40_steps": 2 * 39 * len(FORWARD),
    "test_lengths_and_threads": 100 * len(LAYERS),
    "test_every_instruction_set_gives_the_same_bits": 500,
}


def layer_of(name, isa=None, inputs="int16"):
    return layer_bits.layer_of(name, isa, "int8", inputs)


@pytest.fixture
def least(request):
    """What the test has in LEAST."""
    return LEAST[request.function.__name__]


@pytest.mark.parametrize("isa", ISAS)
def test_any_batch_gives_each_row_its_own_bits(rng, isa, least):
    every = isa == ISAS[0] or FULL
    batches = range(1, 66) if every else FEW
    count = sum(layer_bits.of_batches(layer_of(name, isa), batches, rng) for name in LAYERS)
    assert count >= (least if every else sum(FEW) * len(LAYERS))


@pytest.mark.parametrize("isa", ISAS)
def test_every_cut_of_40_steps(rng, isa, least):
    assert sum(layer_bits.of_cuts(layer_of(name, isa), rng) for name in FORWARD) >= least


@pytest.mark.parametrize("isa", ISAS)
def test_lengths_and_threads(rng, isa, least):
    count = sum(layer_bits.of_lengths_and_threads(layer_of(name, isa), rng) for name in LAYERS)
    assert count >= least


@pytest.mark.parametrize("hidden", [200, 260])
def test_units_split_among_threads(rng, hidden):
    layers = fastlstm.LSTM(60, hidden), fastlstm.GRU(60, hidden)
    for layer in (*layers, fastlstm.GRU(60, hidden, reset_after=False)):
        assert layer_bits.of_shared_units(layer.quantize("int8"), rng)


def test_every_instruction_set_gives_the_same_bits(rng, least):
    """Plain C without fused multiply-add too: sums of integers are exact."""
    assert len(ISAS) >= 2
    count, cases = 0, ((1, 1), (5, 1e-6), (24, 300))
    for name in LAYERS:
        for inputs in ("int16", "int8"):
            layers = [layer_of(name, isa, inputs) for isa in ISAS]
            count += layer_bits.of_instruction_sets(layers, cases, rng)
    count += sum(layer_bits.of_variant(seed, "int8", ISAS) for seed in range(200 if FULL else 40))
    assert count >= least


def test_the_minimums_reach_the_promised_count():
    """10,000 comparisons in a run of the file."""
    assert sum(LEAST.values()) >= 10_000
    assert all(callable(globals()[name]) for name in LEAST)


def test_layouts_alignments_and_last_state(rng):
    for name in LAYERS:
        assert layer_bits.of_layouts(layer_of(name), rng)
