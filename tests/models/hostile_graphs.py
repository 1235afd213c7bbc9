# SPDX-License-Identifier: MIT
"""Malformed and giant ONNX models: `cases()` gives {name: (model as bytes, sizes of free axes)}."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

F, I = np.float32, np.int64
BIG = (2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63), -(2**31), -3)
ONES = np.ones((2, 3, 4), F)


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs, outputs, **attrs)


def graph(nodes, inputs=None, outputs=("y",), constants=None):
    """inputs: {name: (type, shape)}; x, float32 (2, 3, 4), if not said."""
    inputs = {"x": (1, [2, 3, 4])} if inputs is None else inputs
    given = [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()]
    results = [helper.make_tensor_value_info(n, 1, None) for n in outputs]
    stored = [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()]
    return helper.make_graph(nodes, "hostile", given, results, stored)


def model(*args, opset=18, **more):
    opsets = [helper.make_opsetid("", opset)]
    made = helper.make_model(graph(*args, **more), opset_imports=opsets, ir_version=8)
    return made.SerializeToString()


def one(op, *constants, opset=18, x=(1, [2, 3, 4]), outputs=1, **attrs):
    """A model of one node, whose first input is x, the others constants (None: not given)."""
    names = ["" if c is None else f"c{i}" for i, c in enumerate(constants)]
    held = {f"c{i}": c for i, c in enumerate(constants) if c is not None}
    outs = ["y", *[f"z{i}" for i in range(outputs - 1)]]
    return model([node(op, ["x", *names], outs, **attrs)], {"x": x}, constants=held, opset=opset)


def ints(*values):
    return np.array(values, I)


def names_and_order():
    yield "cycle of two", model([node("Add", ["x", "b"], ["a"]), node("Neg", ["a"], ["b"]),
                                 node("Neg", ["b"], ["y"])])  # fmt: skip
    yield "a node that reads itself", model([node("Add", ["x", "y"], ["y"])])
    yield "missing name", model([node("Add", ["x", "nothing"], ["y"])])
    yield "missing output", model([node("Neg", ["x"], ["z"])])
    yield "no nodes", model([])
    yield "duplicate node outputs", model([node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["y"])])
    yield "an output named as the input", model([node("Neg", ["x"], ["x"])], outputs=["x"])
    yield "two outputs of one name", model([node("Split", ["x"], ["y", "y"], axis=0)], opset=11)
    yield "constant named as the input", model([node("Neg", ["x"], ["y"])], constants={"x": ONES})
    yield "unknown operator", model([node("Magic", ["x"], ["y"])])
    yield "unknown domain", model([node("Relu", ["x"], ["y"], domain="a.b")])
    yield "Loop", model([node("Loop", ["x"], ["y"], body=graph([], {}, []))])
    yield "Scan", model([node("Scan", ["x"], ["y"], body=graph([], {}, []), num_scan_inputs=1)])
    yield "no inputs at all", model([node("Neg", [], ["y"])])
    yield "empty operator", model([node("", ["x"], ["y"])])
    for count in (0, 3, 9):
        yield f"Add of {count}", model([node("Add", ["x"] * count, ["y"])])
    for version in (0, 1, 6, 99, 2**31 - 1):
        yield f"operator set {version}", one("Squeeze", opset=version)


def types_and_ranks():
    text = helper.make_tensor_value_info("x", TensorProto.STRING, [2])
    result = helper.make_tensor_value_info("y", TensorProto.STRING, [2])
    made = helper.make_graph([node("Neg", ["x"], ["y"])], "g", [text], [result])
    yield "strings", helper.make_model(made).SerializeToString()
    for to in (0, 8, 14, 17, 99, -1, 2**40):
        yield f"Cast to {to}", one("Cast", to=to)
    yield "Add of other types", one("Add", ints(1))
    yield "And of floats", one("And", ONES)
    yield "shapes that do not fit", one("Add", np.ones((2, 5), F))
    yield "MatMul that does not fit", one("MatMul", np.ones((5, 3), F))
    yield "Gemm of three axes", one("Gemm", np.ones((4, 3), F))
    yield "nine axes", one("Unsqueeze", ints(*range(6)))
    yield "sixty axes", one("Reshape", ints(*[1] * 57, 2, 3, 4))
    for axis in (3, -4, 2**31, -(2**63)):
        yield f"Softmax of axis {axis}", one("Softmax", axis=axis)
        yield f"Concat of axis {axis}", one("Concat", ONES, axis=axis)
        yield f"Gather of axis {axis}", one("Gather", ints(0), axis=axis)
        yield f"Squeeze of axis {axis}", one("Squeeze", ints(axis))
        yield f"ReduceSum of axis {axis}", one("ReduceSum", ints(axis))
        yield f"ArgMax of axis {axis}", one("ArgMax", axis=axis)
    yield "axis of another type", one("Softmax", axis="last")
    yield "Concat without axis", one("Concat", ONES)
    yield "Squeeze of what is not 1", one("Squeeze", ints(0))
    yield "Unsqueeze twice", one("Unsqueeze", ints(0, 0))
    for perm in ([0, 1], [0, 1, 1], [0, 1, 3], [-1, 0, 1], list(range(20))):
        yield f"Transpose {perm}", one("Transpose", perm=perm)
    yield "Flatten of axis 9", one("Flatten", axis=9)
    yield "LSTM of rank 2", one("LSTM", ONES, ONES, hidden_size=1, x=(1, [2, 3]))
    w, r = np.ones((1, 8, 4), F), np.ones((1, 8, 2), F)
    yield "LSTM with too few rows", one("LSTM", w[:, :7], r, hidden_size=2)
    yield "LSTM of another size", one("LSTM", w, r, hidden_size=2**40)
    yield "LSTM without R", one("LSTM", w, hidden_size=2)
    yield "LSTM of nothing", one("LSTM", w[:, :0], r[:, :0], hidden_size=0)
    yield "LSTM of another direction", one("LSTM", w, r, hidden_size=2, direction="sideways")
    yield "LSTM with lengths beyond", one("LSTM", w, r, None, np.array([9, 9, 9], np.int32),
                                          hidden_size=2)  # fmt: skip
    yield "LSTM with negative lengths", one("LSTM", w, r, None, np.array([-1, 1, 1], np.int32),
                                            hidden_size=2)  # fmt: skip
    yield "GRU whose weights are inputs", model(
        [node("GRU", ["x", "w", "r"], ["y"], hidden_size=2)],
        {"x": (1, [2, 3, 4]), "w": (1, [1, 6, 4]), "r": (1, [1, 6, 2])})  # fmt: skip
    yield "indices beyond", one("Gather", ints(2))
    yield "indices below", one("Gather", ints(-3))
    yield "indices computed, beyond", model(
        [node("Gather", ["x", "i"], ["y"])], {"x": (1, [0, 3]), "i": (7, [2])})  # fmt: skip
    yield "BatchNormalization of other sizes", one("BatchNormalization", *[np.ones(5, F)] * 4)
    yield "LayerNormalization of other sizes", one("LayerNormalization", np.ones(5, F))
    scale = np.ones(3, F)
    for groups in (0, -1, 7):
        yield (
            f"GroupNormalization of {groups} groups",
            one("GroupNormalization", scale, scale, num_groups=groups, opset=21),
        )
    yield "Pad without pads", one("Pad")
    yield "Pad of nothing", model([node("Pad", [], ["y"])])
    yield "CastLike of one input", one("CastLike", opset=19)
    yield "CastLike of what is not given", one("CastLike", None, opset=19)
    yield "Identity of nothing", model([node("Identity", [], ["y"])])
    yield "an output that Size does not have", model([node("Size", ["x"], ["", "y"])])
    yield "Einsum of other letters", one("Einsum", ONES, equation="ab,cd->ad")
    yield "Einsum without an end", one("Einsum", ONES, equation="abc,abc->")  # fine: one number
    yield "Einsum of a new letter", one("Einsum", ONES, equation="abc,abd->z")


def bombs():
    for n in BIG:
        yield f"Expand to {n}", one("Expand", ints(n, 1, 1, 1))
        yield f"Reshape to {n}", one("Reshape", ints(n))
        yield f"Tile by {n}", one("Tile", ints(n, 1, 1))
        yield f"Pad by {n}", one("Pad", ints(n, 0, 0, 0, 0, 0))
        yield f"ConstantOfShape of {n}", model([node("ConstantOfShape", ["s"], ["y"])],
                                               {}, constants={"s": ints(n, 2)})  # fmt: skip
        yield f"Range to {n}", model([node("Range", ["a", "b", "c"], ["y"])], {}, constants={
            "a": np.array(0), "b": np.array(n), "c": np.array(1 if n > 0 else -1)})  # fmt: skip
        yield f"OneHot of depth {n}", one("OneHot", np.array(n), np.ones(2, F), x=(7, [3]))
        yield f"Split to {n}", one("Split", ints(n, 2 - n if 0 < n < 2**62 else 0), outputs=2)
        yield f"TopK of {n}", one("TopK", ints(n), outputs=2)
    for n in BIG[:5]:
        for m in (2, 2**31):
            yield f"Expand to {n} x {m}", one("Expand", ints(n, m, 1, 1, 1))
        yield f"Tile by {n} twice", one("Tile", ints(n, n, 1))
        yield f"all sides padded by {n}", one("Pad", ints(*[n] * 6))
        yield f"reflected by {n}", one("Pad", ints(n, 0, 0, 0, 0, 0), mode="reflect")
    for scale in (1e9, 1e30, np.inf, np.nan, -1.0, 0.0):
        yield f"Resize by {scale}", one("Resize", None, np.array([1, 1, scale], F))
    for n in (2**40, -1, 2**63 - 1):
        yield f"Resize to {n}", one("Resize", None, None, ints(2, 3, n))
    for step in (0, 1e-30, np.nan, np.inf):
        yield f"Range of step {step}", model(
            [node("Range", ["a", "b", "c"], ["y"])], {},
            constants={"a": F(0), "b": F(1e30), "c": F(step)})  # fmt: skip
    for n in (2**63 - 1, -(2**63), 2**31):
        for what, cut in (("start", (n, 2, 0, 1)), ("step", (0, 2, 0, n)), ("axis", (0, 1, n, 1))):
            yield f"Slice with {what} {n}", one("Slice", *map(ints, cut))
    yield "Slice of step 0", one("Slice", ints(0), ints(1), ints(0), ints(0))
    yield "Slice with axes twice", one("Slice", ints(0, 0), ints(1, 1), ints(0, 0))
    yield "Slice with too many ends", one("Slice", ints(0), ints(1, 1, 1))


def windows():
    w = np.ones((2, 3, 2), F)
    for name, attrs in {
        "strides": {"strides": [2**62]}, "no strides": {"strides": [0]},
        "dilations": {"dilations": [2**62]}, "no dilations": {"dilations": [0]},
        "negative dilations": {"dilations": [-1]}, "pads": {"pads": [2**62, 2**62]},
        "one pad": {"pads": [1]}, "negative pads": {"pads": [-1, -1]}, "groups": {"group": 2**40},
        "no groups": {"group": 0}, "two groups": {"group": 2}, "negative groups": {"group": -3},
        "kernel_shape": {"kernel_shape": [9]}, "kernels": {"kernel_shape": [2, 2]},
        "auto_pad": {"auto_pad": "MAGIC"}, "large pads": {"pads": [2**33, 2**33]},
        "long strides": {"strides": [2, 2, 2]},
    }.items():  # fmt: skip
        yield f"Conv, {name}", one("Conv", w, **attrs)
        yield f"ConvTranspose, {name}", one("ConvTranspose", w.transpose(1, 0, 2).copy(), **attrs)
        if "group" not in attrs:
            yield f"MaxPool, {name}", one("MaxPool", **{"kernel_shape": [2]} | attrs)
    for name in ("output_padding", "output_shape"):
        yield (
            f"ConvTranspose, {name}",
            one("ConvTranspose", np.ones((3, 2, 2), F), **{name: [2**62]}),
        )
    yield "AveragePool without a window", one("AveragePool")
    yield "AveragePool of window 0", one("AveragePool", kernel_shape=[0])
    yield "AveragePool of a large window", one("AveragePool", kernel_shape=[2**62])
    yield "a window over four axes", one("MaxPool", kernel_shape=[1] * 4, x=(1, [1] * 6))
    yield "GlobalAveragePool of one axis", one("GlobalAveragePool", x=(1, [3]))


def branches():
    yes = graph([node("Neg", ["x"], ["a"])], {}, ["a"])
    bare = {"x": (1, [2]), "c": (9, [])}
    yield "If without branches", model([node("If", ["c"], ["y"])], bare)
    yield "If with one branch", model([node("If", ["c"], ["y"], else_branch=yes)], bare)
    yield "If with too many outputs", model(
        [node("If", ["c"], ["y", "z"], then_branch=yes, else_branch=yes)], bare)  # fmt: skip
    yield "If of a float", model([node("If", ["x"], ["y"], then_branch=yes, else_branch=yes)], bare)
    yield "If whose branch is a number", model([node("If", ["c"], ["y"], then_branch=1,
                                                     else_branch=2)], bare)  # fmt: skip
    loop = graph([node("Add", ["x", "a"], ["a"])], {}, ["a"])
    yield "If with a cycle in it", model(
        [node("If", ["c"], ["y"], then_branch=loop, else_branch=loop)], bare)  # fmt: skip
    deep = graph([node("Neg", ["x"], ["a"])], {}, ["a"])
    for level in range(30):
        deep = graph([node("If", ["c"], [f"a{level}"], then_branch=deep, else_branch=deep)],
                     {}, [f"a{level}"]) if level < 12 else graph(
            [node("If", ["c"], [f"a{level}"], then_branch=deep)], {}, [f"a{level}"])  # fmt: skip
    yield "If in If, doubled, then without else", model(
        [node("If", ["c"], ["y"], then_branch=deep, else_branch=deep)], bare)  # fmt: skip


def branch(name):
    return graph([node("Neg", ["x"], [name])], {}, [name])


def chain(count, op, *more, constants=None, inputs=None, opset=18, **attrs):
    """x through one operator again and again."""
    nodes = [node(op, [f"v{i}" if i else "x", *more], [f"v{i + 1}"], **attrs) for i in range(count)]
    return model(nodes, inputs, [f"v{count}"], constants, opset=opset)


def giants():
    """Small files that would need much time or memory if nothing bounded them."""
    free = {"x": (1, ["n", "m"])}
    yield "sizes squared 80 times", model(
        [node("Shape", ["x"], ["v0"]),
         *[node("Mul", [f"v{i}"] * 2, [f"v{i + 1}"]) for i in range(80)],
         node("Expand", ["x", "v80"], ["y"])], {"x": (1, ["n", 3])})  # fmt: skip
    yield "sizes doubled 70 times", model(
        [node("Shape", ["x"], ["v0"]),
         *[node("Add", [f"v{i}"] * 2, [f"v{i + 1}"]) for i in range(70)],
         node("ConstantOfShape", ["v70"], ["y"])])  # fmt: skip
    yield "tiles of tiles", chain(3000, "Tile", "t", constants={"t": ints(2**40, 1, 1)})
    yield "free tiles of tiles", chain(3000, "Tile", "t", constants={"t": ints(1, 2**40)},
                                       inputs=free)  # fmt: skip
    yield "concatenations doubled", model(
        [node("Concat", ["x" if i == 0 else f"v{i}"] * 2, [f"v{i + 1}"], axis=0)
         for i in range(60)], outputs=["v60"])  # fmt: skip
    yield "constants doubled", model(
        [node("Concat", [f"v{i}"] * 2, [f"v{i + 1}"], axis=0) for i in range(60)],
        outputs=["v60"], constants={"v0": ONES})  # fmt: skip
    yield "constants made again and again", model(
        [*[node("ConstantOfShape", ["s"], [f"v{i}"]) for i in range(200)],
         node("Sum", [f"v{i}" for i in range(200)], ["y"])],
        constants={"s": ints(1 << 20)})  # fmt: skip
    yield "constants summed again and again", model(
        [node("ConstantOfShape", ["s"], ["big"]),
         *[node("ReduceSum", ["big"], [f"v{i}"]) for i in range(5000)],
         node("Max", [f"v{i}" for i in range(5000)], ["y"])],
        constants={"s": ints(1 << 23)})  # fmt: skip
    yield "products of constants", model(
        [node("ConstantOfShape", ["s"], ["v0"]),
         *[node("MatMul", ["v0", f"v{i}"], [f"v{i + 1}"]) for i in range(200)],
         node("Slice", ["v200", "a", "b"], ["y"])],
        constants={"s": ints(1500, 1500), "a": ints(0), "b": ints(1)})  # fmt: skip
    weight = {"w": np.ones((256, 256), F)}
    yield "one weight packed a thousand times", chain(
        1500, "MatMul", "w", constants=weight, inputs={"x": (1, [2, 256])})  # fmt: skip
    conv = {"w": np.ones((256, 256, 1), F)}
    yield "one kernel packed a thousand times", chain(
        1500, "Conv", "w", constants=conv, inputs={"x": (1, [1, 256, 2])})  # fmt: skip
    yield "one constant transposed a thousand times", model(
        [node("Transpose", ["x"], ["v0"], perm=[1, 0]),
         *[node("Mul", [f"v{i}", "w"], [f"v{i + 1}"]) for i in range(1500)]],
        {"x": (1, [256, "n"])}, ["v1500"], constants={"w": np.ones((256, 256), F)})  # fmt: skip
    yield "a concatenation of thousands", model([node("Concat", ["x"] * 5000, ["y"], axis=0)])
    yield "a sum of thousands", model([node("Sum", ["x"] * 5000, ["y"])])
    yield "a split into thousands", one("Split", outputs=5000, axis=0, x=(1, [5000, 2]), opset=11)
    yield "thousands of outputs", model([node("Neg", ["x"], [f"y{i}"]) for i in range(500)],
                                        outputs=[f"y{i}" for i in range(500)])  # fmt: skip
    yield "thousands of inputs", model(
        [node("Neg", ["x0"], ["y"])], {f"x{i}": (1, [1]) for i in range(500)})  # fmt: skip
    yield "thousands of Ifs", model(
        [node("If", ["c"], [f"v{i}"], then_branch=branch(f"t{i}"), else_branch=branch(f"e{i}"))
         for i in range(3000)], {"x": (1, [2]), "c": (9, [])}, ["v2999"])  # fmt: skip
    yield "a hundred thousand nodes", chain(100_000, "Neg")
    yield "fifteen thousand nodes", chain(15_000, "Neg")
    yield "a hundred thousand constant nodes", chain(100_000, "Neg", inputs={},
                                                     constants={"x": ONES})  # fmt: skip
    yield "one transposed value read by thousands", model(
        [node("Transpose", ["x"], ["t"], perm=[2, 0, 1]),
         *[node("Softmax", ["t"], [f"v{i}"], axis=1) for i in range(9999)],
         node("LSTM", ["t", "t", "t"], ["y"])],
        constants={"long": np.zeros(1 << 22, np.int8)})  # fmt: skip
    yield "a state through thousands of views", model(
        [node("LSTM", ["x", "w", "r", "", "", "h", "c"], ["", "", "v0"], hidden_size=2),
         *[node("Unsqueeze" if i % 2 == 0 else "Squeeze", [f"v{i}", "zero"], [f"v{i + 1}"])
           for i in range(4000)]],
        {"x": (1, [1, 3, 4]), "h": (1, [1, 3, 2]), "c": (1, [1, 3, 2])}, ["v4000"],
        {"w": np.ones((1, 8, 4), F), "r": np.ones((1, 8, 2), F), "zero": ints(0)})  # fmt: skip
    yield "a split of which all parts are gates", model(
        [node("Split", ["x"], [f"v{i}" for i in range(3000)], axis=1),
         *[node("Tanh", [f"v{i}"], [f"t{i}"]) for i in range(3000)],
         *[node("Mul", [f"v{i}", f"t{i}"], [f"m{i}"]) for i in range(3000)],
         node("Max", [f"m{i}" for i in range(3000)], ["y"])],
        {"x": (1, [2, 3000])}, opset=11)  # fmt: skip
    yield "an Expand for every axis that is free", model(
        [*[node("Shape", [f"x{i}"], [f"s{i}"]) for i in range(60)],
         *[node("Expand", [f"x{i}", f"s{i + 1}"], [f"e{i}"]) for i in range(59)],
         node("Concat", [f"e{i}" for i in range(59)], ["y"], axis=0)],
        {f"x{i}": (1, list("abcdefgh"[: 1 + i % 8])) for i in range(60)})  # fmt: skip
