# SPDX-License-Identifier: MIT
"""What a forward call would do on 1 to 64 cores, from its plan and from times of one core.

    python benchmarks/cores/simulate.py [--cores 1,2,4,8,16,32,64] [--l2 2] [--json FILE]

Few machines at hand have more than two cores, so this takes the division of the work from the core
itself (plan.c beside this file runs csrc/forward/plan.c as on a machine of so many CPUs), measures
how long a step of a block of rows takes one thread here, and plays the rule of csrc/forward/grid.h
through: a thread that is free takes a ready tile, of the uppermost layer first. Calls whose units
are split wait for each other after every step. Printed for each shape and number of cores:

    threads    that the plan uses
    speed-up   over one core; and the share of the time that a thread is at work
    waits      steps at whose end threads wait for each other, or times a thread found no tile
    MB a core  weights that come from beyond a core's second-level cache
    GB/s       of all cores together for them
    measured   the speed-up here, for as many cores as there are

What it leaves out: clocks that fall when more cores work, memory of another socket, and how the
third-level cache shares its bandwidth. The GB/s say when that matters.
"""

import argparse
import heapq
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import fastlstm

ROOT = Path(__file__).parents[2]
WAKE = 3e-6  # seconds from one worker's being woken to the next one's
STEP_END = 0.15e-6  # seconds for each other thread that a thread of split units waits for
LANES = 16
STEPS = 64  # of a call whose step is timed
SHAPES = [  # layers, directions, T, B, I, H
    (1, 1, 1000, 1, 256, 256), (1, 1, 100, 1, 1024, 1024), (2, 1, 100, 1, 512, 512),
    (4, 1, 100, 1, 256, 256), (1, 1, 100, 24, 300, 300), (1, 1, 100, 64, 256, 256),
    (2, 2, 100, 64, 256, 256), (4, 1, 100, 64, 512, 512), (1, 1, 50, 256, 512, 512),
    (1, 1, 50, 1024, 256, 256),
]  # fmt: skip


@dataclass
class Plan:
    threads: int
    blocks: int
    rows: int
    chunk: int
    open: int
    ring: int
    parts: int
    panels: int


@dataclass
class Found:
    layers: int
    dirs: int
    steps: int
    batch: int
    input: int
    hidden: int
    cores: int
    threads: int
    speedup: float
    busy: float
    waits: int
    mb_a_core: float
    gb_a_second: float
    measured: float | None = None


def plans(calls):
    """The Plan of each (cores, layers, dirs, T, B, I, H), for an LSTM in vectors of LANES."""
    lines = "".join(
        f"{cores} {cores} 0 {LANES} {layers} {dirs} {I} {H} {T} {B}\n"
        for cores, layers, dirs, T, B, I, H in calls
    )
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "plan"
        sources = [Path(__file__).with_name("plan.c"), ROOT / "csrc" / "forward" / "plan.c"]
        cc = shutil.which("cc") or sys.exit("there is no C compiler here")
        subprocess.run([cc, "-O1", f"-I{ROOT / 'csrc'}", *sources, "-o", program], check=True)
        out = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    return [Plan(*map(int, line.split())) for line in out.stdout.splitlines()]


def measure(shape, threads=(1,), seconds=0.3):
    """Seconds of a call here with each of the numbers of threads, calls taking turns.

    The least time of each: what a shared machine adds is not the core's."""
    layers, dirs, T, B, I, H = shape
    layer = fastlstm.LSTM(I, H, layers, bidirectional=dirs == 2)
    x = np.random.default_rng(0).uniform(-1, 1, (T, B, I)).astype(np.float32)
    times = {n: [] for n in threads}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[threads[0]]) < 5:
        for n in threads:
            begun = time.perf_counter()
            layer(x, num_threads=n)
            times[n].append(time.perf_counter() - begun)
    return {n: min(each) for n, each in times.items()}


def beyond(I, H, steps, share, stays, l2):
    """Bytes of weights that a tile of so many steps reads from beyond the second-level cache: of a
    share of a layer's units, whose weights the tile before on this core has read too if `stays`.

    The input's matrix is read once by a tile, the recurrent one by each of its steps.
    """
    column = 16 * math.ceil(H / LANES) * LANES * share
    matrices, recurrent = column * (I + H), column * H
    if matrices <= l2:
        return 0 if stays else matrices
    return column * I + recurrent * (steps if recurrent > l2 else 1)


def split(plan, shape, step, l2):
    """Split units: seconds, waits, busy seconds and bytes of the busiest thread."""
    layers, _, T, _, I, H = shape
    most = math.ceil(plan.panels / plan.parts) / plan.panels
    total = busy = waits = read = 0
    for layer in range(layers):
        wide = I if layer == 0 else H
        work = T * step(wide, plan.rows)
        end = (plan.parts - 1) * STEP_END * T
        total += work * most + end
        busy += work
        waits += T
        for first in range(0, T, plan.chunk):
            steps = min(plan.chunk, T - first)
            read += beyond(wide, H, steps, most, first > 0, l2)
    return total + WAKE, waits, busy, read


