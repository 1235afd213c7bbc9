# SPDX-License-Identifier: MIT
"""ONNX Runtime: sequential execution, with and without spinning workers, called both ways.

"run" is `session.run` on arrays; "bound" is I/O binding, where inputs and outputs have their
buffers beforehand. With one thread there is no worker, and spinning makes no difference that could
be measured; both are tried all the same.
"""

from __future__ import annotations

import numpy as np

from . import Runner
from .onnx_model import build_model

NAME = "onnxruntime"


def version() -> str:
    import onnx  # noqa: F401 - the model is made with it
    import onnxruntime

    return onnxruntime.__version__


def variants(shape, threads, carry=False, lengths=None) -> list[str]:
    return [f"{form} {mode}" for form in ("run", "bound") for mode in ("spin", "nospin")]


class OrtRunner(Runner):
    def __init__(self, weights, shape, threads, variant, carry, lengths):
        import onnxruntime as ort

        form, spin = variant.split()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        allow = "1" if spin == "spin" else "0"
        options.add_session_config_entry("session.intra_op.allow_spinning", allow)
        session = ort.InferenceSession(
            build_model(weights, shape, carry, lengths),
            options,
            providers=["CPUExecutionProvider"],
        )
        self.shape = shape
        self.form = form
        self.carry = carry
        self.session = session
        self.lengths = None if lengths is None else np.asarray(lengths, np.int32)
        namespace = {"lengths": self.lengths, "names": ["y", "h", "c"]}
        if form == "run":
            feeds = "'x': x"
            if carry:
                feeds += ", 'h0': h, 'c0': c"
                self.setup = "h, c = start_h, start_c"
            if lengths is not None:
                feeds += ", 'lengths': lengths"
            statement = f"y, h, c = run(names, {{{feeds}}})"
            namespace["run"] = session.run
        else:
            statement = "run(a)"
            namespace["run"] = session.run_with_iobinding
            if carry:  # two bindings: each reads the state the other has written
                self.setup = "copyto(h, start_h); copyto(c, start_c); a, b = first, second"
                statement = "run(a); a, b = b, a"
                namespace["copyto"] = np.copyto
        self.fixed_output = form == "bound"
        super().__init__(statement, namespace)

    def _bind(self, x, y, state_in, state_out):
        binding = self.session.io_binding()

        def bind(add, name, array):
            add(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

        bind(binding.bind_input, "x", x)
        if self.lengths is not None:
            bind(binding.bind_input, "lengths", self.lengths)
        if self.carry:
            for name, array in zip(("h0", "c0"), state_in, strict=True):
                bind(binding.bind_input, name, array)
        bind(binding.bind_output, "y", y)
        for name, array in zip(("h", "c"), state_out, strict=True):
            bind(binding.bind_output, name, array)
        return binding

    def load(self, x, state=None):
        shape, names = self.shape, self.namespace
        size = shape.state_shape()
        if state is None:
            state = [np.zeros(size, np.float32)] * 2
        names["x"] = x
        names["start_h"], names["start_c"] = (part.copy() for part in state)
        if self.form == "bound":
            y = (shape.T, shape.B, 2 * shape.H) if shape.D == 2 else (shape.T, 1, shape.B, shape.H)
            names["y"] = np.empty(y, np.float32)
            one, two = ([np.empty(size, np.float32) for _ in range(2)] for _ in range(2))
            names["first"] = names["a"] = self._bind(x, names["y"], one, two)
            names["second"] = self._bind(x, names["y"], two, one)
            names["h"], names["c"] = one
            names["other"] = two  # kept alive: the bindings hold addresses only

    def output(self):
        return self.namespace["y"].reshape(self.shape.output_shape())

    def close(self):
        super().close()
        self.session = None


def build(weights, shape, threads, variant=None, carry=False, lengths=None) -> Runner:
    return OrtRunner(weights, shape, threads, variant or "run nospin", carry, lengths)
