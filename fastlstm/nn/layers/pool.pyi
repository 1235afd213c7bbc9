# SPDX-License-Identifier: MIT
from collections.abc import Sequence
from typing import Any, TypeAlias

from ..module import Module

_Size: TypeAlias = int | Sequence[int]

class AdaptiveAvgPool1d(Module):
    def __init__(self, output_size: _Size, return_indices: bool = False) -> None: ...

class AdaptiveAvgPool2d(Module):
    def __init__(self, output_size: _Size, return_indices: bool = False) -> None: ...

class AdaptiveMaxPool1d(Module):
    def __init__(self, output_size: _Size, return_indices: bool = False) -> None: ...

class AdaptiveMaxPool2d(Module):
    def __init__(self, output_size: _Size, return_indices: bool = False) -> None: ...

class AvgPool1d(Module):
    def __init__(
        self,
        kernel_size: _Size,
        stride: _Size | None = None,
        padding: _Size | str = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None: ...

class AvgPool2d(Module):
    def __init__(
        self,
        kernel_size: _Size,
        stride: _Size | None = None,
        padding: _Size | str = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: Any = None,
    ) -> None: ...

class MaxPool1d(Module):
    def __init__(
        self,
        kernel_size: _Size,
        stride: _Size | None = None,
        padding: _Size | str = 0,
        dilation: _Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None: ...

class MaxPool2d(Module):
    def __init__(
        self,
        kernel_size: _Size,
        stride: _Size | None = None,
        padding: _Size | str = 0,
        dilation: _Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None: ...

class Unfold(Module):
    def __init__(
        self, kernel_size: _Size, dilation: _Size = 1, padding: _Size | str = 0, stride: _Size = 1
    ) -> None: ...
