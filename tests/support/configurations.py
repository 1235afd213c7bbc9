# SPDX-License-Identifier: MIT
"""300 fixed configurations of layers and calls, and the arrays they are made of and given.

All numbers follow from the raw output of PCG64, whose stream NumPy does not change (it may change
what Generator makes of it), by integer arithmetic and multiplication by powers of two, so they are
the same on every machine. Any change here makes other configurations, and hashes.json (hashes.py)
must then be written anew from code whose bits are trusted.
"""

import dataclasses

import numpy as np

import fastlstm

COUNT = 300

CELLS = ("lstm", "lstm_proj", "gru", "gru_before", "rnn_tanh", "rnn_relu")
GATES = {"lstm": 4, "lstm_proj": 4, "gru": 3, "gru_before": 3, "rnn_tanh": 1, "rnn_relu": 1}
FUNCTIONS = {"lstm": 3, "lstm_proj": 3, "gru": 2, "gru_before": 2, "rnn_tanh": 1, "rnn_relu": 1}
MODES = ("call", "last", "stream", "train", "train", "checkpoint")

# {activation: how many of alpha and beta it takes}
BOUNDED = {"sigmoid": 0, "tanh": 0, "softsign": 0, "hard_sigmoid": 2, "scaled_tanh": 2}
UNBOUNDED = {
    "relu": 0, "affine": 2, "leaky_relu": 1, "thresholded_relu": 1, "elu": 1, "softplus": 0,
    "selu": 0, "gelu": 0, "silu": 0, "exponential": 0,
}  # fmt: skip

# 4, 8 and 16 floats to a vector, one to four vectors to a panel, 1 to 6 and 24 rows to a tile.
HIDDEN = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49, 63, 64, 65)
INPUTS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33)
BATCHES = (None, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 23, 24, 25)

TINY = np.float32(2.0**-70)  # below 2^-62, inputs and states count as zero

# What threads can share of a call, and sizes at which they do: (least, most) of I, H, T, B and L;
# and D. T grows until the call has SHARED_FLOP.
SHARED = {
    "rows": ((8, 40), (40, 100), (6, 10), (60, 70), (1, 2), 1),
    "layers": ((8, 40), (33, 65), (24, 40), (2, 6), (3, 3), 1),
    "directions": ((8, 40), (33, 65), (8, 16), (5, 17), (1, 2), 2),
    "units": ((5, 40), None, (48, 64), (1, 2), (1, 1), 1),
    "units of each layer": ((5, 40), None, (32, 40), (1, 1), (2, 2), 1),
    "gradients of many rows": ((4, 9), (8, 17), (62, 66), (67, 70), (1, 1), 1),
}
# Hidden sizes from which the units of one stream are split between threads, for one layer and for
# each of several. Other cells are not split.
SPLIT = {"lstm": (192, 280), "gru": (256, 324), "rnn_tanh": (768, 768), "rnn_relu": (768, 768)}
SHARED_FLOP = 3.5e6  # a little more than the work of a call that is worth a second thread


class Draws:
    """Numbers from raw random bits, the same ones for the same seed."""

    def __init__(self, *seed):
        self._raw = np.random.PCG64(np.random.SeedSequence(seed)).random_raw

    def between(self, least, most):
        return least + int(self._raw()) % (most - least + 1)

    def choice(self, options):
        return options[self.between(0, len(options) - 1)]

    def chance(self, percent):
        return self.between(0, 99) < percent

    def array(self, shape, size=1.0):
        """float32, multiples of 2^-23 in [-1, 1) times `size`, a power of two."""
        bits = self._raw(int(np.prod(shape))).reshape(shape) >> np.uint64(40)
        return (bits.astype(np.int32) - 2**23).astype(np.float32) * np.float32(size * 2.0**-23)


@dataclasses.dataclass
class Configuration:
    """One layer and what is done with it. B None: unbatched. T is the time of the longest row."""

    number: int
    cell: str
    mode: str
    threads: int
    I: int
    H: int
    T: int
    B: int | None
    L: int = 1
    D: int = 1
    P: int = 0
    bias: bool = True
    batch_first: bool = False
    state: str = ""  # "given", "initial": the layer's own, "initial for each row" of it
    lengths: str = ""  # "ragged", "ragged with zeros"
    tiny: bool = False  # some numbers are, so that x, states or gradients count as zero
    dropout: float = 0.0
    checkpoint: int = 0
    upstream: tuple = ()  # which of dy, dh, dc are given
    input_grad: bool = True
    reset: bool = False  # a stream's, of some rows
    variants: dict = dataclasses.field(default_factory=dict)

    @property
    def name(self):
        """Also the key in the file, so that hashes are of this configuration and no other."""
        flags = [] if self.bias else ["no bias"]
        flags += ["batch_first"] if self.batch_first else []
        flags += [f"state {self.state}"] if self.state else []
        flags += [self.lengths] if self.lengths else []
        flags += ["tiny"] if self.tiny else []
        flags += [f"dropout {self.dropout}"] if self.dropout else []
        flags += [f"k={self.checkpoint}"] if self.checkpoint else []
        flags += [" ".join(self.upstream)] if self.upstream else []
        flags += [] if self.input_grad else ["no dx"]
        flags += ["reset"] if self.reset else []
        for name, value in self.variants.items():
            if name == "activations":
                flags += [" / ".join(" ".join(map(str, each)) for each in value)]
            else:
                flags += [name if value is True else f"{name} {value}"]
        sizes = "".join(f"{n}{getattr(self, n)}" for n in "IHPLDTB" if n != "P" or self.P)
        head = f"{self.number:03d} {self.cell} {self.mode} {sizes} threads {self.threads}"
        return ", ".join([head, *flags])


