# SPDX-License-Identifier: MIT
"""The sums of csrc/kernels/bfloat16.h in NumPy, and its rounding by PyTorch."""

import numpy as np
import torch

F = np.float32


def rounded(x):
    """float32 to the nearest bfloat16, by PyTorch; below 2^-56 to 0."""
    x = torch.from_numpy(np.array(x, F, copy=True)).bfloat16().float().numpy()
    x[np.abs(x) < 2.0**-56] = 0
    return x


def products(total, w, rows):
    """total (B, N) += rows (B, K) W^T, of bfloat16 numbers: products of two are exact in float32,
    so a product and then a sum are rounded as one fused multiply-add is."""
    for k0 in range(0, w.shape[1], 32):
        chains = np.zeros((2, *total.shape), F)
        for k in range(k0, min(k0 + 32, w.shape[1])):
            chains[k % 2] += rows[:, k : k + 1] * w[:, k]
        total = total + (chains[0] + chains[1])
    return total
