# SPDX-License-Identifier: MIT
"""OpenVINO on the same ONNX model: latency hint, f32 kept f32, one stream, stated threads.

"shared" gives the arrays with each call and shares memory both ways; "bound" has its tensors set
beforehand. Without the precision hint a CPU with bf16 units would run the model in bf16.
"""

from __future__ import annotations

import functools

from .onnx_model import OnnxRunner, build_model


def version() -> str:
    import onnx  # noqa: F401 - the model is made with it
    import openvino

    return openvino.__version__.split("-")[0]


def ways(shape, threads, carry=False, lengths=None):
    runners = {"bound": BoundRunner} if carry else {"bound": BoundRunner, "shared": SharedRunner}
    arguments = {"shape": shape, "threads": threads, "carry": carry, "lengths": lengths}
    return {name: functools.partial(runner, **arguments) for name, runner in runners.items()}


class OpenVinoRunner(OnnxRunner):
    """A compiled model; the subclasses call it."""

    def __init__(self, weights, shape, threads, carry, lengths):
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

    def close(self):
        super().close()
        self.compiled = None


class BoundRunner(OpenVinoRunner):
    """A request whose tensors are set beforehand."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.prepare("a.infer()", {}, bound=True)

    def bind(self, inputs, outputs):
        request = self.compiled.create_infer_request()
        for name, array in (inputs | outputs).items():
            request.set_tensor(name, self.tensor(array, shared_memory=True))
        return request


class SharedRunner(OpenVinoRunner):
    """A request that is given the arrays with each call and shares their memory."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        feeds = "{'x': x}" if self.lengths is None else "{'x': x, 'lengths': lengths}"
        statement = f"y = infer({feeds}, share_inputs=True, share_outputs=True)[0]"
        names = {"infer": self.compiled.create_infer_request().infer}
        self.prepare(statement, names, bound=False)
