# SPDX-License-Identifier: MIT
"""What needs a process of its own: resident memory of a call, import time, the wheel's size.

`python -m harness.probes memory PEER T,B,I,H[,layers[,directions]] THREADS` is the child's side;
it prints one line of JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

from . import environment  # noqa: F401 - before NumPy

HERE = Path(__file__).resolve().parent.parent
KIB = 1024


def _child(arguments, extra=None) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=HERE,
        env={**os.environ, **(extra or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"{' '.join(arguments[:4])}: {last[0]}")
    return done.stdout


# Memory


def _resident(field: str) -> int:
    """Bytes of VmRSS or VmHWM."""
    with open("/proc/self/status", encoding="ascii") as lines:
        for line in lines:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * KIB
    raise RuntimeError(f"no {field} in /proc/self/status")


def release_free_memory() -> None:
    """Give the allocator's free pages back (glibc), or they would hide what a call takes."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def memory_child(name: str, shape_text: str, threads: int) -> dict:
    """Peak of the resident memory within the first and the second call, above what stood before.

    Weights and input are resident before the call. The peak is set back through clear_refs; where
    that is not allowed, "reset" is false and the peak of the process so far may hide a part.
    """
    from peers import load_peers

    from .model import make_input, make_weights
    from .shapes import Shape

    shape = Shape.parse(shape_text)
    module = load_peers([name])[0][name]
    runner = module.build(make_weights(shape), shape, threads)
    runner.load(make_input(shape))
    runner.start()
    rises, reset = [], True
    for _ in range(2):
        runner.drop()
        release_free_memory()
        before = _resident("VmRSS")
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as control:
                control.write("5")
        except OSError:
            reset = False
        runner.call()
        rises.append(_resident("VmHWM") - before)
    return {"first": rises[0], "second": rises[1], "outputs": shape.output_bytes(), "reset": reset}


def memory_probe(name: str, shape_text: str, threads: int) -> dict:
    """`memory_child` in a fresh process; huge pages off, so that pages count as they are used."""
    out = _child(
        ["-m", "harness.probes", "memory", name, shape_text, str(threads)],
        {"NUMPY_MADVISE_HUGEPAGE": "0"},
    )
    return json.loads(out.splitlines()[-1])


MEMORY = ["100,1,512,512", "100,32,512,512", "1000,32,128,128"]
GROWTH = [("100,8,128,128", "1600,8,128,128"), ("100,8,128,128,2", "1600,8,128,128,2")]
MEMORY_EXTRA = 4 * 1024 * KIB
GROWTH_EXTRA = 256 * KIB


def memory_rows(ctx) -> list:
    """Resident memory a call adds beyond its outputs, and how that grows with T."""
    from .report import Row
    from .shapes import Shape

    rows = []

    def extra(name, text):
        found = memory_probe(name, text, ctx.threads)
        return max(found["first"], found["second"]) - found["outputs"], found

    for text in MEMORY:
        for name in ctx.peers:
            ctx.log(f"memory: {text} {name}")
            over, found = extra(name, text)
            row = Row("memory", str(Shape.parse(text)), name, detail=found)
            row.notes.append(f"{over / KIB:.0f} KiB beyond inputs and outputs")
            if not found["reset"]:
                row.notes.append("peak could not be reset")
            if name == "fastlstm":
                row.aim("MiB", over / KIB / KIB, "<=", MEMORY_EXTRA / KIB / KIB)
            rows.append(row)
    if "fastlstm" in ctx.peers:
        for short, long in GROWTH:
            ctx.log(f"memory growth: {short} -> {long}")
            grown = extra("fastlstm", long)[0] - extra("fastlstm", short)[0]
            row = Row("memory growth", str(Shape.parse(long)), "fastlstm")
            row.notes.append(f"{grown / KIB:+.0f} KiB against T = {short.split(',')[0]}")
            row.aim("KiB", grown / KIB, "<=", GROWTH_EXTRA / KIB)
            rows.append(row)
    return rows


# Import time

IMPORT_CODE = (
    "import time; begin = time.perf_counter(); import {0}; print(time.perf_counter() - begin)"
)


def import_rows(ctx) -> list:
    """Time of `import X` in fresh processes, alternating, against `import numpy`.

    Measured inside each process, so the interpreter's own start is not counted; the first round
    is dropped (files may come from disk, bytecode may be written).
    """
    import numpy as np

    from .report import Row

    names = ["numpy", *ctx.peers]
    ctx.log("import: " + ", ".join(names))
    times = {name: [] for name in names}
    for turn in range(ctx.rounds + 1):
        for name in names:
            seconds = float(_child(["-c", IMPORT_CODE.format(name)]))
            if turn:
                times[name].append(seconds)
    rows = []
    for name in names:
        row = Row("import", "", name, median=float(np.median(times[name])))
        row.detail = {"walls": times[name]}
        if name != "numpy":
            low, row.ratio, high = np.percentile(
                np.divide(times[name], times["numpy"]), [25, 50, 75]
            ).tolist()
            row.ratio_spread = (high - low) / row.ratio
            row.ratio_of = "this / numpy"
        if name == "fastlstm":
            row.aim("numpy", row.ratio, "<=", 1.3)
        rows.append(row)
    return rows


# The wheel


def wheel_rows(ctx) -> list:
    """The size of the newest wheel in dist/, where one has been built."""
    from .report import Row

    wheels = sorted(HERE.parent.glob("dist/*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        return [Row("wheel", "", "fastlstm", notes=["no wheel in dist/"])]
    size = wheels[-1].stat().st_size
    row = Row("wheel", "", "fastlstm", notes=[wheels[-1].name, f"{size} bytes"])
    row.aim("MB", size / 1e6, "<=", 1.5)
    return [row]


def main(arguments) -> None:
    if len(arguments) != 4 or arguments[0] != "memory":
        raise SystemExit(__doc__)
    print(json.dumps(memory_child(arguments[1], arguments[2], int(arguments[3]))))


if __name__ == "__main__":
    main(sys.argv[1:])
