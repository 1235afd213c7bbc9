# SPDX-License-Identifier: MIT
"""The demo's comparison of fastlstm with PyTorch, on numbers that PyTorch computed beforehand.

austen_logits.npz, written by examples/charlm/train.py, holds a text of T characters and, for each
character but the first, its logit: what the model made of the text before it. A logit is w . y + b,
with y the LSTM's H outputs at that step and w the head's row of that character, so an error in any
output of any step shows.

    ids     (T,) int32
    logits  (T-1,) float64: the LSTM in float32, the head in float64
    exact   (T-1,) float64: both in float64
    torch   str: PyTorch's version
"""

import zipfile
from dataclasses import dataclass

import numpy as np

PROMISE = 2e-6  # how far an LSTM output may be from PyTorch's


@dataclass
class Check:
    """The largest differences between logits, and how large the first two may be."""

    torch: str  # PyTorch's version
    steps: int
    float32: float  # fastlstm's from PyTorch's in float32
    float64: float  # fastlstm's from PyTorch's in float64
    torch_float32: float  # PyTorch's in float32 from PyTorch's in float64
    allowed: float
    same_bits: bool  # a stream, one step at a time, gives the bits of one call

    @property
    def agrees(self):
        return self.float32 <= self.allowed and self.float64 <= self.allowed and self.same_bits

    def lines(self):
        """The check in words, as lines to print."""
        theirs, each = self.torch_float32, PROMISE
        yield f"Logits of {self.steps} characters, largest difference from PyTorch {self.torch}"
        yield f"  in float32   {self.float32:.1e}"
        yield f"  in float64   {self.float64:.1e}  (PyTorch's own float32 from it: {theirs:.1e})"
        yield f"  allowed      {self.allowed:.1e}  (what {each:.0e} in every LSTM output comes to)"
        if not self.same_bits:
            yield "  and a stream, step by step, does not give the bits of one call"


def check_reference(model, path):
    """Run the reference text through `model` and compare. Returns a Check.

    Were every LSTM output off by PROMISE, a logit could be off by as much as PROMISE * sum |w|. The
    least such sum of all characters is what is allowed to every logit. Single outputs say less than
    the logits: a trained network's large weights magnify rounding, so that PyTorch's own ways to
    run the shipped network (oneDNN or not, in inference or with gradients) differ by 3.3e-6 to
    3.5e-6 in the worst of its outputs.

    ValueError if the file is not such a reference.
    """
    try:
        with np.load(path) as file:
            ids, float32, float64 = file["ids"], file["logits"], file["exact"]
            version = str(file["torch"]).split("+")[0]
    except (KeyError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: not the reference train.py writes, or damaged ({error}); install fastlstm "
            "again or run train.py"
        ) from None
    x, following = model.embedding[ids[:-1]], ids[1:]
    y, _ = model.lstm(x)  # (T-1, H)
    stream, steps = model.lstm.stream(), np.empty_like(y)
    for t in range(len(x)):
        stream.step(x[t : t + 1], out=steps[t : t + 1])
    logits = model.logits(y)[np.arange(len(y)), following]

    def largest(a, b):
        return float(np.abs(a - b).max())

    return Check(
        torch=version,
        steps=len(following),
        float32=largest(logits, float32),
        float64=largest(logits, float64),
        torch_float32=largest(float32, float64),
        allowed=PROMISE * float(np.abs(model.weight).sum(axis=1).min()),
        same_bits=np.array_equal(y.view(np.uint32), steps.view(np.uint32)),
    )
