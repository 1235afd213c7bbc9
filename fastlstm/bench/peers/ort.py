# SPDX-License-Identifier: MIT
"""ONNX Runtime: sequential execution, with and without spinning workers, called both ways.

"run" is `session.run` on arrays; "bound" is I/O binding, where inputs and outputs have their
buffers beforehand. With one thread there is no worker to spin, and "nospin" is left out.
"""

from __future__ import annotations

import numpy as np

from . import Runner
from .onnx_model import STATES, build_model


def version() -> str:
    import onnx  # noqa: F401 - the model is made with it
    import onnxruntime

    return onnxruntime.__version__


def variants(shape, threads, carry=False, lengths=None) -> list[str]:
    modes = ("spin", "nospin") if threads > 1 else ("spin",)
    return [f"{form} {mode}" for form in ("run", "bound") for mode in modes]


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
        self.states = STATES[shape.cell]
        self.lengths = None if lengths is None else np.asarray(lengths, np.int32)
        namespace = {"lengths": self.lengths, "names": ["y", *self.states]}
        if form == "run":
            feeds = "'x': x"
            if carry:
                feeds += "".join(f", '{name}0': {name}" for name in self.states)
                self.setup = "; ".join(f"{name} = start_{name}" for name in self.states)
            if lengths is not None:
                feeds += ", 'lengths': lengths"
            statement = f"y, {', '.join(self.states)} = run(names, {{{feeds}}})"
            namespace["run"] = session.run
        else:
            statement = "run(a)"
            namespace["run"] = session.run_with_iobinding
            if carry:  # two bindings: each reads the state the other has written
                self.setup = "; ".join(f"copyto({name}, start_{name})" for name in self.states)
                self.setup += "; a, b = first, second"
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
            for name, array in zip(self.states, state_in, strict=True):
                bind(binding.bind_input, f"{name}0", array)
        bind(binding.bind_output, "y", y)
        for name, array in zip(self.states, state_out, strict=True):
            bind(binding.bind_output, name, array)
        return binding

    def load(self, x, state=None):
        shape, names = self.shape, self.namespace
        size = shape.state_shape()
        if state is None:
            state = [np.zeros(size, np.float32)] * 2
        names["x"] = x
        for name, part in zip(self.states, state, strict=False):
            names[f"start_{name}"] = part.copy()
        if self.form == "bound":
            y = (shape.T, shape.B, 2 * shape.H) if shape.D == 2 else (shape.T, 1, shape.B, shape.H)
            names["y"] = np.empty(y, np.float32)
            one, two = ([np.empty(size, np.float32) for _ in self.states] for _ in range(2))
            names["first"] = names["a"] = self._bind(x, names["y"], one, two)
            names["second"] = self._bind(x, names["y"], two, one)
            names |= dict(zip(self.states, one, strict=True))
            names["other"] = two  # kept alive: the bindings hold addresses only

    def output(self):
        return self.namespace["y"].reshape(self.shape.output_shape())

    def close(self):
        super().close()
        self.session = None


def build(weights, shape, threads, variant=None, carry=False, lengths=None) -> Runner:
    return OrtRunner(weights, shape, threads, variant or "bound spin", carry, lengths)
