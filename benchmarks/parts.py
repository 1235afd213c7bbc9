# SPDX-License-Identifier: MIT
"""LSTMs whose products are made of bfloat16 parts, beside float32 here and in other engines.

    python benchmarks/parts.py [SECONDS [T,B,I,H ...]]     # pip install -e ".[bench]"

fastlstm in float32, "bfloat16x3", "bfloat16x6" and bfloat16; PyTorch, ONNX Runtime and OpenVINO
in float32; one thread. Each round calls every engine once, one after the other, for SECONDS a
shape. Before and after each call a product of bfloat16 matrices by PyTorch tells how fast AMX is
just then: where another program is busy on the same core, or on the other half of it, AMX may run
at a third of its rate, and a call beside which it ran at less than 0.9 of the shape's best does not
count. Printed is a table in Markdown: the medians in us of the calls that count, how many of how
many these are, ratios to float32 here and to the fastest other engine, and the rms of the errors of
all outputs against float64.
"""

import os
import statistics
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTLSTM_NUM_THREADS"):
    os.environ[name] = "1"

import precision as others  # noqa: E402
import torch  # noqa: E402

import fastlstm  # noqa: E402

SHAPES = [  # T, B, I, H
    (100, 8, 512, 512), (100, 16, 256, 256), (100, 24, 300, 300), (100, 32, 256, 256),
    (100, 32, 512, 512), (50, 128, 256, 256), (50, 32, 1024, 1024), (100, 1, 256, 256),
]  # fmt: skip
COUNTS = 0.9  # of the best rate of AMX
SIDE = 512  # of the probe's matrices, which stay in L2


class Probe:
    """How fast AMX is: Gop/s of the fastest of four products of bfloat16 matrices. The first brings
    these into the cache."""

    def __init__(self):
        self.a, self.b = (torch.randn(SIDE, SIDE).bfloat16() for _ in range(2))

    def __call__(self):
        least = float("inf")
        for _ in range(4):
            start = time.perf_counter()
            torch.mm(self.a, self.b)
            least = min(least, time.perf_counter() - start)
        return 2e-9 * SIDE**3 / least


def ours(layer, x):
    made = {"float32": layer}
    for precision in ("bfloat16x3", "bfloat16x6"):
        made[precision] = fastlstm.LSTM.from_state_dict(
            layer.state_dict(), precision=precision, num_threads=1
        )
    made["bfloat16"] = layer.quantize("bfloat16")
    return {("fastlstm", name): lambda one=one: one(x)[0] for name, one in made.items()}


def pytorch(layer, x):
    module = torch.nn.LSTM(layer.input_size, layer.hidden_size).eval()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in layer.state_dict().items()})
    given = torch.from_numpy(x)

    def call():
        with torch.inference_mode():
            return module(given)[0]

    return {("PyTorch", "float32"): call}


def calls_of(layer, x):
    calls = ours(layer, x) | pytorch(layer, x)
    shape = (*x.shape[:2], layer.input_size, layer.hidden_size)
    for engine, made in (("ONNX Runtime", others.onnxruntime), ("OpenVINO", others.openvino)):
        try:
            found = made(layer, x) if engine == "ONNX Runtime" else openvino(layer, x, shape)
        except (ImportError, RuntimeError) as e:
            print(f"{engine} is left out: {str(e).splitlines()[0]}", file=sys.stderr)
            continue
        calls |= {name: call for name, call in found.items() if name[1] == "float32"}
    return calls


def openvino(layer, x, shape):
    """OpenVINO asked for float32: by default it computes in bfloat16 on such a CPU."""
    import tempfile
    from pathlib import Path

    import openvino
    import openvino.properties as props
    from openvino.properties import hint

    options = {
        hint.performance_mode: hint.PerformanceMode.LATENCY, props.streams.num: 1,
        props.inference_num_threads: 1, hint.inference_precision: "f32",
    }  # fmt: skip
    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        others.sessions(layer, shape, folder)  # which writes plain.onnx
        compiled = core.compile_model(
            core.read_model(str(Path(folder) / "plain.onnx")), "CPU", options
        )
    request = compiled.create_infer_request()
    given = {"x": x}
    return {
        ("OpenVINO", "float32"): lambda: request.infer(
            given, share_inputs=True, share_outputs=True
        )["y"]
    }


def measure(shape, seconds, probe):
    """{(engine, precision): (us of the calls that count, of how many, rms error)} and AMX's best
    rate."""
    layer, x = others.network(shape)
    calls, due = calls_of(layer, x), others.exact(layer, x)
    errors = {name: others.error(call, due) for name, call in calls.items()}
    taken = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, call in calls.items():
            before = probe()
            start = time.perf_counter()
            call()
            took = time.perf_counter() - start
            taken[name].append((min(before, probe()), took))
    best = max(rate for times in taken.values() for rate, _ in times)
    found = {}
    for name, times in taken.items():
        good = [1e6 * took for rate, took in times if rate >= COUNTS * best]
        found[name] = good, len(times), errors[name]
    return found, best


def main():
    torch.set_num_threads(1)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    shapes = [tuple(map(int, a.split(","))) for a in sys.argv[2:]] or SHAPES
    probe = Probe()
    print(f"fastlstm {fastlstm.__version__}, isa {fastlstm.LSTM(1, 1).isa}\n")
    print("| T, B, I, H | engine | precision | us | calls | own float32 / it | best other / it "
          "| rms error | AMX, Gop/s |")  # fmt: skip
    print("|---|---|---|---:|---:|---:|---:|---:|---:|")
    for shape in shapes:
        found, best = measure(shape, seconds, probe)
        medians = {name: statistics.median(good) for name, (good, _, _) in found.items() if good}
        base = medians.get(("fastlstm", "float32"), float("nan"))
        other = min(
            (us for (engine, _), us in medians.items() if engine != "fastlstm"),
            default=float("nan"),
        )
        for (engine, precision), (good, count, rms) in found.items():
            us = medians.get((engine, precision), float("nan"))
            print(
                f"| {', '.join(map(str, shape))} | {engine} | {precision} | {us:.4g} "
                f"| {len(good)} of {count} | {base / us:.2f} | {other / us:.2f} | {rms:.1e} "
                f"| {best:.0f} |", flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
