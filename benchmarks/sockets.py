# SPDX-License-Identifier: MIT
"""Many WebSockets from one thread with hardly any work, for benchmarks/streams.py.

Frames are made and masked before; to send one is one system call, and so is to read an answer. It
sleeps and does not wait for answers, which would wake it for each: that costs the server more than
the answer. So an answer is found up to a millisecond late, and counts as that.
"""

import base64
import os
import select
import socket
import time
from array import array

import numpy as np


class Clients:
    """Streams of a server on this machine, of int16 frames and answers of one float.

    payloads    (streams, samples) int16: the frame of each stream, sent again and again
    period      seconds between two of them
    gather      seconds between two looks at what is due
    """

    def __init__(self, port, payloads, period, gather):
        self.period, self.gather = period, gather
        self.masked = [self._masked(row.tobytes()) for row in payloads]
        self.sockets = [self._connected(port) for _ in payloads]
        self.fds = [each.fileno() for each in self.sockets]
        self.poll = select.epoll()
        self.number = {}
        for i, fd in enumerate(self.fds):
            self.number[fd] = i
            self.poll.register(fd, select.EPOLLIN | select.EPOLLET)
        self.unsent = {}  # {fd: bytes} that the socket did not take
        self.rest = {}  # {fd: bytes} of an answer that is not whole

    @staticmethod
    def _masked(data):
        mask, bytes_ = os.urandom(4), np.frombuffer(data, np.uint8)
        masked = bytes_ ^ np.resize(np.frombuffer(mask, np.uint8), len(data))
        return b"\x82\xfe" + len(data).to_bytes(2, "big") + mask + masked.tobytes()

    @staticmethod
    def _connected(port):
        made = socket.create_connection(("127.0.0.1", port), 60)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        made.sendall(
            "GET /stream?format=int16&answer=binary HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        got = b""
        while True:  # the end of the handshake, and the server's hello
            got += made.recv(4096) or b"closed\r\n\r\n  "
            head, blank, rest = got.partition(b"\r\n\r\n")
            if blank and not head.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(got.decode(errors="replace"))
            if len(rest) >= 4:
                size = 2 + rest[1] if rest[1] < 126 else 4 + int.from_bytes(rest[2:4], "big")
                if len(rest) >= size:
                    made.setblocking(False)
                    return made

    def run(self, seconds):
        """How late each answer was, in seconds, by when its frame was due."""
        n, late, count = len(self.fds), array("d"), [0] * len(self.fds)
        start = time.perf_counter() + 0.05
        begins = [start + i * self.period / n for i in range(n)]
        at, end = 0, round(seconds / self.period) * n
        until = start + 2 * seconds + 5
        while len(late) < end:
            now = time.perf_counter()
            if now > until:
                break
            while at < end and begins[at % n] + at // n * self.period <= now:
                self._send(self.fds[at % n], self.masked[at % n])
                at += 1
            for fd, _ in self.poll.poll(0, n):
                i, answers = self.number[fd], self._answers(fd)
                now = time.perf_counter()
                for _ in range(answers):
                    late.append(now - begins[i] - count[i] * self.period)
                    count[i] += 1
            time.sleep(self.gather)
        return late

    def _send(self, fd, data):
        if fd in self.unsent:
            data = self.unsent.pop(fd) + data
        try:
            sent = os.write(fd, data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.unsent[fd] = data[sent:]

    def _answers(self, fd):
        """How many answers came: messages of four bytes. Pings are answered."""
        data = os.read(fd, 65536)  # all that is there, if it keeps up at all
        if self.rest:
            data = self.rest.pop(fd, b"") + data
        if len(data) == 6 and data[0] == 0x82:
            return 1
        found = 0
        while len(data) >= 2 and len(data) >= 2 + data[1]:
            first, part, data = data[0], data[2 : 2 + data[1]], data[2 + data[1] :]
            if first == 0x82 and len(part) == 4:
                found += 1
            elif first == 0x89:
                self._send(fd, bytes((0x8A, 0x80 | len(part))) + bytes(4) + part)
            else:
                raise RuntimeError(f"the server sent {first:#x} {part!r}")
        if data:
            self.rest[fd] = data
        elif not found and first != 0x89:
            raise RuntimeError("the server closed a connection")
        return found

    def close(self):
        for each in self.sockets:
            each.close()
        self.poll.close()
