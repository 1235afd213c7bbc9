# SPDX-License-Identifier: MIT
"""Several processes that serve one port, each with a model, a pool and an event loop of its own.

The kernel deals new connections out among them by their addresses (SO_REUSEPORT, as Linux has it).
This process takes none: it starts the others, hands a signal on, and starts another one for a
worker that died, whose streams are lost. What each worker counts lies in a folder, written every
second, so that whichever is asked for /metrics answers for all.
"""

import json
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from multiprocessing.connection import wait
from pathlib import Path

EVERY = 1.0  # seconds between two writings of a worker's counts
NOW = {"open", "capacity", "waiting"}  # of these, what is, not what was since the start


class Shared:
    """The counts of all workers, of which this is one. It goes on from what a dead one of its
    number has counted: a sum that fell would look like a start of all of them from nothing."""

    def __init__(self, folder, number):
        self.folder, self.own, self.before = Path(folder), f"{number}.json", {}
        if (self.folder / self.own).exists():
            left = json.loads((self.folder / self.own).read_text())
            self.before = {name: n for name, n in left.items() if name not in NOW}

    def write(self, counts):
        temporary = self.folder / f".{self.own}"
        temporary.write_text(json.dumps(_added(counts, self.before)))
        os.replace(temporary, self.folder / self.own)

    def total(self, counts):
        """Of this worker's counts of now and the others' of a moment ago."""
        counts = _added(counts, self.before)
        for path in self.folder.glob("[0-9]*.json"):
            if path.name != self.own:
                counts = _added(counts, json.loads(path.read_text()))
        return counts


def _added(a, b):
    if isinstance(a, dict):
        return {name: _added(a[name], b[name]) if name in a and name in b else (a | b)[name]
                for name in a | b}  # fmt: skip
    return list(map(_added, a, b)) if isinstance(a, list) else a + b


def check(count):
    """ValueError if there cannot be so many workers."""
    if count < 1:
        raise ValueError("--workers must be at least 1")
    if count > 1 and not sys.platform.startswith("linux"):
        raise ValueError("--workers: one port for several processes is Linux's")


def _bound(host, port, listen):
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if not listen:  # a port that others have is not to be shared with them
        probe = socket.socket(made.family)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        port = probe.getsockname()[1]
        probe.close()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((host, port))
    if listen:
        made.listen(2048)
    return made


def _work(work, host, port, number, folder, ready):
    """A worker, in a process of its own."""
    os.setpgrp()  # Ctrl-C is for the first process, which hands it on

    def outlived():
        multiprocessing.parent_process().join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=outlived, daemon=True).start()
    work(_bound(host, port, True), Shared(folder, number), lambda _: ready.send(True))


def serve(work, count, host, port, started):
    """work(socket, shared, started): what a worker does, to be pickled. started(port): called when
    all of them take connections. Gives the exit code."""
    context, running, ending = multiprocessing.get_context("spawn"), {}, False

    def end(*_):
        nonlocal ending
        ending = True
        for process, _ in running.values():
            process.terminate()

    def start(number):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_work, args=(work, host, taken.getsockname()[1], number, folder, theirs)
        )
        process.start()
        theirs.close()
        running[number] = process, mine
        if ending:  # the signal came meanwhile
            process.terminate()

    with _bound(host, port, False) as taken, tempfile.TemporaryDirectory() as folder:
        before = {s: signal.signal(s, end) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            for number in range(count):
                start(number)
            code, served = 0, set()
            while running:
                waited = {process.sentinel: n for n, (process, _) in running.items()}
                waited |= {mine: n for n, (_, mine) in running.items() if n not in served}
                for found in wait(list(waited)):
                    number = waited[found]
                    if number not in running:
                        continue
                    process, mine = running[number]
                    if number not in served and mine.poll() and _told(mine):
                        served.add(number)
                        if len(served) == count and started:
                            started(taken.getsockname()[1])
                            started = None
                    elif not process.is_alive():
                        del running[number]
                        if not ending and number in served:
                            served.discard(number)
                            start(number)
                            continue
                        if not ending:  # it never began: nor would another one
                            code = 1
                            end()
                        elif number in served and process.exitcode:
                            code = 1
            return code
        finally:
            end()
            for process, _ in running.values():
                process.join()
            for number, handler in before.items():
                signal.signal(number, handler)


def _told(mine):
    try:
        return mine.recv()
    except EOFError:  # it died
        return False
