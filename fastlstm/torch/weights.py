# SPDX-License-Identifier: MIT
"""A module's weights as the engine has packed them, and how a call knows that they are current.

PyTorch counts writes to a tensor, but not those through `.data`, `.numpy()` or the storage. So each
call compares all weights with the copies that were packed, bit by bit. Of H = I = 256, 0.53 million
weights, that takes 90 us with the extension's memcmp, where NumPy took 180 and torch.equal 630; of
0.03 million 7, 18 and 42; of 2.1 million, beyond the caches, 1.9 ms in each way but 2.5 by
torch.equal. (Zen 4, one busy core of two.) A frozen module asks whether they are the same tensors,
at the same addresses, and PyTorch's counts.
"""

import weakref

import torch

from ..engine import backend


class Packed:
    """A layer of fastlstm, of copies of the weights, and what tells whether they still are these.

    layer     its arrays are `copies`, contiguous float32, or these quantized
    seen      (addresses, live, marks) of the module's own weights: where they are; their memory as
              arrays, None if one is not contiguous; and for each a weak reference to the tensor and
              PyTorch's count of writes to it, None if one has no count. One attribute, so that
              threads find all of one time
    """

    def __init__(self, make, names, weights):
        """make: arrays by name -> a layer with them."""
        tensors = [w.detach().clone(memory_format=torch.contiguous_format) for w in weights]
        self.copies = [t.resolve_neg().numpy() for t in tensors]
        self.layer = make(dict(zip(names, self.copies, strict=True)))
        self._look_at(weights)

    def _look_at(self, weights):
        live = marks = None
        if all(w.is_contiguous() and not w.is_neg() for w in weights):
            live = [w.detach().numpy() for w in weights]
        if not any(w.is_inference() for w in weights):  # those have no count
            marks = [(weakref.ref(w), w._version) for w in weights]
        self.seen = [w.data_ptr() for w in weights], live, marks

    def is_of(self, weights):
        """Do `weights` have the copies' bits?"""
        addresses, live, _ = self.seen
        for w, address, copy in zip(weights, addresses, self.copies, strict=True):
            if w.data_ptr() != address or w.shape != copy.shape or not w.is_contiguous():
                live = None
                break
        if live is not None:
            return backend.same_bits(live, self.copies)
        if not all(map(_equal, weights, self.copies)):
            return False
        self._look_at(weights)
        return True

    def is_still_of(self, weights):
        """The same, but bits are not compared while these are the tensors that were seen last,
        where they were, with no write that PyTorch has counted. Another tensor of the same memory
        has a count of its own."""
        addresses, _, marks = self.seen
        if marks is None:
            return self.is_of(weights)
        for w, address, (tensor, count) in zip(weights, addresses, marks, strict=True):
            if tensor() is not w or w.data_ptr() != address or w._version != count:
                break
        else:
            return True
        if not self.is_of(weights):
            return False
        self._look_at(weights)
        return True

    def changed(self, names, weights):
        """The names of those whose bits are not the copies'."""
        both = zip(names, weights, self.copies, strict=True)
        return [name for name, w, copy in both if not _equal(w, copy)]


def _equal(weight, copy):
    array = weight.detach().resolve_neg().contiguous().numpy()
    return array.shape == copy.shape and backend.same_bits([array], [copy])
