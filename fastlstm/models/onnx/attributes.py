# SPDX-License-Identifier: MIT
"""Attributes of ONNX nodes as the values that graph.Node.attrs has, of the types that are due.

In ONNX's operator sets an attribute of one name has one type in all operators, with four exceptions
that are listed apart. So one table by name checks the types of all, once, and nothing after this
asks again.
"""

from ...files.onnx import attribute as types
from ...files.source import show

_NAMES = {
    types.FLOAT: """
        alpha beta bias clip cubic_coeff_a epsilon extrapolation_value gamma height_scale high lambd
        low max mean min momentum norm_coefficient scale softcap spatial_scale value_float
        width_scale""",
    types.INT: """
        align_corners allowzero antialias axis batch_axis batch_dims bits blocksize block_size
        broadcast ceil_mode count_include_pad detect_negative detect_positive dtype end exclusive
        exclude_outside fmod group hidden_size input_forget inverse is_test k keepdims largest
        layout linear_before_reset new_axis noop_with_empty_axes num_groups num_outputs onesided
        opset output_datatype output_dtype output_sequence periodic precision reverse saturate
        select_last_index sorted spatial stash_type start storage_order time_axis training_mode
        transA transB transBatchA transBatchB upper value_int""",
    types.STRING: """
        activation approximate auto_pad coordinate_transformation_mode direction equation
        keep_aspect_ratio_policy mode nearest_mode padding_mode reduction round_mode
        value_string""",
    types.FLOATS: "activation_alpha activation_beta activation_params scales value_floats",
    types.INTS: """
        axes consumed_inputs dilations ends kernel_shape output_padding output_shape paddings pads
        perm shape split starts strides value_ints""",
    types.STRINGS: "activations value_strings",
    types.GRAPH: "body else_branch then_branch",
}
_TYPES = {name: due for due, names in _NAMES.items() for name in names.split()}
# The names that are of another type in other operators or older sets. `to`, `seed` and `p`, which
# are so too, are of the type that the file says.
_EXCEPTIONS = {
    ("Constant", "value"): types.TENSOR, ("ConstantOfShape", "value"): types.TENSOR,
    ("Pad", "value"): types.FLOAT, ("FusedGemm", "activation_alpha"): types.FLOAT,
    ("FusedGemm", "activation_beta"): types.FLOAT, ("FusedGemm", "activation_gamma"): types.FLOAT,
}  # fmt: skip
_LISTS = (types.FLOATS, types.INTS, types.STRINGS)
_READ = (types.FLOAT, types.INT, types.STRING, types.TENSOR, *_LISTS)
KNOWN = ("", "ai.onnx", "com.microsoft")  # the domains whose attributes' names are in the table


class Unread:
    """The value of an attribute that has one, of a type that no operator here takes: strings as a
    tensor, sparse tensors, types. why: what it is, for a message."""

    def __init__(self, why):
        self.why = why


def value(node, attribute, external, body):
    """The value of `attribute`, of the file's Node: an int, float, str, a list of these, an array,
    a Graph, or Unread. LoadError if it is not of the type that an operator of ONNX's takes.

    external   whether a tensor may be read from another file
    body       f(the Span of a GraphProto) -> Graph
    """
    due = attribute.type
    if node.domain in KNOWN:
        due = _EXCEPTIONS.get((node.op, attribute.name), _TYPES.get(attribute.name, due))
    if due == types.GRAPH:
        spans = list(attribute.graphs())
        if len(spans) != 1:
            raise node.error(f"the attribute {show(attribute.name)} is not one graph")
        return body(spans[0])
    if (
        due is None
        or due >= types.GRAPHS
        or due not in (types.FLOAT, types.INT, types.STRING, types.TENSOR, *_LISTS)
    ):
        return Unread(f"the attribute {show(attribute.name)} is of a type that is not read")
    found = attribute.value(due, node.error)
    if due == types.TENSOR:
        if found is None:
            raise node.error(f"the attribute {show(attribute.name)} is no tensor")
        if not found.readable:
            return Unread(f"the attribute {show(attribute.name)} has elements of type {found.code}")
        return found.array(external)
    if due == types.STRING:
        return found.decode("utf-8", "replace")
    if due == types.STRINGS:
        return [text.decode("utf-8", "replace") for text in found]
    return found