def _activation(draws, names, which):
    """One of `names` with drawn numbers; `which` counts the functions of a cell."""
    if which == 2 and "exponential" in names:  # of an LSTM's c, which may grow: not finite
        names = [name for name in names if name != "exponential"]
    name = draws.choice(names)
    numbers = [draws.between(2, 7) / 8 for _ in range((BOUNDED | UNBOUNDED)[name])]
    made = fastlstm.RNN(1, 1, activations=["softsign"]).activations[0][0]  # wherever its class is
    return type(made)(name, *numbers)


def _variants(draws, cell, D, small):
    """Constructor arguments that torch's layers do not have."""
    found = {}
    if draws.chance(75):
        names = list(BOUNDED | UNBOUNDED if small and draws.chance(85) else BOUNDED)
        found["activations"] = tuple(
            tuple(_activation(draws, names, which) for which in range(FUNCTIONS[cell]))
            for _ in range(D)
        )
    if draws.chance(40):
        found["clip"] = draws.between(3, 12) / 8
    if cell.startswith("lstm"):
        found |= {"peepholes": True} if draws.chance(50) else {}
        found |= {"input_forget": True} if draws.chance(35) else {}
    if D == 1:
        found |= {"reverse": True} if draws.chance(45) else {}
    return found


def _sizes(draws, cell, mode, shared):
    """{name: size}. shared: a call large enough for several threads."""
    if not shared:
        sizes = {
            "I": draws.choice(INPUTS), "H": draws.choice(HIDDEN), "T": draws.between(1, 12),
            "B": draws.choice(BATCHES), "L": draws.choice((1, 1, 2, 3)),
            "D": 1 if mode == "stream" else draws.choice((1, 1, 2)),
        }  # fmt: skip
    else:
        ways = ["rows", "layers"] + ["directions"] * (mode != "stream")
        if mode == "train":
            ways += ["gradients of many rows"]
        if cell in SPLIT and mode in ("call", "last", "stream"):  # calls with a tape split no units
            ways = ["units", "units", "units of each layer", "rows", "layers"]
        way = draws.choice(ways)
        I, H, T, B, L, D = SHARED[way]
        if H is None:
            least = SPLIT[cell][way == "units of each layer"]
            H = least, least + 10
        sizes = {n: draws.between(*v) for n, v in zip("IHTBL", (I, H, T, B, L))} | {"D": D}
    H = sizes["H"]
    if cell == "lstm_proj":
        sizes["H"] = H = max(H, 2)
        sizes["P"] = draws.choice((1, H - 1, (H + 1) // 2))
    if shared:
        K, D, L = sizes.get("P") or H, sizes["D"], sizes["L"]
        inputs = sizes["I"] + (L - 1) * D * K
        step = 2 * GATES[cell] * H * (inputs + L * K) * D * sizes["B"]
        sizes["T"] = max(sizes["T"], int(-(-SHARED_FLOP // step)))
    return sizes


def configuration(number):
    """Cells and modes in turn, the rest drawn; every third round of them is of calls that threads
    share."""
    draws = Draws(16, number)
    cell, mode = CELLS[number % 6], MODES[number // 6 % 6]
    shared = number // 36 % 3 == 2
    c = Configuration(
        number, cell, mode, draws.choice((2, 3) if shared else (1, 1, 2, 3)),
        **_sizes(draws, cell, mode, shared),
    )  # fmt: skip
    if mode == "stream" and c.B is None:
        c.B = 1
    if draws.chance(60):
        c.variants = _variants(draws, cell, c.D, small=not shared)
        if mode == "stream":
            c.variants.pop("reverse", None)
    c.bias, c.batch_first, c.tiny = draws.chance(80), draws.chance(35), draws.chance(25)
    c.state = draws.choice(("", "", "given", "given", "initial", "initial for each row"))
    if c.B is not None and mode != "stream":
        c.lengths = draws.choice(("", "", "ragged", "ragged with zeros"))
    if mode in ("train", "checkpoint"):
        c.dropout = draws.choice((0.125, 0.5)) if c.L > 1 and draws.chance(60) else 0.0
        ends = ("dh", "dc") if cell.startswith("lstm") else ("dh",)
        c.upstream = draws.choice((("dy",), ends, ends[-1:], ("dy", *ends), ("dy", *ends)))
        c.input_grad = draws.chance(85)
    if mode == "checkpoint":
        c.checkpoint = draws.between(1, c.T)
    c.reset = mode == "stream" and draws.chance(30)
    return c


def configurations():
    return [configuration(number) for number in range(COUNT)]


class Arrays:
    """What a configuration's layer is made of and called with, drawn in a fixed order."""

    def __init__(self, c):
        self.c, self.draws = c, Draws(17, c.number)
        self.lstm, self.K = c.cell.startswith("lstm"), c.P or c.H
        rows = () if c.B is None else (c.B,)
        shape = (*rows, c.T, c.I) if c.batch_first else (c.T, *rows, c.I)
        names = {a.name for each in c.variants.get("activations", ()) for a in each}
        size = 2.0 ** -(c.H.bit_length() // 2)  # about 1 / sqrt(H)
        self.weights = self._weights(size if names <= set(BOUNDED) else size / 4)
        self.x = self.draws.array(shape)
        if c.tiny:
            self.x.reshape(-1)[::7] *= TINY
        self.state = None
        if c.state:
            given = {"given": rows, "initial": (1,), "initial for each row": (c.B or 1,)}[c.state]
            self.state = self._as_given(self._state(given))
        self.lengths = None
        if c.lengths:
            least = 0 if c.lengths == "ragged with zeros" else 1
            self.lengths = np.array([self.draws.between(least, c.T) for _ in range(c.B)], np.int64)
        if c.upstream:
            up = [self.draws.array((*shape[:-1], c.D * self.K)), *self._state(rows)]
            size = np.float32(2.0**-90 if c.tiny else 1)  # below 2^-96, gradients count as zero
            given = zip(("dy", "dh", "dc"), (array * size for array in up))
            self.dy, *dstate = (a if name in c.upstream else None for name, a in given)
            self.dstate = self._as_given(tuple(dstate))
            self.seed = self.draws.between(0, 2**62)

    def _weights(self, size):
        c, gates, weights = self.c, GATES[self.c.cell] * self.c.H, {}
        for layer in range(c.L):
            for end in (f"_l{layer}", f"_l{layer}_reverse")[: c.D]:
                width = c.D * self.K if layer else c.I
                weights[f"weight_ih{end}"] = self.draws.array((gates, width), size)
                weights[f"weight_hh{end}"] = self.draws.array((gates, self.K), size)
                if c.bias:
                    weights[f"bias_ih{end}"] = self.draws.array((gates,), 0.5)
                    weights[f"bias_hh{end}"] = self.draws.array((gates,), 0.5)
                if c.P:
                    weights[f"weight_hr{end}"] = self.draws.array((c.P, c.H), size)
                if "peepholes" in c.variants:
                    weights[f"peephole{end}"] = self.draws.array((3 * c.H,), 0.5)
        for name, array in weights.items():
            if c.tiny and name.startswith(("weight_ih", "weight_hh", "bias")):
                array.reshape(-1, c.H, array[0].size)[:, ::3] *= TINY  # every third unit's sums
        return weights

    def _state(self, rows):
        """(h, c) for an LSTM, else (h,)."""
        tracks = self.c.L * self.c.D
        h = self.draws.array((tracks, *rows, self.K))
        parts = (h, self.draws.array((tracks, *rows, self.c.H), 2.0)) if self.lstm else (h,)
        if self.c.tiny:
            for part in parts:
                part[..., ::3] *= TINY
        return parts

    def _as_given(self, parts):
        """The same as a call takes it."""
        return parts if self.lstm else parts[0]

    def layer(self, isa):
        c = self.c
        options = dict(c.variants)
        if self.lstm:
            maker = fastlstm.LSTM
            options["proj_size"] = c.P
        elif c.cell.startswith("gru"):
            maker = fastlstm.GRU
            options["reset_after"] = c.cell == "gru"
        else:
            maker = fastlstm.RNN
            if "activations" not in options:
                options["nonlinearity"] = c.cell.removeprefix("rnn_")
        layer = maker(
            c.I, c.H, c.L, bias=c.bias, batch_first=c.batch_first, dropout=c.dropout,
            bidirectional=c.D == 2, isa=isa, num_threads=c.threads, **options,
        )  # fmt: skip
        layer.load_state_dict(self.weights)
        if c.state.startswith("initial"):
            layer.initial_state = self.state
        return layer
