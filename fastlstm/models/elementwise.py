# SPDX-License-Identifier: MIT
"""Elementwise operators of ONNX as instructions of the C operator `pointwise`.

Instructions are tuples (name, a, b, c) with as many operands as OPCODES says. Operands are numbers
of registers: first the inputs, then the constants, then what each instruction before has computed.
relu(x + b) / 6 with the inputs x, b and the constant 6 is

    [("add", 0, 1), ("relu", 3), ("div", 4, 2)]

Passes that fuse chains of nodes and the functions that lower single ones both use this module.
"""

import numpy as np

# {name: (number of operands, how many of these, the last, must be constants, type of the result)},
# in the order of the enum of csrc/ops/opcodes.h. The type is a letter of NumPy's kinds, or "" for
# that of the last operand.
OPCODES = {
    "add": (2, 0, ""),
    "sub": (2, 0, ""),
    "mul": (2, 0, ""),
    "div": (2, 0, ""),
    "mod": (2, 0, ""),
    "fmod": (2, 0, ""),
    "min": (2, 0, ""),
    "max": (2, 0, ""),
    "pow": (2, 0, ""),
    "neg": (1, 0, ""),
    "abs": (1, 0, ""),
    "sign": (1, 0, ""),
    "relu": (1, 0, ""),
    "clip": (3, 0, ""),
    "exp": (1, 0, ""),
    "log": (1, 0, ""),
    "erf": (1, 0, ""),
    "sin": (1, 0, ""),
    "cos": (1, 0, ""),
    "sqrt": (1, 0, ""),
    "reciprocal": (1, 0, ""),
    "floor": (1, 0, ""),
    "ceil": (1, 0, ""),
    "round": (1, 0, ""),
    "sigmoid": (1, 0, ""),
    "tanh": (1, 0, ""),
    "elu": (2, 1, ""),
    "selu": (3, 2, ""),
    "hard_sigmoid": (3, 2, ""),
    "softplus": (1, 0, ""),
    "softsign": (1, 0, ""),
    "silu": (1, 0, ""),
    "gelu": (1, 0, ""),
    "celu": (2, 1, ""),
    "hard_swish": (1, 0, ""),
    "gelu_tanh": (1, 0, ""),
    "mish": (1, 0, ""),
    "leaky_relu": (2, 0, ""),
    "thresholded_relu": (2, 0, ""),
    "equal": (2, 0, "b"),
    "less": (2, 0, "b"),
    "less_equal": (2, 0, "b"),
    "greater": (2, 0, "b"),
    "greater_equal": (2, 0, "b"),
    "and": (2, 0, "b"),
    "or": (2, 0, "b"),
    "xor": (2, 0, "b"),
    "not": (1, 0, "b"),
    "where": (3, 0, ""),
    "isnan": (1, 0, "b"),
    "isinf": (1, 0, "b"),
    "cast_float": (1, 0, "f"),
    "cast_int": (1, 0, "i"),
    "cast_bool": (1, 0, "b"),
    "bit_and": (2, 0, ""),
    "bit_or": (2, 0, ""),
    "bit_xor": (2, 0, ""),
    "bit_not": (1, 0, ""),
    "shift_left": (2, 0, ""),
    "shift_right": (2, 0, ""),
    "wrap_int8": (1, 0, ""),
    "wrap_int16": (1, 0, ""),
    "wrap_int32": (1, 0, ""),
    "wrap_uint8": (1, 0, ""),
    "wrap_uint16": (1, 0, ""),
    "wrap_uint32": (1, 0, ""),
    "tan": (1, 0, ""),
    "sinh": (1, 0, ""),
    "cosh": (1, 0, ""),
    "asin": (1, 0, ""),
    "acos": (1, 0, ""),
    "atan": (1, 0, ""),
    "asinh": (1, 0, ""),
    "acosh": (1, 0, ""),
    "atanh": (1, 0, ""),
}
_NUMBERS = {name: i for i, name in enumerate(OPCODES)}

MOST_INPUTS, MOST_INSTRUCTIONS, MOST_CONSTANTS = 32, 64, 64  # of one operator

