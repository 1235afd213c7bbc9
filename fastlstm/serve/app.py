# SPDX-License-Identifier: MIT
"""The ASGI application: a WebSocket is a stream.

    /stream?format=float32|int16&answer=json|binary   a WebSocket: one binary message is one frame,
                                                      one message back is its outputs
    /           the page          /healthz    JSON, 503 while it ends       /metrics    Prometheus

A client that does something wrong is told what in the close frame's reason and loses its own stream
alone: 1003 text instead of bytes, 1007 no frame, 1008 too fast, idle, too slow a reader or too many
fragments, 1009 too large, 1011 no memory. A connection is refused with 401 (no token), 403 (another
site's page, another host), 400 or 503 (full, or ending). Each connection has one frame under way at
a time: who sends faster than that waits in TCP. Under uvicorn with direct.Direct, frames go past
ASGI.
"""

import asyncio
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
from ..pool.metrics import BOUNDS
from .batches import Batches, Connection, Wrong
from .served import ANSWERS, FORMATS
from .sockets import EVENTS, Sockets
from .workers import EVERY

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class Server:
    """served    a Served             token      None: everybody may connect
    hosts        without a token: names that requests may come to; None: any
    rate         frames a second that a stream may send, with a second's worth at once
    idle         seconds without a frame after which a stream is closed
    patience     seconds that a client may take to read an answer
    sample_rate  of the page's microphone
    max_delay    seconds that a frame waits at most for those of other streams
    shared       a workers.Shared, if this is one of several processes
    """

    def __init__(self, served, *, token=None, hosts=None, rate=1000.0, idle=60.0, patience=10.0,
                 sample_rate=16000, max_delay=1e-3, shared=None):  # fmt: skip
        self.served, self.pool, self.token, self.hosts = served, served.pool, token, hosts
        self.rate, self.idle, self.patience = rate, idle, patience
        self.sample_rate, self.shared = sample_rate, shared
        self.connections, self.ending, self.sockets = set(), False, None
        self.batches = Batches(served, max_delay, self.connections)
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
        found = {"status": "ending" if self.ending else "ok", "streams": self.total()["open"]}
        return JSONResponse(found, 503 if self.ending else 200)

    async def metrics(self, request):
        refusal = self._refusal(request)
        if refusal:
            return PlainTextResponse(refusal[1], refusal[0])
        text = prometheus_client.generate_latest(self.registry)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    def counts(self):
        """What this process has counted: numbers, and lists and dicts of them."""
        pool, served = self.pool.metrics(), self.batches.metrics.as_dict()
        return {
            "open": pool["open"], "capacity": pool["capacity"], "rejected": pool["rejected"],
            "waiting": len(self.batches.waiting), "frames": served["frames"],
            "batches": served["batches"], "latencies": served["latency"]["counts"],
            "seconds": served["latency"]["sum"],
            "refused": {str(code): n for code, n in self.refused.items()},
            "closed": {str(code): n for code, n in self.faults.items()},
        }  # fmt: skip

    def total(self):
        """The counts of all workers."""
        return self.shared.total(self.counts()) if self.shared else self.counts()

    async def share(self):
        """Tells the other workers, as long as it runs."""
        while self.shared is not None:
            with contextlib.suppress(OSError):  # a full disk: the next time, then
                self.shared.write(self.counts())
            await asyncio.sleep(EVERY)

    def collect(self):
        """For prometheus_client."""
        found = self.total()
        for name, text in (("open", "streams"), ("capacity", "streams"), ("waiting", "frames")):
            yield core.GaugeMetricFamily(f"fastlstm_{name}_{text}", f"{text}, {name}", found[name])
        for name in ("frames", "batches", "rejected"):
            text = f"{name} since the start"
            yield core.CounterMetricFamily(f"fastlstm_{name}", text, found[name])
        for name in ("refused", "closed"):
            text = f"connections {name}, by code"
            family = core.CounterMetricFamily(f"fastlstm_{name}", text, labels=["code"])
            for code, n in found[name].items():
                family.add_metric([code], n)
            yield family
        total, buckets = 0, []
        for bound, n in zip((*BOUNDS, "+Inf"), found["latencies"], strict=True):
            total += n
            buckets.append((str(bound), total))
        family = core.HistogramMetricFamily(
            "fastlstm_latency_seconds", "of a frame, from when it was read to its outputs"
        )
        family.add_metric([], buckets, found["seconds"])
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
                id = self.pool.open()
            except PoolFull as error:
                refusal = 503, str(error)
        if refusal is not None:
            self.refused[refusal[0]] = self.refused.get(refusal[0], 0) + 1
            await socket.send_denial_response(PlainTextResponse(refusal[1], refusal[0]))
            return
        connection = Connection(id, format, answer, self.served.enter(), self.rate)
        self.connections.add(connection)
        try:
            offered = socket.headers.get("sec-websocket-protocol", "")
            await socket.accept("fastlstm" if "fastlstm" in offered else None)
            self._attach(socket, connection)
            code, reason = await self._closing(self._talk(socket, connection), connection)
            self.faults[code] = self.faults.get(code, 0) + 1
            async with asyncio.timeout(self.patience):
                await socket.close(code, reason)
        except (WebSocketDisconnect, TimeoutError, RuntimeError):
            pass  # the client is gone
        finally:
            connection.gone = True
            self.connections.discard(connection)
            with contextlib.suppress(ValueError, RuntimeError):  # the pool has ended
                self.pool.close(connection.id)
            self.served.leave(connection.place)
            if connection.direct is not None:
                connection.direct.detach(self.patience)
            self.batches.look()  # what waited for this stream alone waits no more

    def _attach(self, socket, connection):
        """Whole frames of this connection come by `take` from now on, if uvicorn runs Direct."""
        direct = socket.scope.get("state", {}).get("direct")
        if direct is None:
            return

        def take(given):
            if not (self.ending or connection.gone):
                try:
                    connection.came()
                except Wrong as wrong:
                    connection.fail(wrong)
                else:
                    self.batches.add(connection, given)

        def fail(reason):
            connection.fail(Wrong(1008, reason))

        connection.direct = direct
        if self.sockets is None and EVENTS:
            self.sockets = Sockets(self.batches.max_delay, self.batches.run)
        size = self.served.bytes[connection.format]
        direct.attach(size, take, fail, self.patience, self.sockets)

    async def _closing(self, talk, connection):
        """(code, reason) with which a conversation ends, whoever ends it."""
        try:
            await talk
        except Wrong as wrong:
            return wrong.args
        except asyncio.CancelledError:
            if not self.ending and connection.wrong is None:
                raise
            asyncio.current_task().uncancel()
        finally:
            connection.gone = True
        return connection.wrong.args if connection.wrong else (1001, "this server is ending")

    async def _talk(self, socket, connection):
        """Frames in, outputs out, until the server ends; Wrong, or WebSocketDisconnect."""
        hello = {
            "frame": self.served.shape, "format": connection.format, "answer": connection.kind,
            "outputs": self.served.names, "sample_rate": self.sample_rate,
        }  # fmt: skip
        await self._send(socket, json.dumps(hello))
        while not self.ending:
            message = await self._receive(socket, connection)
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code") or 1005)
            connection.came()
            data = message.get("bytes")
            if data is None:
                raise Wrong(1003, "frames are binary messages")
            try:
                self.served.check(data, connection.format)
            except ValueError as error:
                raise Wrong(1007, str(error)[:120]) from None
            future = asyncio.get_running_loop().create_future()
            self.batches.add(connection, bytes(4) + data, future)
            await self._send(socket, await future)
            if connection.direct is not None:
                connection.direct.message_done()

    async def _receive(self, socket, connection):
        """The next ASGI message; Wrong if meanwhile no frame came by any way for too long."""
        while (left := connection.last + self.idle - time.monotonic()) > 0:
            connection.receiving = True
            try:
                async with asyncio.timeout(left):
                    return await socket.receive()
            except TimeoutError:
                pass
            finally:
                connection.receiving = False
        raise Wrong(1008, f"no frame in {self.idle:g} seconds")

    async def _send(self, socket, data):
        try:
            async with asyncio.timeout(self.patience):
                await (socket.send_text if isinstance(data, str) else socket.send_bytes)(data)
        except TimeoutError:
            raise Wrong(1008, "answers are not read") from None

    async def end(self, seconds=30.0):
        """Takes nothing more, answers what was taken, says goodbye; at most so many seconds."""
        self.ending = True
        self.batches.run()
        self.batches.ended = True
        for connection in list(self.connections):
            if connection.receiving:
                connection.task.cancel()
        self.pool.shutdown()
        until = time.monotonic() + seconds
        while self.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
