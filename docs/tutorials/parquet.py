# SPDX-License-Identifier: MIT
"""# Scoring Parquet

Sequences that were recorded, a million customers' histories or a year of machines' readings, lie
in Parquet files, and each shall be given a number or a vector by a network. `fastlstm.score` goes
through files of any size with a part of them in memory, and goes on where it was stopped.

```sh
pip install "fastlstm[score]"        # pyarrow, which reads and writes Parquet
python docs/tutorials/parquet.py
```

## A file of sequences

Here it is made up: readings of 3 sensors, hour by hour, for 2,000 machines. Each row of the column
`x` is a list of steps, each step a list of 3 numbers. Rows have lengths of their own, and one
machine was never heard of.
"""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fastlstm
from fastlstm.score import score

folder = Path(tempfile.mkdtemp())
rng = np.random.default_rng(0)
hours = rng.integers(5, 200, 2000)
readings = [rng.standard_normal((n, 3)).astype(np.float32) for n in hours]
rows = [r.tolist() for r in readings]
rows[7] = None
table = pa.table(
    {
        "machine": pa.array(range(2000)),
        "x": pa.array(rows, pa.list_(pa.list_(pa.float32()))),
    }
)
pq.write_table(table, folder / "readings.parquet", row_group_size=500)

# %% ## A network
#
# Any file that fastlstm reads will do: a layer, of which the last hidden state is written, or a
# whole model. This one is not trained.

lstm = fastlstm.LSTM(3, 32, batch_first=True)
lstm.save(folder / "machines.safetensors")

# %% ## Score
#
# `keep` names columns that are copied beside the result. Rows keep their order, and a null stays
# null. The result is written whole or not at all.

done = score(
    folder / "machines.safetensors",
    [folder / "readings.parquet"],
    folder / "scored.parquet",
    column="x",
    keep=["machine"],
)
scored = pq.read_table(folder / "scored.parquet")
print(done, "rows:", *scored.column_names)
print("nulls:", scored["y"].null_count, "numbers a row:", len(scored["y"][0]))

# %% ```text title="printed"
# 2000 rows: machine y
# nulls: 1 numbers a row: 32
# ```
#
# Batches are made of rows of similar length, with as many real steps as `batch_steps` says; nothing
# is computed for padding. Since no row's bits depend on its batch, each result is what a call with
# that row alone gives, to the bit (on the C core).

for row in (0, 999):
    y, (h, c) = lstm(readings[row])
    assert np.allclose(scored["y"][row].as_py(), h[0], atol=2e-6)

# %% ## A run that is stopped
#
# Parts lie in a folder beside the output until all are there. After a run that was killed, the same
# call with `resume=True` goes on behind the last whole part, and the bytes of the result are those
# of a run that was never stopped. Here one is stopped after its first part.


def stop(rows_done: int, rows: int) -> None:
    raise KeyboardInterrupt


def scored_again(resume: bool) -> None:
    score(
        folder / "machines.safetensors",
        [folder / "readings.parquet"],
        folder / "again.parquet",
        column="x",
        keep=["machine"],
        resume=resume,
        progress=None if resume else stop,
    )


try:
    scored_again(resume=False)
except KeyboardInterrupt:
    print("stopped; parts:", len(list((folder / "again.parquet.parts").glob("*.parquet"))))
scored_again(resume=True)
same = (folder / "again.parquet").read_bytes() == (folder / "scored.parquet").read_bytes()
print("the same bytes:", same)
assert same

# %% ```text title="printed"
# the same bytes: True
# ```
#
# ## In a terminal
#
# ```sh
# fastlstm score machines.safetensors readings.parquet states.parquet --column x --keep machine
# fastlstm score machines.safetensors readings.parquet states.parquet --column x --keep machine \
#     --resume
# ```
#
# `--every-step` writes each step's output in place of the last state. On Ray and Dask clusters, and
# how many rows a second: [many streams, many sequences](../many.md).
#
# Next: [a container of under 100 MB](container.py).
