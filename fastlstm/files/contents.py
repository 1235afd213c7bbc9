# SPDX-License-Identifier: MIT
"""What a reader of files gives, and what its caller may say of a file."""

import dataclasses

from ..engine.int8 import Codes, is_codes
from ..engine.variants import Activation
from .source import Source
from .weight_shapes import split_name

# The weights that a reader makes of all layers may take WEIGHTS bytes for each byte of the file,
# and MORE_WEIGHTS bytes beyond that. A reader that makes float32 of int8 weights may take
# DEQUANTISED for each byte: 4 for each weight, and what is folded or the like of them.
WEIGHTS, DEQUANTISED, MORE_WEIGHTS = 2, 5, 24 << 20


@dataclasses.dataclass
class Contents:
    """What is in a file.

    arrays   {name: array}: the file's own tensors under their own names, and where those are not
             torch's (ONNX, Keras), the layers' weights once more, under torch's
    layers   {prefix: Layer}; a layer's weights are arrays[prefix + "weight_ih_l0"] and so on. A
             reader gives None where torch's names alone tell the layers (find.py)
    shared   True: the arrays are a read-only mapping of the file, which layers may keep
    source   the open file, for errors of `add`; None for readers that do not call it
    per_byte     WEIGHTS or DEQUANTISED
    bytes_left   bytes that the weights of layers may still take
    counts   {name: how many layers were added under it}
    unread   {name: why}: tensors of the file that are left out, as they are of kinds that are not
             read
    opaque   {name: what it is}: objects beside the tensors that are not looked into
    codes    {name: int8.Codes}: of matrices of `arrays` that the file has as codes
    coded    {id of an array: int8.Codes}: the same while layers are found
    """

    arrays: dict
    layers: dict | None
    shared: bool = False
    source: Source | None = None
    per_byte: int = WEIGHTS
    bytes_left: int = 0
    counts: dict = dataclasses.field(default_factory=dict)
    unread: dict = dataclasses.field(default_factory=dict)
    opaque: dict = dataclasses.field(default_factory=dict)
    codes: dict = dataclasses.field(default_factory=dict)
    coded: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.source is not None:
            self.bytes_left += self.per_byte * self.source.size + MORE_WEIGHTS

    def charge(self, count):
        """Take `count` bytes for weights that are made; LoadError if too many are."""
        self.bytes_left -= count
        if self.bytes_left < 0 and self.source is not None:
            raise self.source.error("layers", "their weights need far more memory than the file")

    def weights(self, dtype=None):
        """`arrays`, with the file's own codes for layers of `dtype`, or None: what the file has."""
        return self.arrays | self.codes if dtype in (None, "int8") else self.arrays

    def add(self, name, layer, weights, charged=False, codes=None):
        """Put a layer and its weights, {torch's name: array}, under `name`, made unique.
        LoadError if many layers are made of the same weights.

        charged   True: the weights are the file's own arrays, or `charge` was called for them
        codes     {torch's name: int8.Codes} of the matrices that the file has as codes; the layer
                  is one of int8 if they are all
        """
        if not charged:
            self.charge(sum(array.nbytes for array in weights.values()))
        prefix, count = f"{name}." if name else "", self.counts.get(name, 1)
        while prefix in self.layers or any(prefix + end in self.arrays for end in weights):
            count += 1  # goes on from where the last one of that name ended
            prefix = f"{name}_{count}."
        self.counts[name] = count
        if codes and all(end in codes for end in weights if end.startswith("weight_")):
            layer = dataclasses.replace(layer, dtype="int8")
            self.codes |= {prefix + end: each for end, each in codes.items()}
        self.layers[prefix] = layer
        self.arrays |= {prefix + end: array for end, array in weights.items()}


@dataclasses.dataclass(frozen=True)
class Options:
    """What the caller says of a file that does not say it itself: see `load`."""

    activation: str | Activation | None = None
    recurrent_activation: str | Activation | None = None
    reset_after: bool | None = None
    go_backwards: bool | None = None
    external_data: bool = False


def group_by_prefix(arrays):
    """{prefix: {the rest of the name: array}} of {name: array}. A prefix is what stands before a
    recurrent weight's name, see split_name; of other names all up to the last dot, that included,
    or ""."""
    groups = {}
    for name, array in arrays.items():
        dot = name.rfind(".") + 1
        prefix, end = split_name(name) or (name[:dot], name[dot:])
        groups.setdefault(prefix, {})[end] = array
    return groups


def layer_weights(groups, prefix, layer):
    """{torch's name: array} of the layer under `prefix`, its initial state included. groups: what
    `group_by_prefix` gave. The codes and the scales of an int8 layer's matrix become one
    int8.Codes, if they are what these have to be."""
    found = {
        f"{end}_l0" if layer.cell else end: array
        for end, array in groups.get(prefix, {}).items()
        if end.startswith(("weight_", "bias_", "peephole_", "initial_"))
    }
    if layer.dtype == "int8":
        for name in [name for name in found if name + "_scale" in found]:
            codes, scales = found[name], found.pop(name + "_scale")
            if is_codes(codes, scales):
                found[name] = Codes(codes, scales)
    return found
