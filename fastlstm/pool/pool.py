# SPDX-License-Identifier: MIT
"""Pool: many streams of one model, stepped together."""

import collections
import contextlib
import operator
import os
import threading
import time
import weakref

import numpy as np

from ..engine import arguments
from .metrics import Metrics
from .queue import CANCEL, FINISH, Queue


class PoolFull(RuntimeError):
    """All streams of a pool are open, or as many frames of a stream wait as may. Nothing has
    changed; try again later, or elsewhere."""


class _Stream:
    """slot      where its state lies             used     when a call last asked for it
    waiting   Frames, submitted              taken, done   how many frames came and were done
    busy      a call computes with its state, or a batch does
    """

    __slots__ = ("busy", "closing", "done", "slot", "taken", "used", "waiting")

    def __init__(self, slot):
        self.slot, self.waiting = slot, collections.deque()
        self.taken = self.done = 0
        self.busy = self.closing = False


class Pool:
    """Streams of one model that come and go, at most `capacity` at a time; of those at hand one
    call makes a batch. Made by the method `pool` of layers and of models.

        pool = model.pool(1000)
        one = pool.open(); other = pool.open()
        y = pool.step({one: frame, other: frame})     # {id: output}, of any of the streams
        ys = pool.step([one, other], frames)          # the same of arrays with a row for each id
        future = pool.submit(one, frame)              # batched with what others submit just then
        pool.close(one)

    A frame is one step of one stream: of a layer (I,), of a model its input without the axis of the
    batch, or {name: array} of several inputs. The bits of all outputs and states are those of a
    stream alone. Any number of threads may call a pool at once; calls for one stream follow one
    another, each behind the frames that were submitted before it; a future's callback that would
    wait for frames has a RuntimeError instead.

    max_delay   seconds that a submitted frame waits at most for others to join its batch
    max_batch   rows of a batch of submitted frames; None: capacity
    max_queue   frames of one stream that may wait; `submit` raises PoolFull beyond
    idle        a stream that no call has asked for in so many seconds is closed, at the pool's next
                call; None: never
    clock       what tells `idle` the time, in seconds

    A child of fork has streams of its own, in the state of that moment; frames that waited are the
    parent's alone, and so are their futures.
    """

    def __init__(self, rows, capacity, *, max_delay=1e-3, max_batch=None, max_queue=16, idle=None,
                 clock=time.monotonic):  # fmt: skip
        self.capacity = capacity
        self._delay = _seconds("max_delay", max_delay, zero=True)
        self._max_batch = capacity if max_batch is None else arguments.size("max_batch", max_batch)
        self._max_queue = arguments.size("max_queue", max_queue)
        self._idle = None if idle is None else _seconds("idle", idle)
        self._rows, self._clock = rows, clock
        self._free = list(range(capacity - 1, -1, -1))
        self._streams = collections.OrderedDict()  # {id: _Stream}, the one longest unused first
        self._next_id, self._closed = 0, False
        self._metrics = Metrics()
        self._make_locks()
        _pools.add(self)

    def _make_locks(self):
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)  # a stream is no longer busy
        self._queue = Queue(self._lock, self._delay, self._max_batch)
        # Also at the interpreter's exit, while threads can still be waited for.
        self._finalizer = weakref.finalize(self, self._queue.end, CANCEL)

    @property
    def frame_shape(self):
        """Of a frame that is one array: a tuple of sizes, None for those that are free. TypeError
        if a frame has several inputs."""
        return self._rows.frame_shape()

    # ---- streams

    def open(self):
        """The id, an int, of a new stream, in the state that streams start from. Ids are not used
        twice. PoolFull."""
        with self._lock:
            self._check_open()
            self._close_idle()
            if not self._free:
                self._metrics.rejected += 1
                raise PoolFull(f"all {self.capacity} streams of this pool are open")
            stream = _Stream(self._free[-1])
            self._rows.reset(stream.slot)
            self._free.pop()
            id, self._next_id = self._next_id, self._next_id + 1
            self._streams[id] = stream
            stream.used = self._clock()
            return id

    def close(self, id):
        """Ends a stream, after the frames that were submitted; its id is none from now on."""
        with self._alone([id], closing=True), self._lock:
            self._forget(id)

    def state(self, id):
        """Copies of the state of a stream, after the frames that were submitted: of a layer (h, c),
        (L, K) and (L, H), or h; of a model {name of an input: array}."""
        with self._alone([id]) as (stream,):
            return self._rows.state(stream.slot)

    def set_state(self, id, state):
        """Sets the state of a stream to what `state` gave."""
        with self._alone([id]) as (stream,), self._lock:
            self._rows.set_state(stream.slot, state)

    def reset(self, id):
        """The stream starts anew, after the frames that were submitted."""
        with self._alone([id]) as (stream,), self._lock:
            self._rows.reset(stream.slot)

    def __len__(self):
        """How many streams are open."""
        with self._lock:
            self._close_idle()
            return len(self._streams)

    def __contains__(self, id):
        with self._lock:
            self._close_idle()
            return id in self._streams

    def _check_open(self):
        if self._closed:
            raise RuntimeError("this pool is closed")

    def _found(self, ids, closing=False):
        """The streams of these ids; ValueError if one is not open. closing: of one that is about to
        be closed too."""
        found = [self._streams.get(id) for id in ids]
        for i, stream in enumerate(found):
            if stream is None or (stream.closing and not closing):
                raise ValueError(f"stream {ids[i]!r} is not open")
        return found

    def _forget(self, id):
        self._free.append(self._streams.pop(id).slot)
        if self._queue.ready:  # a batch that gathers may have been waiting for this stream alone
            self._queue.arrived.notify()

    def _touch(self, ids, streams):
        if self._idle is not None:
            now = self._clock()
            for id, stream in zip(ids, streams, strict=True):
                stream.used = now
                self._streams.move_to_end(id)

    def _close_idle(self):
        if self._idle is None:
            return
        due = self._clock() - self._idle
        gone = []
        for id, stream in self._streams.items():
            if stream.used > due:
                break
            if not stream.busy and not stream.waiting:
                gone.append(id)
        for id in gone:
            self._forget(id)
        self._metrics.closed_idle += len(gone)

    # ---- steps

    def step(self, ids, frames=None):
        """One step of some streams, as one batch: {id: output} for {id: frame}; or for a sequence
        of ids and arrays with one row for each of them the outputs, arrays with a row for each.

        ValueError if an id is not open or is there twice, or a frame does not fit; whatever is
        raised, the state of every stream is as it was.
        """
        mapping = frames is None
        if mapping:
            if not hasattr(ids, "items"):
                raise TypeError(
                    f"step takes {{id: frame}}, or ids and frames, got {type(ids).__name__}"
                )
            batch = [self._rows.one(frame) for frame in ids.values()]
            ids = list(ids)
            kinds = [self._rows.shapes(one) for one in batch]
            if any(kind != kinds[0] for kind in kinds):
                raise ValueError(f"frames of one batch have the shapes {sorted(set(kinds))}")
            batch = self._rows.stacked(batch) if ids else None
        else:
            ids = list(map(operator.index, ids))
            batch = self._rows.many(frames, len(ids)) if ids else None
        if not ids:
            if mapping:
                return {}
            raise ValueError("step: there are no ids")
        if len(set(ids)) != len(ids):
            twice = next(id for id in ids if ids.count(id) > 1)
            raise ValueError(f"step: stream {twice} is there twice")
        with self._alone(ids) as streams:
            results = self._compute(streams, batch)
            with self._lock:
                self._metrics.batch((), len(ids))
        if mapping:
            return {id: self._rows.part(results, i) for i, id in enumerate(ids)}
        return self._rows.whole(results)

    def _compute(self, streams, batch):
        slots = np.array([stream.slot for stream in streams])
        results, state = self._rows.run(slots, batch)
        with self._lock:  # a fork waits for it, and finds no half of a state
            self._rows.store(slots, state)
        return results

    @contextlib.contextmanager
    def _alone(self, ids, closing=False):
        """The streams of these ids, which no other call computes with meanwhile, when the frames
        that were submitted to them before are done. closing: they take no more frames."""
        streams = []
        try:
            with self._lock:
                self._check_open()
                self._close_idle()
                found = self._found(ids, closing)
                if self._in_its_thread() and any(s.waiting for s in found):
                    raise RuntimeError(
                        "a callback of a future cannot wait for frames that were submitted later: "
                        "its thread runs them"
                    )
                for stream in found if closing else ():
                    stream.closing = True
                waited = any(s.busy or s.waiting for s in found)
                if waited:
                    marks = [s.taken for s in found]
                    while any(s.busy or s.done < n for s, n in zip(found, marks, strict=True)):
                        self._queue.hurry()
                        self._changed.wait()
                        found = self._found(ids, closing)
                for stream in found:
                    stream.busy = True
                streams = found
                for id, stream in zip(ids, found, strict=True) if waited else ():
                    if stream.waiting:
                        self._queue.ready.pop(id, None)
                self._touch(ids, found)
            yield streams
        finally:
            self._release(ids, streams)

    def _release(self, ids, streams):
        with self._lock:
            for id, stream in zip(ids, streams, strict=False):
                stream.busy = False
                if stream.waiting:
                    self._queue.wake(id, stream)
            self._changed.notify_all()

    # ---- submitted frames

    def submit(self, id, frame):
        """A concurrent.futures.Future of the output for a frame, which is copied. Frames of a
        stream are done in the order in which they came. PoolFull if max_queue of them wait;
        ValueError if the id is not open or the frame does not fit."""
        given = self._rows.one(frame)
        with self._lock:
            self._check_open()
            self._close_idle()
            (stream,) = self._found([id])
            if len(stream.waiting) >= self._max_queue:
                self._metrics.rejected += 1
                raise PoolFull(f"{len(stream.waiting)} frames of stream {id} wait already")
            self._touch([id], [stream])
            return self._queue.add(self, id, stream, given)

    def _run_batch(self, batch):
        """The queue's thread runs a batch that it took."""
        ids, streams, frames = (list(each) for each in zip(*batch, strict=True))
        error, made = None, ()
        try:
            results = self._compute(streams, self._rows.stacked([f.given for f in frames]))
            made = [self._rows.part(results, i) for i in range(len(frames))]
        except BaseException as caught:  # whatever it is, those who wait must hear of it
            error = caught
        now = time.perf_counter()
        with self._lock:
            for stream in streams:
                stream.done += 1
            if not self._closed:
                self._touch(ids, streams)
            if error is None:
                self._metrics.batch([now - frame.begun for frame in frames], len(batch))
        self._release(ids, streams)
        for i, frame in enumerate(frames):
            if error is None:
                frame.future.set_result(made[i])
            else:
                frame.future.set_exception(error)

    # ---- the pool

    def metrics(self):
        """What has happened, as a dict of numbers and dicts: open, capacity, waiting (frames),
        frames, batches, batch_sizes {at most so many rows: batches}, rejected, closed_idle, and
        latency of submitted frames, seconds from `submit` to the result: p50, p99 and max of the
        last thousands, count, sum, and counts by bounds."""
        with self._lock:
            self._close_idle()
            waiting = sum(len(stream.waiting) for stream in self._streams.values())
            now = {"open": len(self._streams), "capacity": self.capacity, "waiting": waiting}
            return now | self._metrics.as_dict()

    def shutdown(self, cancel=False):
        """Ends the pool: it takes nothing more, what it took is done (with cancel=True, what has
        not begun is cancelled), then all streams are closed. A second call does nothing."""
        with self._lock:
            self._closed = True
        self._queue.end(CANCEL if cancel else FINISH)
        with self._lock:
            while any(s.busy for s in self._streams.values()) and not self._in_its_thread():
                self._changed.wait()
            for id in list(self._streams):
                self._forget(id)
            self._changed.notify_all()
        self._finalizer.detach()

    def _in_its_thread(self):
        return threading.current_thread() is self._queue.thread

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()

    def __reduce__(self):
        raise TypeError("a pool cannot be pickled: save the states of its streams")

    def __repr__(self):
        return f"Pool({self._rows!r}, {len(self)} of {self.capacity} streams open)"

    def _in_child(self):
        """After a fork: calls and batches of the parent's other threads do not end here."""
        self._finalizer.detach()
        self._make_locks()
        self._rows.forked()
        for stream in self._streams.values():
            stream.busy, stream.done = False, stream.taken
            stream.waiting = collections.deque()


def _seconds(name, value, zero=False):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, got {type(value).__name__}")
    if not (0 < value < float("inf") or (zero and value == 0)):
        due = "at least 0" if zero else "more than 0"
        raise ValueError(f"{name} must be {due} seconds and finite, got {value}")
    return float(value)


_pools = weakref.WeakSet()
_forking = threading.Lock()
_held = []  # [(pool, its lock)], while a thread forks


def _before_fork():
    _forking.acquire()
    _held[:] = [(pool, pool._lock) for pool in sorted(_pools, key=id)]
    for _, lock in _held:
        lock.acquire()


def _in_parent():
    for _, lock in reversed(_held):
        lock.release()
    _held.clear()
    _forking.release()


def _in_child():
    for pool, _ in _held:
        pool._in_child()
    _held.clear()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
