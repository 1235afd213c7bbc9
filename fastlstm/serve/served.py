# SPDX-License-Identifier: MIT
"""What a server serves: a pool, and how bytes of clients become frames and outputs answers, of many
connections at once."""

import json
import math

import numpy as np

from ..config import get_num_threads
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
        self.threads = model.num_threads or get_num_threads()
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
        self.bytes = {name: self.numbers * np.dtype(t).itemsize for name, (t, _) in FORMATS.items()}
        self.before = np.zeros((streams, context), np.float32)  # what stands before next frames
        self.places = list(range(streams))  # rows of it that no connection has
        shape = fill(frame + context) if free else self.shape
        ids = [self.pool.open() for _ in range(min(streams, 3))]
        try:
            drawn = np.random.default_rng(0).uniform(-0.1, 0.1, (len(ids), *shape))
            self._by_rows = self._is_by_rows(ids, drawn.astype(np.float32))
        finally:
            for id in ids:
                self.pool.close(id)

    def _is_by_rows(self, ids, x):
        """Whether a batch of frames and its outputs are arrays with a row for each stream first.
        Else they go by {id: frame}, which costs some 4 us more for each."""
        parts = list(self.pool.step(dict(zip(ids, x, strict=True))).values())
        self.names = getattr(parts[0], "_fields", ("y",))
        want = _stacked(parts)
        for id in ids:
            self.pool.reset(id)
        try:
            found = _outputs(self.pool.step(ids, x))
        except ValueError:
            return False
        return all(
            a.shape == b.shape and np.allclose(a, b, atol=1e-4, equal_nan=True)
            for a, b in zip(found, want, strict=True)
        )

    def check(self, data, format):
        """ValueError if a client's bytes are not of the size of a frame."""
        due = self.bytes[format]
        if len(data) != due:
            raise ValueError(f"a frame of {format} has {due} bytes, got {len(data)}")

    def frames(self, given, connections):
        """(frames with their context, whether each is finite) of bytes of the right sizes, each
        behind the 4 bytes that it is masked with."""
        formats = {c.format for c in connections}
        if len(formats) == 1:
            x, finite = self._numbers(given, *formats)
        else:
            x, finite = np.empty((len(given), self.numbers), np.float32), np.empty(len(given), bool)
            for format in formats:
                rows = [i for i, c in enumerate(connections) if c.format == format]
                x[rows], finite[rows] = self._numbers([given[i] for i in rows], format)
        if self.context:
            x = np.concatenate([self.before[[c.place for c in connections]], x], axis=1)
        return x if self.context else x.reshape(-1, *self.shape), finite

    def _numbers(self, given, format):
        dtype, scale = FORMATS[format]
        size, masked = self.bytes[format], np.frombuffer(b"".join(given), np.uint8)
        masked = masked.reshape(len(given), -1)
        if size % 4 == 0:
            words = masked.view(np.uint32)
            numbers = (words[:, 1:] ^ words[:, :1]).view(dtype)
        else:
            mask = np.tile(masked[:, :4], size // 4 + 1)[:, :size]
            numbers = (masked[:, 4:] ^ mask).view(dtype)
        if scale != 1:
            return numbers * np.float32(scale), np.ones(len(given), bool)
        return numbers.astype(np.float32), np.isfinite(numbers).all(1)

    def enter(self):
        """The place of one more connection, before whose first frame zeros stand."""
        place = self.places.pop()
        self.before[place] = 0
        return place

    def leave(self, place):
        self.places.append(place)

    def keep_context(self, x, connections):
        """What stands before the next frames."""
        if self.context:
            self.before[[c.place for c in connections]] = x[:, -self.context :]

    def step(self, ids, x):
        """The outputs of one frame of each stream, arrays with a row for each."""
        if self._by_rows:
            return _outputs(self.pool.step(ids, x))
        return _stacked(list(self.pool.step(dict(zip(ids, x, strict=True))).values()))

    def answers(self, outputs, connections):
        """What clients are sent for their frames: JSON text or bytes of float32."""
        n, kinds = len(connections), [c.kind for c in connections]
        if "binary" in kinds:
            rows = [np.asarray(a, "<f4").reshape(n, -1) for a in outputs]
            rows = rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1)
            size, data = 4 * rows.shape[1], np.ascontiguousarray(rows).tobytes()
        return [
            data[size * i : size * (i + 1)]
            if kind == "binary"
            else self._json(connections[i].number, [a[i] for a in outputs])
            for i, kind in enumerate(kinds)
        ]

    def _json(self, number, outputs):
        found = {"frame": number}
        for name, values in zip(self.names, outputs, strict=True):
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                values = np.where(np.isfinite(values), values, None)  # JSON has no NaN
            found[name] = values.tolist()
        return json.dumps(found)


def _outputs(made):
    return made if isinstance(made, tuple) else (made,)


def _stacked(parts):
    return tuple(np.stack(each) for each in zip(*map(_outputs, parts), strict=True))
