# SPDX-License-Identifier: MIT
"""A digest of every row of many calls of layers of fewer bits, and whether the system lets this
process use AMX's tiles.

    python rows_of_calls.py DTYPE refuse|allow FILE

refuse: a filter refuses the system call that asks for tiles, as a sandbox may, before fastlstm is
imported. Rows are those of batches of 1 to 65, of 40 steps cut at every step, and of lengths on 1
to 16 threads, of each layer of layer_bits.py. FILE gets 8 bytes a row; what is printed is 1 if
there is leave to use tiles at the end, else 0.
"""

import ctypes
import hashlib
import struct
import sys
from pathlib import Path

ARCH_PRCTL, GET_PERMITTED, REQUEST, TILE_DATA = 158, 0x1022, 0x1023, 18
libc = ctypes.CDLL(None, use_errno=True)


def refuse():
    """From now on arch_prctl(REQUEST, ...) is an error, in threads too."""
    load, equal, leave = 0x20, 0x15, 0x06  # of words, by a constant
    program = [
        (load, 0, 0, 0), (equal, 0, 3, ARCH_PRCTL),  # the number of the system call
        (load, 0, 0, 16), (equal, 0, 1, REQUEST),  # its first argument
        (leave, 0, 0, 0x00050001), (leave, 0, 0, 0x7FFF0000),  # EPERM; go on
    ]  # fmt: skip
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))
    whole = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, whole, 0, 0) == 0


def permitted():
    found = ctypes.c_uint64()
    assert libc.syscall(ARCH_PRCTL, GET_PERMITTED, ctypes.byref(found)) == 0
    return found.value >> TILE_DATA & 1


def calls_of(layer, rng):
    """(y, state) of each call."""
    import numpy as np

    x = np.float32(rng.standard_normal((3, 65, layer.input_size)))
    x[:, 5] *= 1e4
    for batch in range(1, 66):
        yield layer(np.ascontiguousarray(x[:, rng.permutation(65)[:batch]]))
    x = np.float32(rng.standard_normal((40, 5, layer.input_size)))
    for at in range(1, 40):
        y, state = layer(x[:at])
        yield y, state
        yield layer(x[at:], state)
    x = np.float32(rng.standard_normal((20, 33, layer.input_size)))
    lengths = rng.integers(0, 21, 33)
    for threads in range(1, 17):
        yield layer(x, lengths=lengths, num_threads=threads)
        yield layer(x[:, :7], num_threads=threads)


def digests(dtype):
    import layer_bits
    import numpy as np

    rng = np.random.default_rng(19)
    for name in layer_bits.LAYERS:
        for y, state in calls_of(layer_bits.layer_of(name, "avx512-amx", dtype), rng):
            for row in layer_bits.bytes_of_rows(y, state):
                yield hashlib.blake2b(row, digest_size=8).digest()


def main():
    dtype, how, path = sys.argv[1:]
    if how == "refuse":
        refuse()
    Path(path).write_bytes(b"".join(digests(dtype)))
    print(permitted())


if __name__ == "__main__":
    main()
