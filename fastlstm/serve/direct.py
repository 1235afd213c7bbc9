# SPDX-License-Identifier: MIT
"""The WebSocket protocol that uvicorn runs, and beside it a short way for whole frames.

A message of a stream takes three turns of the event loop in uvicorn and Starlette: a queue, a task
and a dict both ways, some 60 us. Here the bytes of a client are looked at first. What is one whole
binary message of the size of a frame goes to the server by a plain call, and its answer to the
socket by another. Everything else (the handshake, messages in fragments, of other sizes, text,
pings, closing) goes on to uvicorn's protocol, one whole WebSocket frame at a time, and reaches the
application as ASGI has it.

    byte  0           1                  2 or 4 or 10   + 4
          FIN, opcode  mask bit, length   mask           payload, each byte XOR one of the mask's

On Linux, without TLS, the bytes do not come through the transport either, from the handshake to the
end: `sockets` tells of them, and they are read from the socket and answers written to it.
"""

import asyncio
import functools
import os

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

FIN, CONTROL, CLOSE, RESERVED, MASKED = 0x80, 0x08, 0x08, 0x70, 0x80
FRAMES = 16  # of WebSocket, of one client in a turn of the loop, at most some 30 us each
FRAGMENTS = 1024  # of a message; uvicorn keeps them, and bounds no more than their bytes


@functools.lru_cache(4096)
def header(first, size, mask=0):
    """What stands before a payload of so many bytes, without the mask itself."""
    if size < 126:
        return bytes((first, mask | size))
    if size < 1 << 16:
        return bytes((first, mask | 126)) + size.to_bytes(2, "big")
    return bytes((first, mask | 127)) + size.to_bytes(8, "big")


class Lent:
    """A Direct's transport as uvicorn's protocol has it. When to read from it Direct alone decides
    as long as it looks at the bytes first: uvicorn would go on reading when the application has
    taken a message, and what comes then would pile up in `held`."""

    def __init__(self, direct, transport):
        self._direct, self._transport = direct, transport

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def pause_reading(self):
        if self._direct.take is None:
            self._transport.pause_reading()

    def resume_reading(self):
        if self._direct.take is None:
            self._transport.resume_reading()


