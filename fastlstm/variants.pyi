# SPDX-License-Identifier: MIT
"""The types of what says how a layer differs from torch's."""

from dataclasses import dataclass

@dataclass(frozen=True)
class Activation:
    name: str
    alpha: float | None = None
    beta: float | None = None
    @property
    def spelled_out(self) -> Activation: ...

DEFAULTS: dict[str, tuple[float | None, float | None]]
SIGMOID: Activation
TANH: Activation
RELU: Activation
USUAL: dict[str, tuple[Activation, ...]]

@dataclass(frozen=True)
class Variant:
    activations: tuple[tuple[Activation, ...], ...]
    clip: float | None = None
    input_forget: bool = False
    peepholes: bool = False
    reverse: bool = False

@dataclass(frozen=True)
class Layer:
    kind: str
    input_size: int = 0
    hidden_size: int = 0
    proj_size: int = 0
    num_layers: int = 1
    bias: bool = True
    direction: str = "forward"
    activations: tuple[tuple[Activation, ...], ...] = ()
    reset_after: bool = True
    clip: float | None = None
    input_forget: bool = False
    peepholes: tuple[str, ...] = ()
    initial_state: tuple[str, ...] = ()
    batch_first: bool = False
    output_order: str = "time"
    merge: str = "concat"
    cell: bool = False
    problem: str | None = None
    @property
    def bidirectional(self) -> bool: ...
    @property
    def num_directions(self) -> int: ...
    @property
    def directions(self) -> tuple[tuple[Activation, ...], ...]: ...

def variants(layer: Layer) -> list[str]: ...
def checked_activations(
    kind: str, count: int, value: object
) -> tuple[tuple[Activation, ...], ...] | None: ...
def checked_number(name: str, value: object) -> float: ...
def checked_clip(value: object) -> float: ...
