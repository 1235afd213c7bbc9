# SPDX-License-Identifier: MIT
from collections.abc import Sequence
from typing import Any, NoReturn

from numpy.typing import ArrayLike

def pad_sequence(
    sequences: Sequence[ArrayLike],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Any: ...
def pack_padded_sequence(*args: Any, **kwargs: Any) -> NoReturn: ...
def pad_packed_sequence(*args: Any, **kwargs: Any) -> NoReturn: ...
def pack_sequence(*args: Any, **kwargs: Any) -> NoReturn: ...

class PackedSequence:
    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn: ...
