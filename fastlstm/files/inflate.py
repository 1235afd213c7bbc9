# SPDX-License-Identifier: MIT
"""Deflated data (RFC 1951; with zlib's header, RFC 1950), inflated into a buffer of known size.

The format says how many bytes must come out. Data that makes more is refused when the first byte
too many appears, so that a small file cannot take much memory.
"""

import zlib

# Bytes read and inflated at a time: enough that the work of Python's loop is small beside zlib's,
# and little memory beside the array that is filled.
BLOCK = 1 << 18


def inflate(blocks, view, bits, error):
    """Fill the memoryview `view` of bytes with what the deflated `blocks` hold.

    blocks   iterator of bytes objects: all of one deflated stream and nothing behind it
    bits     zlib's wbits: -15 for a bare stream, as in a zip archive; 15 for one with zlib's header
             and checksum, as in HDF5
    error    f(rule) -> the exception to raise if the stream is malformed, or makes fewer or more
             bytes than `view` has
    """
    stream, done = zlib.decompressobj(bits), 0
    try:
        while not stream.eof:
            block = stream.unconsumed_tail or next(blocks, b"")
            # One byte more than `view` has left may come out: it shows that the stream is too long
            # without making the rest of it.
            piece = stream.decompress(block, min(BLOCK, len(view) - done + 1))
            if not (block or piece or stream.eof):
                raise error("its deflated data has no end")
            if done + len(piece) > len(view):
                raise error(f"more than its {len(view)} bytes")
            view[done : done + len(piece)] = piece
            done += len(piece)
    except zlib.error:
        raise error("its deflated data is malformed") from None
    if done != len(view):
        raise error(f"{len(view)} bytes are due, {done} came out")
    if stream.unused_data or next(blocks, b""):
        raise error("bytes follow its deflated data")
