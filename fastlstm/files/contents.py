# SPDX-License-Identifier: MIT
"""What a reader of files gives, and what its caller may say of a file."""

import dataclasses

from ..engine.variants import Activation
from .source import Source

# The weights that a reader makes of all layers may take WEIGHTS bytes for each byte of the file,
# and MORE_WEIGHTS bytes beyond that.
WEIGHTS, MORE_WEIGHTS = 2, 24 << 20


@dataclasses.dataclass
class Contents:
    """What is in a file.

    arrays   {name: array}: the file's own tensors under their own names, and where those are not
             torch's (ONNX, Keras), the layers' weights once more, under torch's
    layers   {prefix: Layer}; a layer's weights are arrays[prefix + "weight_ih_l0"] and so on. A
             reader gives None where torch's names alone tell the layers (find.py)
    shared   True: the arrays are a read-only mapping of the file, which layers may keep
    source   the open file, for errors of `add`; None for readers that do not call it
    bytes_left   bytes that the weights of layers may still take
    counts   {name: how many layers were added under it}
    unread   {name: why}: tensors of the file that are left out, as they are of kinds that are not
             read
    opaque   {name: what it is}: objects beside the tensors that are not looked into
    """

    arrays: dict
    layers: dict | None
    shared: bool = False
    source: Source = None
    bytes_left: int = 0
    counts: dict = dataclasses.field(default_factory=dict)
    unread: dict = dataclasses.field(default_factory=dict)
    opaque: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.source is not None:
            self.bytes_left += WEIGHTS * self.source.size + MORE_WEIGHTS

    def add(self, name, layer, weights):
        """Put a layer and its weights, {torch's name: array}, under `name`, made unique.
        LoadError if many layers are made of the same weights."""
        self.bytes_left -= sum(array.nbytes for array in weights.values())
        if self.bytes_left < 0:
            raise self.source.error("layers", "their weights need far more memory than the file")
        prefix, count = f"{name}.", self.counts.get(name, 1)
        while prefix in self.layers or any(prefix + end in self.arrays for end in weights):
            count += 1  # goes on from where the last one of that name ended
            prefix = f"{name}_{count}."
        self.counts[name] = count
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
    """{prefix: {the rest of the name: array}} of {name: array}. A prefix is all up to a name's last
    dot, that included, or ""."""
    groups = {}
    for name, array in arrays.items():
        prefix, dot, end = name.rpartition(".")
        groups.setdefault(prefix + dot, {})[end] = array
    return groups


def layer_weights(groups, prefix, layer):
    """{torch's name: array} of the layer under `prefix`, its initial state included. groups: what
    `group_by_prefix` gave."""
    return {
        f"{end}_l0" if layer.cell else end: array
        for end, array in groups.get(prefix, {}).items()
        if end.startswith(("weight_", "bias_", "peephole_", "initial_"))
    }
