# SPDX-License-Identifier: MIT
"""The sockets of connections whose frames go the short way, read by one epoll that the event loop
watches: a turn of the loop for all that have something, instead of a callback for each."""

import asyncio
import select

# The kernel tells of what arrives once. Who did not read it then knows that there is more.
EVENTS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET if hasattr(select, "epoll") else 0


class Sockets:
    """Made in the loop's thread, of Linux, and closed there."""

    def __init__(self):
        self._poll, self._readable = select.epoll(), {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._poll.fileno(), self._ready)

    def add(self, fd, readable):
        """readable(): called when something has arrived, or the other side has ended."""
        self._poll.register(fd, EVENTS)
        self._readable[fd] = readable

    def remove(self, fd):
        if self._readable.pop(fd, None):  # else it is closed
            self._poll.unregister(fd)

    def _ready(self):
        for fd, _ in self._poll.poll(0):
            readable = self._readable.get(fd)  # None: one before it has ended this one
            if readable is not None:
                readable()

    def close(self):
        self._loop.remove_reader(self._poll.fileno())
        self._readable.clear()
        self._poll.close()
