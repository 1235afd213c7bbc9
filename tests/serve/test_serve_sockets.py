# SPDX-License-Identifier: MIT
"""Connections that are read from their sockets, past the transport."""

import asyncio
import contextlib
import types
from socket import SHUT_WR, socketpair

import pytest
from hostile import SECONDS
from test_serve_direct import Inner, masked
from websockets.frames import Opcode

from fastlstm.serve import direct
from fastlstm.serve.sockets import EVENTS, Sockets

pytestmark = [pytest.mark.once, pytest.mark.skipif(not EVENTS, reason="there is no epoll")]


class Socket:
    """A transport of a socket, and what was asked of it."""

    def __init__(self, socket):
        self.socket, self.written, self.asked = socket, [], []

    def get_extra_info(self, name):
        return {"socket": self.socket}.get(name)

    def get_write_buffer_size(self):
        return sum(map(len, self.written))

    def is_closing(self):
        return False

    def write(self, data):
        self.written.append(data)

    def pause_reading(self):
        self.asked.append("pause_reading")

    def resume_reading(self):
        self.asked.append("resume_reading")

    def abort(self):
        self.asked.append("abort")


@pytest.fixture
def on_a_socket(monkeypatch):
    """f(a coroutine of a Direct for frames of 12 bytes that reads its socket, its transport, the
    other end of the socket, the list of what was taken)"""
    monkeypatch.setattr(direct, "WebSocketsSansIOProtocol", Inner)

    async def run(talk):
        ours, other = socketpair()
        made, transport, taken = (
            direct.Direct(types.SimpleNamespace(ws_max_size=1024), None, {}), Socket(ours), [],
        )  # fmt: skip
        sockets = Sockets(0, lambda: None)
        with ours, other:
            ours.setblocking(False)
            made.connection_made(transport)
            made.data_received(b"the handshake")
            made.attach(12, taken.append, transport.asked.append, 1000, sockets)
            made.inner.given.clear()
            await talk(made, transport, other, taken)
            made.connection_lost(None)
        sockets.close()

    monkeypatch.setattr(Inner, "connection_lost", lambda *_: None, raising=False)
    return lambda talk: asyncio.run(asyncio.wait_for(run(talk), SECONDS))


def test_frames_are_read_from_the_socket_one_at_a_time(on_a_socket):
    frames = [masked(Opcode.BINARY, bytes([n % 256]) * 12) for n in range(400)]

    async def talk(made, transport, other, taken):
        assert transport.asked == ["pause_reading"]
        other.sendall(b"".join(frames[:300]))  # more than is read at once
        for n in range(300):
            while len(taken) == n:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(taken) == n + 1 and taken[n] == frames[n][2:]
            made.answer(bytes([n % 256]))
            assert other.recv(4096) == b"\x82\x01" + bytes([n % 256])
        for n in range(300, 400):
            other.sendall(frames[n])
            while len(taken) == n:
                await asyncio.sleep(0)
            made.answer(bytes([n % 256]))
            assert other.recv(4096) == b"\x82\x01" + bytes([n % 256])
        assert transport.written == [] and transport.asked == ["pause_reading"]

    on_a_socket(talk)


