# SPDX-License-Identifier: MIT
"""OpenVINO on the same ONNX model: latency hint, f32 kept f32, one stream, stated threads.

"shared" gives the arrays with each call and shares memory both ways; "bound" has its tensors set
beforehand. Without the precision hint a CPU with bf16 units would run the model in bf16.
"""

from __future__ import annotations

import numpy as np

from . import Runner
from .onnx_model import STATES, build_model


def version() -> str:
    import onnx  # noqa: F401 - the model is made with it
    import openvino

    return openvino.__version__.split("-")[0]


def variants(shape, threads, carry=False, lengths=None) -> list[str]:
    return ["bound"] if carry else ["bound", "shared"]


class OpenVinoRunner(Runner):
    def __init__(self, weights, shape, threads, variant, carry, lengths):
        import openvino as ov
        import openvino.properties as props
        from openvino.properties import hint

        core = ov.Core()
        self.compiled = core.compile_model(
            core.read_model(build_model(weights, shape, carry, lengths)),
            "CPU",
            {
                hint.performance_mode: hint.PerformanceMode.LATENCY,
                hint.inference_precision: ov.Type.f32,
                props.streams.num: 1,
                props.inference_num_threads: threads,
            },
        )
        precision = self.compiled.get_property(hint.inference_precision)
        if precision != ov.Type.f32:
            raise RuntimeError(f"OpenVINO runs in {precision}, not in f32")
        self.ov = ov
        self.shape = shape
        self.variant = variant
        self.states = STATES[shape.cell]
        self.carry = carry
        self.lengths = None if lengths is None else np.asarray(lengths, np.int32)
        namespace = {"lengths": self.lengths, "copyto": np.copyto}
        if variant == "shared":
            feeds = "{'x': x}" if lengths is None else "{'x': x, 'lengths': lengths}"
            statement = f"y = infer({feeds}, share_inputs=True, share_outputs=True)[0]"
            namespace["infer"] = self.compiled.create_infer_request().infer
        elif carry:  # two requests: each reads the state the other has written
            self.setup = "; ".join(f"copyto({name}, start_{name})" for name in self.states)
            self.setup += "; a, b = first, second"
            statement = "a.infer(); a, b = b, a"
        else:
            statement = "a.infer()"
        self.fixed_output = variant == "bound"
        super().__init__(statement, namespace)

    def _request(self, x, y, state_in, state_out):
        request = self.compiled.create_infer_request()
        arrays = {"x": x, "y": y, **dict(zip(self.states, state_out, strict=True))}
        if self.carry:
            given = [f"{name}0" for name in self.states]
            arrays |= dict(zip(given, state_in, strict=True))
        if self.lengths is not None:
            arrays["lengths"] = self.lengths
        for name, array in arrays.items():
            request.set_tensor(name, self.ov.Tensor(array, shared_memory=True))
        return request

    def load(self, x, state=None):
        shape, names = self.shape, self.namespace
        size = shape.state_shape()
        if state is None:
            state = [np.zeros(size, np.float32)] * 2
        names["x"] = x
        for name, part in zip(self.states, state, strict=False):
            names[f"start_{name}"] = part.copy()
        if self.variant == "bound":
            y = shape.output_shape() if shape.D == 2 else (shape.T, 1, shape.B, shape.H)
            names["y"] = np.empty(y, np.float32)
            one, two = ([np.empty(size, np.float32) for _ in self.states] for _ in range(2))
            names["first"] = names["a"] = self._request(x, names["y"], one, two)
            names["second"] = self._request(x, names["y"], two, one)
            names |= dict(zip(self.states, one, strict=True))
            names["other"] = two

    def output(self):
        return np.array(self.namespace["y"]).reshape(self.shape.output_shape())

    def close(self):
        super().close()
        self.compiled = None


def build(weights, shape, threads, variant=None, carry=False, lengths=None) -> Runner:
    return OpenVinoRunner(weights, shape, threads, variant or "bound", carry, lengths)