class Direct(asyncio.Protocol):
    """Made by uvicorn for each connection; the application finds it in its scope's state as
    "direct", and may `attach` when the handshake is done.

    One frame of a connection is under way at a time, by either way; the next one, or the bytes of
    it that came, waits in `held`, and more is not read from the socket.
    """

    def __init__(self, config, server_state, app_state, _loop=None):
        self.inner = WebSocketsSansIOProtocol(
            config, server_state, {**app_state, "direct": self}, _loop
        )
        self.most = config.ws_max_size
        self.held = bytearray()
        self.begun = False  # uvicorn's protocol has the handshake
        self.attached = False
        self.take = None  # f(mask and payload); None: everything is uvicorn's
        self.busy = False  # a frame went to `take` and is not answered
        self.given = self.handled = 0  # messages that went to the application, and are done
        self.fragments = 0  # that came of a message of which more is to come
        self.stopped = False  # reading is paused here
        self.full = None  # a timer: so long may the client take to read its answers
        self.cut_off = None  # a timer, from the application's end on
        self.lost = False
        self.fd, self.sockets = None, None  # of the socket, while it is read from here
        self.more = False  # it has bytes that were not read yet
        self.waits = False  # something is to be done in the loop's next turn

    def attach(self, size, take, fail, patience, sockets=None):
        """Whole frames of `size` bytes go to take(4 bytes of mask + payload) from now on, and
        answers by `answer`. fail(reason): ends the stream of who has not read answers for
        `patience` seconds, or sends too many fragments. sockets: a Sockets."""
        self.plain = header(0x82, size, MASKED)
        self.whole = len(self.plain) + 4 + size
        self.at_once = max(2 * self.whole, 4096)  # bytes to read in a turn of the loop, at most
        self.take, self.fail, self.patience = take, fail, patience
        self.attached = True
        if sockets is not None and self.transport.get_extra_info("sslcontext") is None:
            self.transport.pause_reading()
            self.fd = self.transport.get_extra_info("socket").fileno()
            self.sockets = sockets
            sockets.add(self.fd, self._readable_now)
        if self.held:
            self._later()

    def detach(self, patience):
        """The application is done with the connection. Of what still comes, the client's closing
        alone matters; and a client that has not closed, or not read what it was sent, is cut off
        after `patience` seconds: a transport that is closed waits for its reader for ever."""
        if self.cut_off is None and not self.lost:
            loop = asyncio.get_running_loop()
            self.cut_off = loop.call_later(patience, self.transport.abort)
            self._go_on()

    def answer(self, data):
        """The answer to the frame that was taken: bytes, or text."""
        if isinstance(data, str):
            data = data.encode()
            data = header(0x81, len(data)) + data
        else:
            data = header(0x82, len(data)) + data
        if not self.transport.is_closing():  # else the client is gone
            self._write(data)
        self.busy = False
        if self.held:
            self._go_on()
        elif self.more:
            self._readable_now()

    def _write(self, data):
        """What the socket does not take at once is the transport's, and what follows that."""
        if self.fd is not None and not self.transport.get_write_buffer_size():
            try:
                sent = os.write(self.fd, data)
            except BlockingIOError:
                sent = 0
            except OSError:  # the client is gone
                self._give_back()
                return
            if sent == len(data):
                return
            data = data[sent:]
        self.transport.write(data)

    def message_done(self):
        """The application is done with a message that came by ASGI."""
        self.handled += 1
        self._go_on()

    # ---- bytes

    def _readable_now(self, ended=False):
        """Reads what has come to the socket, unless a frame is under way: then it stays there, and
        its sender waits. At most `at_once` bytes in a turn of the loop, so that others have theirs.
        ended: the client has ended its side, which a read after the last byte will tell.
        """
        if self.fd is None:
            return
        if self.stopped or (self.busy and not self.cut_off):
            self.more = True
            return
        most = self.at_once if self.more else self.whole + 1
        try:
            data = os.read(self.fd, most)
        except BlockingIOError:
            self.more = False
            return
        except OSError:
            data = b""
        if not data:
            self._give_back()
            return
        self.more = ended or len(data) == most
        if len(data) == self.whole and self._is_frame(data):
            self.busy = True
            self.take(data[len(self.plain) :])
            return
        self.data_received(data)

    def _give_back(self):
        """The transport reads from now on: what has ended it finds out too."""
        if self.fd is not None:
            self.sockets.remove(self.fd)
            self.fd = None
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def data_received(self, data):
        if not self.begun:  # the whole handshake, from uvicorn's HTTP
            self.begun = True
            self.inner.data_received(data)
        elif not self.attached:  # from who does not wait for its end
            self.held += data
            self._stop()
        elif self.take is None:
            self.inner.data_received(data)
        elif len(data) == self.whole and self._is_frame(data):
            self.busy = True
            self.take(bytes(data[len(self.plain) :]))
        else:
            self.held += data
            self._go_on()

    def _is_frame(self, data):
        """Of bytes as many as a frame's: are they one, which is to be taken now?"""
        return (
            data.startswith(self.plain)
            and not (self.held or self.busy or self.fragments or self.full or self.cut_off)
            and self.given == self.handled
        )

    def _go_on(self):
        """Does with what is held what can be done now, FRAMES at most: others have their turns."""
        done = 0
        while self.held and self.take is not None:
            first, size = self.held[0], self._size()
            if size is None:
                break
            if done == FRAMES:
                self._stop()
                self._later()
                return
            done += 1
            if size and self.cut_off:
                data = self._cut(size)
                if first & 0x0F == CLOSE:
                    self.inner.data_received(data)
                continue
            # What answers a ping is written too: not to who does not read.
            if size and first & CONTROL and first & 0x0F != CLOSE and not self.full:
                self.inner.data_received(self._cut(size))
                continue
            if not self.cut_off and (
                self.busy or self.full or self.given != self.handled or self.fragments > FRAGMENTS
            ):
                self._stop()
                return
            if size == 0:  # uvicorn's protocol refuses it, and whatever follows
                self.take = None
                self._give_back()
                self.inner.data_received(bytes(self.held))
                self.held.clear()
                break
            if size == self.whole and self.held.startswith(self.plain) and not self.fragments:
                self.busy = True
                self.take(self._cut(size)[len(self.plain) :])
            elif first & CONTROL:
                self.inner.data_received(self._cut(size))
            else:
                self.fragments = 0 if first & FIN else self.fragments + 1
                if self.fragments > FRAGMENTS:
                    self.fail(f"a message in more than {FRAGMENTS} fragments")
                    continue
                self.given += not self.fragments
                self.inner.data_received(self._cut(size))
        if self.stopped:
            self.stopped = False
            if self.fd is None:
                self.transport.resume_reading()
        if self.more and not self.busy:
            self._later()

    def _stop(self):
        """Nothing is read until what is held has been done with."""
        if not self.stopped:
            self.stopped = True
            if self.fd is None:
                self.transport.pause_reading()

    def _later(self):
        """Goes on in the loop's next turn, with what is held or what the socket has."""
        if not self.waits:
            self.waits = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self):
        self.waits = False
        if self.stopped:
            self._go_on()
        else:
            self._readable_now()

    def _cut(self, size):
        data = bytes(self.held[:size])
        del self.held[:size]
        return data

    def _size(self):
        """Bytes of the WebSocket frame that is held first; None: they are not all there; 0: it is
        none, or too large."""
        held = self.held
        if len(held) < 2:
            return None
        at, length = 2, held[1] & 127
        if length > 125:
            at = 4 if length == 126 else 10
            if len(held) < at:
                return None
            length = int.from_bytes(held[2:at], "big")
        if held[0] & RESERVED or not held[1] & MASKED or length > self.most:
            return 0
        return at + 4 + length if len(held) >= at + 4 + length else None

    # ---- what else a transport tells

    def connection_made(self, transport):
        self.transport = transport
        self.inner.connection_made(Lent(self, transport))

    def connection_lost(self, exc):
        self.take, self.lost, self.stopped = None, True, False
        self.held.clear()
        if self.fd is not None:
            self.sockets.remove(self.fd)
            self.fd = None
        self._readable()
        if self.cut_off is not None:
            self.cut_off.cancel()
        self.inner.connection_lost(exc)

    def eof_received(self):
        return self.inner.eof_received()

    def pause_writing(self):
        self.inner.pause_writing()
        if self.take is not None and self.full is None:
            loop = asyncio.get_running_loop()
            self.full = loop.call_later(self.patience, self.fail, "answers are not read")

    def resume_writing(self):
        self.inner.resume_writing()
        self._readable()
        self._go_on()

    def _readable(self):
        if self.full is not None:
            self.full.cancel()
            self.full = None
