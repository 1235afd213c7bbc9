# SPDX-License-Identifier: MIT
"""Live streams of a voice detector: how late are answers, and how many streams are held?

    python benchmarks/streams.py [--streams 1000] [--seconds 60] [--search] [--engines ...]

Every stream has a frame of 32 ms (512 samples, and the 64 before them) every 32 ms, the streams'
beginnings spread evenly. A frame is late by the time from when it was due to when its probability
was there, also if nobody came to it: a generator that waits for answers would hide that. Engines:

    step        fastlstm's pool, `step` on what is due
    submit      the same pool, every frame by `submit`, answers by callbacks
    ort-one     ONNX Runtime, a stream at a time, on two threads
    ort-batch   ONNX Runtime, what is due as one batch, states gathered and scattered by hand
    server      `fastlstm serve`, two workers, over WebSockets on loopback; the clients, one thread
                (sockets.py), are in this process and on the same two cores

--search doubles the streams, then halves the step, to find the most that are held (p99 under
--limit, 20 ms) for --probe seconds, and then for --seconds. Two cores are taken; run it when
nothing else runs. All that docs/many.md says of live streams, in an hour:

    python benchmarks/streams.py --out a.json && python benchmarks/streams.py --search --out b.json
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from sockets import Clients, Ended

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]
PERIOD, FRAME, CONTEXT, RATE = 0.032, 512, 64, 16000
GATHER = 1e-3  # seconds between two looks at what is due, as a pool's max_delay


def model_path():
    from published import path_of

    return str(path_of("silero_vad.onnx"))


def frames_of(streams):
    """(streams, 576) float32: noise that differs from stream to stream; the same every time."""
    return np.random.default_rng(0).standard_normal((streams, CONTEXT + FRAME)).astype("f4") / 10


# ---- engines: run(numbers of streams, a slice or an array) -> their probabilities


class Pool:
    def __init__(self, streams):
        import fastlstm

        self.pool = fastlstm.load_model(model_path()).pool(
            streams, sr=RATE, max_delay=GATHER, max_queue=1 << 30
        )
        self.ids = [self.pool.open() for _ in range(streams)]
        self.frames = frames_of(streams)
        self.run(np.arange(streams))

    def run(self, rows):
        return self.pool.step([self.ids[row] for row in rows], self.frames[rows])

    def close(self):
        self.pool.shutdown()


class Ort:
    def __init__(self, streams, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model_path(), options, ["CPUExecutionProvider"])
        self.state = np.zeros((2, streams, 128), np.float32)
        self.frames, self.rate = frames_of(streams), np.array(RATE)
        self.run(np.arange(min(streams, 2)))

    def run(self, rows):
        given = {"input": self.frames[rows], "state": self.state[:, rows], "sr": self.rate}
        y, self.state[:, rows] = self.session.run(None, given)
        return y

    def close(self):
        pass


# ---- generators: lateness of each frame, in seconds

busy = [0.0, 0.0]  # seconds of CPU when the first frame came, and after the last
client_busy = [None]  # and of the server's clients
server_options = []


def live(run, begins, seconds, batches):
    """Streams whose first frames are due at `begins`, ascending, from now on. batches: what is due
    is run at once; else one by one."""
    busy[0], late, start = time.process_time(), [], time.perf_counter() + 0.05
    n, at, end = len(begins), 0, round(seconds / PERIOD) * len(begins)
    due = lambda k: start + begins[k % n] + k // n * PERIOD  # noqa: E731
    while at < end:
        now = time.perf_counter()
        if due(at) > now:
            time.sleep(min(max(due(at) - now, GATHER if batches else 0), 0.01))
            continue
        last = at + 1
        while batches and last < min(end, at + n) and due(last) <= now:
            last += 1
        run(np.arange(at, last) % n)
        done = time.perf_counter()
        late += [done - due(k) for k in range(at, last)]
        at = last
    busy[1] = time.process_time()
    return late


def live_step(streams, seconds):
    engine = Pool(streams)
    try:
        return live(engine.run, spread(streams), seconds, True)
    finally:
        engine.close()


def live_ort_batch(streams, seconds):
    return live(Ort(streams, 2).run, spread(streams), seconds, True)


def live_ort_one(streams, seconds):
    """Two threads, each with half of the streams and a session of one thread."""
    late = []

    def work(part):
        engine = Ort(len(part), 1)
        ready.wait()
        late.extend(live(engine.run, part, seconds, False))

    parts = [part for part in (spread(streams)[i::2] for i in range(2)) if len(part)]
    ready = threading.Barrier(len(parts))
    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return late


def live_submit(streams, seconds):
    engine = Pool(streams)
    late, missing, all_done = [], [round(seconds / PERIOD) * streams], threading.Event()

    def send(rows):
        for row in rows:
            frame = engine.frames[row]
            begun = due[row]
            due[row] += PERIOD
            engine.pool.submit(engine.ids[row], frame).add_done_callback(
                lambda _, begun=begun: answered(begun)
            )

    def answered(begun):  # in the pool's one thread
        late.append(time.perf_counter() - begun)
        missing[0] -= 1
        if missing[0] == 0:
            all_done.set()

    due = time.perf_counter() + 0.05 + spread(streams)
    try:
        live(send, spread(streams), seconds, True)
        all_done.wait(10 * seconds + 10)
        busy[1] = time.process_time()
        return late
    finally:
        engine.close()


def spread(streams):
    return np.arange(streams) * PERIOD / streams


# ---- the server


def cpu_times():
    """Ticks of all CPUs, as /proc/stat has them; zeros where there is none."""
    try:
        line = Path("/proc/stat").read_text().partition("\n")[0]
    except OSError:
        return np.zeros(8)
    return np.array(line.split()[1:9], float)


def cpu_of(pid):
    """Seconds of CPU that a process and its children have taken; nan where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return float("nan")
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(map(cpu_of, children))


