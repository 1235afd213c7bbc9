# SPDX-License-Identifier: MIT
"""Training through PyTorch's autograd: torch.nn's module, and fastlstm.torch's in its place."""

from __future__ import annotations

from .runner import Call


class ModuleCall(Call):
    """Outputs, then the gradients of x and every weight from a given gradient of the outputs.

    `change` moves every weight a little before each call, as training does: a layer that keeps
    weights in a layout of its own has to pack them again.
    """

    results = "y, grads"

    def __init__(self, layer, shape, weights, x, dy, threads, change):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.threads = torch, threads
        module = layer(shape.I, shape.H, shape.L, bidirectional=shape.bidirectional)
        module.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()})
        names = {
            "lstm": module,
            "x": torch.from_numpy(x).requires_grad_(),
            "dy": torch.from_numpy(dy),
            "grad": torch.autograd.grad,
            "inputs": list(module.parameters()),
        }
        statement = "y, s = lstm(x)\ngrads = grad(y, [x, *inputs], dy)"
        if change:  # the first element of each: cheap, and all must be packed again
            names["flat"] = [p.data.view(-1)[:1] for p in names["inputs"]]
            statement = "for w in flat: w.mul_(-1)\n" + statement
        super().__init__(statement, names)

    def context(self):
        self.torch.set_num_threads(self.threads)
        return super().context()

    def gradients(self):
        names = ["x", *(n for n, _ in self.namespace["lstm"].named_parameters())]
        return {n: g.numpy() for n, g in zip(names, self.namespace["grads"], strict=True)}


def entries(shape, *arguments):
    """(who, build, way) of fastlstm's module and of PyTorch's, where build() makes the call;
    arguments as ModuleCall's, from shape to threads."""
    from torch import nn

    import fastlstm.torch as ours

    modules = {"lstm": (ours.LSTM, nn.LSTM), "gru": (ours.GRU, nn.GRU), "rnn": (ours.RNN, nn.RNN)}
    layer, torch_layer = modules[shape.cell]
    return [
        (
            "fastlstm",
            lambda: ModuleCall(layer, shape, *arguments, change=True),
            "module, new weights",
        ),
        (
            "torch",
            lambda: ModuleCall(torch_layer, shape, *arguments, change=False),
            f"nn.{torch_layer.__name__}",
        ),
    ]
