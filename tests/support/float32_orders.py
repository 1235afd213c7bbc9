# SPDX-License-Identifier: MIT
"""What float32 sums cost an RNN in other orders than the engine's: is a draw beyond float32?

No gate damps the error of an RNN's sums, and where |weight_hh| is near 1 nothing damps the rounding
of its states either. Its sums b + W x + R h are made here one term after another in float32, their
terms in several drawn orders, everything else in float64: each order is an engine that nobody would
call wrong. Where half of them are further from the exact outputs than half of a bound, the bound is
not one that float32 can promise.
"""

import numpy as np
import oracle
import pytest

F = np.float32
ORDERS = 8


def rnn_step(seed, nonlinearity):
    """A step like those of oracle.CELLS, its sums in float32, in one order for each number of
    terms."""
    orders, rng = {}, np.random.default_rng(seed)

    def step(x, h, c, weights):
        joined = np.concatenate([weights["weight_ih"], weights["weight_hh"]], axis=1).astype(F)
        order = orders.setdefault(joined.shape[1], rng.permutation(joined.shape[1]))
        terms = np.concatenate([x, h], axis=1).astype(F)[:, None, order] * joined[:, order]
        if "bias_ih" in weights:
            bias = weights["bias_ih"].astype(F) + weights["bias_hh"].astype(F)
            first = np.broadcast_to(bias[:, None], (*terms.shape[:2], 1))
            terms = np.concatenate([first, terms], axis=2)
        total = np.add.accumulate(terms, axis=2, dtype=F)[..., -1]
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
