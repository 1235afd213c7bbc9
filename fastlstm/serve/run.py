# SPDX-License-Identifier: MIT
"""uvicorn around the application: sockets, TLS, signals and an end that loses no answer."""

import asyncio
import functools
import gc

import uvicorn

from . import workers
from .app import Server
from .direct import Direct

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class _Uvicorn(uvicorn.Server):
    """The first signal ends the streams, then uvicorn; a second one ends it at once."""

    def __init__(self, config, server):
        super().__init__(config)
        self.server, self._ending = server, None

    def handle_exit(self, sig, frame):
        if self._ending is not None:
            self.should_exit = self.force_exit = True
            return
        self._ending = asyncio.run_coroutine_threadsafe(self._end(), asyncio.get_running_loop())

    async def _end(self):
        try:
            await self.server.end()
        finally:  # also where the model fails on the last batch
            self.should_exit = True


def configured(server, certificate=None, key=None):
    """The uvicorn.Config of a Server. Its pings keep the ways to clients open, and nobody is ended
    for a late pong: it comes behind frames that a server that fell behind has not read yet. Who
    vanished is ended by the Server's `idle`."""
    return uvicorn.Config(
        server.app, ws=Direct, log_level="warning", access_log=False,
        lifespan="off", ws_max_size=max(4 * server.served.numbers, 1024), ws_ping_interval=20,
        ws_ping_timeout=None, ws_per_message_deflate=False, server_header=False,
        timeout_graceful_shutdown=5, ssl_certfile=certificate, ssl_keyfile=key,
    )  # fmt: skip


def _check(host, token):
    if host not in LOOPBACK and token is None:
        raise ValueError(f"--host {host}: others reach it, so --token is due")


def serve(served, *, host="127.0.0.1", port=8000, started=None, token=None, **options):
    """Serves until SIGINT or SIGTERM. port 0: a free one. started: called with the URL. ValueError
    for a host that others reach without a token; OSError for a port that is taken."""
    _check(host, token)
    serve_on(lambda: _bound(host, port), served, host, started=started, token=token, **options)


def serve_on(bound, served, host, *, certificate=None, key=None, started=None, shared=None,
             **limits):  # fmt: skip
    """The same on the socket that bound() gives. shared: a workers.Shared, if this is a worker."""
    hosts = set(LOOPBACK) if host in LOOPBACK else None
    server = Server(served, hosts=hosts, shared=shared, **limits)
    config = configured(server, certificate, key)
    config.load()
    socket = bound()
    own = _Uvicorn(config, server)
    url = url_of(host, socket.getsockname()[1], certificate)

    async def run():
        sharing = asyncio.create_task(server.share())
        if started:
            started(url)
        await own.serve(sockets=[socket])
        sharing.cancel()
        if server.sockets is not None:
            server.sockets.close()

    gc.collect()
    gc.freeze()  # what is there now stays: looking through it would stop all streams for a while
    try:
        # uvloop where it is installed.
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(run())
    finally:
        gc.unfreeze()
        served.pool.shutdown()


def serve_workers(count, make, *, host="127.0.0.1", port=8000, certificate=None, key=None,
                  started=None, **options):  # fmt: skip
    """serve, in so many processes: make() gives each its Served, and is pickled. The exit code."""
    _check(host, options.get("token"))
    work = functools.partial(_work, make, host, {"certificate": certificate, "key": key, **options})
    told = started and (lambda port: started(url_of(host, port, certificate)))
    return workers.serve(work, count, host, port, told)


def _work(make, host, options, socket, shared, started):
    serve_on(lambda: socket, make(), host, shared=shared, started=started, **options)


def url_of(host, port, certificate):
    name = f"[{host}]" if ":" in host else host
    return f"http{'s' if certificate else ''}://{name}:{port}/"


def _bound(host, port):
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    made.listen(2048)
    return made
