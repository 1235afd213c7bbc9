# SPDX-License-Identifier: MIT
"""The geometry of windows over the spatial axes of an array (N, C, ...): convolutions and pools.

padded size = size + pads       extent = (kernel - 1) dilation + 1
outputs = (padded size - extent) / stride + 1, rounded down, or with ceil_mode up, where a
          window that begins behind the input and the pads before it does not count
"""

import math

import numpy as np


class Windows:
    """kernel, strides, dilations, before, after: a list each, with a number for each spatial axis.
    sizes: how many windows along each axis. x: the input, (N, C, ...)."""

    def __init__(self, call, x, kernel, dilated=True):
        n = x.ndim - 2
        if n < 1:
            raise call.error(f"its input has the shape {x.shape}: (N, C, ...) is due")
        self.call, self.kernel = call, list(kernel)
        self.strides = call.attr("strides") or [1] * n
        self.dilations = (call.attr("dilations") or [1] * n) if dilated else [1] * n
        pads = call.attr("pads") or [0] * (2 * n)
        for name, values, count in (
            ("kernel_shape", self.kernel, n), ("strides", self.strides, n),
            ("dilations", self.dilations, n), ("pads", pads, 2 * n),
        ):  # fmt: skip
            if len(values) != count or min(values) < (0 if name == "pads" else 1):
                raise call.error(f"{name} {values} for an input of the shape {x.shape}")
        self.extents = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations)]
        self._place(x.shape[2:], pads)

    def _place(self, sizes, pads):
        """Fills before, after and sizes; `extra` is what ceil_mode adds behind the pads."""
        n, auto = len(sizes), self.call.attr("auto_pad", "NOTSET")
        ceil = self.call.attr("ceil_mode", 0)
        self.before, self.after = list(pads[:n]), list(pads[n:])
        self.sizes, self.extra = [], []
        if auto not in ("NOTSET", "", "VALID", "SAME_UPPER", "SAME_LOWER"):
            raise self.call.error(f"auto_pad is {auto!r}")
        if auto == "VALID":
            self.before, self.after = [0] * n, [0] * n
        for i, size in enumerate(sizes):
            stride, extent = self.strides[i], self.extents[i]
            if auto.startswith("SAME"):
                count = -(-size // stride)
                total = max(0, (count - 1) * stride + extent - size)
                less, more = total // 2, total - total // 2
                self.before[i], self.after[i] = (
                    (less, more) if auto == "SAME_UPPER" else (more, less)
                )
            else:
                left = size + self.before[i] + self.after[i] - extent
                if left < 0 and not (ceil and left > -stride):
                    raise self.call.error(
                        f"a window of {extent} is larger than axis {i + 2}, {size} with pads "
                        f"{self.before[i]} and {self.after[i]}"
                    )
                count = (-(-left // stride) if ceil else left // stride) + 1
                if ceil and (count - 1) * stride >= size + self.before[i]:
                    count -= 1
            self.sizes.append(max(count, 0))
            end = (self.sizes[i] - 1) * stride + extent
            self.extra.append(max(0, end - size - self.before[i] - self.after[i]))

    def padded(self, x, fill):
        """x with its pads, and what the last window of ceil_mode needs beyond them."""
        sides = list(zip(self.before, np.add(self.after, self.extra).tolist()))
        if not np.any(sides):
            return x
        call = self.call
        call.allowed([*x.shape[:2], *(n + sum(s) for n, s in zip(x.shape[2:], sides))], x.dtype,
                  "its padded input")  # fmt: skip
        return np.pad(x, [(0, 0), (0, 0), *sides], constant_values=fill)

    def positions(self):
        """(position in the kernel, slices of the padded spatial axes: what it meets)."""
        for position in np.ndindex(*self.kernel):
            yield (
                position,
                tuple(
                    slice(p * d, p * d + (n - 1) * s + 1 if n else p * d, s)
                    for p, d, n, s in zip(position, self.dilations, self.sizes, self.strides)
                ),
            )

    def view(self, padded):
        """(N, C, sizes..., kernel...), a view of the padded input."""
        spatial = tuple(range(2, padded.ndim))
        if 0 in self.sizes:
            return np.zeros((*padded.shape[:2], *self.sizes, *self.kernel), padded.dtype)
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.extents, spatial)
        cut = [slice(None, (n - 1) * s + 1, s) for n, s in zip(self.sizes, self.strides)]
        return windows[(..., *cut, *(slice(None, None, d) for d in self.dilations))]

    def counts(self, sizes, with_pads):
        """How many elements of the input (with_pads: and of its pads) each window has."""
        found = np.ones((), np.float64)
        for i, size in enumerate(sizes):
            starts = np.arange(self.sizes[i]) * self.strides[i]
            places = starts[:, None] + np.arange(self.kernel[i]) * self.dilations[i]
            places -= self.before[i]
            low = -self.before[i] if with_pads else 0
            high = size + (self.after[i] if with_pads else 0)
            found = np.multiply.outer(found, ((places >= low) & (places < high)).sum(1))
        return found

    @property
    def points(self):
        return math.prod(self.kernel)
