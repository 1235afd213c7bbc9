# SPDX-License-Identifier: MIT
"""What a pool counts. Nothing here locks: the pool calls it under its own lock."""

import bisect
import collections

import numpy as np

BOUNDS = tuple(1e-4 * 2**i for i in range(16))  # seconds: 0.1 ms to 3.3 s
RECENT = 4096  # latencies that the quantiles are of
MANY = 32  # from so many latencies on NumPy counts them sooner than a loop


class Metrics:
    """frames     that were stepped                       batches       in how many calls
    rejected   opens and frames that were refused      closed_idle   streams
    sizes      {n: batches of at most n rows, more than n / 2}, n a power of two
    counts     latencies up to each of BOUNDS, above the one before; the last: the rest
    seconds    their sum
    """

    def __init__(self):
        self.frames = self.batches = self.rejected = self.closed_idle = 0
        self.sizes = {}
        self.counts, self.seconds = [0] * (len(BOUNDS) + 1), 0.0
        self._recent = collections.deque(maxlen=RECENT)

    def batch(self, latencies, rows):
        """A batch of so many rows; latencies: of submitted frames, from `submit` to the result."""
        self.batches += 1
        self.frames += rows
        n = 1 << max(rows - 1, 0).bit_length()
        self.sizes[n] = self.sizes.get(n, 0) + 1
        if len(latencies) < MANY:
            for seconds in latencies:
                self.counts[bisect.bisect_left(BOUNDS, seconds)] += 1
        else:
            found = np.bincount(np.searchsorted(BOUNDS, latencies), minlength=len(self.counts))
            self.counts = [a + b for a, b in zip(self.counts, found.tolist(), strict=True)]
        self.seconds += sum(latencies)
        self._recent.extend(latencies)

    def as_dict(self):
        ordered = sorted(self._recent)
        quantile = lambda q: ordered[int(q * (len(ordered) - 1))] if ordered else None  # noqa: E731
        return {
            "frames": self.frames,
            "batches": self.batches,
            "batch_sizes": dict(sorted(self.sizes.items())),
            "rejected": self.rejected,
            "closed_idle": self.closed_idle,
            "latency": {
                "p50": quantile(0.5), "p99": quantile(0.99), "max": quantile(1.0),
                "count": sum(self.counts), "sum": self.seconds,
                "bounds": BOUNDS, "counts": list(self.counts),
            },
        }  # fmt: skip
