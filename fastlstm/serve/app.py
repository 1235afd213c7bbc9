# SPDX-License-Identifier: MIT
"""The ASGI application: a WebSocket is a stream.

    /stream?format=float32|int16&answer=json|binary   a WebSocket: one binary message is one frame,
                                                      one message back is its outputs
    /           the page          /healthz    JSON, 503 while it ends       /metrics    Prometheus

A client that does something wrong is told what in the close frame's reason and loses its own stream
alone: 1003 text instead of bytes, 1007 no frame, 1008 too fast, idle or too slow a reader, 1009 too
large. A connection is refused with 401 (no token), 403 (another site's page, another host), 400 or
503 (full, or ending). Each connection has one frame in the pool at a time: who sends faster than
that waits in TCP.
"""

import asyncio
import collections
import contextlib
import hmac
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import prometheus_client
from prometheus_client import core
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from ..pool import PoolFull
from .served import ANSWERS, FORMATS

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class Wrong(Exception):
    """A client's fault: the close code and the reason."""


class Connection:
    def __init__(self, id):
        self.id, self.task, self.receiving = id, asyncio.current_task(), False


class Server:
    """served    a Served             token      None: everybody may connect
    hosts        without a token: names that requests may come to; None: any
    rate         frames a second that a stream may send, with a second's worth at once
    idle         seconds without a frame after which a stream is closed
    patience     seconds that a client may take to read an answer
    sample_rate  of the page's microphone
    """

    def __init__(self, served, *, token=None, hosts=None, rate=1000.0, idle=60.0, patience=10.0,
                 sample_rate=16000):  # fmt: skip
        self.served, self.pool, self.token, self.hosts = served, served.pool, token, hosts
        self.rate, self.idle, self.patience = rate, idle, patience
        self.sample_rate = sample_rate
        self.connections, self.ending = set(), False
        self._done = collections.deque()  # (the loop's future, the pool's), not yet delivered
        self._woken = False  # the loop will deliver
        self.refused, self.faults = {}, {}  # {status or code: how many}
        self.registry = prometheus_client.CollectorRegistry()
        self.registry.register(self)
        self.page = Path(__file__).with_name("page.html").read_text("utf-8")
        self.app = Starlette(
            routes=[
                Route("/", self.index),
                Route("/healthz", self.healthz),
                Route("/metrics", self.metrics),
                WebSocketRoute("/stream", self.stream),
            ]
        )

    # ---- who may

    def _refusal(self, request):
        """(status, text) for who may not connect, else None. Without a token a page of another
        site, which the browser of somebody here shows, could; it cannot know a token."""
        if self.token is None:
            host, origin = (request.headers.get(name) for name in ("host", "origin"))
            try:
                name, site = urlsplit(f"//{host}").hostname, urlsplit(origin or "").netloc
            except ValueError:
                return 403, "no host's name"
            if self.hosts is not None and name not in self.hosts:
                return 403, "this server answers to " + ", ".join(sorted(self.hosts))
            if origin is not None and site != host:
                return 403, "pages of other sites may not connect"
        else:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":  # a browser cannot set the header of a WebSocket
                offered = request.headers.get("sec-websocket-protocol", "").split(",")
                given = next(
                    (p.strip()[7:] for p in offered if p.strip().startswith("bearer.")), ""
                )
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return 401, "a bearer token is due"
        return None

    # ---- HTTP

    async def index(self, request):
        policy = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(self.page, headers=policy)

    async def healthz(self, request):
        found = {"status": "ending" if self.ending else "ok", "streams": len(self.connections)}
        return JSONResponse(found, 503 if self.ending else 200)

    async def metrics(self, request):
        refusal = self._refusal(request)
        if refusal:
            return PlainTextResponse(refusal[1], refusal[0])
        text = prometheus_client.generate_latest(self.registry)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    def collect(self):
        """For prometheus_client."""
        found = self.pool.metrics()
        for name, text in (("open", "streams"), ("capacity", "streams"), ("waiting", "frames")):
            yield core.GaugeMetricFamily(f"fastlstm_{name}_{text}", f"{text}, {name}", found[name])
        for name in ("frames", "batches", "rejected"):
            text = f"{name} since the start"
            yield core.CounterMetricFamily(f"fastlstm_{name}", text, found[name])
        for name, counts in (("refused", self.refused), ("closed", self.faults)):
            text = f"connections {name}, by code"
            family = core.CounterMetricFamily(f"fastlstm_{name}", text, labels=["code"])
            for code, n in counts.items():
                family.add_metric([str(code)], n)
            yield family
        latency, total, buckets = found["latency"], 0, []
        for bound, n in zip((*latency["bounds"], "+Inf"), latency["counts"], strict=True):
            total += n
            buckets.append((str(bound), total))
        family = core.HistogramMetricFamily(
            "fastlstm_latency_seconds", "of a frame, from its arrival in the pool to its outputs"
        )
        family.add_metric([], buckets, latency["sum"])
        yield family

    # ---- a stream

    async def stream(self, socket):
        refusal, query = self._refusal(socket), socket.query_params
        format, answer = query.get("format", "float32"), query.get("answer", "json")
        if refusal is None and (format not in FORMATS or answer not in ANSWERS):
            refusal = 400, f"format: {', '.join(FORMATS)}; answer: {', '.join(ANSWERS)}"
        if refusal is None and self.ending:
            refusal = 503, "this server is ending"
        if refusal is None:
            try:
                connection = Connection(self.pool.open())
            except PoolFull as error:
                refusal = 503, str(error)
        if refusal is not None:
            self.refused[refusal[0]] = self.refused.get(refusal[0], 0) + 1
            await socket.send_denial_response(PlainTextResponse(refusal[1], refusal[0]))
            return
        self.connections.add(connection)
        try:
            offered = socket.headers.get("sec-websocket-protocol", "")
            await socket.accept("fastlstm" if "fastlstm" in offered else None)
            code, reason = await self._closing(self._talk(socket, connection, format, answer))
            self.faults[code] = self.faults.get(code, 0) + 1
            async with asyncio.timeout(self.patience):
                await socket.close(code, reason)
        except (WebSocketDisconnect, TimeoutError, RuntimeError):
            pass  # the client is gone
        finally:
            self.connections.discard(connection)
            asyncio.get_running_loop().run_in_executor(None, self._end, connection.id)

    def _end(self, id):
        with contextlib.suppress(ValueError, RuntimeError):  # closed already, or the pool is
            self.pool.close(id)

    async def _closing(self, talk):
        """(code, reason) with which a conversation ends, whoever ends it."""
        try:
            await talk
        except Wrong as wrong:
            return wrong.args
        except asyncio.CancelledError:
            if not self.ending:
                raise
            asyncio.current_task().uncancel()
        return 1001, "this server is ending"

    async def _talk(self, socket, connection, format, answer):
        """Frames in, outputs out, until the server ends; Wrong, or WebSocketDisconnect."""
        served, before = self.served, self.served.context_at_start()
        hello = {
            "frame": served.shape, "format": format, "answer": answer, "outputs": served.names,
            "sample_rate": self.sample_rate,
        }  # fmt: skip
        await self._send(socket, json.dumps(hello))
        credit, last = max(self.rate, 1.0), time.monotonic()
        number = 0
        while not self.ending:
            connection.receiving = True
            try:
                async with asyncio.timeout(self.idle):
                    message = await socket.receive()
            except TimeoutError:
                raise Wrong(1008, f"no frame in {self.idle:g} seconds") from None
            finally:
                connection.receiving = False
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code") or 1005)
            now = time.monotonic()
            credit, last = min(credit + (now - last) * self.rate, max(self.rate, 1.0)) - 1, now
            if credit < 0:
                raise Wrong(1008, f"more than {self.rate:g} frames a second")
            if message.get("bytes") is None:
                raise Wrong(1003, "frames are binary messages")
            try:
                frame, before = served.frame(message["bytes"], format, before)
                future = self.pool.submit(connection.id, frame)
            except ValueError as error:
                raise Wrong(1007, str(error)[:120]) from None
            except RuntimeError:  # the pool has ended, since the frame came
                return
            try:
                made = await self._result(future)
            except MemoryError:
                raise Wrong(1011, "no memory for this frame") from None
            await self._send(socket, served.answer(number, made, answer))
            number += 1

    async def _result(self, future):
        """The result of a pool's future. The loop is woken once for a batch: asyncio.wrap_future
        writes to its pipe for each frame, which took a quarter of the server's time."""
        loop = asyncio.get_running_loop()
        own = loop.create_future()

        def done(future):  # in the pool's thread, or here if the result is there already
            self._done.append((own, future))
            if not self._woken:  # two threads at once may both see False: one call too many
                self._woken = True
                loop.call_soon_threadsafe(self._deliver)

        future.add_done_callback(done)
        return await own

    def _deliver(self):
        self._woken = False  # before the queue is emptied: what comes later wakes the loop again
        while self._done:
            own, future = self._done.popleft()
            if not own.done():  # its client is still there
                error = future.exception()
                own.set_result(future.result()) if error is None else own.set_exception(error)

    async def _send(self, socket, data):
        try:
            async with asyncio.timeout(self.patience):
                await (socket.send_text if isinstance(data, str) else socket.send_bytes)(data)
        except TimeoutError:
            raise Wrong(1008, "answers are not read") from None

    async def end(self, seconds=30.0):
        """Takes nothing more, answers what was taken, says goodbye; at most so many seconds."""
        self.ending = True
        for connection in list(self.connections):
            if connection.receiving:
                connection.task.cancel()
        # What waits for others to join its batch is done now.
        asyncio.get_running_loop().run_in_executor(None, self.pool.shutdown)
        until = time.monotonic() + seconds
        while self.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
