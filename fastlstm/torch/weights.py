# SPDX-License-Identifier: MIT
"""A module's weights as the engine has packed them, and how a call knows that they are current.

PyTorch counts writes to a tensor, but not those through `.data`, `.numpy()` or the storage. So each
call compares all weights with the copies that were packed, bit by bit. Of H = I = 256, 0.53 million
weights, that takes 90 us with the extension's memcmp, where NumPy took 180 and torch.equal 630; of
0.03 million 7, 18 and 42; of 2.1 million, beyond the caches, 1.9 ms in each way but 2.5 by
torch.equal. (Zen 4, one busy core of two.) A frozen module compares addresses and PyTorch's counts.
"""

import torch

from ..engine import backend


class Packed:
    """A layer of fastlstm, of copies of the weights, and what tells whether they still are these.

    layer     its arrays are `copies`, contiguous float32, or these quantized
    seen      (marks, live) of the module's own weights: their addresses and PyTorch's counts of
              writes to them; their memory as arrays, None if one is not contiguous. One attribute,
              so that threads find both of one time
    """

    def __init__(self, make, names, weights):
        """make: arrays by name -> a layer with them."""
        tensors = [w.detach().clone(memory_format=torch.contiguous_format) for w in weights]
        self.copies = [t.resolve_neg().numpy() for t in tensors]
        self.layer = make(dict(zip(names, self.copies, strict=True)))
        self._look_at(weights)

    def _look_at(self, weights):
        live = None
        if all(w.is_contiguous() and not w.is_neg() for w in weights):
            live = [w.detach().numpy() for w in weights]
        self.seen = _marks(weights), live

    def is_of(self, weights):
        """Do `weights` have the copies' bits?"""
        marks, live = self.seen
        for w, (address, _), copy in zip(weights, marks, self.copies, strict=True):
            if w.data_ptr() != address or w.shape != copy.shape or not w.is_contiguous():
                live = None
                break
        if live is not None:
            return backend.same_bits(live, self.copies)
        if not all(map(_equal, weights, self.copies)):
            return False
        self._look_at(weights)
        return True

    def is_marked(self, weights):
        """Are they where they were, with no write that PyTorch has counted?"""
        return self.seen[0] == _marks(weights)

    def changed(self, names, weights):
        """The names of those whose bits are not the copies'."""
        both = zip(names, weights, self.copies, strict=True)
        return [name for name, w, copy in both if not _equal(w, copy)]


def _marks(weights):
    # A tensor made under inference_mode has no count.
    return [(w.data_ptr(), -1 if w.is_inference() else w._version) for w in weights]


def _equal(weight, copy):
    array = weight.detach().resolve_neg().contiguous().numpy()
    return array.shape == copy.shape and backend.same_bits([array], [copy])