# Operators whose inputs are the instruction's operands.
_SAME = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Neg": "neg",
    "Abs": "abs",
    "Sign": "sign",
    "Relu": "relu",
    "Exp": "exp",
    "Log": "log",
    "Erf": "erf",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Sinh": "sinh",
    "Cosh": "cosh",
    "Asin": "asin",
    "Acos": "acos",
    "Atan": "atan",
    "Asinh": "asinh",
    "Acosh": "acosh",
    "Atanh": "atanh",
    "BitwiseAnd": "bit_and",
    "BitwiseOr": "bit_or",
    "BitwiseXor": "bit_xor",
    "BitwiseNot": "bit_not",
    "Sqrt": "sqrt",
    "Reciprocal": "reciprocal",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "HardSwish": "hard_swish",
    "Mish": "mish",
    "PRelu": "leaky_relu",
    "Equal": "equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "And": "and",
    "Or": "or",
    "Xor": "xor",
    "Not": "not",
    "Where": "where",
    "IsNaN": "isnan",
}
# Operators of one input, whose attributes, with these defaults, are constants of the instruction.
_WITH_CONSTANTS = {
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "ThresholdedRelu": ("thresholded_relu", {"alpha": 1.0}),
    "Elu": ("elu", {"alpha": 1.0}),
    "Selu": ("selu", {"alpha": 1.6732631921768188, "gamma": 1.0507010221481323}),
    "Celu": ("celu", {"alpha": 1.0}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
}
# Operators of any number of inputs.
_OF_SEVERAL = {"Max": "max", "Min": "min", "Sum": "add", "Mean": "add"}
# What Cast does besides, by its attribute `to`.
_WRAPPED = {
    2: "wrap_uint8",
    3: "wrap_int8",
    4: "wrap_uint16",
    5: "wrap_int16",
    6: "wrap_int32",
    12: "wrap_uint32",
}
_OTHERS = ("BitShift", "Cast", "Clip", "Gelu", "IsInf", "Mod", "Pow", "Shrink", "Swish")

ELEMENTWISE = (*_SAME, *_WITH_CONSTANTS, *_OF_SEVERAL, *_OTHERS)  # what instructions_of takes


class Code:
    """Instructions while they are put together.

    inputs      names of values
    constants   floats
    Registers are (kind, number) until `finish` numbers them all.
    """

    def __init__(self):
        self.inputs, self.constants, self.instructions = [], [], []

    def input(self, name):
        if name not in self.inputs:
            self.inputs.append(name)
        return "input", self.inputs.index(name)

    def constant(self, value):
        self.constants.append(float(value))
        return "constant", len(self.constants) - 1

    def add(self, name, *operands):
        """Adds an instruction; its register."""
        self.instructions.append((name, *operands))
        return "result", len(self.instructions) - 1

    def finish(self):
        """(instructions, constants, inputs), the instructions as this module's head says."""
        first = {
            "input": 0,
            "constant": len(self.inputs),
            "result": len(self.inputs) + len(self.constants),
        }
        code = [
            (name, *(first[kind] + number for kind, number in operands))
            for name, *operands in self.instructions
        ]
        return code, self.constants, self.inputs


def instructions_of(node, dtype, known):
    """(instructions, constants, names of inputs) of a node whose operator is in ELEMENTWISE.

    dtype   function of a name: float32, int64 or bool, as a NumPy dtype
    known   function of a name: the array that a value always is, or None
    ModelError where an attribute is not covered.
    """
    code = Code()
    if node.op in _SAME:
        code.add(_SAME[node.op], *(code.input(name) for name in node.inputs))
    elif node.op in _WITH_CONSTANTS:
        name, defaults = _WITH_CONSTANTS[node.op]
        values = [code.constant(node.attrs.get(key, value)) for key, value in defaults.items()]
        code.add(name, code.input(node.inputs[0]), *values)
    elif node.op in _OF_SEVERAL:
        _several(code, node, dtype)
    else:
        _FUNCTIONS[node.op](code, node, dtype, known)
    return code.finish()


def numbers_of(code, inputs):
    """The ints that the C operator `pointwise` is made from."""
    ints = [inputs, len(code)]
    for name, *operands in code:
        ints += [_NUMBERS[name], *operands, *[-1] * (3 - len(operands))]
    return ints


def _cast(code, register, to):
    """A register as the type whose kind is `to`."""
    return code.add({"f": "cast_float", "i": "cast_int", "b": "cast_bool"}[to.kind], register)


def _several(code, node, dtype):
    first, *others = (code.input(name) for name in node.inputs)
    sum = first if others else _cast(code, first, dtype(node.inputs[0]))
    for other in others:
        sum = code.add(_OF_SEVERAL[node.op], sum, other)
    if node.op == "Mean" and others:
        code.add("div", sum, code.constant(len(node.inputs)))


def _cast_node(code, node, dtype, known):
    """Of integers of fewer than 64 bits, which the C core holds in 64, what is beyond their range
    wraps around."""
    y = _cast(code, code.input(node.inputs[0]), dtype(node.outputs[0]))
    if node.attrs["to"] in _WRAPPED:
        code.add(_WRAPPED[node.attrs["to"]], y)


def _clip(code, node, dtype, known):
    x, *bounds = (*node.inputs, "", "")[:3]
    floats = dtype(x).kind == "f"

    def register(name):
        value = known(name) if name else None
        if floats and value is not None and value.size == 1:
            return code.constant(value.reshape(()))
        return code.input(name)

    y = code.input(x)
    low, high = (name and register(name) for name in bounds)
    if low and high:
        code.add("clip", y, low, high)
    elif low or high:
        code.add("max" if low else "min", y, low or high)
    else:
        _cast(code, y, dtype(x))


def _gelu(code, node, dtype, known):
    how = node.attrs.get("approximate", "none")
    if how not in ("none", "tanh"):
        raise node.error(f"approximate is {how!r}, not 'none' or 'tanh'")
    code.add("gelu_tanh" if how == "tanh" else "gelu", code.input(node.inputs[0]))


def _isinf(code, node, dtype, known):
    x = code.input(node.inputs[0])
    positive = node.attrs.get("detect_positive", 1)
    negative = node.attrs.get("detect_negative", 1)
    if positive and negative:
        code.add("isinf", x)
    elif positive or negative:
        code.add("equal", x, code.constant(np.inf if positive else -np.inf))
    else:
        code.add("less", x, x)  # never


def _mod(code, node, dtype, known):
    fmod = node.attrs.get("fmod", 0)
    code.add("fmod" if fmod else "mod", *(code.input(name) for name in node.inputs))


def _pow(code, node, dtype, known):
    kinds = [dtype(name).kind for name in node.inputs]
    power = known(node.inputs[1])
    a = code.input(node.inputs[0])
    if kinds[0] == "f" and power is not None and power.ndim == 0 and power == 2:
        code.add("mul", a, a)
        return
    b = code.input(node.inputs[1])
    whole = kinds == ["i", "i"]
    if not whole:
        a, b = (
            r if kind == "f" else code.add("cast_float", r)
            for r, kind in zip((a, b), kinds, strict=True)
        )
    y = code.add("pow", a, b)
    if kinds[0] != "f" and not whole:
        _cast(code, y, dtype(node.inputs[0]))


def _shift(code, node, dtype, known):
    way = node.attrs.get("direction")
    if way not in ("LEFT", "RIGHT"):
        raise node.error(f"direction is {way!r}, not 'LEFT' or 'RIGHT'")
    code.add(f"shift_{way.lower()}", *(code.input(name) for name in node.inputs))


def _shrink(code, node, dtype, known):
    """x + bias below -lambd, x - bias above lambd, else 0."""
    x, to = code.input(node.inputs[0]), dtype(node.inputs[0])
    x = x if to.kind == "f" else code.add("cast_float", x)
    limit, bias = node.attrs.get("lambd", 0.5), code.constant(node.attrs.get("bias", 0.0))
    high = code.add("less", code.constant(limit), x)
    low = code.add("less", x, code.constant(-limit))
    y = code.add("where", high, code.add("sub", x, bias), code.constant(0))
    y = code.add("where", low, code.add("add", x, bias), y)
    if to.kind != "f":
        _cast(code, y, to)


def _swish(code, node, dtype, known):
    x, alpha = code.input(node.inputs[0]), node.attrs.get("alpha", 1.0)
    if alpha == 1:
        code.add("silu", x)
    else:
        inner = code.add("sigmoid", code.add("mul", x, code.constant(alpha)))
        code.add("mul", x, inner)


_FUNCTIONS = {
    "BitShift": _shift,
    "Cast": _cast_node,
    "Clip": _clip,
    "Gelu": _gelu,
    "IsInf": _isinf,
    "Mod": _mod,
    "Pow": _pow,
    "Shrink": _shrink,
    "Swish": _swish,
}
