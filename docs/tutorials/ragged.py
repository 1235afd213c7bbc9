# SPDX-License-Identifier: MIT
"""# Ragged batches

Sentences, recordings and measurements are of different lengths. In a batch they are padded to the
longest, and then a recurrent network wastes its time on padding, and its last state is that of the
padding. `lengths=` says how long each row really is: only real steps are computed, and each row's
final state is the one after its last real step.
"""

import numpy as np

import fastlstm

rng = np.random.default_rng(0)
gru = fastlstm.GRU(16, 64, bidirectional=True, batch_first=True)

rows = [rng.standard_normal((n, 16)).astype(np.float32) for n in (7, 40, 23, 3)]
lengths = [len(row) for row in rows]

# %% Pad with anything: what stands behind a row's length is never read.

padded = np.full((4, 40, 16), np.nan, np.float32)
for i, row in enumerate(rows):
    padded[i, : len(row)] = row

y, h = gru(padded, lengths=lengths)
print(y.shape, h.shape)  # (4, 40, 128) and (2, 4, 64)

# %% Rows may come in any order: there is nothing to sort, and nothing to pack and unpack, as with
# `pack_padded_sequence`. Outputs past a row's length are zeros.

assert not y[0, 7:].any()

# %% The outputs of a row have the same bits as if it had been alone, whatever stands beside it in
# the batch:

for i, row in enumerate(rows):
    alone, state = gru(row)  # unbatched: (T, I)
    assert np.array_equal(y[i, : len(row)], alone)
    assert np.array_equal(h[:, i], state)

# %% (That is a promise of the C core and of Numba. On the NumPy backend they differ by rounding.)
#
# ## Only the last state
#
# A classifier needs no outputs of the steps between. `return_sequences=False` gives the final h of
# the last layer, its directions side by side, and a one-directional stack then takes no memory that
# grows with T.

last, _ = gru(padded, lengths=lengths, return_sequences=False)
assert np.array_equal(last, np.concatenate([h[0], h[1]], axis=1))

# %% ## In training
#
# `forward_train(x, lengths=...)` takes lengths as well, and `backward` ignores gradients that are
# given for the padding. In PyTorch, packed sequences run here once the model is
# [accelerated](training.py).
