# SPDX-License-Identifier: MIT
# A part of _core.pyx: what ONNX Runtime finds in this library, whose path it is given.


def register_custom_ops():
    """The address of RegisterCustomOps, an int. That it is asked for here has the function linked
    into the library, which exports it."""
    return <uintptr_t>RegisterCustomOps
