# SPDX-License-Identifier: MIT
"""The short way of whole frames past ASGI, batches of many connections, and several workers."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import uvicorn
import websockets
from hostile import SECONDS, get
from test_serve import served
from websockets.frames import Frame, Opcode

import fastlstm
from fastlstm.serve import direct, run
from fastlstm.serve.app import Server
from fastlstm.serve.served import FORMATS, Served
from fastlstm.serve.workers import Shared

pytestmark = [pytest.mark.once]
F32 = np.float32


@pytest.fixture
def layer(tmp_path):
    lstm = fastlstm.LSTM(3, 4)
    lstm.save(tmp_path / "layer.safetensors")
    return tmp_path / "layer.safetensors", lstm


async def opened(url, query):
    """(reader, writer) of a WebSocket, behind the server's hello."""
    host, _, port = url.removeprefix("http://").strip("/").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /stream?{query} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    await message(reader)
    return reader, writer


async def message(reader):
    """(first byte, payload) of a short WebSocket frame that is not masked."""
    first, size = await reader.readexactly(2)
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
    return first, await reader.readexactly(size)


def masked(opcode, data, fin=True):
    return Frame(opcode, data, fin).serialize(mask=True)


def test_frames_in_any_pieces_have_the_bits_of_a_stream_alone(layer):
    """Whole messages and fragments of them, pings between, many in one piece and one in many: an
    answer for each in order, however the bytes arrive. Ends with what is no frame."""
    path, lstm = layer
    drawn, rng = random.Random(0), np.random.default_rng(0)
    x = rng.standard_normal((120, 3)).astype(F32)
    stream = lstm.stream()
    want = [stream.step(each[None]).tobytes() for each in x]
    data, pings = b"", 0
    for each in x:
        raw, kind = each.tobytes(), drawn.randrange(4)
        if kind == 0:
            at = drawn.randrange(13)
            data += masked(Opcode.BINARY, raw[:at], fin=False)
            if drawn.random() < 0.5:
                data += masked(Opcode.PING, b"between")
                pings += 1
            data += masked(Opcode.CONT, raw[at:])
        else:
            data += masked(Opcode.BINARY, raw)
        if kind == 1:
            data += masked(Opcode.PING, b"after")
            pings += 1

    async def talk(url):
        reader, writer = await opened(url, "answer=binary")

        async def send():
            at = 0
            while at < len(data):
                size = drawn.choice([1, 2, 5, 17, 18, 18, 40, 300])
                writer.write(data[at : at + size])
                at += size
                await asyncio.sleep(0)
                if drawn.random() < 0.2:
                    await asyncio.sleep(0.002)

        sending, answers, pongs = asyncio.create_task(send()), [], 0
        while len(answers) < len(want) or pongs < pings:
            first, payload = await message(reader)
            if first == 0x8A:
                assert payload in (b"between", b"after")
                pongs += 1
            else:
                assert first == 0x82
                answers.append(payload)
        assert answers == want
        await sending
        writer.write(masked(Opcode.BINARY, np.full(3, np.nan, F32).tobytes()))
        first, payload = await message(reader)
        assert first == 0x88 and payload[:2] == (1007).to_bytes(2, "big") and b"finite" in payload
        begun, more = (masked(opcode, b"", fin=False) for opcode in (Opcode.BINARY, Opcode.CONT))
        for wrong, code in [
            (begun + more * direct.FRAGMENTS, 1008),
            (b"\x82\x0c" + bytes(12), 1002),  # not masked
            (b"\xc2\x8c" + bytes(16), 1002),  # of an extension that there is not
            (b"\x83\x8c" + bytes(16), 1002),  # an opcode that there is not
            # A message within another one
            (masked(Opcode.BINARY, b"abcd", fin=False) + masked(Opcode.BINARY, bytes(12)), 1002),
            (b"\x82\xff" + (1 << 40).to_bytes(8, "big"), 1009),
            (b"\x82\xff" + b"\xff" * 8, 1009),
            (masked(Opcode.BINARY, bytes(16)), 1007),
        ]:
            reader, writer = await opened(url, "answer=binary")
            writer.write(masked(Opcode.BINARY, x[0].tobytes()) + wrong)
            assert await message(reader) == (0x82, want[0])
            while (got := await message(reader))[0] != 0x88:
                pass
            assert int.from_bytes(got[1][:2], "big") == code, wrong

    with served(path) as (_, url):
        asyncio.run(asyncio.wait_for(talk(url), SECONDS))


