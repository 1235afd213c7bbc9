# SPDX-License-Identifier: MIT
"""Scoring on many machines with Dask: pip install fastlstm[dask].

frame = dask.dataframe.read_parquet("in/")
frame.map_partitions(fastlstm.dask.score, "model.onnx", column="x", meta={"y": object})
"""

import functools
import json
from os import PathLike
from typing import Any

from .score import scorer_class

__all__ = ["score"]


@functools.lru_cache(maxsize=8)
def _scorer(text: str) -> Any:
    return scorer_class()(**json.loads(text))


def score(frame: Any, model: str | PathLike[str], column: str = "x", **options: Any) -> Any:
    """A pandas.DataFrame of the kept columns and the outputs, lists, of the rows of one partition,
    with its index. A worker keeps the model for its next partitions.

    model    the path of a layer's or a model's file, which every node can read
    options  as score.scorer.Scorer says, of plain values: output_column, every_step, keep, ..
    """
    scorer = _scorer(json.dumps({"model": str(model), "column": column, **options}))
    import pyarrow as pa

    table = pa.Table.from_pandas(frame[[column, *scorer.keep]], preserve_index=False)
    if len(frame) == 0 or table[column].null_count == len(frame):  # pandas tells no type then
        at = table.column_names.index(column)
        table = table.set_column(at, column, pa.nulls(len(frame), pa.list_(pa.float32())))
    made = scorer(table).to_pandas()
    made.index = frame.index
    return made
