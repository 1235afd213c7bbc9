# SPDX-License-Identifier: MIT
"""uvicorn around the application: sockets, TLS, signals and an end that loses no answer."""

import asyncio

import uvicorn

from .app import Server

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
        await self.server.end()
        self.should_exit = True


def configured(server, host, port, certificate=None, key=None):
    """The uvicorn.Config of a Server."""
    return uvicorn.Config(
        server.app, host=host, port=port, log_level="warning", access_log=False, lifespan="off",
        ws_max_size=max(4 * server.served.numbers, 1024), ws_max_queue=4, ws_ping_interval=20,
        ws_ping_timeout=20, ws_per_message_deflate=False, server_header=False,
        timeout_graceful_shutdown=5, ssl_certfile=certificate, ssl_keyfile=key,
    )  # fmt: skip


def serve(served, *, host="127.0.0.1", port=8000, token=None, certificate=None, key=None,
          started=None, **limits):  # fmt: skip
    """Serves until SIGINT or SIGTERM. port 0: a free one. started: called with the URL. ValueError
    for a host that others reach without a token; OSError for a port that is taken."""
    if host not in LOOPBACK and token is None:
        raise ValueError(f"--host {host}: others reach it, so --token is due")
    hosts = set(LOOPBACK) if host in LOOPBACK else None
    server = Server(served, token=token, hosts=hosts, **limits)
    config = configured(server, host, port, certificate, key)
    config.load()
    socket = _bound(host, port)
    own = _Uvicorn(config, server)
    name = f"[{host}]" if ":" in host else host
    url = f"http{'s' if certificate else ''}://{name}:{socket.getsockname()[1]}/"

    async def run():
        if started:
            started(url)
        await own.serve(sockets=[socket])

    try:
        # uvloop where it is installed.
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(run())
    finally:
        served.pool.shutdown()


def _bound(host, port):
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    made.listen(2048)
    return made
