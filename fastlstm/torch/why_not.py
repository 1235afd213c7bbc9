# SPDX-License-Identifier: MIT
"""What the engine cannot run: then PyTorch does, and says so once for each reason.

The engine reads a tensor's memory. So it takes tensors that are exactly a torch.Tensor or Parameter
with memory of their own on the CPU, and only while nobody looks on at what PyTorch computes. Of
anything else nothing but its type is asked, since a subclass answers as it likes.
"""

import warnings

import torch
from torch.autograd import forward_ad

_warned = set()
_TENSOR, _PARAMETER, _FLOAT32 = torch.Tensor, torch.nn.Parameter, torch.float32
_is_tracing, _has_storage = torch._C._is_tracing, torch._C._has_storage
_transforms, _dispatch_modes = (
    torch._C._are_functorch_transforms_active, torch._C._len_torch_dispatch_stack,
)  # fmt: skip


def warn(reason):
    """One warning for each reason in a process."""
    if reason not in _warned:
        _warned.add(reason)
        warnings.warn(f"fastlstm.torch: {reason} runs in PyTorch, at PyTorch's speed", stacklevel=5)


def of_modes():
    """What looks on at this moment at what PyTorch computes, in words; None if nothing does."""
    if _transforms():
        return "torch.func"
    if _dispatch_modes():  # FakeTensorMode, make_fx, FlopCounterMode ...
        return "a TorchDispatchMode"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation"
    return None


def of_the_call():
    """Why no call can run here at this moment, in words; None if one can."""
    if torch.compiler.is_compiling() or _is_tracing():
        return "torch.compile or tracing"
    if torch.is_autocast_enabled("cpu"):
        return "autocast"
    return of_modes()


def of_tensors(tensors):
    """Why these cannot be read here, in words; None if they can."""
    for t in tensors:
        kind = type(t)
        if kind is not _TENSOR and kind is not _PARAMETER:
            return f"a {kind.__name__}"
        if t.dtype is not _FLOAT32:
            return f"{str(t.dtype).removeprefix('torch.')}"
        if not t.is_cpu:
            return f"device {t.device.type}"
        if not _has_storage(t):
            return "vmap" if t.layout is torch.strided else f"a tensor of layout {t.layout}"
    return None
