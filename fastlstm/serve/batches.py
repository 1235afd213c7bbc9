# SPDX-License-Identifier: MIT
"""Frames of many connections, stepped together in the event loop's own thread.

A thread of its own for the model would cost a future and two turns of the interpreter's lock for
each frame, more than a voice detector's step; and while it waits for the lock, answers wait too.
"""

import asyncio
import time

from ..pool.metrics import Metrics

# For each thread of the model. More in a step gain nothing, and leave its caches; and the first
# answers would wait for the last.
ROWS = 64


class Wrong(Exception):
    """A client's fault: the close code and the reason."""


class Connection:
    """id       of its stream in the pool              number   of its next frame
    place       of its samples in the Served           last     when a frame came, or it began
    receiving   its task waits for a message           gone     it takes no more answers
    wrong       a Wrong that its task is cancelled for
    """

    def __init__(self, id, format, kind, place, rate):
        self.id, self.format, self.kind, self.place = id, format, kind, place
        self.rate, self.most, self.last = rate, max(rate, 1.0), time.monotonic()
        self.credit = self.most
        self.task, self.number, self.direct = asyncio.current_task(), 0, None
        self.receiving = self.gone = False
        self.wrong = None

    def came(self):
        """A frame came; Wrong if it came too soon."""
        now = time.monotonic()
        earned, self.last = self.credit + (now - self.last) * self.rate, now
        self.credit = (earned if earned < self.most else self.most) - 1
        if self.credit < 0:
            raise Wrong(1008, f"more than {self.rate:g} frames a second")

    def fail(self, wrong):
        """Ends a connection whose task waits for a message."""
        if not self.gone:
            self.gone, self.wrong = True, wrong
            self.task.cancel()


class Batches:
    """served     a Served
    max_delay     seconds that a frame waits at most for others
    connections   all that are open: when each has a frame here, nobody is waited for
    """

    def __init__(self, served, max_delay, connections):
        self.served, self.max_delay, self.connections = served, max_delay, connections
        self.waiting = []  # (Connection, mask and payload, future or None)
        self.metrics, self.ended = Metrics(), False
        self._timer = None
        self._soon = False  # it is not the timer that is waited for, but the loop's next turn

    def add(self, connection, given, future=None):
        """A frame, 4 bytes of mask and the payload. Its answer goes to the future, or else to
        connection.direct."""
        self.waiting.append((connection, given, future))
        if self._timer is None or len(self.waiting) >= len(self.connections):
            self.look()

    def look(self):
        """Sees to it that a batch begins when it is due."""
        if not self.waiting or self._soon:
            return
        loop = asyncio.get_running_loop()
        if len(self.waiting) >= len(self.connections):
            if self._timer is not None:
                self._timer.cancel()
            self._soon, self._timer = True, loop.call_soon(self.run)
        elif self._timer is None:
            self._timer = loop.call_later(self.max_delay, self.run)

    def run(self):
        """Steps what waits, and hands the answers on."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._soon = None, False
        batch, self.waiting = self.waiting, []
        batch = [each for each in batch if not each[0].gone]
        most = ROWS * self.served.threads
        while batch:
            now, batch = batch[:most], batch[most:]
            try:
                self._step(now)
            except BaseException:
                self.waiting[:0] = batch
                self.look()
                raise

    def _step(self, batch):
        served, connections = self.served, [each[0] for each in batch]
        x, finite = served.frames([each[1] for each in batch], connections)
        if not finite.all():
            for each, fine in zip(batch, finite, strict=True):
                if not fine:
                    self._fail(each, Wrong(1007, "a frame must be finite numbers"))
            x, batch = x[finite], [b for b, fine in zip(batch, finite, strict=True) if fine]
            connections = [each[0] for each in batch]
            if not batch:
                return
        try:
            outputs = served.step([c.id for c in connections], x)
        except BaseException as error:
            if self.ended and isinstance(error, RuntimeError):
                return
            known = isinstance(error, MemoryError)
            says = "no memory for this frame" if known else "the model failed"
            for each in batch:
                self._fail(each, Wrong(1011, says))
            if known:
                return
            raise
        served.keep_context(x, connections)
        now = time.monotonic()
        self.metrics.batch([now - c.last for c in connections], len(batch))
        for (connection, _, future), data in zip(
            batch, served.answers(outputs, connections), strict=True
        ):
            connection.number += 1
            if future is None:
                connection.direct.answer(data)
            elif not future.done():
                future.set_result(data)

    @staticmethod
    def _fail(each, wrong):
        connection, _, future = each
        if future is None:
            connection.fail(wrong)
        elif not future.done():
            future.set_exception(wrong)
