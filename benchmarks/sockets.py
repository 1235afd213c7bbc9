# SPDX-License-Identifier: MIT
"""Many WebSockets from one thread with hardly any work, for benchmarks/streams.py.

Frames are made and masked before, and the loop that sends them and reads answers is C (sockets.c),
compiled as the clients are made: they share the server's CPUs, and what they take it has not. The
loop sleeps and does not wait for answers, which would wake it for each: that costs the server more
than the answer. So an answer is found up to a millisecond late, and counts as that.
"""

import base64
import ctypes
import os
import socket
import subprocess
import tempfile
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).with_suffix(".c")


class Ended(RuntimeError):
    """The server ended a stream that had done nothing wrong, as it may when it falls behind."""


def compiled():
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "sockets.so"
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE]
        subprocess.run(command, check=True)
        loaded = ctypes.CDLL(os.fspath(library))
    p, n, x = ctypes.c_void_p, ctypes.c_long, ctypes.c_double
    loaded.run.argtypes = p, p, p, n, ctypes.c_size_t, n, x, x, x, p
    loaded.run.restype, loaded.stream_bytes.restype = n, ctypes.c_size_t
    return loaded


class Clients:
    """Streams of a server on this machine, of int16 frames and answers of one float.

    payloads    (streams, samples) int16: the frame of each stream, sent again and again
    period      seconds between two of them
    gather      seconds between two looks at what is due
    """

    def __init__(self, port, payloads, period, gather):
        self.period, self.gather, self.library = period, gather, compiled()
        self.frames = np.stack([self._masked(row.tobytes()) for row in payloads])
        self.sockets = [self._connected(port) for _ in payloads]

    @staticmethod
    def _masked(data):
        mask, payload = os.urandom(4), np.frombuffer(data, np.uint8)
        masked = payload ^ np.resize(np.frombuffer(mask, np.uint8), len(data))
        head = b"\x82\xfe" + len(data).to_bytes(2, "big") + mask
        return np.concatenate([np.frombuffer(head, np.uint8), masked])

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
        """How late each answer was, in seconds, by when its frame was due. Ended: a stream was
        ended before."""
        count, frames = len(self.sockets), round(seconds / self.period)
        fds = np.array([each.fileno() for each in self.sockets], np.intc)
        late = np.zeros(count * frames)
        memory = np.zeros(count * self.library.stream_bytes(), np.uint8)
        found = self.library.run(
            memory.ctypes.data, fds.ctypes.data, self.frames.ctypes.data, count,
            self.frames.shape[1], frames, self.period, self.gather, 2 * seconds + 5,
            late.ctypes.data,
        )  # fmt: skip
        if found < 0:
            raise Ended(f"the server ended stream {-1 - found}, or sent what is no answer")
        return late[:found]

    def close(self):
        for each in self.sockets:
            each.close()