def live_server(streams, seconds):
    command = [sys.executable, "-m", "fastlstm", "serve", model_path(), "--port", "0", "--value",
               f"sr={RATE}", "--frame", str(FRAME), "--context", str(CONTEXT), "--streams",
               str(streams), *server_options]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    try:
        port = int(re.search(r":(\d+)/", process.stdout.readline())[1])
        samples = frames_of(streams)[:, CONTEXT:] * 32767
        clients = Clients(port, samples.clip(-32768, 32767).astype("<i2"), PERIOD, GATHER)
        busy[0], begun = cpu_of(process.pid), time.process_time()
        try:
            return clients.run(seconds)
        finally:
            busy[1], client_busy[0] = cpu_of(process.pid), time.process_time() - begun
            clients.close()
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


ENGINES = {
    "step": live_step, "submit": live_submit, "ort-one": live_ort_one,
    "ort-batch": live_ort_batch, "server": live_server,
}  # fmt: skip


def measured(engine, streams, seconds):
    """A row of the table: lateness in ms; cpu: microseconds of CPU for a frame, of the server's
    process or, of the others, of this one, which also makes the frames; clients_cpu: of the
    server's clients. p99_second: the median of the p99 of each second; stolen: percent of the CPUs'
    time that a host took from this machine meanwhile, engines' beginnings included. ended: why the
    run broke off, where a server ended a stream; all of its frames count as lost."""
    before, ended = cpu_times(), None
    try:
        late = np.array(ENGINES[engine](streams, seconds)) * 1e3
    except Ended as error:
        late, ended = np.zeros(0), str(error)
    passed = cpu_times() - before
    expected = round(seconds / PERIOD) * streams
    row = {"engine": engine, "streams": streams, "frames": expected, "lost": expected - len(late)}
    for name, q in (("p50", 50), ("p99", 99), ("max", 100)):
        row[name] = round(float(np.percentile(late, q)), 2) if len(late) else None
    parts = [part for part in np.array_split(late, max(round(seconds), 1)) if len(part)]
    each = [np.percentile(part, 99) for part in parts]
    row["p99_second"] = round(float(np.median(each)), 2) if each else None
    row["stolen"] = round(float(100 * passed[7] / passed.sum()), 1) if passed.any() else None
    row["cpu"] = round((busy[1] - busy[0]) / expected * 1e6, 1)
    if engine == "server":
        row["clients_cpu"] = round(client_busy[0] / expected * 1e6, 1)
    if ended:
        row |= {"ended": ended, "cpu": None, "clients_cpu": None}
    return row


def held(row, limit):
    return row["lost"] == 0 and row["p99"] < limit


def search(engine, seconds, limit, show, probe):
    """The most streams that are held for `seconds`: looked for to 5 % by runs of `probe` seconds,
    then fewer and fewer until they are held that long."""
    good, bad = 0, None
    n = 50
    while bad is None or bad - good > max(good // 20, 1):
        row = measured(engine, n, probe)
        show(row)
        good, bad = (n, bad) if held(row, limit) else (good, n)
        n = 2 * n if bad is None else (good + bad) // 2
    while good > 0 and probe < seconds:
        row = measured(engine, good, seconds)
        show(row)
        if held(row, limit):
            break
        good -= max(good // 20, 1)
    return good


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--limit", type=float, default=20, help="of p99, in ms")
    parser.add_argument("--repeat", type=int, default=1, help="engines in turn, so many times")
    parser.add_argument(
        "--server", default="--workers 2 --num-threads 1 --max-delay 3", help="its options"
    )
    parser.add_argument("--probe", type=float, default=5, help="seconds of a search's first runs")
    parser.add_argument("--out", type=Path, help="a JSON file of all rows, written after each")
    args = parser.parse_args(argv)
    found = {
        "date": time.strftime("%Y-%m-%d"), "cpus": os.cpu_count(), "server": args.server,
        "rows": [],
    }  # fmt: skip
    server_options[:] = shlex.split(args.server)

    def show(row):
        print(json.dumps(row), flush=True)
        found["rows"].append(row)
        if args.out:
            args.out.write_text(json.dumps(found, indent=1) + "\n")

    for _ in range(args.repeat):
        for engine in args.engines:
            if args.search:
                most = search(engine, args.seconds, args.limit, show, args.probe)
                show({"engine": engine, "most": most, "limit": args.limit})
            else:
                show(measured(engine, args.streams, args.seconds))


if __name__ == "__main__":
    main()
