# SPDX-License-Identifier: MIT
"""int8 LSTMs beside float32 and ONNX Runtime's, one thread, errors against float64.

    python benchmarks/int8.py [ROUNDS]      # pip install -e ".[bench]": torch, onnx, onnxruntime

ONNX Runtime's int8 is quantize_dynamic with a scale for each channel. Each round calls every engine
once, one after the other; printed are medians, and errors (rms over all outputs) of the first call.
"""

import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

import fastlstm

SHAPES = [  # T, B, I, H
    (1, 1, 64, 64), (1, 1, 256, 256), (1, 1, 512, 512), (1000, 1, 80, 128), (100, 1, 256, 256),
    (100, 1, 512, 512), (100, 1, 1024, 1024), (100, 4, 256, 256), (100, 8, 512, 512),
    (100, 32, 256, 256), (100, 32, 512, 512), (50, 128, 256, 256),
]  # fmt: skip
ENGINES = ("fastlstm float32", "int8", "int8, inputs int8", "onnxruntime float32", "int8")
SECONDS = 4  # of one shape, at most about so many


def sessions(layer, shape, folder):
    """ONNX Runtime's float32 and int8 sessions of the same weights."""
    T, B, I, H = shape
    module = torch.nn.LSTM(I, H).eval()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in layer.state_dict().items()})
    plain, quantized = str(Path(folder) / "plain.onnx"), str(Path(folder) / "int8.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(T, B, I),), plain, dynamo=False, input_names=["x"],
            output_names=["y", "h", "c"],
        )  # fmt: skip
    quantize_dynamic(plain, quantized, per_channel=True, weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return [onnxruntime.InferenceSession(path, options) for path in (plain, quantized)]


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


def measure(shape, rounds):
    """(median us of each engine, rms error of each)."""
    T, B, I, H = shape
    layer = fastlstm.LSTM(I, H, num_threads=1)
    fine, coarse = layer.quantize("int8"), layer.quantize("int8", inputs="int8")
    x = np.random.default_rng(1).standard_normal((T, B, I)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        plain, quantized = sessions(layer, shape, folder)
    calls = [
        *(lambda each=each: each(x)[0] for each in (layer, fine, coarse)),
        *(lambda each=each: each.run(["y"], {"x": x})[0].reshape(T, B, H)
          for each in (plain, quantized)),
    ]  # fmt: skip
    due = exact(layer, x)
    errors = [float(np.sqrt(np.mean((call() - due) ** 2))) for call in calls]
    taken, start = [[] for _ in calls], time.perf_counter()
    while len(taken[0]) < rounds and (time.perf_counter() - start < SECONDS or not taken[0]):
        for call, times in zip(calls, taken, strict=True):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
    return [1e6 * statistics.median(times) for times in taken], errors


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    isa = fastlstm.LSTM(1, 1).isa
    print(f"{isa}; us of {', '.join(ENGINES)}; ratios; rms errors of the same")
    for shape in SHAPES:
        us, errors = measure(shape, rounds)
        print(
            ",".join(map(str, shape)), *(f"{t:.3g}" for t in us),
            f"| float32 / int8 {us[0] / us[1]:.2f}, onnxruntime's int8 / ours {us[4] / us[1]:.2f}",
            f"({us[4] / us[2]:.2f} with int8 inputs) |", *(f"{e:.1e}" for e in errors),
        )  # fmt: skip


if __name__ == "__main__":
    main()
