# SPDX-License-Identifier: MIT
"""What an RNN's gradients are sums of, in float64. Where terms cancel, their sizes and not that of
their sum say how near a float32 result can be."""

import numpy as np

HALF_ULP = 2.0**-24  # of 1: the error of one rounding, as a part of the rounded number


def rnn_gradients(net, x, h0, dy, dhn):
    """{name: (gradient, sum of its terms' sizes)} for each weight and bias of an RNN without
    dropout that is called without lengths. A term is what one step of one row adds. Computed here
    from the layer's sizes and weights alone."""
    weights = {name: np.float64(array) for name, array in net.state_dict().items()}
    value, slope = {
        "tanh": (np.tanh, lambda h: 1 - h * h),
        "relu": (lambda z: np.maximum(z, 0), lambda h: np.float64(h > 0)),
    }[net.nonlinearity]
    x, dy = (np.float64(a.swapaxes(0, 1) if net.batch_first else a) for a in (x, dy))
    H, D, T = net.hidden_size, net.num_directions, len(x)
    tracks, fed = [], x
    for layer in range(net.num_layers):
        for d in range(D):
            end = f"_l{layer}" + ("_reverse" if d else "")
            w_ih, w_hh = weights[f"weight_ih{end}"], weights[f"weight_hh{end}"]
            bias = sum(weights.get(f"bias_{which}{end}", 0) for which in ("ih", "hh"))
            h, before, after = np.float64(h0[layer * D + d]), [None] * T, [None] * T
            for t in reversed(range(T)) if d else range(T):
                before[t] = h
                h = after[t] = value(fed[t] @ w_ih.T + h @ w_hh.T + bias)
            tracks.append((end, fed, np.stack(before), np.stack(after)))
        fed = np.concatenate([track[3] for track in tracks[-D:]], 2)
    found, up = {}, dy
    for layer in reversed(range(net.num_layers)):
        below = 0
        for d in range(D):
            end, fed, before, after = tracks[layer * D + d]
            dh, dz = np.float64(dhn[layer * D + d]), [None] * T
            for t in range(T) if d else reversed(range(T)):
                dz[t] = (dh + up[t][:, d * H : (d + 1) * H]) * slope(after[t])
                dh = dz[t] @ weights[f"weight_hh{end}"]
            dz = np.stack(dz)
            below = below + dz @ weights[f"weight_ih{end}"]
            ones = np.ones((*dz.shape[:2], 1))
            for name, factor in (
                (f"weight_ih{end}", fed), (f"weight_hh{end}", before),
                (f"bias_ih{end}", ones), (f"bias_hh{end}", ones),
            ):  # fmt: skip
                if name in weights:
                    found[name] = tuple(
                        np.einsum("tbi,tbj->ij", f(dz), f(factor)).reshape(weights[name].shape)
                        for f in (np.positive, np.abs)
                    )
        up = below
    return found
