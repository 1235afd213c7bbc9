# SPDX-License-Identifier: MIT
"""The engines that are compared, one module for each, all with the same two functions.

    version() -> str         ImportError when the engine is not installed
    ways(shape, threads, carry=False, lengths=None, precision="float32") -> {name: build}

`ways` gives the ways to call the engine that are worth trying, the most likely to be the
fastest first; {} where it cannot do the case. build(weights) -> Runner makes a network that is
called in that way. `weights` have PyTorch's names and layout; `carry` means that the state goes
from call to call, as in a stream; `lengths` is None or the (B,) steps of each row; `precision` is
one of PRECISIONS, and the engine's best at it. No engine is compared with one of another precision.

fastlstm imports other engines inside functions: here, each in its module, in bench/whole.py,
bench/networks.py and onnxruntime.py; and PyTorch at the top of demo/torch_speed.py and of torch/'s
modules.
"""

from __future__ import annotations

from . import ncnn_net, ort, ort_ours, ours, ov, pytorch

# What products are computed in; sums, gates and states may be in more. Of bfloat16 parts fastlstm
# alone makes products.
PARTS = ("bfloat16x3", "bfloat16x6")
PRECISIONS = ("float32", "bfloat16", "int8", *PARTS)

# In the order of the tables. fastlstm comes first: every ratio is against it.
PEERS = {
    "fastlstm": ours,
    "torch": pytorch,
    "onnxruntime": ort,
    "openvino": ov,
    "ncnn": ncnn_net,
    "onnxruntime+fastlstm": ort_ours,
}
ASKED = {"onnxruntime+fastlstm"}  # which are taken only when they are named
OURS = {"fastlstm", "onnxruntime+fastlstm"}  # which run our kernels: no other engines


def load_peers(names=None):
    """(found, missing): {name: module} of what is installed, {name: reason} of what is not.

    `names` chooses among PEERS; None takes all but those in ASKED. fastlstm itself is always among
    those found. ValueError for a name that is none of them.
    """
    unknown = set(names or ()) - set(PEERS)
    if unknown:
        raise ValueError(f"unknown peers {sorted(unknown)}; there are {', '.join(PEERS)}")
    found, missing = {}, {}
    for name, module in PEERS.items():
        if name != "fastlstm" and (name in ASKED if names is None else name not in names):
            continue
        try:
            module.version()
        except ImportError as error:
            missing[name] = str(error)
        else:
            found[name] = module
    return found, missing


def first_way(module, shape, threads, carry=False, lengths=None):
    """The build function of the way a module names first. ValueError if it has none."""
    found = module.ways(shape, threads, carry, lengths)
    if not found:
        raise ValueError(f"{module.__name__.split('.')[-1]} has no way to run {shape}")
    return next(iter(found.values()))
