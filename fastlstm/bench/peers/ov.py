# SPDX-License-Identifier: MIT
"""OpenVINO on the same ONNX model: latency hint, the stated precision, one stream, stated threads.

"shared" gives the arrays with each call and shares memory both ways; "bound" has its tensors set
beforehand. Without a hint, as "default", it runs in bf16 on CPUs that it takes to be fast at it.
"""

from __future__ import annotations

import functools

from .onnx_model import OnnxRunner, build_model


def version() -> str:
    import onnx  # noqa: F401 - the model is made with it
    import openvino

    return openvino.__version__.split("-")[0]


def ways(shape, threads, carry=False, lengths=None, precision="float32"):
    if precision == "int8":
        return {}
    runners = {"bound": BoundRunner} if carry else {"bound": BoundRunner, "shared": SharedRunner}
    arguments = {"shape": shape, "threads": threads, "carry": carry, "lengths": lengths}
    found = {
        name: functools.partial(runner, precision=PRECISIONS[precision], **arguments)
        for name, runner in runners.items()
    }
    if precision == default_precision():
        found["default"] = functools.partial(BoundRunner, precision=None, **arguments)
    return found


PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}  # ours: OpenVINO's


@functools.cache
def default_precision() -> str | None:
    """What OpenVINO runs an LSTM in when nothing is asked for; None if it is another precision."""
    from ..model import make_weights
    from ..shapes import Shape

    shape = Shape(2, 1, 16, 16)
    runner = BoundRunner(make_weights(shape), shape, 1, False, None, None)
    found = runner.precision()
    runner.close()
    return next((ours for ours, theirs in PRECISIONS.items() if theirs == found), None)


class OpenVinoRunner(OnnxRunner):
    """A compiled model; the subclasses call it."""

    def __init__(self, weights, shape, threads, carry, lengths, precision):
        import openvino as ov
        import openvino.properties as props
        from openvino.properties import hint

        super().__init__(shape, carry, lengths)
        core = ov.Core()
        options = {
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            props.streams.num: 1,
            props.inference_num_threads: threads,
        }
        if precision:
            options[hint.inference_precision] = getattr(ov.Type, precision)
        model = core.read_model(build_model(weights, shape, carry, lengths))
        self.compiled = core.compile_model(model, "CPU", options)
        if precision not in (None, self.precision()):
            raise RuntimeError(f"OpenVINO runs in {self.precision()}, not in {precision}")
        self.tensor = ov.Tensor

    def precision(self) -> str:
        from openvino.properties import hint

        return self.compiled.get_property(hint.inference_precision).get_type_name()

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
