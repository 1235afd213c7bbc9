# SPDX-License-Identifier: MIT
"""Training through PyTorch's autograd: torch.nn's module, and fastlstm.torch's in its place."""

from __future__ import annotations

from . import Call


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


def builders(shape, *arguments):
    """[(who, variant, a function that builds its call)]; arguments as ModuleCall's, from shape
    to threads."""
    import torch

    import fastlstm.torch

    from .ours import LAYERS

    name = LAYERS[shape.cell].kind
    ours, theirs = getattr(fastlstm.torch, name), getattr(torch.nn, name)
    return [
        (
            "fastlstm",
            "module, new weights",
            lambda: ModuleCall(ours, shape, *arguments, change=True),
        ),
        ("torch", f"nn.{name}", lambda: ModuleCall(theirs, shape, *arguments, change=False)),
    ]
