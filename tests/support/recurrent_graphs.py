# SPDX-License-Identifier: MIT
"""ONNX graphs of one LSTM, GRU or RNN node, drawn with every attribute and every optional input and
output, and ONNX Runtime's sessions on them with and without fastlstm.onnxruntime."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
OUTPUTS = {"LSTM": ("Y", "Y_h", "Y_c"), "GRU": ("Y", "Y_h"), "RNN": ("Y", "Y_h")}
ACTIVATIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
BOUNDED = ("Sigmoid", "Tanh", "HardSigmoid", "ScaledTanh", "Softsign")
UNBOUNDED = ("Relu", "LeakyRelu", "ThresholdedRelu", "Elu", "Affine", "Softplus")


class Case:
    """A node, its weights and what a session is fed.

    op                   "LSTM", "GRU" or "RNN"
    steps, batch, input, hidden   T, B, I, H
    lengths              sequence_lens, or None
    initial, peepholes, bias      whether the node has these inputs
    constant             whether the weights are initializers; else they are fed
    outputs              indices of the outputs that the node has; None: all
    attributes           of the node beside hidden_size; also `direction` and `layout`
    """

    def __init__(self, rng, op, steps=7, batch=3, input=5, hidden=6, lengths=None, initial=False,
                 peepholes=False, bias=True, constant=True, outputs=None, scale=0.4,
                 **attributes):  # fmt: skip
        self.op, self.attributes, self.constant = op, attributes, constant
        self.name = (
            f"{op} T{steps} B{batch} I{input} H{hidden} initial={initial} peepholes={peepholes} "
            f"bias={bias} constant={constant} outputs={outputs} {attributes}"
        )
        directions = 2 if attributes.get("direction") == "bidirectional" else 1
        first = attributes.get("layout", 0)
        gates = GATES[op] * hidden

        def draw(*shape):
            return (scale * rng.standard_normal(shape)).astype(np.float32)

        state = (batch, directions, hidden) if first else (directions, batch, hidden)
        x = (batch, steps, input) if first else (steps, batch, input)
        self.feeds = {"X": rng.standard_normal(x).astype(np.float32)}
        self.weights = {"W": draw(directions, gates, input), "R": draw(directions, gates, hidden)}
        inputs = ["X", "W", "R", "", "", "", "", ""]
        if bias:
            self.weights["B"] = draw(directions, 2 * gates)
            inputs[3] = "B"
        if lengths is not None:
            self.feeds["lens"] = np.asarray(lengths, np.int32)
            inputs[4] = "lens"
        if initial:
            for index, name in ((5, "h0"), (6, "c0"))[: 2 if op == "LSTM" else 1]:
                self.feeds[name] = rng.standard_normal(state).astype(np.float32)
                inputs[index] = name
        if peepholes:
            self.weights["P"] = draw(directions, 3 * hidden)
            inputs[7] = "P"
        while not inputs[-1]:
            inputs.pop()
        names = [n if outputs is None or i in outputs else "" for i, n in enumerate(OUTPUTS[op])]
        while not names[-1]:
            names.pop()
        self.inputs, self.outputs, self.hidden = inputs, names, hidden
        if not constant:
            self.feeds |= self.weights

    def nodes(self):
        return [
            helper.make_node(
                self.op, self.inputs, self.outputs, name="cell", hidden_size=self.hidden,
                **self.attributes,
            )
        ]  # fmt: skip

    def model(self):
        """The serialized model, whose axes have no sizes."""
        types = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "int32": TensorProto.INT32}
        inputs = [
            helper.make_tensor_value_info(
                name,
                types.get(array.dtype.name, TensorProto.FLOAT),
                [f"{name}{n}" for n in range(array.ndim)],
            )
            for name, array in self.feeds.items()
        ]
        outputs = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in self.outputs if n
        ]
        constants = self.weights if self.constant else {}
        graph = helper.make_graph(
            self.nodes(), "graph", inputs, outputs,
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        )  # fmt: skip
        # Operator set 14 is the first with layout, which ONNX Runtime's own operators refuse.
        opsets = [helper.make_opsetid("", 14), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def session(model, ours=True, threads=1, quantized=False, inputs="int8", **entries):
    """An InferenceSession of ONNX Runtime's, with fastlstm's operators if `ours`, its int8 too if
    `quantized`, whose codes of X are `inputs`."""
    import onnxruntime

    import fastlstm.onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    for key, value in entries.items():
        options.add_session_config_entry(key.replace("__", "."), value)
    if ours:
        fastlstm.onnxruntime.register(options, quantized=quantized, inputs=inputs)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Quantized(Case):
    """A Case whose node is ONNX Runtime's DynamicQuantizeLSTM; the arguments are Case's.

    per_column   a scale for each column of W and R, else one for each direction
    dtype, zero  of the codes, and whether there are zero points other than 0
    numbers      the float32 weights that the codes stand for, as an LSTM has them
    """

    def __init__(self, rng, *sizes, per_column=False, dtype="int8", zero=False, **others):
        super().__init__(rng, "LSTM", *sizes, **others)
        self.numbers = dict(self.weights)
        self.inputs += [""] * (8 - len(self.inputs))
        for name in "WR":
            w = self.weights[name].transpose(0, 2, 1)
            most = np.abs(w).max(1 if per_column else (1, 2), keepdims=True)
            scale = (most / 127).astype(np.float32)
            offset = 128 if dtype == "uint8" else 0
            zeros = np.full(scale.shape, offset) + (
                rng.integers(-9, 10, scale.shape) if zero else 0
            )
            info = np.iinfo(dtype)
            codes = np.clip(np.rint(w / scale) + zeros, info.min + (dtype == "int8"), info.max)
            self.numbers[name] = np.ascontiguousarray(
                ((codes - zeros).astype(np.float32) * scale).transpose(0, 2, 1)
            )
            flat = scale.shape[:1] if not per_column else (scale.shape[0], scale.shape[2])
            self.weights[name] = np.ascontiguousarray(codes.astype(dtype))
            self.weights[f"{name}s"] = scale.reshape(flat)
            self.weights[f"{name}z"] = zeros.astype(dtype).reshape(flat)
            self.inputs += [f"{name}s", f"{name}z"]
        if not self.constant:
            self.feeds |= self.weights

    def nodes(self):
        (node,) = super().nodes()
        node.op_type, node.domain = "DynamicQuantizeLSTM", "com.microsoft"
        return [node]


def draw_activations(rng, op, directions):
    """The attributes activations, activation_alpha and activation_beta of a node. A gate's are
    within 0 .. 1, and only the last of a direction may be unbounded: otherwise states may grow from
    step to step, and with them the difference of any two engines."""
    takes = {"leakyrelu": 1, "thresholdedrelu": 1, "elu": 1, "hardsigmoid": 2, "affine": 2,
             "scaledtanh": 2}  # fmt: skip
    names, alphas, betas = [], [], []
    for _ in range(directions):
        some = [str(rng.choice(BOUNDED)) for _ in range(ACTIVATIONS[op])]
        if op != "RNN":
            some[0] = str(rng.choice(["Sigmoid", "HardSigmoid"]))
        if rng.random() < 0.5:
            some[-1] = str(rng.choice(UNBOUNDED))
        if op != "RNN" and rng.random() < 0.2:  # whose names ONNX Runtime wants as they are written
            some = [name.swapcase() for name in some]
        names += some
        for name in some:
            count = takes.get(name.lower(), 0)
            alphas += [float(np.float32(rng.uniform(0.1, 0.5)))] * (count > 0)
            betas += [float(np.float32(rng.uniform(0.1, 0.5)))] * (count > 1)
    found = {"activations": names}
    if rng.random() < 0.3:
        return found  # ONNX Runtime's own alphas and betas
    if alphas:
        found["activation_alpha"] = alphas
    if betas:
        found["activation_beta"] = betas
    return found


def draw(seed, version=(1, 32)):
    """The Case of a seed, of what a version of ONNX Runtime can do right. Before 1.25 an operator
    that is not its own cannot read the names of activations. Before 1.32 its RNN leaves the final
    states of rows without a step as they were in memory, and reads past the end of activation_alpha
    and activation_beta if they are not as long as there are directions."""
    texts, mended = version >= (1, 25), version >= (1, 32)
    rng = np.random.default_rng(seed)
    op = str(rng.choice(["LSTM", "GRU", "RNN"]))
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    attributes = {"direction": direction} if direction != "forward" or rng.random() < 0.5 else {}
    directions = 2 if direction == "bidirectional" else 1
    if rng.random() < 0.4 and texts and (mended or op != "RNN"):
        attributes |= draw_activations(rng, op, directions)
    if rng.random() < 0.25:
        attributes["clip"] = float(np.float32(rng.uniform(0.1, 2)))
    if op == "GRU" and rng.random() < 0.5:
        attributes["linear_before_reset"] = 1
    if op == "LSTM" and rng.random() < 0.2:
        attributes["input_forget"] = 1
    count = len(OUTPUTS[op])
    outputs = [n for n in range(count) if rng.random() < 0.7] or [int(rng.integers(count))]
    hidden = int(rng.choice([1, 3, 8, 15, 16, 17, 33, 64]))
    steps, batch = int(rng.integers(1, 20)), int(rng.choice([1, 2, 5, 17]))
    lengths = None
    if rng.random() < 0.4:
        lengths = rng.integers(0 if mended or op != "RNN" else 1, steps + 1, batch)
    return Case(
        rng, op, steps, batch, int(rng.choice([1, 4, 7, 16, 40])), hidden, lengths,
        rng.random() < 0.5, op == "LSTM" and rng.random() < 0.3, rng.random() < 0.8,
        rng.random() < 0.7, outputs, min(0.4, 1 / np.sqrt(hidden)), **attributes,
    )  # fmt: skip
