# SPDX-License-Identifier: MIT
"""What a server serves: a pool, and how bytes of a client become frames and outputs answers."""

import json
import math

import numpy as np

from ..models.load import load_any

FORMATS = {"float32": ("<f4", 1.0), "int16": ("<i2", 1 / 32768)}  # of frames: type, scale
ANSWERS = ("json", "binary")


class Served:
    """path      a file of a layer or of a whole model
    streams      of the pool, at most
    frame        samples of a frame, where the model leaves that free; None where it does not
    context      so many of the last samples before a frame stand in front of it
    constants    inputs of a model that are the same for all streams
    pool         options of the pool

    One frame is run, so that a model that cannot be served is refused at once: LoadError,
    ModelError, ValueError.
    """

    def __init__(self, path, streams, *, frame=None, context=0, constants=None, num_threads=None,
                 pool=None):  # fmt: skip
        model = load_any(path, num_threads=num_threads)
        constants = dict(constants or {})
        if constants and not hasattr(model, "graph"):
            raise ValueError(f"{path} is a layer, which has no inputs {', '.join(constants)}")
        self.pool = model.pool(streams, **constants, **(pool or {}))
        free = [i for i, n in enumerate(self.pool.frame_shape) if n is None]
        if len(free) > 1 or bool(free) != (frame is not None):
            raise ValueError(
                f"{path}: a frame has the shape {self.pool.frame_shape}"
                + (", so --frame must say how many samples" if free else ", and --frame is not due")
            )
        if context and not (free and len(self.pool.frame_shape) == 1):
            raise ValueError("--context is for frames that are a row of samples")
        fill = lambda n: tuple(n if i in free else k for i, k in enumerate(self.pool.frame_shape))  # noqa: E731
        self.shape, self.context = fill(frame), context
        self.numbers = math.prod(self.shape)
        with_context = np.zeros(fill(frame + context) if free else self.shape, np.float32)
        id = self.pool.open()
        try:
            made = self.pool.step({id: with_context})[id]
        finally:
            self.pool.close(id)
        self.names = getattr(made, "_fields", ("y",))

    def context_at_start(self):
        return np.zeros(self.context, np.float32)

    def frame(self, data, format, before):
        """(the frame, the context of the next) of a client's bytes; ValueError if they are not one
        frame of finite numbers."""
        dtype, scale = FORMATS[format]
        due = self.numbers * np.dtype(dtype).itemsize
        if len(data) != due:
            raise ValueError(f"a frame of {format} has {due} bytes, got {len(data)}")
        x = np.frombuffer(data, dtype).astype(np.float32)
        if scale != 1:
            x *= np.float32(scale)
        elif not np.isfinite(x).all():
            raise ValueError("a frame must be finite numbers")
        if not self.context:
            return x.reshape(self.shape), before
        whole = np.concatenate([before, x])
        return whole, whole[-self.context :]

    def answer(self, number, made, kind):
        """What a client is sent for its frame of this number: JSON text or bytes of float32."""
        outputs = made if isinstance(made, tuple) else (made,)
        if kind == "binary":
            return b"".join(np.asarray(a, "<f4").tobytes() for a in outputs)
        found = {"frame": number}
        for name, array in zip(self.names, outputs, strict=True):
            values = np.asarray(array)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                values = np.where(np.isfinite(values), values, None)  # JSON has no NaN
            found[name] = values.tolist()
        return json.dumps(found)
