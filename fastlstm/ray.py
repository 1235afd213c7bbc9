# SPDX-License-Identifier: MIT
"""Scoring on many machines with Ray Data: pip install fastlstm[ray].

    dataset = fastlstm.ray.score(ray.data.read_parquet("in/"), "model.onnx", column="x")
    dataset.write_parquet("out/")

Ray does the rest: an actor for each worker, which maps the model's file once, blocks that wait
when workers do not keep up, and a block done again where its worker died. The rows' bits do not
depend on how they are cut into blocks, so a repeated block is the same block.
"""

from os import PathLike
from typing import Any

from .score import scorer_class

__all__ = ["score"]


def score(
    dataset: Any,
    model: str | PathLike[str],
    column: str = "x",
    *,
    workers: int | tuple[int, int] = (1, 64),
    batch_size: int = 4096,
    num_cpus: float = 1,
    **options: Any,
) -> Any:
    """A ray.data.Dataset: the kept columns and the outputs of each row of `dataset`.

    model       the path of a layer's or a model's file, which every node can read
    workers     how many actors, or (at least, at most)
    batch_size  rows that a worker is given at a time
    num_cpus    of each worker, which also are its threads
    options     as score.scorer.Scorer says: output_column, every_step, keep, constants, ..

    Rows are in the dataset's order if Ray keeps it: DataContext.execution_options.preserve_order.
    """
    given = {"model": model, "column": column, "num_threads": max(1, int(num_cpus)), **options}
    return dataset.map_batches(
        scorer_class(), fn_constructor_kwargs=given, batch_format="pyarrow", batch_size=batch_size,
        concurrency=workers, num_cpus=num_cpus, zero_copy_batch=True,
    )  # fmt: skip
