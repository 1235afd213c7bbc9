# SPDX-License-Identifier: MIT
"""The simulation of many cores: what it must give where the answer is known."""

import shutil

import pytest
from cores import simulate

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="the plan is compiled")
SHAPES = [
    (1, 1, 50, 256, 512, 512), (4, 1, 100, 1, 256, 256), (2, 2, 100, 64, 256, 256),
    (1, 1, 1000, 1, 256, 256),
]  # fmt: skip


def run(shape, cores, l2=2 << 20):
    (plan,) = simulate.plans([(cores, *shape)])
    return simulate.simulate(plan, shape, cores, lambda wide, rows: rows * 1e-5, l2)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_core_does_all_the_work(shape):
    layers, dirs, T, B, _, _ = shape
    seconds, found = run(shape, 1)
    assert found.threads == 1
    assert seconds == pytest.approx(layers * dirs * T * B * 1e-5)
    assert found.busy == pytest.approx(1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cores", [2, 4, 16, 64])
def test_no_number_of_cores_loses_work(shape, cores):
    """All that one core does is done, by threads that are never more than the cores."""
    layers, dirs, T, B, _, _ = shape
    seconds, found = run(shape, cores)
    assert 1 < found.threads <= cores
    assert seconds * found.threads * found.busy == pytest.approx(layers * dirs * T * B * 1e-5)
    assert seconds >= layers * dirs * T * B * 1e-5 / found.threads


def test_few_steps_are_split_where_each_is_long():
    """Of one to seven rows; a step of 500 units is long, however many rows of a smaller one are
    not."""
    calls = [(1, 1, 512), (1, 1, 480), (7, 1, 480), (1, 4, 256), (7, 7, 256), (8, 1, 256)]
    found = simulate.plans([(2, 1, 1, T, B, H, H) for T, B, H in calls])
    assert [plan.parts for plan in found] == [2, 1, 1, 1, 1, 2]


def test_weights_within_a_cache_are_read_once():
    """A lone layer of 2 MB; one of twice as much than the cache is read by every tile."""
    shape = (1, 1, 100, 64, 256, 256)
    assert run(shape, 2)[1].mb_a_core == pytest.approx(16 * 256 * 512 / 1e6)
    assert run(shape, 2, l2=1 << 20)[1].mb_a_core > 10 * 16 * 256 * 512 / 1e6
