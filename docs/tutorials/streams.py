# SPDX-License-Identifier: MIT
"""# Many streams

A server hears a thousand microphones, or a game has a thousand agents, each with a state of its
own. One stream of many rows costs less than many streams of one row: a step reads the weights once
for all rows, and Python is called once. With 64 to 256 units a row and step took a quarter to a
third of the time (200 rows, one thread of an AMD Zen 5).
"""

import time

import numpy as np

import fastlstm

lstm = fastlstm.LSTM(40, 64, num_layers=2, num_threads=1)
ROWS = 200

stream = lstm.stream(batch_size=ROWS)
x = np.zeros((ROWS, 40), np.float32)
y = np.empty((ROWS, 64), np.float32)
stream.step(x, out=y)  # nothing is allocated

# %% ## Who comes and who goes
#
# A row is a place for somebody. When a caller leaves, the place is free; when another takes it, its
# state begins anew while all others go on.

free = list(range(ROWS))
places: dict[str, int] = {}


def arrive(name: str) -> None:
    places[name] = free.pop()
    stream.reset(rows=[places[name]])


def leave(name: str) -> None:
    free.append(places.pop(name))


for n in range(150):
    arrive(f"caller {n}")
leave("caller 7")
arrive("caller 150")
print(len(places), "callers,", len(free), "places free")

# %% A step moves every row, so each that is in use needs its next input; the others may hold
# anything, and are reset when somebody arrives.

for _ in range(3):
    for place in places.values():
        x[place] = 1.0  # the caller's next frame
    stream.step(x, out=y)

# %% A row's outputs are, to the bit, those that it would have alone (on the C core and Numba), so
# nobody can tell who else was there:

alone = lstm.stream()
expected = alone(np.ones((3, 1, 40)))[-1]  # three frames at once
assert np.allclose(y[places["caller 150"]], expected[0], atol=2e-6)

# %% ## Move somebody to another process
#
# `state` is a copy, (h, c) with the rows on the second axis, and can be set. Streams can also be
# copied and pickled whole.

h, c = stream.state
saved = h[:, [places["caller 3"]]], c[:, [places["caller 3"]]]
elsewhere = lstm.stream()
elsewhere.state = saved

# %% ## How much it saves on this machine

for rows in (1, ROWS):
    many, frame = lstm.stream(batch_size=rows), np.zeros((rows, 40), np.float32)
    many.step(frame)
    begin = time.perf_counter()
    for _ in range(20):
        many.step(frame)
    took = (time.perf_counter() - begin) / 20 / rows
    print(f"{rows:4} rows: {took * 1e6:.2f} microseconds a row and step")

# %% Threads share the rows of a step where that is worth it; see [threads](../guides/threads.md). A
# stream belongs to one thread at a time, while any number of streams of one layer run at once.
#
# Whole models do the same: `model.stream(batch_size=200)`, `stream.reset(rows=[3])`.
#
# Next: [scoring Parquet](parquet.py), [a container of under 100 MB](container.py).
