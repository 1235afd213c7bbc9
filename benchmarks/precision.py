# SPDX-License-Identifier: MIT
"""LSTMs in every precision beside other engines', one thread, errors against float64.

    python benchmarks/precision.py [ROUNDS [T,B,I,H ...]]     # pip install -e ".[bench]"

fastlstm in float32, float16, bfloat16 and int8; PyTorch in bfloat16 and in int8 (quantize_dynamic);
OpenVINO as it chooses itself, and asked for bfloat16; ONNX Runtime in float32 and in int8
(quantize_dynamic, a scale for each channel). An engine that is not installed, or cannot run here,
is left out. Each round calls every engine once, one after the other. Printed is a table in
Markdown: medians in us, the quartiles' distance in % of them, the rms of the errors of all outputs,
and the precision that the engine says it computes in. ROUNDS of 0: the errors alone.
"""

import copy
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

import fastlstm
from fastlstm.bench.peers import ort as ort_peer
from fastlstm.engine import backend

SHAPES = [  # T, B, I, H
    (1, 1, 64, 64), (1, 1, 256, 256), (1, 1, 512, 512), (1000, 1, 80, 128), (100, 1, 256, 256),
    (100, 1, 512, 512), (100, 1, 1024, 1024), (100, 4, 256, 256), (100, 8, 512, 512),
    (100, 32, 256, 256), (100, 32, 512, 512), (50, 128, 256, 256),
]  # fmt: skip
SCALED = 100
SECONDS = 4  # of one shape, at most about so many


def sessions(layer, shape, folder):
    """ONNX Runtime's float32 and int8 sessions of the same weights."""
    import onnxruntime as ort

    T, B, I, H = shape
    module = torch.nn.LSTM(I, H).eval()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in layer.state_dict().items()})
    path = Path(folder) / "plain.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(T, B, I),), str(path), dynamo=False, input_names=["x"],
            output_names=["y", "h", "c"],
        )  # fmt: skip
    plain = path.read_bytes()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = layer.num_threads, 3
    return [ort.InferenceSession(m, options) for m in (plain, ort_peer.quantized(plain))]


