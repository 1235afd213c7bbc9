# SPDX-License-Identifier: MIT
"""Windows and Fourier transforms, computed in float64. A complex number is an axis of two."""

import numpy as np

from .call import operator


def _window(op, *terms):
    """A sum of cosines: terms[0] - terms[1] cos(2 pi n / N) + terms[2] cos(4 pi n / N)."""

    @operator(op, 1)
    def window(call, size):
        n = int(call.scalar(size, "its size"))
        dtype = call.dtype(call.attr("output_datatype", 1), "output_datatype")
        call.allowed([n], np.float64)
        around = max(n if call.attr("periodic", 1) else n - 1, 1)
        angle = 2 * np.pi * np.arange(n) / around
        parts = ((-1) ** i * term * np.cos(i * angle) for i, term in enumerate(terms))
        return sum(parts).astype(dtype)


_window("HannWindow", 0.5, 0.5)
_window("HammingWindow", 25 / 46, 21 / 46)
_window("BlackmanWindow", 0.42, 0.5, 0.08)


def _complex(call, x):
    """The numbers of which the last axis of x has the parts."""
    if x.ndim < 2 or x.shape[-1] not in (1, 2):
        raise call.error(f"its input has the shape {x.shape}: a last axis of 1 or 2 is due")
    return x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]


def _parts(y, dtype):
    return np.stack([y.real, y.imag], -1).astype(dtype)


@operator("DFT", 1, 3)
def dft(call, x, length=None, axis=None):
    call.kind(x, "f", "its input")
    at = call.axis(-2 if axis is None else int(call.scalar(axis, "axis")), x.ndim)
    if at == x.ndim - 1:
        raise call.error(f"axis {at} is that of the parts")
    onesided, inverse = call.attr("onesided", 0), call.attr("inverse", 0)
    natural = 2 * (x.shape[at] - 1) if onesided and inverse else x.shape[at]
    n = natural if length is None else int(call.scalar(length, "dft_length"))
    if n < 1:
        raise call.error(f"dft_length is {n}")
    call.allowed([*x.shape[:at], n, *x.shape[at + 1 : -1], 2], np.complex128)
    z = _complex(call, x.astype(np.float64))
    if inverse and onesided:
        return np.fft.irfft(z, n, at)[..., None].astype(x.dtype)
    if onesided:
        if x.shape[-1] == 2:
            raise call.error("onesided of complex numbers")
        return _parts(np.fft.rfft(z, n, at), x.dtype)
    return _parts((np.fft.ifft if inverse else np.fft.fft)(z, n, at), x.dtype)


@operator("STFT", 2, 4)
def stft(call, x, step, window=None, length=None):
    """x (B, N) or (B, N, 1 or 2) in frames, each times the window, transformed: (B, frames,
    bins, 2)."""
    call.kind(x, "f", "its input")
    step = int(call.scalar(step, "frame_step"))
    x = x[..., None] if x.ndim == 2 else x
    call.ndim(x, 3, "its input")
    if length is None and window is None:
        raise call.error("frame_length or window is due")
    n = int(call.scalar(length, "frame_length")) if length is not None else window.shape[0]
    if window is not None and window.shape != (n,):
        raise call.error(f"a window of the shape {window.shape} for frames of {n}")
    if step < 1 or not 1 <= n <= x.shape[1]:
        raise call.error(f"frames of {n} every {step} of {x.shape[1]}")
    onesided = call.attr("onesided", 1)
    frames = (x.shape[1] - n) // step + 1
    call.allowed([x.shape[0], frames, n, 2], np.complex128)
    z = _complex(call, x.astype(np.float64))
    view = np.lib.stride_tricks.sliding_window_view(z, n, 1)[:, ::step]
    view = view if window is None else view * window
    if onesided and x.shape[-1] == 1:
        return _parts(np.fft.rfft(view), x.dtype)
    y = np.fft.fft(view)
    return _parts(y[..., : n // 2 + 1] if onesided else y, x.dtype)


@operator("MelWeightMatrix", 5)
def mel_weight_matrix(call, bins, length, rate, low, high):
    """(length / 2 + 1, bins): triangles over the frequencies, evenly spaced in mels. The space is
    that of bins + 2 in the range, as ONNX defines it, so the last triangle ends below `high`."""
    bins, length, rate = (
        int(call.scalar(a, "num_mel_bins, dft_length or sample_rate")) for a in (bins, length, rate)
    )
    low, high = (float(call.scalar(a, "an edge in Hz")) for a in (low, high))
    dtype = call.dtype(call.attr("output_datatype", 1), "output_datatype")
    if bins < 1 or length < 1 or rate < 1 or not 0 <= low < high:
        raise call.error(f"{bins} bins of {length} samples at {rate} Hz, {low} to {high} Hz")
    rows = length // 2 + 1
    y = np.zeros(call.allowed([rows, bins], np.float64))
    first, last = (2595 * np.log10(1 + f / 700) for f in (low, high))
    mels = first + np.arange(bins + 2) * ((last - first) / (bins + 2))
    edges = ((length + 1) * 700 * (10 ** (mels / 2595) - 1) // rate).astype(np.int64)
    if edges[-1] > rows:
        raise call.error(f"{high} Hz is above half of the {rate} Hz of the samples")
    for i in range(bins):
        start, centre, end = edges[i : i + 3]
        rise, fall = np.arange(start, centre), np.arange(centre, end)
        y[rise, i] = (rise - start) / max(centre - start, 1)
        y[centre, i] = 1
        y[fall, i] = (end - fall) / max(end - centre, 1)
    return y.astype(dtype)
