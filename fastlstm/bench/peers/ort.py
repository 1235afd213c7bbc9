# SPDX-License-Identifier: MIT
"""ONNX Runtime: sequential execution, with and without spinning workers, called both ways.

int8 is its dynamic quantisation, with a scale for each channel: LSTM alone has it. On AVX2 without
VNNI its sums of two products saturate at 16 bits, so the weights have 7 bits there (reduce_range),
as its documentation says.
"bound" is I/O binding, where inputs and outputs have their buffers beforehand; "run" is
`session.run` on arrays. With one thread there is no worker to spin, and "nospin" is left out.
"""

from __future__ import annotations

import functools

from .onnx_model import OnnxRunner, build_model


def version() -> str:
    import onnx  # noqa: F401 - the model is made with it
    import onnxruntime

    return onnxruntime.__version__


def ways(shape, threads, carry=False, lengths=None, precision="float32", register=None):
    """register: None, or f(session options), called before each session is made."""
    if precision == "bfloat16" or (precision == "int8" and shape.cell != "lstm"):
        return {}
    arguments = {"shape": shape, "threads": threads, "carry": carry, "lengths": lengths}
    arguments |= {"precision": precision, "register": register}
    spins = {"spin": True, "nospin": False} if threads > 1 else {"spin": True}
    return {
        f"{call} {name}": functools.partial(runner, spin=spin, **arguments)
        for call, runner in (("bound", BoundRunner), ("run", RunRunner))
        for name, spin in spins.items()
    }


def _saturates() -> bool:
    """Whether ONNX Runtime's products of 8 bits by 8 saturate on this CPU: x86-64 without VNNI."""
    from ... import runnable_isas

    sets = set(runnable_isas())
    return "avx2" in sets and not sets & {"avx2-vnni", "avx512-vnni"}


def quantized(model: bytes) -> bytes:
    """The model with weights in int8, or in 7 bits where sums would saturate; a scale for each
    channel."""
    import logging
    import tempfile
    from pathlib import Path

    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises steps that a bare LSTM has no use for
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            quantize_dynamic(
                onnx.load_from_string(model), path, per_channel=True, weight_type=QuantType.QInt8,
                reduce_range=_saturates(),
            )  # fmt: skip
            return path.read_bytes()
    finally:
        logging.disable(before)


class OrtRunner(OnnxRunner):
    """A session; the subclasses call it."""

    def __init__(self, weights, shape, threads, spin, carry, lengths, precision, register):
        import onnxruntime as ort

        super().__init__(shape, carry, lengths)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        allow = "1" if spin else "0"
        options.add_session_config_entry("session.intra_op.allow_spinning", allow)
        if register is not None:
            register(options)
        model = build_model(weights, shape, carry, lengths)
        self.session = ort.InferenceSession(
            quantized(model) if precision == "int8" else model,
            options,
            providers=["CPUExecutionProvider"],
        )

    def close(self):
        super().close()
        self.session = None


class BoundRunner(OrtRunner):
    """I/O binding: inputs and outputs have their buffers beforehand."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.prepare("run(a)", {"run": self.session.run_with_iobinding}, bound=True)

    def bind(self, inputs, outputs):
        binding = self.session.io_binding()
        for add, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, array in arrays.items():
                add(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return binding


class RunRunner(OrtRunner):
    """`session.run` on arrays."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        feeds = "'x': x"
        if self.carry:
            feeds += "".join(f", '{name}0': {name}" for name in self.states)
            self.setup = "; ".join(f"{name} = start_{name}" for name in self.states)
        if self.lengths is not None:
            feeds += ", 'lengths': lengths"
        names = ["y", *self.states]
        statement = f"{', '.join(names)} = run(names, {{{feeds}}})"
        self.prepare(statement, {"run": self.session.run, "names": names}, bound=False)