def test_a_piece_that_looks_like_a_frame(monkeypatch):
    """The rest of a frame and the beginning of the next, together as long as a frame, and the first
    bytes are those of one. And one frame at a time: the next is not read before the answer."""
    transport, taken, reading = types.SimpleNamespace(), [], []
    monkeypatch.setattr(direct, "WebSocketsSansIOProtocol", lambda *_: Quiet())
    transport.pause_reading = lambda: reading.append(False)
    transport.resume_reading = lambda: reading.append(True)
    transport.is_closing, transport.write = (lambda: False), (lambda data: None)
    made = direct.Direct(types.SimpleNamespace(ws_max_size=1024), None, {})
    made.connection_made(transport)
    made.data_received(b"the handshake")
    made.attach(12, taken.append, None, 1)
    first = bytes((0x82, 0x80 | 12)) + b"mask" + bytes((0x82, 0x80 | 12)) + bytes(10)
    other = bytes((0x82, 0x80 | 12)) + b"abcd" + b"x" * 12
    data = first + other
    for piece in (data[:6], data[6:24], data[24:]):
        made.data_received(piece)
    assert taken == [first[2:]] and reading == [False]
    made.answer(b"")
    assert taken == [first[2:], other[2:]] and reading == [False, True]


class Quiet:
    def connection_made(self, transport):
        pass

    def data_received(self, data):
        assert data == b"the handshake"


class Inner:
    """Stands for uvicorn's protocol, and keeps what it is given."""

    def __init__(self, *_):
        self.given = []

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.given.append(data)

    def pause_writing(self):
        pass

    resume_writing = pause_writing


@pytest.fixture
def attached(monkeypatch):
    """(a Direct for frames of 12 bytes, what happened to its transport)"""
    happened = []
    monkeypatch.setattr(direct, "WebSocketsSansIOProtocol", Inner)
    made = direct.Direct(types.SimpleNamespace(ws_max_size=1024), None, {})
    names = "pause_reading", "resume_reading", "abort"
    calls = {name: lambda name=name: happened.append(name) for name in names}
    made.connection_made(types.SimpleNamespace(**calls))
    made.data_received(b"the handshake")
    made.attach(12, lambda given: None, lambda: None, 1000)
    made.inner.given.clear()
    return made, happened


def test_uvicorn_does_not_read_on_while_a_message_waits(attached):
    """Else what a client sends while its messages are under way would pile up."""
    made, happened = attached
    text, other = masked(Opcode.TEXT, b"x"), masked(Opcode.TEXT, b"y")
    made.data_received(text + other)
    made.inner.transport.pause_reading()
    made.inner.transport.resume_reading()  # as it does when the application takes the first one
    assert made.inner.given == [text] and happened == ["pause_reading"]
    made.message_done()
    assert made.inner.given == [text, other] and happened == ["pause_reading", "resume_reading"]


def test_who_does_not_read_has_no_pings_answered(attached):
    made, happened = attached
    ping = masked(Opcode.PING, bytes(125))

    async def talk():
        made.pause_writing()
        made.data_received(ping)
        assert made.inner.given == [] and happened == ["pause_reading"]
        made.resume_writing()
        assert made.inner.given == [ping] and happened == ["pause_reading", "resume_reading"]

    asyncio.run(talk())


def test_the_end_of_a_faulty_client_is_heard_at_once(attached):
    """A message that the application is never done with, one that waits behind it, a close."""
    made, happened = attached
    text, close = masked(Opcode.TEXT, b"x"), masked(Opcode.CLOSE, b"\x03\xeb")

    async def talk():
        made.data_received(text + masked(Opcode.BINARY, bytes(12)))
        made.data_received(close)
        assert made.inner.given == [text] and set(happened) == {"pause_reading"}
        made.detach(1000)
        assert made.inner.given == [text, close] and happened[-1] == "resume_reading"

    asyncio.run(talk())


