# SPDX-License-Identifier: MIT
"""The frames that were submitted and wait, and the thread that runs them in batches.

A batch starts when its first frame has waited for max_delay, or sooner: when every open stream has
a frame in it, so that nothing is left to wait for, when it is full, or when a call waits for one of
its frames. While a batch runs, frames gather for the next one, which then starts at once. A stream
has at most one frame in a batch.
"""

import collections
import threading
import time
import weakref
from concurrent.futures import Future

RUN, FINISH, CANCEL = range(3)


class Frame:
    """A frame that waits: `given` is what the pool's rows made of it."""

    __slots__ = ("begun", "future", "given")

    def __init__(self, given):
        self.given, self.future, self.begun = given, Future(), time.perf_counter()


class Queue:
    """All under the pool's lock, but for `run`, which is the thread's.

    waiting   {id: stream} of streams that have frames waiting
    ready     those of them that no call is busy with, in the order in which they became so
    """

    def __init__(self, lock, max_delay, max_batch):
        self.max_delay, self.max_batch = max_delay, max_batch
        self.ready, self.waiting = collections.OrderedDict(), {}
        self.arrived = threading.Condition(lock)
        self.stop, self.thread = RUN, None
        self._hurry = False  # a call waits for a frame
        self._wanted = 1  # as many ready streams wake the thread

    def add(self, pool, id, stream, given):
        """The Future of one more frame of the stream."""
        if self.thread is None:
            self.thread = threading.Thread(
                target=run, args=(weakref.ref(pool), self), name="fastlstm-pool", daemon=True
            )
            self.thread.start()
        frame = Frame(given)
        stream.waiting.append(frame)
        stream.taken += 1
        self.waiting[id] = stream
        self.wake(id, stream)
        return frame.future

    def wake(self, id, stream):
        """For a stream that may have become ready."""
        if stream.waiting and not stream.busy:
            self.ready[id] = stream
            if len(self.ready) >= self._wanted:
                self.arrived.notify()

    def hurry(self):
        """A call waits for a frame: the next batch is due now."""
        self._hurry = True
        self.arrived.notify()

    def end(self, how):
        with self.arrived:
            self.stop = max(self.stop, how)
            self.arrived.notify()
        thread = self.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def wait_for_batch(self, open_streams):
        """Waits until a batch is due; False when the thread is to end."""
        self._wanted = 1
        while not self.ready and (self.stop == RUN or (self.stop == FINISH and self.waiting)):
            self.arrived.wait()
        if self.stop == RUN:
            first = next(iter(self.ready.values())).waiting[0]
            while self.ready and self.stop == RUN:
                self._wanted = min(self.max_batch, open_streams())
                left = first.begun + self.max_delay - time.perf_counter()
                if len(self.ready) >= self._wanted or left <= 0 or self._hurry:
                    break
                self.arrived.wait(left)
        return self.stop != CANCEL and (self.stop == RUN or bool(self.ready))

    def batch(self, shapes):
        """[(id, stream, Frame)]: the first frame of each ready stream, of those that are shaped
        like the first, at most max_batch. The streams are busy now."""
        found, like, self._hurry = [], None, False
        for id, stream in list(self.ready.items()):
            if len(found) == self.max_batch:
                break
            frame = stream.waiting[0]
            kind = shapes(frame.given)
            if like is not None and kind != like:
                continue
            stream.waiting.popleft()
            del self.ready[id]
            if not stream.waiting:
                del self.waiting[id]
            if frame.future.set_running_or_notify_cancel():
                like = kind
                stream.busy = True
                found.append((id, stream, frame))
            else:
                stream.done += 1
                self.wake(id, stream)
        return found


def run(reference, queue):
    """The thread. It keeps no pool alive that nobody else has."""
    while True:
        with queue.arrived:

            def open_streams():
                pool = reference()
                return len(pool) if pool is not None else 0

            go_on = queue.wait_for_batch(open_streams)
            pool = reference()
            if not go_on or pool is None:
                break
            batch = queue.batch(pool._rows.shapes)
            if not batch:  # cancelled frames alone: whom a call waits for may be done all the same
                pool._changed.notify_all()
        if batch:
            pool._run_batch(batch)
        del pool, batch
    with queue.arrived:
        streams = list(queue.waiting.values())
        queue.ready.clear()
        queue.waiting.clear()
        frames = [frame for stream in streams for frame in stream.waiting]
        for stream in streams:
            stream.done += len(stream.waiting)
            stream.waiting.clear()
    for frame in frames:
        frame.future.cancel()
