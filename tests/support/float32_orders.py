# SPDX-License-Identifier: MIT
"""What float32 sums cost an RNN in other orders than the engine's: is a draw beyond float32?

No gate damps the error of an RNN's sums, and where |weight_hh| is near 1 nothing damps the rounding
of its states either. Its sums b + W x + R h are made here one term after another in float32, their
terms in several drawn orders, half of them with fused multiply-add, everything else in float64:
each is an engine that nobody would call wrong. Where one of them is further from the exact outputs
than half of a bound, the bound is not one that float32 can promise.
"""

import numpy as np
import oracle
import pytest

F = np.float32
ORDERS = 8


def rnn_step(seed, nonlinearity):
    """A step like those of oracle.CELLS, its sums in float32, in one order for each number of
    terms; with an odd seed no product is rounded before it is added."""
    orders, rng = {}, np.random.default_rng(seed)

    def step(x, h, c, weights):
        joined = [weights["weight_ih"], weights["weight_hh"]]
        seen = [x, h]
        if "bias_ih" in weights:
            bias = weights["bias_ih"].astype(F) + weights["bias_hh"].astype(F)
            joined, seen = [bias[:, None], *joined], [np.ones((len(x), 1)), *seen]
        joined, seen = (np.concatenate(a, axis=1).astype(np.float64) for a in (joined, seen))
        n = joined.shape[1]
        order = orders.setdefault(n, rng.permutation(n))
        terms = seen[:, None, order] * joined[:, order]  # of float32 numbers: exact
        if seed % 2 == 0:
            total = np.add.accumulate(terms.astype(F), axis=2, dtype=F)[..., -1]
        else:
            total = np.zeros(terms.shape[:2])
            for k in range(n):
                total = (total + terms[..., k]).astype(F).astype(np.float64)
        h = np.tanh(total) if nonlinearity == "tanh" else np.maximum(total, 0)
        return h.astype(np.float64), c

    return step


def in_other_orders(case):
    """y, h and c of a Case of an RNN as each of ORDERS orders has them."""
    x, state, lengths = case.as_seen()
    found = []
    for seed in range(ORDERS):
        step = rnn_step(seed, case.cell.removeprefix("rnn_"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(oracle.CELLS, case.cell, step)
            y, h, c = oracle.network(
                case.params(), x, state, cell=case.cell, batch_first=case.batch_first,
                lengths=lengths,
            )  # fmt: skip
        found.append((oracle.last(h, case.D) if case.last else y, h, c))
    return found