def test_nobody_is_ended_for_a_late_pong(layer):
    """Pings every 20 ms, as every 20 s, to a client that sends frames and no pong."""

    async def talk():
        config = run.configured(Server(Served(layer[0], streams=2)))
        config.ws_ping_interval = 0.02
        config.ws_ping_timeout = config.ws_ping_timeout and 0.02
        own, socket = uvicorn.Server(config), run._bound("127.0.0.1", 0)
        serving = asyncio.create_task(own.serve(sockets=[socket]))
        reader, writer = await opened(run.url_of(*socket.getsockname(), None), "answer=binary")
        kinds = []
        while kinds.count(0x89) < 5:
            writer.write(masked(Opcode.BINARY, bytes(12)))
            kinds.append((await message(reader))[0])
        assert {*kinds} == {0x82, 0x89}
        writer.close()
        own.should_exit = True
        await serving

    asyncio.run(asyncio.wait_for(talk(), SECONDS))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_who_never_reads_is_cut_off(layer):
    """A transport with something left to be sent does not end by being closed."""

    def sockets(process):
        folder = Path(f"/proc/{process.pid}/fd")
        return sum("socket:" in os.path.realpath(each) for each in folder.iterdir())

    async def talk(process, url):
        before = sockets(process)
        _, writer = await opened(url, "answer=json")
        assert sockets(process) > before
        frames = masked(Opcode.BINARY, bytes(12)) * 1000
        with contextlib.suppress(ConnectionError):
            while sockets(process) > before:
                with contextlib.suppress(TimeoutError):
                    writer.write(frames)
                    await asyncio.wait_for(writer.drain(), 0.05)
        writer.close()

    with served(layer[0], "--rate", "1e9", "--patience", "0.2") as (process, url):
        asyncio.run(asyncio.wait_for(talk(process, url), SECONDS))


def test_too_fast_by_the_short_way(layer):
    async def talk(url):
        reader, writer = await opened(url, "answer=binary")
        writer.write(masked(Opcode.BINARY, bytes(12)) * 50)
        answers = 0
        while (got := await message(reader))[0] != 0x88:
            answers += 1
        assert int.from_bytes(got[1][:2], "big") == 1008 and b"more than 5 frames" in got[1]
        assert answers >= 5

    with served(layer[0], "--rate", "5") as (_, url):
        asyncio.run(asyncio.wait_for(talk(url), SECONDS))


@pytest.mark.parametrize("context", [0, 5])
@pytest.mark.parametrize("numbers", [7, 8])
def test_batches_of_formats_and_kinds(numbers, context, rng):
    """Bytes of one connection after another, written out, beside those of all at once; with an odd
    number of bytes of 2 too, and frames that are not finite."""
    made = Served.__new__(Served)
    made.numbers, made.shape, made.context, made.names = numbers, (numbers,), context, ("y",)
    made.bytes = {"float32": 4 * numbers, "int16": 2 * numbers}
    made.before = rng.standard_normal((9, context)).astype(F32)
    connections, given, want = [], [], []
    for i in range(9):
        format = ("float32", "int16", "int16")[i % 3]
        x = rng.integers(-30000, 30000, numbers).astype(FORMATS[format][0])
        if i == 3:
            x[2] = np.inf
        kind, place = ("binary", "json")[i % 2], 8 - i
        connections.append(types.SimpleNamespace(format=format, place=place, kind=kind, number=i))
        mask = rng.integers(0, 256, 4).astype(np.uint8).tobytes()
        raw = bytes(b ^ mask[k % 4] for k, b in enumerate(x.tobytes()))
        given.append(mask + raw)
        want.append([*made.before[place], *(x / 32768 if format == "int16" else x)])
    for rows in (range(9), (0, 6), (1, 2, 4)):
        some = [connections[i] for i in rows]
        x, finite = made.frames([given[i] for i in rows], some)
        np.testing.assert_array_equal(x, np.array([want[i] for i in rows], F32))
        assert finite.tolist() == [i != 3 for i in rows]
        y = (x[:, :2].copy(), x[:, 2:4].copy())
        made.names = ("a", "b")
        for i, answer in zip(rows, made.answers(y, some), strict=True):
            a, b = (np.array(want[i][k : k + 2], F32) for k in (0, 2))
            if i % 2:
                assert f'"frame": {i}, "a": {a.tolist()}' in answer
            else:
                assert answer == a.tobytes() + b.tobytes()
        made.keep_context(x, some)
        for i, connection in zip(rows, some, strict=True):
            before = made.before[connection.place]
            assert before.tolist() == x[list(rows).index(i), -context:].tolist()[:context]
            before[:] = want[i][:context]


