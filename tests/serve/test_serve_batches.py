# SPDX-License-Identifier: MIT
"""How many of the frames that wait are one step."""

import asyncio

import numpy as np
import pytest

from fastlstm.serve import batches
from fastlstm.serve.batches import Batches, Connection

pytestmark = pytest.mark.once


class Counted:
    """A Served whose frames are numbers; `bad` fails the step that it is in."""

    def __init__(self, threads, bad=None):
        self.threads, self.bad, self.steps = threads, bad, []

    def frames(self, given, connections):
        return np.array(given), np.ones(len(given), bool)

    def step(self, ids, x):
        self.steps.append(len(ids))
        if self.bad in x:
            raise ValueError("a bad step")
        return x

    def keep_context(self, x, connections):
        pass

    def answers(self, outputs, connections):
        return outputs.tolist()


def stepped(served, frames):
    """(what each frame's future has: its answer or a word of its error, how many of them were
    answered before each step, the errors that were told to the loop or its caller)"""
    answered, before = [], []

    async def run():
        made = Batches(served, 1000, range(10**6))
        step = served.step

        def counted(*args):
            before.append(sum(f.done() for f in answered))
            return step(*args)

        served.step = counted
        for n in range(frames):
            answered.append(asyncio.get_running_loop().create_future())
            made.add(Connection(n, "float32", "json", n, 1e9), n, answered[-1])
        errors = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, found: errors.append(found["exception"])
        )
        try:
            made.run()
        except ValueError as error:
            errors.append(error)
        while not all(f.done() for f in answered):
            made._timer.cancel()
            made._timer = None
            made.run()
        return ["failed" if f.exception() else f.result() for f in answered], errors

    found, errors = asyncio.run(run())
    return found, before, errors


@pytest.mark.parametrize("threads", [1, 2])
def test_many_frames_are_several_steps_and_the_first_are_answered_first(threads):
    most, served = batches.ROWS * threads, Counted(threads)
    found, before, errors = stepped(served, 2 * most + 5)
    assert not errors and found == list(range(2 * most + 5))
    assert served.steps == [most, most, 5] and before == [0, most, 2 * most]
    served = Counted(threads)
    assert stepped(served, most)[0] == list(range(most))
    assert served.steps == [most]


def test_a_step_that_fails_costs_its_own_frames_alone():
    served = Counted(1, bad=batches.ROWS)
    found, _, errors = stepped(served, 3 * batches.ROWS)
    assert [str(error) for error in errors] == ["a bad step"]
    want = list(range(3 * batches.ROWS))
    want[batches.ROWS : 2 * batches.ROWS] = ["failed"] * batches.ROWS
    assert found == want and served.steps == [batches.ROWS] * 3
