# SPDX-License-Identifier: MIT
"""Random changes of a file or a part of one: of its bytes, or of what they mean in a format. The
latter get more of the changed files past the format's first checks.

Each is a function f(data, rng) -> bytes, with rng a random.Random. Data that is not of the format
is changed byte by byte.
"""

import itertools
import json
import pickletools

from .others import varint

# Bytes that often mean something: ends of numbers' ranges, newline, pickles' MARK and STOP, 10,000.
SPECIAL = [b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff" * 8, b"\1",
           b"\0" * 8, b"\x0a", b"(", b".", b"\x10\x27"]  # fmt: skip
# Numbers near the ends of ranges, for fields.
NUMBERS = [0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 1023, 1 << 15, 1 << 16, 1 << 31, 1 << 40,
           1 << 63, (1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1]  # fmt: skip


def of_bytes(data, rng):
    """One to four changes of a few bytes."""
    data = bytearray(data or b"\0")
    for _ in range(rng.randint(1, 4)):
        at, count = rng.randrange(len(data)), rng.randint(1, 8)
        change = rng.randrange(6)
        if change == 0:
            piece = rng.choice(SPECIAL)
            data[at : at + len(piece)] = piece
        elif change == 1:
            data[at] = rng.randrange(256)
        elif change == 2:  # a little more or less
            data[at] = (data[at] + rng.randint(-4, 4)) % 256
        elif change == 3 and len(data) > count:
            del data[at : at + count]
        elif change == 4:
            data[at:at] = data[at : at + count]
        else:  # a copy of bytes from another place
            other = rng.randrange(len(data))
            data[at : at + count] = data[other : other + count]
    return bytes(data)


def of_numbers(data, rng):
    """One to three changes of little-endian integers of 1 to 8 bytes, at multiples of their size,
    as addresses and sizes in HDF5 mostly stand."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        width = rng.choice((1, 2, 4, 8))
        if len(data) < 2 * width:
            break
        at = rng.randrange(len(data) // width) * width
        old = int.from_bytes(data[at : at + width], "little")
        other = rng.randrange(len(data) // width) * width
        new = rng.choice((
            old + rng.randint(-9, 9), rng.choice(NUMBERS), rng.randrange(len(data)), old << 1,
            int.from_bytes(data[other : other + width], "little"),
        ))  # fmt: skip
        data[at : at + width] = (new % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(data)


# ---- protocol buffers: fields are changed, and the lengths around them set right


def message_fields(data):
    """[(number, wire type, int or bytes)]; ValueError if `data` is no message."""
    found, at = [], 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            if at >= len(data) or shift > 63:
                raise ValueError
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        wire = key & 7
        if wire == 0:
            value = number()
        elif wire in (1, 2, 5):
            size = {1: 8, 5: 4}.get(wire) or number()
            value, at = data[at : at + size], at + size
        if wire not in (0, 1, 2, 5) or at > len(data) or not key >> 3:
            raise ValueError
        found.append((key >> 3, wire, value))
    return found


def message_of(fields):
    """The message of such fields."""
    out = bytearray()
    for number, wire, value in fields:
        out += varint(number << 3 | wire)
        out += varint(value) if wire == 0 else value if wire != 2 else varint(len(value)) + value
    return bytes(out)


def of_protobuf(data, rng, depth=0):
    """One change of a field, or of a field inside it, or of the order and number of fields."""
    try:
        fields = message_fields(data)
    except ValueError:
        fields = []
    if not fields or (depth and rng.random() < 0.05):
        return of_bytes(data, rng) if data else b"\x08\1"
    at = rng.randrange(len(fields))
    number, wire, value = fields[at]
    change = rng.randrange(10)
    if change == 0:
        del fields[at]
    elif change == 1:
        fields.insert(rng.randrange(len(fields) + 1), fields[at])
    elif change == 2:
        other = rng.randrange(len(fields))
        fields[at], fields[other] = fields[other], fields[at]
    elif change == 3:
        fields[at] = (rng.choice((number + 1, max(1, number - 1), rng.randint(1, 30))), wire, value)
    elif wire == 0:
        new = rng.choice((value + rng.randint(-3, 3), rng.choice(NUMBERS), -value))
        fields[at] = (number, wire, new % (1 << 64))
    elif wire == 2:
        fields[at] = (number, wire, of_protobuf(value, rng, depth + 1))
    else:
        fields[at] = (number, wire, bytes(rng.randrange(256) for _ in value))
    return message_of(fields)


# ---- pickles: whole opcodes


def _opcodes(data):
    """The pickle cut at its opcodes."""
    places = []
    try:
        for _, _, at in pickletools.genops(data):
            places.append(at)
    except Exception:  # of a malformed pickle; the opcodes before it are still cut apart
        pass
    places.append(len(data))
    return [data[a:b] for a, b in itertools.pairwise(places)] or [data]


# Opcodes that are put in: EMPTY_TUPLE, EMPTY_LIST, EMPTY_DICT, MARK, NONE, BININT1, POP, TUPLE,
# REDUCE, NEWOBJ, BUILD, GLOBAL, OBJ, DUP, POP_MARK, SETITEM, APPEND, BINGET.
_PUT_IN = (b")", b"]", b"}", b"(", b"N", b"K\1", b"0", b"t", b"R", b"\x81", b"b", b"cm\nC\n", b"o",
           b"2", b"1", b"s", b"a", b"h\0")  # fmt: skip


def of_pickle(data, rng):
    """One to three opcodes taken out, doubled, exchanged, changed, or put in."""
    parts = _opcodes(data)
    for _ in range(rng.randint(1, 3)):
        at, other = rng.randrange(len(parts)), rng.randrange(len(parts))
        change = rng.randrange(6)
        if change == 0 and len(parts) > 1:
            del parts[at]
        elif change == 1:
            parts.insert(other, parts[at])
        elif change == 2:
            parts[at], parts[other] = parts[other], parts[at]
        elif change == 3:
            parts[at] = bytes([rng.randrange(256)]) + parts[at][1:]
        elif change == 4:
            parts[at] = parts[at][:1] + of_bytes(parts[at][1:], rng)
        else:
            parts.insert(at, rng.choice(_PUT_IN))
    return b"".join(parts)


# ---- JSON: values


def _changed(value, rng):
    """`value`, as json.loads gives it, with one value in it, at any depth, changed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        change, rest = rng.randrange(10), {n: v for n, v in value.items() if n != key}
        if change == 0:
            return rest
        if change == 1:
            return rest | {rng.choice(list(value)) + rng.choice(("", "x", "_l0")): value[key]}
        return value | {key: _changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at, change = rng.randrange(len(value)), rng.randrange(10)
        if change == 0:
            return value[:at] + value[at + 1 :]
        if change == 1:
            return [*value, value[at]]
        return [*value[:at], _changed(value[at], rng), *value[at + 1 :]]
    if isinstance(value, int) and rng.random() < 0.5:
        return value + rng.randint(-4, 4)
    return rng.choice((None, True, False, "", "tanh", "LSTM", "reverse", 1.5, -1, [], {}, [0], "x",
                       [[]], {"a": 1}, rng.choice(NUMBERS)))  # fmt: skip


def of_json(data, rng):
    """One change of a value of a JSON text."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return of_bytes(data, rng)
    return json.dumps(_changed(value, rng)).encode()


def mixed(*functions):
    """A function that makes one change of those in `functions`, or of_bytes, drawn each time."""

    def mutate(data, rng):
        return rng.choice((*functions, of_bytes))(data, rng)

    return mutate
