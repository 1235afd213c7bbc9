# SPDX-License-Identifier: MIT
"""Recorded sequences scored: Parquet in, Parquet out. Needs the extra: pip install fastlstm[score],
which is asked for when something is scored, not when this is imported.

    columns.py   Arrow's columns as arrays, and back
    scorer.py    Scorer: a table of sequences to a table of outputs, in batches by real steps
    parts.py     files of any size part by part, whole or not at all, resumed where they stopped
"""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

__all__ = ["score"]


def scorer_class() -> Any:
    """scorer.Scorer; ModuleNotFoundError that says what to install."""
    try:
        from .scorer import Scorer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"scoring needs pyarrow: pip install 'fastlstm[score]' ({error})"
        ) from None
    return Scorer


def score(
    model: str | PathLike[str],
    inputs: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    column: str = "x",
    *,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[int, int], object] | None = None,
    **options: Any,
) -> int:
    """Scores `column` of the Parquet files and folders `inputs`, a list of paths, by the layer or
    whole model of the file `model`, and writes the file `output`: rows in the inputs' order. The
    number of rows.

    resume     go on with a run that was stopped; ValueError if it was another one
    force      replace an output that is there, and forget a run that was stopped
    progress   f(rows done, of all), called after each part
    options    as scorer.Scorer says: output_column, every_step, keep, constants, batch_steps,
               num_threads

    ValueError or TypeError, which name the file, for what cannot be scored; OSError; LoadError.
    """
    scorer = scorer_class()(model, column, **options)
    from .parts import run

    rows: int = run(scorer, model, inputs, output, options, resume, force, progress)
    return rows
