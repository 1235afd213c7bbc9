# SPDX-License-Identifier: MIT
"""The bits of layers of precision "bfloat16x3" and "bfloat16x6" do not change: rows of a batch,
cuts of time, lengths, threads, layouts, instruction sets. tests/numbers/test_bfloat16_parts.py says
which bits they are."""

import isas
import layer_bits
import pytest
from conftest import FULL
from layer_bits import FORWARD, LAYERS
from parts import PARTS, like

import fastlstm

pytestmark = [pytest.mark.needs("c"), pytest.mark.usefixtures("parts_of_any_size")]

ISAS = isas.FLOATS
FEW = (2, 3, 7, 8, 13, 24, 33, 65)  # batches, on all instruction sets but the best
each_precision = pytest.mark.parametrize("precision", PARTS)


def layer_of(name, precision, isa=None):
    return like(layer_bits.layer_of(name, isa, "float32"), precision)


@each_precision
@pytest.mark.parametrize("isa", ISAS)
def test_any_batch_gives_each_row_its_own_bits(rng, isa, precision):
    """More than 10,000 comparisons on the best set."""
    every = isa == ISAS[0] or FULL
    batches = range(1, 66) if every else FEW
    layers = [layer_of(name, precision, isa) for name in LAYERS]
    count = sum(layer_bits.of_batches(layer, batches, rng) for layer in layers)
    assert count == sum(batches) * len(LAYERS) and (count > 10_000 or not every)


@each_precision
@pytest.mark.parametrize("isa", ISAS)
def test_every_cut_of_40_steps(rng, isa, precision):
    for name in FORWARD if isa == ISAS[0] or FULL else FORWARD[:2]:
        assert layer_bits.of_cuts(layer_of(name, precision, isa), rng)


@each_precision
@pytest.mark.parametrize("isa", ISAS)
def test_lengths_and_threads(rng, isa, precision):
    for name in LAYERS:
        assert layer_bits.of_lengths_and_threads(layer_of(name, precision, isa), rng)


@each_precision
def test_units_split_among_threads(rng, precision):
    layers = fastlstm.LSTM(60, 260), fastlstm.GRU(60, 200)
    for layer in (*layers, fastlstm.GRU(60, 260, reset_after=False)):
        assert layer_bits.of_shared_units(like(layer, precision), rng)


@each_precision
def test_every_instruction_set_gives_the_same_bits(rng, precision):
    """Plain C without fused multiply-add too, as of one part."""
    assert len(ISAS) >= 2
    cases = (1, 1), (5, 1e-6), (24, 300), (7, 2.0**-56), (40, 1)
    for name in LAYERS:
        layers = [layer_of(name, precision, isa) for isa in ISAS]
        assert layer_bits.of_instruction_sets(layers, cases, rng)


@each_precision
def test_layouts_alignments_and_last_state(rng, precision):
    for name in LAYERS:
        assert layer_bits.of_layouts(layer_of(name, precision), rng)
