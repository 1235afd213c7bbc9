# SPDX-License-Identifier: MIT
"""The sockets of connections whose frames go the short way, read by one epoll that the event loop
watches: a turn of the loop for all that have something, instead of a callback for each.

The loop wakes for what arrives after a quiet time. From then on it is not woken: it looks every
`delay` seconds, reads all that came and steps it as one batch, until a look finds nothing. A thread
that woke for each frame would find few of them each time, and its caches cold.
"""

import asyncio
import select

# The kernel tells of what arrives once. Who did not read it then knows that there is more.
EVENTS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET if hasattr(select, "epoll") else 0
ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR if hasattr(select, "epoll") else 0


class Sockets:
    """Made in the loop's thread, of Linux, and closed there.

    delay   seconds between two looks
    run     called after a look: steps what was read
    """

    def __init__(self, delay, run):
        self._poll, self._readable = select.epoll(), {}
        self._delay, self._run = delay, run
        self._loop, self._timer = asyncio.get_running_loop(), None
        self._loop.add_reader(self._poll.fileno(), self._wake)

    def add(self, fd, readable):
        """readable(ended): called when something has arrived, or the other side has ended."""
        self._poll.register(fd, EVENTS)
        self._readable[fd] = readable

    def remove(self, fd):
        if self._readable.pop(fd, None):  # else it is closed
            self._poll.unregister(fd)

    def _wake(self):
        """Something has come after a look that found nothing."""
        self._loop.remove_reader(self._poll.fileno())
        self._timer = self._loop.call_later(self._delay, self._look)
        self._read()

    def _look(self):
        begun, found = self._loop.time(), self._read()
        if found:
            self._timer = self._loop.call_at(begun + self._delay, self._look)
        else:
            self._timer = None
            self._loop.add_reader(self._poll.fileno(), self._wake)
        self._run()

    def _read(self):
        """Lets all read that have something; whether there was any."""
        found = self._poll.poll(0)
        for fd, events in found:
            readable = self._readable.get(fd)  # None: one before it has ended this one
            if readable is None:
                continue
            try:
                readable(bool(events & ENDED))
            except Exception as error:  # of one socket: the others are read, and looks go on
                context = {"message": "a socket was not read", "exception": error}
                self._loop.call_exception_handler(context)
        return bool(found)

    def close(self):
        self._loop.remove_reader(self._poll.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._readable.clear()
        self._poll.close()