def test_what_a_socket_does_not_take_is_the_transports(on_a_socket):
    async def talk(made, transport, other, taken):
        answer, read = bytes(100_000), b""
        while not transport.written:
            made.answer(answer)
        made.answer(b"behind it")
        assert transport.written[1:] == [b"\x82\x09behind it"]
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                read += other.recv(1 << 20)
        whole = direct.header(0x82, len(answer)) + answer
        read += transport.written[0]
        assert len(read) % len(whole) == 0 and read == whole * (len(read) // len(whole))

    on_a_socket(talk)


def test_an_end_beside_the_last_frame_is_seen(on_a_socket):
    """One event tells of both."""

    async def talk(made, transport, other, taken):
        other.sendall(masked(Opcode.BINARY, bytes(12)))
        other.shutdown(SHUT_WR)
        while not taken:
            await asyncio.sleep(0)
        assert transport.asked == ["pause_reading"]
        made.answer(b"read by who has ended")
        assert transport.asked == ["pause_reading", "resume_reading"] and made.fd is None

    on_a_socket(talk)


def test_a_socket_that_cannot_be_read_keeps_no_other_waiting():
    told, seen = [], []

    def fails(ended):
        raise ValueError("a fault")

    async def run():
        asyncio.get_running_loop().set_exception_handler(lambda _, found: told.append(found))
        ours, other = socketpair()
        second, peer = socketpair()
        sockets = Sockets(0, lambda: None)
        with ours, other, second, peer:
            sockets.add(ours.fileno(), fails)
            sockets.add(second.fileno(), lambda ended: seen.append(second.recv(100)))
            for n in range(3):
                other.sendall(b"a frame")
                peer.sendall(b"another")
                while len(seen) <= n:
                    await asyncio.sleep(0)
            sockets.close()

    asyncio.run(asyncio.wait_for(run(), SECONDS))
    assert seen == [b"another"] * 3
    assert {str(found["exception"]) for found in told} == {"a fault"}


@pytest.mark.parametrize("under_way", [False, True])
def test_the_transport_is_told_to_read_at_the_end(under_way, on_a_socket):
    """Which finds out how the connection has ended."""

    async def talk(made, transport, other, taken):
        if under_way:
            other.sendall(masked(Opcode.BINARY, bytes(12)))
            while not taken:
                await asyncio.sleep(0)
        other.close()
        await asyncio.sleep(0.01)
        if under_way:
            assert transport.asked == ["pause_reading"]
            made.answer(b"nobody reads it")
        assert transport.asked == ["pause_reading", "resume_reading"] and made.fd is None

    on_a_socket(talk)


@pytest.mark.parametrize("kind", ["pings", "fragments", "closes"])
def test_a_flood_leaves_others_their_turns(kind, on_a_socket):
    """Each takes tens of microseconds. A turn of the loop has a few of them, whatever has come."""
    first, more = (masked(opcode, b"", fin=False) for opcode in (Opcode.BINARY, Opcode.CONT))
    frames = {
        "pings": [masked(Opcode.PING, b"")] * 5000,
        "fragments": [first] + [more] * (direct.FRAGMENTS - 1),
        "closes": [masked(Opcode.CLOSE, b"")] * 5000,
    }[kind]

    async def talk(made, transport, other, taken):
        other.sendall(b"".join(frames))
        turns, most, before = 0, 0, 0
        while len(made.inner.given) < len(frames):
            await asyncio.sleep(0)
            most = max(most, len(made.inner.given) - before)
            before, turns = len(made.inner.given), turns + 1
        assert most <= direct.FRAMES and turns >= len(frames) // direct.FRAMES
        if kind == "fragments":
            other.sendall(masked(Opcode.CONT, b""))
            while made.given == 0:
                await asyncio.sleep(0)
            made.message_done()
        other.sendall(masked(Opcode.BINARY, bytes(12)))
        while not taken:
            await asyncio.sleep(0)

    on_a_socket(talk)


def test_what_comes_before_the_end_of_the_handshake_waits_for_it(monkeypatch):
    """And then goes the way of all else, with its bounds."""
    monkeypatch.setattr(direct, "WebSocketsSansIOProtocol", Inner)
    transport, frame, taken = Socket(None), masked(Opcode.BINARY, bytes(12)), []

    async def run():
        made = direct.Direct(types.SimpleNamespace(ws_max_size=1024), None, {})
        made.connection_made(transport)
        made.data_received(b"the handshake")
        made.data_received(frame + masked(Opcode.PING, b"") * direct.FRAMES)
        assert made.inner.given == [b"the handshake"] and transport.asked == ["pause_reading"]
        made.attach(12, taken.append, None, 1000)
        while len(made.inner.given) < direct.FRAMES:
            assert not made.inner.given[1:]
            await asyncio.sleep(0)
        assert taken == [frame[2:]] and len(made.inner.given) == direct.FRAMES
        while len(made.inner.given) == direct.FRAMES:
            await asyncio.sleep(0)
        assert made.held == b"" and transport.asked == ["pause_reading", "resume_reading"]

    asyncio.run(asyncio.wait_for(run(), SECONDS))


def test_a_message_without_an_end_is_ended(on_a_socket):
    """uvicorn would keep its fragments, of which it bounds the bytes alone: here there are none."""
    first, more = (masked(opcode, b"", fin=False) for opcode in (Opcode.BINARY, Opcode.CONT))
    last, most = masked(Opcode.CONT, b""), direct.FRAGMENTS

    async def talk(made, transport, other, taken):
        given = made.inner.given
        other.sendall(first + more * (most - 1) + last)
        while made.given == 0:
            await asyncio.sleep(0)
        assert len(given) == most + 1, "so many are a message"
        made.message_done()
        given.clear()
        other.sendall(first + more * (2 * most))
        while len(transport.asked) == 1:
            await asyncio.sleep(0)
        assert transport.asked[1:] == [f"a message in more than {most} fragments"]
        made.detach(1000)
        while made.held or made.more:
            await asyncio.sleep(0)
        assert len(given) == most and len(transport.asked) == 2

    on_a_socket(talk)


def test_what_comes_soon_after_waits_for_the_next_look():
    """A thread that wakes for each frame finds few of them each time, and its caches cold."""
    seen = []

    async def run():
        ours, other = socketpair()
        sockets = Sockets(1000, lambda: seen.append("a batch"))

        def readable(ended):
            seen.append(ours.recv(100))

        async def turns():
            for _ in range(20):
                await asyncio.sleep(0)

        with ours, other:
            sockets.add(ours.fileno(), readable)
            for _ in range(3):
                seen.clear()
                other.sendall(b"the first")
                while not seen:
                    await asyncio.sleep(0)
                other.sendall(b"the next")
                await turns()
                assert seen == [b"the first"]
                sockets._timer.cancel()
                sockets._look()
                assert seen == [b"the first", b"the next", "a batch"]
                await turns()
                sockets._timer.cancel()
                sockets._look()  # which finds nothing: what comes now is read at once
                assert seen[3:] == ["a batch"] and sockets._timer is None
            sockets.close()

    asyncio.run(run())


def test_after_the_end_nothing_is_read():
    """A connection may be removed later than the server closes all of them."""
    seen = []

    async def run():
        ours, other = socketpair()
        sockets = Sockets(0, lambda: None)
        with ours, other:
            sockets.add(ours.fileno(), lambda ended: seen.append(1))
            sockets.close()
            other.sendall(b"a frame")
            await asyncio.sleep(0.01)
            sockets.remove(ours.fileno())

    asyncio.run(run())
    assert not seen
