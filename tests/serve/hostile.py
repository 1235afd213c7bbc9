# SPDX-License-Identifier: MIT
"""Clients of a server of streams that do what they should not."""

import asyncio
import contextlib
import os
import socket
import struct
import urllib.request

import numpy as np
import pytest
import websockets

F32 = np.float32
SECONDS = 60  # whatever takes so long hangs


def get(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return answer.read().decode()


class Hostile:
    """Clients that do wrong, each in one way."""

    def __init__(self, url, token):
        self.address, self.token = url.replace("http", "ws") + "stream", token
        host, _, port = url.removeprefix("http://").strip("/").rpartition(":")
        self.at = host, int(port)

    def connect(self, **options):
        """Without pings of its own: on a busy machine websockets would end a slow reader, which
        reads no pong, before the server does."""
        options |= {"open_timeout": SECONDS, "ping_interval": None}
        headers = {"Authorization": f"Bearer {self.token}"}
        return websockets.connect(self.address, additional_headers=headers, **options)

    async def closed(self, ws, *codes):
        with pytest.raises(websockets.ConnectionClosed) as caught:
            while True:
                await ws.recv()
        if caught.value.rcvd is not None:
            assert caught.value.rcvd.code in codes, caught.value

    async def giant(self):
        async with self.connect(max_size=None) as ws:
            with contextlib.suppress(websockets.ConnectionClosed):
                await ws.send(bytes(1 << 22))
            await self.closed(ws, 1009)

    async def wrong_size(self):
        async with self.connect() as ws:
            await ws.send(b"abc")
            await self.closed(ws, 1007)

    async def text(self):
        async with self.connect() as ws:
            await ws.send("hello")
            await self.closed(ws, 1003)

    async def bad_token(self):
        for headers in ({}, {"Authorization": "Bearer no"}):
            with pytest.raises(websockets.InvalidStatus) as caught:
                await websockets.connect(
                    self.address, additional_headers=headers, open_timeout=SECONDS
                )
            assert caught.value.response.status_code == 401

    async def slow_reader(self):
        """Sends and does not read, until the server has ended one such client."""
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, self.at)
        async with self.connect(max_queue=1, sock=small) as ws:
            while not await self.some_reader_was_ended():
                with contextlib.suppress(websockets.ConnectionClosed, TimeoutError):
                    async with asyncio.timeout(0.3):
                        while True:
                            await ws.send(bytes(12))
                            await asyncio.sleep(0.001)
            ws.transport.abort()

    async def some_reader_was_ended(self):
        url, token = self.address.replace("ws", "http").removesuffix("stream"), self.token
        text = await asyncio.to_thread(get, url + "metrics", Authorization=f"Bearer {token}")
        return 'fastlstm_closed_total{code="1008"}' in text

    async def cut(self):
        """In the middle of a frame, and without a close."""
        async with self.connect() as ws:
            ws.transport.write(b"\x82\xfe\x10\x00abcd")  # of 4096 bytes that never come
            ws.transport.abort()

    async def reset(self):
        """The connection is reset in the middle of the handshake."""
        _, writer = await asyncio.open_connection(*self.at)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: local")
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    async def garbage(self):
        reader, writer = await asyncio.open_connection(*self.at)
        writer.write(os.urandom(3000) + b"\r\n\r\n")
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    KINDS = (giant, wrong_size, text, bad_token, slow_reader, cut, reset, garbage)
