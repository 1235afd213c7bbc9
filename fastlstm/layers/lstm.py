# SPDX-License-Identifier: MIT
"""LSTM: its equations and arguments. The rest is recurrent.py's."""

from typing import ClassVar

from .recurrent import Recurrent


class LSTM(Recurrent):
    """A long short-term memory network, with torch.nn.LSTM's arguments, shapes and weights.

        f = sigmoid(W_f [h, x] + b_f)        i = sigmoid(W_i [h, x] + b_i)
        g = tanh(W_g [h, x] + b_g)           o = sigmoid(W_o [h, x] + b_o)
        c' = f c + i g                       h' = o tanh(c')

    input_size     I, features of each step of the input
    hidden_size    H, units of each layer and direction
    num_layers     L, layers stacked: each takes the outputs of the one below
    bias           False: no b
    batch_first    True: inputs and outputs are (B, T, ...), not (T, B, ...); states are as before
    dropout        between layers, in `forward_train` alone; inference does not drop anything
    bidirectional  True: D = 2, a second set of layers reads the sequence backwards
    proj_size      P > 0: h' = W_hr h' of P features (Sak et al. 2014); P < H
    activations    None: the ones above; else (of the gates i, f, o; of g; of c'), one such tuple
                   for each direction if they differ. Each is a name, or for other numbers than
                   ONNX's a fastlstm.variants.Activation(name, alpha, beta), which lists them
    clip           every gate's sum is cut to [-clip, clip] before its activation
    input_forget   True: f = 1 - i; there are weights of f, which are not used
    peepholes      True: p_i c and p_f c are added to the sums of i and f, p_o c' to that of o
                   (Gers et al. 2002); the weights are peephole_l0, (3 H,) in the order i, f, o
    reverse        True: the layers read each row from its end, as a bidirectional one's second
                   direction does. It cannot stream
    merge          of two directions' outputs in the last layer: "concat" puts them side by side;
                   "sum", "mul" and "ave" make (.., K) of them, as Keras' Bidirectional does.
                   Layers below pass them on side by side
    precision      of the products, in calls and in training: "float32"; or "bfloat16x6",
                   "bfloat16x3" or "bfloat16", which make them of 3, 2 or 1 bfloat16 parts of each
                   number, for batches on CPUs with AMX: x6 has float32's precision, x3 16 bits, and
                   one part 8, as torch.autocast has. Weights, sums, gates and gradients are float32
                   all the same; in 2 and 3 parts so are products of layers with fewer than 2^17
                   recurrent weights in a direction
    isa            instruction set by name, see `fastlstm.runnable_isas()`; None: the best
    num_threads    threads a call may use; None: `fastlstm.get_num_threads()`. Small work takes one

    New layers hold random weights, U(-1/sqrt(H), 1/sqrt(H)) as torch's do.

    For given weights and a given row, the bits of the output do not depend on the batch around it,
    on how time is cut into calls, on padding, on alignment, or on the instruction set (all that
    have a fused multiply-add). Inputs and states below 2**-62 in magnitude count as zero.
    Calls on one object from many threads at once are safe.
    """

    kind, cell, has_c = "LSTM", "lstm", True
    variant_arguments: ClassVar = {
        **Recurrent.variant_arguments, "input_forget": False, "peepholes": False,
    }  # fmt: skip

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        *,
        activations=None,
        clip=None,
        input_forget=False,
        peepholes=False,
        reverse=False,
        merge="concat",
        precision="float32",
        isa=None,
        num_threads=None,
    ):
        self._configure(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            proj_size, isa, num_threads, activations=activations, clip=clip,
            input_forget=input_forget, peepholes=peepholes, reverse=reverse, merge=merge,
            precision=precision,
        )  # fmt: skip
        self.take_weights(self._random())
