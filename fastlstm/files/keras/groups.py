# SPDX-License-Identifier: MIT
"""Which cells are a configured layer's in the layout of .h5 files: those whose groups have the
names of the models and wrappers around the layer, and its own, in that order.
"""

# Cells that are looked at and found for all layers together, for each layer and each cell of the
# file. A sound file's layer finds its own, and looks at few that have a name of its own.
_LOOKS = 100


def _has_in_order(parts, names):
    """Are `names` among `parts` in that order?"""
    due, at = (*names, None), 0
    for part in parts:
        if part == due[at]:
            at += 1
    return due[at] is None


def below_top(folder):
    """(the name of the group at the top, the names of the groups below it on the way to `folder`)
    in the layout of .h5 files."""
    top, *parts = folder.removeprefix("model_weights/").split("/")
    return top, parts


class _Top:
    """The cells in one group at the top of a file in the layout of .h5 files.

    cells   [(folder, Cell)]: all of them
    looks   how many were looked at
    """

    def __init__(self):
        self.cells, self.looks = [], 0
        self._having, self._found = {}, {(): self.cells}

    def add(self, parts, folder, cell):
        self.cells.append((folder, cell))
        for part in dict.fromkeys(parts):
            self._having.setdefault(part, []).append(self.cells[-1])

    def find(self, names):
        """[(folder, Cell)] of the cells with `names` in that order on the way to them; where there
        are none, of those with the last name."""
        if names not in self._found:
            few = min((self._having.get(name, []) for name in names), key=len)
            self.looks += len(few)
            chosen = [each for each in few if _has_in_order(below_top(each[0])[1], names)]
            self._found[names] = chosen or (self.find(names[-1:]) if len(names) > 1 else [])
        return self._found[names]


def in_h5_layout(file, cells, layers):
    """{ConfiguredLayer: [(folder, Cell)]} of a file in the layout of .h5 files. cells: those of
    Weights.named; layers: all ConfiguredLayers.

    A group at the top has the name of the outermost model, wrapper or layer; what is inside a model
    has further groups with its name. Where none of those inside has its name there (Keras 2 left
    some out), and the cells in the group are as many as are due, they are theirs in turn: that is
    how Keras itself reads them."""
    tops, due, looks = {}, {}, _LOOKS * (len(cells) + len(layers))
    for folder, cell in cells:
        name, parts = below_top(folder)
        tops.setdefault(name, _Top()).add(parts, folder, cell)
    for layer in layers:
        due.setdefault(layer.names[0] if layer.names else None, []).append(layer)
    found = {}
    for name, inside in due.items():
        top = tops.get(name, _Top())
        for layer in inside:
            found[layer] = top.find(layer.names[1:])
            looks -= len(found[layer])
            if looks < top.looks:
                raise file.error("configuration", "many layers are named like the same weights")
        looks -= top.looks
        counts = [len(layer.cells) or 1 + (layer.class_name == "Bidirectional") for layer in inside]
        if not any(found[layer] for layer in inside) and sum(counts) == len(top.cells):
            rest = iter(top.cells)
            for layer, count in zip(inside, counts, strict=True):
                found[layer] = [next(rest) for _ in range(count)]
    return found
