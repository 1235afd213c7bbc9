# SPDX-License-Identifier: MIT
"""ncnn: one row at a time is all its LSTM does, so cases with B > 1 or ragged rows leave it out.

float32 throughout (no fp16 or bf16 storage). "spin" leaves OpenMP's workers spinning after a call
for its default 20 ms, "sleep" for none; with one thread there are none. A call is what its
interface asks for: a new extractor, the inputs, the outputs.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np

from .runner import Runner


def version() -> str:
    import ncnn

    return ncnn.__version__


def ways(shape, threads, carry=False, lengths=None, precision="float32"):
    if precision != "float32":
        return {}
    stacked_state = carry and (shape.L > 1 or shape.D > 1)
    if shape.cell != "lstm" or shape.B > 1 or lengths is not None or stacked_state:
        return {}
    runner = functools.partial(NcnnRunner, shape=shape, threads=threads, carry=carry)
    found = {"spin": functools.partial(runner, spin=True)}
    if threads > 1:
        found["sleep"] = functools.partial(runner, spin=False)
    return found


def _ifog(array: np.ndarray) -> np.ndarray:
    """PyTorch's i f g o -> ncnn's i f o g."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, f, o, g])


def _model(weights, shape, carry):
    """(the text of the .param file, the bytes of the .bin file)."""
    lines, data = [], []

    def floats(name, layer):
        tails = ("", "_reverse")[: shape.D]
        parts = [_ifog(weights[f"{name}_l{layer}{tail}"]) for tail in tails]
        return np.concatenate([part.ravel() for part in parts])

    inputs = ["x", "h0", "c0"] if carry else ["x"]
    lines += [f"Input {name} 0 1 {name}" for name in inputs]
    for layer, width in enumerate(shape.layer_inputs):
        below = inputs if layer == 0 else [f"y{layer - 1}"]
        outputs = ["y" if layer == shape.L - 1 else f"y{layer}"]
        outputs += ["h", "c"] if carry else []
        size = 4 * shape.H * width * shape.D
        lines.append(
            f"LSTM lstm{layer} {len(below)} {len(outputs)} {' '.join(below + outputs)} "
            f"0={shape.H} 1={size} 2={2 * (shape.D - 1)} 3={shape.H}"
        )
        bias = floats("bias_ih", layer) + floats("bias_hh", layer)
        for array in (floats("weight_ih", layer), bias, floats("weight_hh", layer)):
            data.append(bytes(4) + array.astype("<f4").tobytes())  # a tag of 0: plain float32
    blobs = len(inputs) + shape.L + (2 if carry else 0)
    return f"7767517\n{len(lines)} {blobs}\n" + "\n".join(lines) + "\n", b"".join(data)


class NcnnRunner(Runner):
    """One row; `spin` leaves the workers spinning after a call."""

    def __init__(self, weights, shape, threads, carry, spin):
        import ncnn

        self.ncnn, self.shape, self.carry = ncnn, shape, carry
        self.net = net = ncnn.Net()
        option = net.opt
        option.num_threads = threads
        option.use_vulkan_compute = False
        for name in dir(option):
            if name.startswith(("use_fp16", "use_bf16", "use_int8")):
                setattr(option, name, False)
        if not spin:
            option.openmp_blocktime = 0
        text, data = _model(weights, shape, carry)
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder, "lstm.param"), Path(folder, "lstm.bin")
            files[0].write_text(text)
            files[1].write_bytes(data)
            if net.load_param(str(files[0])) or net.load_model(str(files[1])):
                raise RuntimeError("ncnn does not load its model")
        lines = ["e = extractor()", "e.input('x', x)"]
        if carry:
            self.setup = "h, c = h0, c0"
            lines += ["e.input('h0', h)", "e.input('c0', c)"]
        lines.append("n, y = e.extract('y')")
        if carry:
            lines += ["n, h = e.extract('h')", "n, c = e.extract('c')"]
        super().__init__("\n".join(lines), {"extractor": net.create_extractor})

    def load(self, x, state=None):
        names = self.namespace
        names["array"] = np.ascontiguousarray(x[:, 0])  # a Mat does not keep what it is a view of
        names["x"] = self.ncnn.Mat(names["array"])
        if state is None:
            state = [np.zeros(self.shape.state_shape(), np.float32)] * 2
        for name, part in zip(("h0", "c0"), state, strict=True):
            names[name] = self.ncnn.Mat(np.ascontiguousarray(part[0])).clone()

    def output(self):
        return np.array(self.namespace["y"]).reshape(self.shape.output_shape())

    def close(self):
        super().close()
        self.net = None