def grid(plan, shape, step, l2):
    """Tiles in csrc/forward/grid.h's order: seconds, times without a tile, busy seconds, bytes of
    the thread that reads the most."""
    layers, dirs, T, B, I, H = shape
    chunks = math.ceil(T / plan.chunk)
    tracks = [(layer, d) for layer in reversed(range(layers)) for d in range(dirs)]
    done = [dict.fromkeys(tracks, 0) for _ in range(plan.blocks)]
    taken = [set() for _ in range(plan.blocks)]
    slots = list(range(plan.open))
    begun = plan.open
    cached = [None] * plan.threads
    read = [0.0] * plan.threads
    busy = waits = 0
    rows = [(b + 1) * B // plan.blocks - b * B // plan.blocks for b in range(plan.blocks)]
    wide = {layer: I if layer == 0 else dirs * H for layer in range(layers)}

    def ready(block, layer, chunk):
        state = done[block]
        if dirs == 2:
            return layer == 0 or all(state[layer - 1, d] == chunks for d in (0, 1))
        below = layer == 0 or state[layer - 1, 0] > chunk
        return below and (layer == layers - 1 or state[layer + 1, 0] + plan.ring > chunk)

    def take(worker):
        """A ready tile as (block, track), or None."""
        for i in range(plan.open):
            block = slots[(worker + i) % plan.open]
            if block is None:
                continue
            for track in tracks:
                chunk = done[block][track]
                if track not in taken[block] and chunk < chunks and ready(block, track[0], chunk):
                    return block, track
        return None

    idle = set()
    events = [(WAKE * i, i, None) for i in range(plan.threads)]
    heapq.heapify(events)
    end = 0.0
    while events:
        now, worker, tile = heapq.heappop(events)
        starts = [(worker, None)]
        if tile:
            block, track = tile
            done[block][track] += 1
            taken[block].discard(track)
            end = now
            if all(done[block][t] == chunks for t in tracks):
                slots[slots.index(block)] = begun if begun < plan.blocks else None
                begun += 1
            # The thread goes on with its track if the next tile is ready; others may find one now.
            chunk = done[block][track]
            goes_on = chunk < chunks and ready(block, track[0], chunk)
            starts = [(worker, tile if goes_on else None)] + [(w, None) for w in sorted(idle)]
        for w, chosen in starts:
            chosen = chosen or take(w)
            if chosen is None:
                waits += w not in idle
                idle.add(w)
                continue
            idle.discard(w)
            b, track = chosen
            taken[b].add(track)
            left = min(plan.chunk, T - done[b][track] * plan.chunk)
            seconds = left * step(wide[track[0]], rows[b])
            read[w] += beyond(wide[track[0]], H, left, 1, cached[w] == track, l2)
            cached[w] = track
            busy += seconds
            heapq.heappush(events, (now + seconds, w, (b, track)))
    return end, waits, busy, max(read)


def simulate(plan, shape, cores, step, l2):
    layers, dirs, T, B, I, H = shape
    run = split if plan.parts > 1 else grid
    seconds, waits, busy, read = run(plan, shape, step, l2)
    return seconds, Found(
        layers, dirs, T, B, I, H, cores, plan.threads, 1.0, busy / seconds / plan.threads, waits,
        read / 1e6, read * plan.threads / seconds / 1e9,
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cores", default="1,2,4,8,16,32,64")
    parser.add_argument("--l2", type=float, default=2.0, help="MiB of a core's second-level cache")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cores = [int(n) for n in options.cores.split(",")]
    known = {}

    def step(I, H, rows):
        if (I, H, rows) not in known:
            known[I, H, rows] = measure((1, 1, STEPS, rows, I, H))[1] / STEPS
        return known[I, H, rows]

    calls = [(n, *shape) for shape in SHAPES for n in cores]
    found, alone = [], 1.0
    heads = "L, D, T, B, I, H|cores|threads|speed-up|at work|waits|MB a core|GB/s|measured"
    print(f"| {heads.replace('|', ' | ')} |\n| --- " + "| ---: " * 8 + "|")
    for (n, *shape), plan in zip(calls, plans(calls), strict=True):
        H = shape[5]
        seconds, row = simulate(plan, shape, n, lambda I, rows, H=H: step(I, H, rows),
                                options.l2 * 2**20)  # fmt: skip
        alone = seconds if n == cores[0] else alone
        row.speedup = alone / seconds
        if 1 < n <= len(os.sched_getaffinity(0)):
            here = measure(shape, (1, n))
            row.measured = here[1] / here[n]
        found.append(row)
        cells = [", ".join(map(str, shape)), n, row.threads, f"{row.speedup:.2f}"]
        cells += [f"{row.busy:.0%}", row.waits, f"{row.mb_a_core:.1f}", f"{row.gb_a_second:.1f}"]
        cells += [f"{row.measured:.2f}" if row.measured else ""]
        print(f"| {' | '.join(map(str, cells))} |")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
