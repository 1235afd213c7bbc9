# SPDX-License-Identifier: MIT
"""OpenVINO on the same ONNX model: latency hint, f32 kept f32, one stream, stated threads.

"shared" gives the arrays with each call and shares memory both ways; "bound" has its tensors set
beforehand. Without the precision hint a CPU with bf16 units would run the model in bf16.
"""

from __future__ import annotations

from . import Runner
from .onnx_model import OnnxRunner, build_model


def version() -> str:
    import onnx  # noqa: F401 - the model is made with it
    import openvino

    return openvino.__version__.split("-")[0]


def variants(shape, threads, carry=False, lengths=None) -> list[str]:
    return ["bound"] if carry else ["bound", "shared"]


class OpenVinoRunner(OnnxRunner):
    def __init__(self, weights, shape, threads, variant, carry, lengths):
        import openvino as ov
        import openvino.properties as props
        from openvino.properties import hint

        super().__init__(shape, carry, lengths)
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
        self.tensor = ov.Tensor
        if variant == "bound":
            self.prepare("a.infer()", {}, bound=True)
            return
        feeds = "{'x': x}" if lengths is None else "{'x': x, 'lengths': lengths}"
        statement = f"y = infer({feeds}, share_inputs=True, share_outputs=True)[0]"
        names = {"infer": self.compiled.create_infer_request().infer}
        self.prepare(statement, names, bound=False)

    def bind(self, inputs, outputs):
        request = self.compiled.create_infer_request()
        for name, array in (inputs | outputs).items():
            request.set_tensor(name, self.tensor(array, shared_memory=True))
        return request

    def close(self):
        super().close()
        self.compiled = None


def build(weights, shape, threads, variant=None, carry=False, lengths=None) -> Runner:
    return OpenVinoRunner(weights, shape, threads, variant or "bound", carry, lengths)