def exact(layer, x):
    """The outputs in float64, by the equations."""
    w = {name: array.astype(np.float64) for name, array in layer.state_dict().items()}
    h = c = np.zeros((x.shape[1], layer.hidden_size))
    y = []
    for row in x.astype(np.float64):
        z = row @ w["weight_ih_l0"].T + h @ w["weight_hh_l0"].T + w["bias_ih_l0"] + w["bias_hh_l0"]
        i, f, g, o = np.split(z, 4, 1)
        i, f, o = (0.5 * (1 + np.tanh(a / 2)) for a in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        y.append(h)
    return np.stack(y)


def ours(layer, x):
    """{(engine, precision): call}."""
    layers = {
        "float32": layer,
        **{dtype: layer.quantize(dtype) for dtype in ("float16", "bfloat16", "int8")},
        "int8, inputs int8": layer.quantize("int8", inputs="int8"),
    }
    return {("fastlstm", name): lambda one=one: one(x)[0] for name, one in layers.items()}


def pytorch(layer, x):
    module = torch.nn.LSTM(layer.input_size, layer.hidden_size).eval()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in layer.state_dict().items()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that quantize_dynamic will move to another package
        whole = torch.nn.Sequential(module)
        int8 = torch.ao.quantization.quantize_dynamic(whole, {torch.nn.LSTM})[0]
    made = {
        "bfloat16": (copy.deepcopy(module).bfloat16(), torch.from_numpy(x).bfloat16()),
        "int8": (int8, torch.from_numpy(x)),
    }

    def call(one, given):
        with torch.inference_mode():
            return one(given)[0]

    for pair in made.values():
        call(*pair)  # not every CPU can
    return {("PyTorch", name): lambda pair=pair: call(*pair) for name, pair in made.items()}


def onnxruntime(layer, x):
    shape = (*x.shape[:2], layer.input_size, layer.hidden_size)
    with tempfile.TemporaryDirectory() as folder:
        plain, quantized = sessions(layer, shape, folder)
    return {
        ("ONNX Runtime", name): lambda one=one: one.run(["y"], {"x": x})[0]
        for name, one in (("float32", plain), ("int8", quantized))
    }


def openvino(layer, x):
    import openvino
    import openvino.properties as props
    from openvino.properties import hint

    shape = (*x.shape[:2], layer.input_size, layer.hidden_size)
    options = {
        hint.performance_mode: hint.PerformanceMode.LATENCY, props.streams.num: 1,
        props.inference_num_threads: layer.num_threads,
    }  # fmt: skip
    core, found = openvino.Core(), {}
    with tempfile.TemporaryDirectory() as folder:
        sessions(layer, shape, folder)  # which writes plain.onnx
        model = core.read_model(str(Path(folder) / "plain.onnx"))
    for name, more in (("by default", {}), ("asked", {hint.inference_precision: "bf16"})):
        compiled = core.compile_model(model, "CPU", options | more)
        precision = compiled.get_property(hint.inference_precision).get_type_name()
        request = compiled.create_infer_request()
        found["OpenVINO", f"{precision}, {name}"] = lambda request=request: request.infer(
            {"x": x}, share_inputs=True, share_outputs=True
        )["y"]
    return found


def calls_of(layer, x):
    calls = ours(layer, x)
    for engine in (pytorch, onnxruntime, openvino):
        try:
            calls |= engine(layer, x)
        except (ImportError, RuntimeError) as e:
            print(f"{engine.__name__} is left out: {str(e).splitlines()[0]}", file=sys.stderr)
    return calls


def error(call, due):
    y = call()
    y = y.float().numpy() if isinstance(y, torch.Tensor) else np.array(y)
    return float(np.sqrt(np.mean((y.reshape(due.shape) - due) ** 2)))


def network(shape, scaled=1, threads=1):
    """(layer, x); one feature of x is `scaled` times the others, its weights as much smaller."""
    T, B, I, H = shape
    layer = fastlstm.LSTM(I, H, num_threads=threads)
    x = np.random.default_rng(1).standard_normal((T, B, I)).astype(np.float32)
    weights = layer.state_dict()
    x[..., 0] *= scaled
    weights["weight_ih_l0"][:, 0] /= scaled
    layer.load_state_dict(weights)
    return layer, x


def measure(shape, rounds, scaled=1, threads=1):
    """{(engine, precision): (median us, quartiles' distance in %, rms error)}."""
    layer, x = network(shape, scaled, threads)
    calls, due = calls_of(layer, x), exact(layer, x)
    errors = {name: error(call, due) for name, call in calls.items()}
    taken, start = {name: [] for name in calls}, time.perf_counter()
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - begin)
        if time.perf_counter() - start > SECONDS and len(taken[name]) > 2:
            break
    found = {}
    for name, times in taken.items():
        times = times or [float("nan")] * 2
        low, median, high = statistics.quantiles(times, n=4)
        found[name] = 1e6 * median, 100 * (high - low) / median, errors[name]
    return found


def rate():
    """Gop/s of products of int8 on one core, now."""
    return backend.fma_peak(seconds=0.02, dtype="int8")


def main():
    threads = int(os.environ.get("THREADS", "1"))
    torch.set_num_threads(threads)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    shapes = [tuple(map(int, a.split(","))) for a in sys.argv[2:]] or SHAPES
    print(f"fastlstm {fastlstm.__version__}, isa {fastlstm.LSTM(1, 1).isa}, {threads} threads\n")
    print("| T, B, I, H | int8 products, Gop/s | engine | precision | us | spread, % "
          "| own float32 / it | rms error |")  # fmt: skip
    print("|---|---:|---|---|---:|---:|---:|---:|")
    for shape in shapes:
        before = rate()
        found = measure(shape, max(2, rounds) if rounds else 0, 1, threads)
        rates = f"{before:.0f}, {rate():.0f}"
        base = found["fastlstm", "float32"][0]
        for (engine, precision), (us, spread, rms) in found.items():
            print(
                f"| {', '.join(map(str, shape))} | {rates} | {engine} | {precision} | {us:.3g} "
                f"| {spread:.0f} | {base / us:.2f} | {rms:.1e} |", flush=True,
            )  # fmt: skip
    if threads > 1:
        return
    print(f"\nOne feature of x {SCALED} times the others, T, B, I, H = 100, 8, 512, 512:\n")
    print("| engine | precision | rms error |\n|---|---|---:|")
    for (engine, precision), (_, _, rms) in measure((100, 8, 512, 512), 0, SCALED).items():
        print(f"| {engine} | {precision} | {rms:.1e} |", flush=True)


if __name__ == "__main__":
    main()
