# SPDX-License-Identifier: MIT
"""Deflated data, a block at a time, into a buffer whose size is known before."""

import zlib

BLOCK = 1 << 18  # bytes inflated at a time


def inflate(blocks, view, bits, error):
    """Fill the memoryview `view`, exactly, with what the deflated `blocks` hold.

    blocks   iterator of bytes, all of the stream and nothing else
    bits     zlib's wbits: -15 as in a zip archive, 15 with zlib's header and checksum
    error    f(rule) -> the exception to raise
    """
    stream, done = zlib.decompressobj(bits), 0
    try:
        while not stream.eof:
            block = stream.unconsumed_tail or next(blocks, b"")
            # one byte more than is due: so that too many are seen, and never made
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
