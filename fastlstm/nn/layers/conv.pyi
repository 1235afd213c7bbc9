# SPDX-License-Identifier: MIT
from collections.abc import Sequence
from typing import Any, TypeAlias

from ..module import Module

_Size: TypeAlias = int | Sequence[int]

class CircularPad1d(Module):
    def __init__(self, padding: _Size | str) -> None: ...

class CircularPad2d(Module):
    def __init__(self, padding: _Size | str) -> None: ...

class ConstantPad1d(Module):
    def __init__(self, padding: _Size | str, value: Any) -> None: ...

class ConstantPad2d(Module):
    def __init__(self, padding: _Size | str, value: Any) -> None: ...

class Conv1d(Module):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Size,
        stride: _Size = 1,
        padding: _Size | str = 0,
        dilation: _Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None: ...

class Conv2d(Module):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Size,
        stride: _Size = 1,
        padding: _Size | str = 0,
        dilation: _Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None: ...

class ConvTranspose1d(Module):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Size,
        stride: _Size = 1,
        padding: _Size | str = 0,
        output_padding: _Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: _Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None: ...

class ConvTranspose2d(Module):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Size,
        stride: _Size = 1,
        padding: _Size | str = 0,
        output_padding: _Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: _Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None: ...

class PixelShuffle(Module):
    def __init__(self, upscale_factor: int) -> None: ...

class ReflectionPad1d(Module):
    def __init__(self, padding: _Size | str) -> None: ...

class ReflectionPad2d(Module):
    def __init__(self, padding: _Size | str) -> None: ...

class ReplicationPad1d(Module):
    def __init__(self, padding: _Size | str) -> None: ...

class ReplicationPad2d(Module):
    def __init__(self, padding: _Size | str) -> None: ...

class Upsample(Module):
    def __init__(
        self,
        size: _Size | None = None,
        scale_factor: float | tuple[float, ...] | None = None,
        mode: str = "nearest",
        align_corners: Any = None,
        recompute_scale_factor: Any = None,
    ) -> None: ...

class ZeroPad1d(Module):
    def __init__(self, padding: _Size | str) -> None: ...

class ZeroPad2d(Module):
    def __init__(self, padding: _Size | str) -> None: ...
