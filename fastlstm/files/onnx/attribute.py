# SPDX-License-Identifier: MIT
"""Attributes of ONNX nodes: the message AttributeProto of onnx.proto (onnx/onnx on GitHub).

Field numbers: name 1, and one of f 2, i 3, s 4, t 5, g 6, floats 7, ints 8, strings 9, tensors 10,
graphs 11, the value; type 20, which is the value's field number less one; and 21, in the body of a
function, the name of the attribute of the call that gives the value. Which attributes a node has,
and of which types, is not known here.
"""

import struct

from ..source import show
from .tensor import Tensor
from .wire import I32, LEN, VARINT, float32, signed

# The types of an attribute's value, as the numbers of AttributeProto's fields.
FLOAT, INT, STRING, TENSOR, GRAPH, FLOATS, INTS, STRINGS, TENSORS, GRAPHS = range(2, 12)
# {type: (what errors call it, wire types of the field)}. Graphs have a method of their own, and no
# operator that is read has tensors.
_TYPES = {
    FLOAT: ("a float", (I32,)), INT: ("an int", (VARINT,)), STRING: ("a string", (LEN,)),
    TENSOR: ("a tensor", (LEN,)), GRAPH: ("a graph",), FLOATS: ("floats", (LEN, I32)),
    INTS: ("ints", (LEN, VARINT)), STRINGS: ("strings", (LEN,)), TENSORS: ("tensors",),
    GRAPHS: ("graphs",),
}  # fmt: skip
_EMPTY = {FLOAT: 0.0, INT: 0, STRING: b"", TENSOR: None}  # the value of an attribute without one


class Attribute:
    """An AttributeProto. Its value is decoded at each call of value().

    name        its name
    reference   in the body of a function: the attribute of the call that it stands for, or ""
    """

    __slots__ = ("name", "reference", "span")

    def __init__(self, span):
        self.span, self.name, self.reference = span, "", ""
        span.wire.charge(160)
        for number, wire_type, value in span.fields():
            if number == 1 and wire_type == LEN:
                self.name = value.text()
            elif number == 21 and wire_type == LEN:
                self.reference = value.text()

    @property
    def type(self):
        """The type of the value, one of FLOAT ... GRAPHS: as the attribute says, or the field's
        that it has; None for what is neither."""
        found = None
        for number, wire_type, value in self.span.fields():
            if number == 20 and wire_type == VARINT and value + 1 in _TYPES:
                return value + 1
            if number in _TYPES:
                found = number
        return found

    def value(self, due, error):
        """The value, which must be of the type `due`, one of FLOAT ... STRINGS: a float, int, bytes
        or Tensor, or a list of floats, ints or bytes. LoadError if it is of another type.

        Writers leave out zeros and empty lists. So an attribute without a value is 0.0, 0, b"" or
        []; None where a Tensor is due.

        error   f(rule) -> LoadError, which names the node
        """
        text, wire_types = _TYPES[due]
        found, other = [], None
        for number, wire_type, value in self.span.fields():
            if number == due and wire_type in wire_types:
                found += self._decoded(due, wire_type, value)
            elif number in _TYPES:
                other = "malformed" if number == due else _TYPES[number][0]
        if other and not found:
            raise error(f"the attribute {show(self.name)} is {other}, {text} due")
        if due in _EMPTY:
            return found[-1] if found else _EMPTY[due]
        return found

    def _decoded(self, due, wire_type, value):
        """[the value], or the values, of one field of the type `due`."""
        wire = self.span.wire
        wire.charge(48)
        if due == FLOAT:
            return [float32(value)]
        if due == INT:
            return [signed(value)]
        if due == TENSOR:
            return [Tensor(value)]
        if due == FLOATS:
            raw = value.bytes() if wire_type == LEN else value.to_bytes(4, "little")
            wire.charge(16 * len(raw))
            if len(raw) % 4:
                raise self.span.error("floats of odd length")
            return struct.unpack(f"<{len(raw) // 4}f", raw)
        if due == INTS:
            wire.charge(48 * len(value) if wire_type == LEN else 0)
            return map(signed, value.varints() if wire_type == LEN else [value])
        wire.charge(32 + len(value))
        return [value.bytes()]

    def graphs(self):
        """The Spans of the graphs in it."""
        for number, wire_type, value in self.span.fields():
            if number in (GRAPH, GRAPHS) and wire_type == LEN:
                yield value
