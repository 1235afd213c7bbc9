# SPDX-License-Identifier: MIT
"""A PyTorch module as an ONNX file, and as one whole model that fastlstm.load_model runs."""

import tempfile
import warnings
from pathlib import Path

import numpy as np

import fastlstm

HALF = ".half"  # behind the name of a table in float16


def export(file, module, arguments, inputs, outputs, free):
    """Writes the ONNX file of a module. The names of its weights stay the module's.

    file        a path, or an io.BytesIO
    arguments   an example call's, a tuple of tensors
    inputs      names, and of outputs
    free        {name: {axis: its name}} of axes that may have other sizes; other names may be there
    """
    import torch

    with warnings.catch_warnings():
        # PyTorch's newer exporter makes the number of an LSTM's steps a constant (2.13); the older
        # one does not, and says that it is the older one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), arguments, file, dynamo=False, do_constant_folding=False,
            input_names=inputs, output_names=outputs,
            dynamic_axes={name: free[name] for name in (*inputs, *outputs) if name in free},
        )  # fmt: skip


def halve_tables(file):
    """In an ONNX file the tables that are looked up become float16, with a Cast behind each: in a
    file of float16 fastlstm keeps them in float32, since only matrices of products are its weights.
    """
    import onnx

    model = onnx.load(file)
    looked_up = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    for table in [t for t in model.graph.initializer if t.name in looked_up]:
        values = onnx.numpy_helper.to_array(table)
        if values.dtype == np.float32:
            name, half = table.name, table.name + HALF
            table.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), half))
            cast = onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.FLOAT)
            model.graph.node.insert(0, cast)
    onnx.save(model, file)


def round_weights(module):
    """Rounds a module's parameters to numbers of float16, as `save` writes them."""
    import torch

    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.half())


def save(path, module, *parts):
    """Writes a module to `path` for fastlstm.load_model, its weights as float16; ValueError if that
    would change one of them. parts: as `export` takes them behind the module."""
    for name, parameter in module.named_parameters():
        if not (parameter == parameter.half()).all():
            raise ValueError(f"{name} is no float16: round_weights is due before what is measured")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export(file, module, *parts)
        halve_tables(file)
        fastlstm.load_model(file, dtype="float16").save(path)


def weights_of(*paths):
    """{name in the module: tensor} of files that `save` wrote; constants of the export too."""
    import torch

    found = {}
    for path in paths:
        constants = fastlstm.load_model(path, dtype="float32").graph.constants
        found |= {name.removesuffix(HALF): torch.tensor(a) for name, a in constants.items()}
    return found