def test_frames_that_have_no_rows_go_by_stream(layer, rng):
    made = Served(layer[0], 3)
    assert made._by_rows
    ids, x = [made.pool.open() for _ in range(2)], rng.standard_normal((2, 3)).astype(F32)
    want = made.step(ids, x)
    for id in ids:
        made.pool.reset(id)
    made._by_rows = False
    assert made.step(ids, x)[0].tobytes() == want[0].tobytes()
    made.pool.shutdown()


def test_counts_of_workers_add_up(tmp_path):
    counts = {"frames": 3, "latencies": [1, 2], "closed": {"1000": 2}}
    other = {"frames": 4, "latencies": [0, 5], "closed": {"1000": 1, "1008": 1}}
    Shared(tmp_path, 1).write(other)
    own = Shared(tmp_path, 0)
    own.write({"frames": 1000, "open": 8})  # its own of a moment ago
    assert own.total(counts) == {
        "frames": 7, "latencies": [1, 7], "closed": {"1000": 3, "1008": 1},
    }  # fmt: skip
    # What a dead worker has counted is not lost; its streams are.
    after = Shared(tmp_path, 0)
    assert after.total({"frames": 2, "open": 1})["frames"] == 2 + 1000 + 4
    assert after.total({"frames": 2, "open": 1})["open"] == 1
    after.write({"frames": 2, "open": 1})
    assert Shared(tmp_path, 1).total({"frames": 1, "open": 0})["frames"] == 1 + 4 + 1002


def test_counts_are_written_again_after_a_full_disk(layer):
    served, written = Served(layer[0], 1), []

    class Full:
        def write(self, counts):
            written.append(counts)
            if len(written) == 3:
                server.shared = None  # ends it
            raise OSError(28, "No space left on device")

    server = Server(served, shared=Full())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastlstm.serve.app.EVERY", 0)
        asyncio.run(server.share())
    served.pool.shutdown()
    assert len(written) == 3


def test_a_model_that_fails_at_the_end_does_not_keep_it_from_ending():
    async def end():
        raise ArithmeticError

    made = object.__new__(run._Uvicorn)
    made.server, made.should_exit = types.SimpleNamespace(end=end), False
    with pytest.raises(ArithmeticError):
        asyncio.run(made._end())
    assert made.should_exit


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="--workers is for Linux")
def test_workers_share_a_port_and_one_that_dies_is_replaced(layer, rng):
    path, lstm = layer
    x = rng.standard_normal((3, 3)).astype(F32)
    stream = lstm.stream()
    want = [stream.step(each[None]).tobytes() for each in x]

    def workers(process):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return {int(p) for p in children if "spawn_main" in Path(f"/proc/{p}/cmdline").read_text()}

    async def talk(process, url):
        address = url.replace("http", "ws") + "stream?answer=binary"
        sockets = [await websockets.connect(address) for _ in range(24)]
        for ws in sockets:
            await ws.recv()
            for each, due in zip(x, want, strict=True):
                await ws.send(each.tobytes())
                assert await ws.recv() == due
        # Whichever is asked answers for all, the others' counts a second late.
        while "fastlstm_frames_total 72.0" not in (text := get(url + "metrics")):
            await asyncio.sleep(0.05)
        assert "fastlstm_open_streams 24.0" in text
        first = workers(process)
        assert len(first) == 2
        os.kill(min(first), signal.SIGKILL)
        while len(workers(process)) != 2 or workers(process) == first:
            await asyncio.sleep(0.05)
        lost = 0
        for ws in sockets:
            try:
                await ws.send(x[0].tobytes())
                await ws.recv()
            except websockets.ConnectionClosed:
                lost += 1
        assert 0 < lost < 24, "a worker that died has streams of its own alone"
        async with websockets.connect(address) as ws:
            await ws.recv()
            await ws.send(x[0].tobytes())
            assert await ws.recv() == want[0]
            process.send_signal(signal.SIGTERM)
            with pytest.raises(websockets.ConnectionClosed) as caught:
                await ws.recv()
            assert caught.value.rcvd.code == 1001
        for ws in sockets:
            await ws.close()

    with served(path, "--workers", "2") as (process, url):
        asyncio.run(asyncio.wait_for(talk(process, url), 2 * SECONDS))
        assert process.wait(SECONDS) == 0, process.stderr.read()
