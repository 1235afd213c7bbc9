# SPDX-License-Identifier: MIT
"""torch.nn.utils.rnn: padding. Packed sequences are refused."""

import numpy as np

from ..array import plain, wrap


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Arrays (T_i, ..) in one, (T, B, ..) or (B, T, ..), T the longest, the rest padding_value."""
    arrays = [plain(s) for s in sequences]
    if not arrays:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    longest = max(len(a) for a in arrays)
    shape = (len(arrays), longest, *arrays[0].shape[1:])
    made = np.full(shape, padding_value, arrays[0].dtype)
    for row, array in zip(made, arrays):
        start = longest - len(array) if padding_side == "left" else 0
        row[start : start + len(array)] = array
    return wrap(made if batch_first else np.ascontiguousarray(made.swapaxes(0, 1)))


def _refused(name):
    def refuse(*args, **kwargs):
        """Refused: give lengths= to a fastlstm.LSTM, GRU or RNN."""
        raise NotImplementedError(
            f"{name}: packed sequences are not supported; fastlstm.LSTM, GRU and RNN take padded "
            "input with lengths="
        )

    refuse.__name__ = name
    return refuse


pack_padded_sequence, pack_sequence = _refused("pack_padded_sequence"), _refused("pack_sequence")
pad_packed_sequence = _refused("pad_packed_sequence")
PackedSequence = type(
    "PackedSequence",
    (),
    {"__doc__": "Refused.", "__new__": lambda *a, **k: _refused("PackedSequence")()},
)
