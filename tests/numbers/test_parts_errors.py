# SPDX-License-Identifier: MIT
"""precision="bfloat16x3" and "bfloat16x6": errors from float64 beside float32's, of drawn layers
and such as are after training; small layers, which are float32's."""

import isas
import numpy as np
import parts
from conftest import BACKEND, FULL
from test_bfloat16_parts import LAYERS, only_c

import fastlstm

F = np.float32
ISAS = isas.FLOATS
CONFIGURATIONS = 500 if FULL else 24


def configuration(seed):
    """A drawn layer, its x, and a state or None: weights as torch's layers begin with, or as after
    training, up to 3, with cells up to 20. Every second one has 256 units or more, whose sums are
    those that parts are for."""
    rng = np.random.default_rng(seed)
    cls, options = LAYERS[list(LAYERS)[seed % len(LAYERS)]]
    least, most = ((256, 400), (8, 256))[seed // len(LAYERS) % 2]
    sizes = rng.integers(least, most), rng.integers(least, most)
    layer = cls(
        *map(int, sizes), num_layers=int(rng.integers(1, 3)), bidirectional=bool(rng.integers(2)),
        isa=ISAS[0], **options,
    )  # fmt: skip
    steps, batch = int(rng.integers(5, 30)), int(rng.integers(1, 20))
    x, state = F(rng.standard_normal((steps, batch, layer.input_size))), None
    if seed % 3 == 0 and "nonlinearity" not in options:
        parts.as_trained(layer, rng, 3.0)
        scales = (1, 20)[: 1 + layer.has_c]
        pairs = zip(scales, layer.state_shapes(batch), strict=True)
        state = tuple(F(rng.uniform(-scale, scale, shape)) for scale, shape in pairs)
    return layer, x, state


def test_errors_beside_float32_s():
    """x6 has no larger ones. Those of x3 are some 2^-18 of each product, while a float32 sum, of
    2^-24, loses more the longer it is: at most 20 times as large where a layer is made of parts,
    and float32's where it has too few weights for that. Root mean squares over each layer's
    outputs; where float32's own is below that of rounding the outputs, 2^-26, this is in its
    place."""
    most = {}
    for seed in range(CONFIGURATIONS):
        layer, x, state = configuration(seed)
        errors = parts.rms_errors(layer, x, state)
        own, size = max(errors["float32"], 2.0**-26), min(layer.input_size, layer.hidden_size)
        assert errors["bfloat16x6"] <= own, (seed, errors)
        assert errors["bfloat16x3"] <= 20 * own, (seed, errors)
        in_parts = layer.state_dict()["weight_hh_l0"].size >= 1 << 17 and BACKEND == "c"
        assert in_parts == (errors["bfloat16x3"] != errors["float32"])
        of = most.setdefault((size >= 256, in_parts), [0, 0.0, 0.0])
        ratios = errors["bfloat16x3"] / own, errors["bfloat16x6"] / own
        of[:] = of[0] + 1, max(of[1], ratios[0]), max(of[2], ratios[1])
    print({key: [n, round(x3, 1), round(x6, 2)] for key, (n, x3, x6) in most.items()})


@only_c
def test_small_layers_are_float32_s():
    """The same bits, however many rows and threads, below the bounds of engine/parts.py."""
    for cls, gates, options in (
        (fastlstm.LSTM, 4, {}), (fastlstm.GRU, 3, {}), (fastlstm.RNN, 1, {}),
        (fastlstm.LSTM, 4, {"proj_size": 100}),
    ):  # fmt: skip
        for precision in parts.PARTS:
            width = options.get("proj_size", 0)
            fewest = next(h for h in range(1, 500) if gates * h * (width or h) >= 1 << 17)
            for hidden in (fewest - 1, fewest):
                layer = cls(3, hidden, precision=precision, **options)
                x = np.ones((2, 2, 3), F)
                plain = parts.like(layer, "float32")(x)[0]
                assert np.array_equal(layer(x)[0], plain) == (hidden < fewest), (cls, hidden)
