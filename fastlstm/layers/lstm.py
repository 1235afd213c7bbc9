# SPDX-License-Identifier: MIT
"""The recurrent layers people touch: their equations and arguments. The rest is recurrent.py's."""

from typing import ClassVar

from .recurrent import Recurrent
from .varied import flag


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
    isa            instruction set by name, see `fastlstm.runnable_isas()`; None: the best
    num_threads    threads a call may use; None: `fastlstm.get_num_threads()`. Small work takes one

    New layers hold random weights, U(-1/sqrt(H), 1/sqrt(H)) as torch's do.

    For given weights and a given row, the bits of the output do not depend on the batch around it,
    on how time is cut into calls, on padding, on alignment, or on the instruction set (all that
    have a fused multiply-add). Inputs and states below 2**-62 in magnitude count as zero.
    Calls on one object from many threads at once are safe.
    """

    kind, gates, has_c, core = "LSTM", 4, True, "lstm"
    odd: ClassVar = {**Recurrent.odd, "input_forget": False, "peepholes": False}

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
        isa=None,
        num_threads=None,
    ):
        self._init(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, isa,
            num_threads, proj_size, activations=activations, clip=clip, input_forget=input_forget,
            peepholes=peepholes, reverse=reverse,
        )  # fmt: skip


class GRU(Recurrent):
    """A network of gated recurrent units, with torch.nn.GRU's arguments, shapes and weights.

        r = sigmoid(W_r x + b_r + R_r h + d_r)          b: bias_ih, d: bias_hh
        z = sigmoid(W_z x + b_z + R_z h + d_z)
        n = tanh(W_n x + b_n + r (R_n h + d_n))         reset_after=True, as torch has it
        n = tanh(W_n x + b_n + R_n (r h) + d_n)         reset_after=False (Cho et al. 2014)
        h' = (1 - z) n + z h

    reset_after   is the reset gate applied after the recurrent product? False is what Keras calls
                  reset_after=False and ONNX linear_before_reset=0; it takes two products each step
    activations   (of r and z; of n), as in LSTM
    The other arguments, and all that is said there, are LSTM's; there is no projection. The state
    is h alone, (L D, B, H).
    """

    kind, gates = "GRU", 3
    own: ClassVar = {"reset_after": True}

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        *,
        reset_after=True,
        activations=None,
        clip=None,
        reverse=False,
        isa=None,
        num_threads=None,
    ):
        self.reset_after = reset_after
        self._check_own()
        self._init(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, isa,
            num_threads, activations=activations, clip=clip, reverse=reverse,
        )  # fmt: skip

    def _check_own(self):
        self.reset_after = flag("reset_after", self.reset_after)

    @property
    def core(self):
        return "gru" if self.reset_after else "gru_before"


class RNN(Recurrent):
    """An Elman network, with torch.nn.RNN's arguments, shapes and weights.

        h' = tanh(W x + b + R h + d)    or    h' = max(W x + b + R h + d, 0)

    nonlinearity   "tanh" or "relu"
    activations    (of h',), as in LSTM: instead of nonlinearity
    The other arguments, and all that is said there, are LSTM's; there is no projection. The state
    is h alone, (L D, B, H).
    """

    kind, gates = "RNN", 1
    own: ClassVar = {"nonlinearity": "tanh"}

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        nonlinearity="tanh",
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        *,
        activations=None,
        clip=None,
        reverse=False,
        isa=None,
        num_threads=None,
    ):
        self.nonlinearity = nonlinearity
        self._check_own()
        self._init(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, isa,
            num_threads, activations=activations, clip=clip, reverse=reverse,
        )  # fmt: skip

    def _check_own(self):
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity {self.nonlinearity!r}. Select from 'tanh' or 'relu'."
            )

    def _check_odd(self, odd):
        super()._check_odd(odd)
        if self.activations is None:
            return
        if self.nonlinearity != "tanh":
            raise ValueError("nonlinearity and activations: give one of them")
        if {activation.name for (activation,) in self.activations} == {"relu"}:
            self.activations, self.nonlinearity = None, "relu"

    @property
    def core(self):
        return f"rnn_{self.nonlinearity}"
