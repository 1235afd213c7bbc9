# SPDX-License-Identifier: MIT
"""One direction's weights of one recurrent layer of Keras, and the same under torch's names and in
torch's order.

    Keras   kernel (I, gates H), recurrent_kernel (H, gates H), bias (gates H,), or (2, gates H) of
            input and recurrent biases for a GRU with reset_after
            gate order: LSTM i, f, c, o; GRU z, r, h
    torch   weight_ih (gates H, I), weight_hh (gates H, H), bias_ih and bias_hh (gates H,)
            gate order: LSTM i, f, g, o (g is c); GRU r, z, n (n is h)
    CuDNNLSTM, CuDNNGRU (Keras 2)   kernel and recurrent kernel of these shapes, but for each gate
            their memory is torch's: the H I numbers of the kernel are an (H, I) matrix, and the
            recurrent kernel is not transposed; bias (2 gates H,), input biases first

By Keras' own layers (keras/src/layers/rnn) and its conversion of cuDNN's weights
(preprocess_weights_for_loading). Configurations are not known here.
"""

import numpy as np

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_KINDS = {gates: kind for kind, gates in _GATES.items()}


class Cell:
    """One direction's weights in Keras' layout, whose shapes fit together.

    kernel, recurrent, bias   the arrays; bias may be None
    kind    by their shapes          size    H
    cudnn   whether they are in the layout of CuDNNLSTM and CuDNNGRU
    """

    def __init__(self, kernel, recurrent, bias, kind):
        self.kernel, self.recurrent, self.bias, self.kind = kernel, recurrent, bias, kind
        self.size = recurrent.shape[0]
        self.cudnn = bias is not None and bias.shape == (2 * recurrent.shape[1],)

    @staticmethod
    def convolves(parts):
        """Are [kernel, recurrent kernel, bias] those of a ConvLSTM, in one to three dimensions?"""
        kernel, recurrent, _ = parts
        if kernel is None or recurrent is None or not 3 <= recurrent.ndim <= 5:
            return False
        width = recurrent.shape[-1]
        return (
            kernel.ndim == recurrent.ndim
            and kernel.shape[-1] == width == 4 * recurrent.shape[-2] > 0
        )

    @classmethod
    def of(cls, parts):
        """The Cell of [kernel, recurrent kernel, bias], each an array or None; None if they do not
        make one."""
        kernel, recurrent, bias = parts
        if kernel is None or recurrent is None or kernel.ndim != 2 or recurrent.ndim != 2:
            return None
        rows, width = recurrent.shape
        arrays = [each for each in parts if each is not None]
        if not rows or not kernel.size or any(each.dtype.kind != "f" for each in arrays):
            return None
        if width % rows or width // rows not in _KINDS or kernel.shape[1] != width:
            return None
        kind = _KINDS[width // rows]
        shapes = {(width,)} | ({(2, width)} if kind == "GRU" else set())
        shapes |= {(2 * width,)} if kind != "RNN" else set()
        if bias is not None and bias.shape not in shapes:
            return None
        return cls(kernel, recurrent, bias, kind)

    def weights(self, end):
        """{torch's name: array}, of torch's shapes and order. end: "_l0" or "_l0_reverse"."""
        gates, size = _GATES[self.kind], self.size
        if self.cudnn:
            inputs = self.kernel.shape[0]
            parts = [
                np.ascontiguousarray(self.kernel[:, n * size : (n + 1) * size]).reshape(
                    size, inputs
                )
                for n in range(gates)
            ]
            recurrent = [self.recurrent[:, n * size : (n + 1) * size] for n in range(gates)]
        else:
            parts = [self.kernel[:, n * size : (n + 1) * size].T for n in range(gates)]
            recurrent = [self.recurrent[:, n * size : (n + 1) * size].T for n in range(gates)]
        order = (1, 0, 2) if self.kind == "GRU" else range(gates)
        found = {
            f"weight_ih{end}": np.concatenate([parts[n] for n in order]),
            f"weight_hh{end}": np.concatenate([recurrent[n] for n in order]),
        }
        if self.bias is not None:
            bias = self.bias.reshape(-1, gates * size)
            both = [bias[0], bias[1] if len(bias) > 1 else np.zeros_like(bias[0])]
            for name, each in zip(("bias_ih", "bias_hh"), both, strict=True):
                found[f"{name}{end}"] = np.concatenate(
                    [each[n * size : (n + 1) * size] for n in order]
                )
        return found
