# SPDX-License-Identifier: MIT
"""Many streams of one model, of which any may step at any time.

Knows no layers and no models: what a row is, how rows run and where their state lies is told by an
object that `layers/rows.py` and `models/rows.py` make, with the methods

    frame_shape()          of a frame that is one array; None for sizes that are free
    one(frame)             one row's frame, checked and copied: a list of arrays
    many(frames, n)        the frames of n rows at once, checked: a list of arrays
    stacked(ones)          what `many` gives, of a list of what `one` gave
    shapes(one)            what two frames must have alike to run as one batch
    run(slots, batch)      (results, state) of the rows in these slots; changes nothing
    store(slots, state)    the slots' state is now this
    whole(results)         the results as a caller has them
    part(results, i)       those of row i, copies
    reset(slot)            the slot's state is what streams start from
    state(slot), set_state(slot, state)    copies
    forked()               this is a child: locks of the parent's threads are nobody's

    pool.py     Pool: streams, locks, forks        queue.py    submitted frames and their thread
    metrics.py  counts and latencies
"""

from .pool import Pool, PoolFull

__all__ = ["Pool", "PoolFull"]
