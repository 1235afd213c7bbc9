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
"""

import asyncio

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

FIN, CONTROL, CLOSE, RESERVED, MASKED = 0x80, 0x08, 0x08, 0x70, 0x80


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
        self.held, self.chunks = bytearray(), 0
        self.take = None  # f(mask and payload); None: everything is uvicorn's
        self.busy = False  # a frame went to `take` and is not answered
        self.given = self.handled = 0  # messages that went to the application, and are done
        self.fragmented = False  # more of a message is to come
        self.stopped = False  # reading is paused here
        self.full = None  # a timer: so long may the client take to read its answers
        self.cut_off = None  # a timer, from the application's end on
        self.lost = False

    def attach(self, size, take, slow, patience):
        """Whole frames of `size` bytes go to take(4 bytes of mask + payload) from now on, and
        answers by `answer`. slow: called when answers were not read for `patience` seconds. Does
        nothing if the client did not wait for the end of the handshake."""
        if self.chunks == 1:
            self.plain = header(0x82, size, MASKED)
            self.whole = len(self.plain) + 4 + size
            self.take, self.slow, self.patience = take, slow, patience

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
        text = isinstance(data, str)
        data = data.encode() if text else data
        if not self.transport.is_closing():  # else the client is gone
            self.transport.write(header(0x81 if text else 0x82, len(data)) + data)
        self.busy = False
        if self.held:
            self._go_on()

    def message_done(self):
        """The application is done with a message that came by ASGI."""
        self.handled += 1
        self._go_on()

    # ---- bytes

    def data_received(self, data):
        if self.take is None:
            self.chunks += 1
            self.inner.data_received(data)
        elif (
            len(data) == self.whole
            and data.startswith(self.plain)
            and not (self.held or self.busy or self.fragmented or self.full or self.cut_off)
            and self.given == self.handled
        ):
            self.busy = True
            self.take(bytes(data[len(self.plain) :]))
        else:
            self.held += data
            self._go_on()

    def _go_on(self):
        """Does with what is held what can be done now."""
        while self.held and self.take is not None:
            first, size = self.held[0], self._size()
            if size is None:
                break
            if size and self.cut_off:
                data = self._cut(size)
                if first & 0x0F == CLOSE:
                    self.inner.data_received(data)
                continue
            # What answers a ping is written too: not to who does not read.
            if size and first & CONTROL and first & 0x0F != CLOSE and not self.full:
                self.inner.data_received(self._cut(size))
                continue
            if not self.cut_off and (self.busy or self.full or self.given != self.handled):
                if not self.stopped:
                    self.stopped = True
                    self.transport.pause_reading()
                return
            if size == 0:  # uvicorn's protocol refuses it, and whatever follows
                self.take = None
                self.inner.data_received(bytes(self.held))
                self.held.clear()
                break
            if size == self.whole and self.held.startswith(self.plain) and not self.fragmented:
                self.busy = True
                self.take(self._cut(size)[len(self.plain) :])
            elif first & CONTROL:
                self.inner.data_received(self._cut(size))
            else:
                self.fragmented = not first & FIN
                self.given += not self.fragmented
                self.inner.data_received(self._cut(size))
        if self.stopped:
            self.stopped = False
            self.transport.resume_reading()

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
            self.full = loop.call_later(self.patience, self.slow)

    def resume_writing(self):
        self.inner.resume_writing()
        self._readable()
        self._go_on()

    def _readable(self):
        if self.full is not None:
            self.full.cancel()
            self.full = None
