# SPDX-License-Identifier: MIT
"""The bits of bfloat16 layers do not change: rows of a batch, cuts of time, lengths, threads,
layouts, instruction sets. tests/numbers/test_bfloat16.py says which bits they are."""

import isas
import layer_bits
import pytest
from conftest import FULL
from layer_bits import FORWARD, LAYERS

import fastlstm

pytestmark = pytest.mark.needs("c")

ISAS = isas.FLOATS
FEW = (2, 3, 4, 5, 7, 8, 13, 24, 33, 65)  # batches, on all instruction sets but the best


def layer_of(name, isa=None):
    return layer_bits.layer_of(name, isa, "bfloat16")


@pytest.mark.parametrize("isa", ISAS)
def test_any_batch_gives_each_row_its_own_bits(rng, isa):
    """More than 10,000 comparisons on the best set."""
    every = isa == ISAS[0] or FULL
    batches = range(1, 66) if every else FEW
    count = sum(layer_bits.of_batches(layer_of(name, isa), batches, rng) for name in LAYERS)
    assert count == sum(batches) * len(LAYERS) and (count > 10_000 or not every)


@pytest.mark.parametrize("isa", ISAS)
def test_every_cut_of_40_steps(rng, isa):
    for name in FORWARD:
        assert layer_bits.of_cuts(layer_of(name, isa), rng)


@pytest.mark.parametrize("isa", ISAS)
def test_lengths_and_threads(rng, isa):
    for name in LAYERS:
        assert layer_bits.of_lengths_and_threads(layer_of(name, isa), rng)


@pytest.mark.parametrize("hidden", [200, 260])
def test_units_split_among_threads(rng, hidden):
    layers = fastlstm.LSTM(60, hidden), fastlstm.GRU(60, hidden)
    for layer in (*layers, fastlstm.GRU(60, hidden, reset_after=False)):
        assert layer_bits.of_shared_units(layer.quantize("bfloat16"), rng)


def test_every_instruction_set_gives_the_same_bits(rng):
    """Plain C without fused multiply-add too: products are exact, and gates differ from fused ones
    only where a sum in double precision lies exactly between two floats."""
    assert len(ISAS) >= 2
    cases = (1, 1), (5, 1e-6), (24, 300), (7, 2.0**-56)
    for name in LAYERS:
        layers = [layer_of(name, isa) for isa in ISAS]
        assert layer_bits.of_instruction_sets(layers, cases, rng)
    for seed in range(200 if FULL else 40):
        assert layer_bits.of_variant(seed, "bfloat16", ISAS)


def test_layouts_alignments_and_last_state(rng):
    for name in LAYERS:
        assert layer_bits.of_layouts(layer_of(name), rng)
