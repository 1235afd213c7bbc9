# SPDX-License-Identifier: MIT
"""What needs a fresh process: resident memory, import time; and the size of the wheel.

`python -m fastlstm.bench.probes JSON` is the child's side of the memory probe: it prints one line
of JSON. forward.py says how the functions that end in _rows are called.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

import fastlstm

from . import stats
from .rows import Row
from .shapes import Shape

KIB = 1024
IMPORT_CODE = (
    "import time; begin = time.perf_counter(); import {0}; print(time.perf_counter() - begin)"
)


def child(arguments, **extra) -> str:
    """What a fresh Python prints; RuntimeError with its last line if it fails."""
    path = os.pathsep.join(
        filter(None, [str(Path(fastlstm.__file__).parents[1]), os.environ.get("PYTHONPATH")])
    )
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, **extra},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise RuntimeError(last[0])
    return done.stdout


# Memory


def _resident(name: str) -> int:
    """Bytes of VmRSS or VmHWM."""
    with open("/proc/self/status", encoding="ascii") as lines:
        for line in lines:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * KIB
    raise RuntimeError(f"no {name} in /proc/self/status")


def release_free_memory() -> None:
    """Give the allocator's free pages back (glibc), or they would hide what a call takes."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def memory_child(name: str, shape: dict, threads: int, way: str | None, carry: bool) -> dict:
    """{"peak", "first", "second", "outputs", "reset"}, bytes, of an engine called in one way (None:
    the first that peers names).

    "peak" is the process's, from its start to the end of two calls. "first" and "second" are the
    rise within each of the calls above what stood before it: weights and input are there already.
    For these the peak is set back through clear_refs; where that is not allowed, "reset" is false
    and the peak of the process so far may hide a part.
    """
    from .model import make_input, make_weights
    from .peers import load_peers

    shape = Shape(**shape)
    ways = load_peers([name])[0][name].ways(shape, threads, carry)
    runner = ways[way or next(iter(ways))](make_weights(shape))
    runner.load(make_input(shape))
    rises, reset, peak = [], True, _resident("VmHWM")
    for _ in range(2):
        runner.drop()
        release_free_memory()
        before = _resident("VmRSS")
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as control:
                control.write("5")
        except OSError:
            reset = False
        runner.once()
        rises.append(_resident("VmHWM") - before)
        peak = max(peak, _resident("VmHWM"))
    first, second = rises
    outputs = shape.output_bytes()
    return {"peak": peak, "first": first, "second": second, "outputs": outputs, "reset": reset}


def memory_probe(name: str, shape: Shape, threads: int, way=None, carry=False) -> dict:
    """`memory_child` in a fresh process; huge pages off, so that pages count as they are used."""
    arguments = {"name": name, "shape": shape.record(), "threads": threads}
    arguments |= {"way": way or None, "carry": carry}
    out = child(["-m", "fastlstm.bench.probes", json.dumps(arguments)], NUMPY_MADVISE_HUGEPAGE="0")
    return json.loads(out.splitlines()[-1])


def _extra(found: dict) -> int:
    return max(found["first"], found["second"]) - found["outputs"]


def memory_rows(case, ctx):
    """Resident memory a call adds beyond its inputs and outputs; with `case.than`, another shape,
    how much more that is than at the other shape (ours alone)."""
    rows = []
    for name in [name for name in ctx.peers if name == "fastlstm" or case.than is None]:
        if not ctx.peers[name].ways(case.shape, case.threads):
            continue
        found = memory_probe(name, case.shape, case.threads)
        over = _extra(found)
        row = Row(case.name, case.kind.name, name, shape=case.shape.record(), threads=case.threads)
        row.rss, row.detail = found["peak"], found
        if case.than is not None:
            over -= _extra(memory_probe(name, case.than, case.threads))
            row.notes.append(f"{over / KIB:+.0f} KiB against T = {case.than.T}")
        else:
            row.notes.append(f"{over / KIB:.0f} KiB beyond inputs and outputs")
        if not found["reset"]:
            row.notes.append("peak could not be reset")
        row.measured = {"MiB": over / KIB / KIB}
        rows.append(row)
    yield []
    return rows


# Import time


def import_rows(case, ctx):
    """Time of `import X` in fresh processes, alternating, against `import numpy`.

    Measured inside each process, so the interpreter's own start is not counted; the first round
    is dropped (files may come from disk, bytecode may be written). Warm files, then.
    """
    names = ["numpy", *ctx.peers]
    times = {name: [] for name in names}
    for number in range(ctx.rounds + 1):
        for name in names:
            seconds = float(child(["-c", IMPORT_CODE.format(name)]))
            if number:
                times[name].append(seconds)
    rows = []
    for name in names:
        row = Row(case.name, case.kind.name, name, p50=float(np.median(times[name])))
        row.walls, row.spread = times[name], stats.spread(times[name])
        if name != "numpy":
            row.ratio = stats.ratio(
                times[name], times["numpy"], "this / numpy", range(1, ctx.rounds)
            )
            row.measured = {"of import numpy": row.ratio.median}
        row.noisy = stats.doubts(row.spread, row.ratio)
        rows.append(row)
    yield []
    return rows


# The wheel


def packed_size() -> int:
    """Bytes of this package's files, compressed as pip's wheels are.

    The extension, the Python files and what they read; not the sources that are only built from,
    nor caches.
    """
    package = Path(fastlstm.__file__).parent
    files = [path for path in sorted(package.rglob("*")) if path.is_file()]
    files = [path for path in files if "__pycache__" not in path.parts]  # Numba's, too
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            if path.suffix not in (".pyx", ".pxd", ".pxi", ".c"):
                archive.write(path, path.relative_to(package.parent))
    return buffer.getbuffer().nbytes


def wheel_rows(case, ctx):
    """The size of a wheel of the package as it stands, but for a few lines of metadata."""
    size = packed_size()
    row = Row(case.name, case.kind.name, "fastlstm", notes=[f"{size} bytes packed"])
    row.measured = {"MB": size / 1e6}
    yield []
    return [row]


if __name__ == "__main__":
    print(json.dumps(memory_child(**json.loads(sys.argv[1]))))
