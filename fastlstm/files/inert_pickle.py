# SPDX-License-Identifier: MIT
"""A pickle interpreter over inert values: it builds trees, and can neither import nor call.

Opcodes are those that picklers of protocol 2 to 5 write for checkpoints. A global is a name looked
up in the caller's table; REDUCE runs the caller's function for that name, on inert arguments. All
else is refused. No value is ever hashed or compared, so no file can choose colliding keys.

Values: None, bool, int, float and str are Python's; containers are Node; everything that a loader
has no use for (bytes, sets, devices ...) is an Opaque.

Bounds: MAX_PICKLE bytes (the caller reads no more), MAX_OPCODES, MAX_DEPTH, ints of MAX_INT_BYTES,
and a budget: every value is charged about the memory it takes, against a small multiple of the
size of the pickle.
"""

import struct

import numpy as np

from .source import show

MAX_PICKLE = 64 << 20
MAX_OPCODES = 1_000_000
MAX_DEPTH = 100
MAX_INT_BYTES = 255
MAX_GLOBAL = 256  # bytes in each half of a global's name
MAX_KEY_TUPLE = 32
BASE_BUDGET, MORE_BUDGET = 8 << 20, 28 << 20  # bytes; see Interpreter.budget

TUPLE, LIST, DICT, ORDERED = "tuple", "list", "dict", "OrderedDict"


class Node:
    """A container. items: the elements, or k0, v0, k1, v1, ... of a dict.

    depth     1 + the deepest child's when that was put in; never more than MAX_DEPTH
    summary   for `flatten`
    """

    __slots__ = ("depth", "items", "kind", "summary")

    def __init__(self, kind, items):
        self.kind, self.items, self.depth, self.summary = kind, items, 1, None

    def children(self):
        return self.items[1::2] if self.kind in (DICT, ORDERED) else self.items


class Global:
    """A name from the table of allowed globals: only a name."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name


class Opaque:
    """A value of a known, harmless kind that no loader looks into."""

    __slots__ = ("kind",)

    def __init__(self, kind):
        self.kind = kind


BYTES, SET = Opaque("bytes"), Opaque("set")


class Interpreter:
    """Runs one pickle.

    data        bytes of the pickle              record   its name, for messages
    allowed     {"module.name": None, or the function REDUCE runs: f(interpreter, args) -> value}
    persistent  f(interpreter, persistent id) -> value
    start       where in data the pickle begins; `pos` is its end afterwards
    """

    table = None  # TABLE: subclasses for other kinds of file add to it

    def __init__(self, data, record, source, allowed, persistent, start=0):
        self.data, self.record, self.source = data, record, source
        self.view = memoryview(data)
        self.allowed, self.persistent = allowed, persistent
        self.globals = {}
        self.at = self.pos = self.start = start
        self.stack, self.marks, self.memo, self.floor = [], [], [], 0
        # What values may take: much for each byte of a small pickle, 2 for each of a large one.
        self.budget = BASE_BUDGET + min(16 * len(data), MORE_BUDGET + 2 * len(data))

    def error(self, rule):
        """The LoadError for the opcode being run."""
        place = self.record
        if self.at < len(self.data):
            op = self.data[self.at]
            place += f", byte {self.at} (opcode {NAMES.get(op, f'{op:#04x}')})"
        return self.source.error(place, rule)

    def charge(self, count):
        self.budget -= count
        if self.budget < 0:
            raise self.error("the values need far more memory than the pickle is long")

    def run(self):
        """The root value."""
        data, size, table, at = self.data, len(self.data), self.table or TABLE, self.start
        if size < at + 2 or data[at] != 0x80 or not 2 <= data[at + 1] <= 5:
            raise self.error("it does not begin as a pickle of protocol 2 to 5")
        self.pos = at + 2
        for _ in range(MAX_OPCODES):
            self.at = at = self.pos
            if at >= size:
                raise self.error("the pickle ends without a STOP opcode")
            handler, width = table[data[at]]
            self.pos = end = at + 1 + width
            if end > size:
                raise self.error(f"{width} bytes are due, {size - at - 1} are left")
            if width == 0:
                if handler(self):
                    break
            elif width == 1:
                handler(self, data[at + 1])
            else:
                handler(self, int.from_bytes(data[at + 1 : end], "little"))
        else:
            raise self.error(f"more than {MAX_OPCODES} opcodes")
        if self.marks or len(self.stack) != 1:
            raise self.error("STOP with marks or more than one value on the stack")
        self.at = size  # what is wrong from here on is wrong with the whole
        return self.stack[0]

    # ---- operands and the stack

    def take(self, count):
        """The next `count` bytes of the pickle."""
        start = self.pos
        end = start + count
        if end > len(self.data):
            raise self.error(f"{count} bytes are due, {len(self.data) - start} are left")
        self.pos = end
        return self.view[start:end]

    def pop(self):
        if len(self.stack) <= self.floor:
            raise self.error("the stack is empty")
        return self.stack.pop()

    def top(self):
        if len(self.stack) <= self.floor:
            raise self.error("the stack is empty")
        return self.stack[-1]

    def pop_mark(self):
        """The values above the last mark; the mark goes too."""
        if not self.marks:
            raise self.error("no mark on the stack")
        start = self.marks.pop()
        self.floor = self.marks[-1] if self.marks else 0
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def container(self, kind, items):
        """Push a container of `items`."""
        self.charge(144 + 8 * len(items))
        node = Node(kind, items)
        self.deepen(node, items)
        self.stack.append(node)

    def deepen(self, node, items):
        depth = node.depth
        for item in items:
            if item.__class__ is Node and item.depth >= depth:
                depth = item.depth + 1
        if depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH}")
        node.depth = depth

    def extend(self, kinds, items):
        """Put `items` into the container on top of the stack, which must be one of `kinds`."""
        node = self.top()
        if node.__class__ is not Node or node.kind not in kinds:
            raise self.error(f"the value on the stack is no {kinds[0]}")
        self.charge(16 * len(items))
        self.deepen(node, items)
        node.items += items

    # ---- opcodes: methods, with the operand if there is one; True only to stop

    def op_refused(self):
        raise self.error("an opcode that no checkpoint needs")

    def op_stop(self):
        return True

    def op_frame(self, count):
        if count > len(self.data) - self.pos:
            raise self.error("a frame longer than the pickle")

    def op_mark(self):
        if len(self.marks) >= MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH}")
        self.floor = len(self.stack)
        self.marks.append(self.floor)

    def op_pop(self):
        self.pop()

    def push_byte(self, value):
        self.stack.append(value)  # Python keeps these ints: they take no memory

    def push_number(self, value):
        self.charge(32)
        self.stack.append(value)

    def push_signed(self, value):
        self.push_number(value - ((value & 0x80000000) << 1))

    def push_long(self, count):
        if count > MAX_INT_BYTES:
            raise self.error(f"an int of {count} bytes, {MAX_INT_BYTES} is the limit")
        self.charge(32 + 2 * count)
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def op_float(self):
        self.charge(24)
        self.stack.append(struct.unpack(">d", self.take(8))[0])

    def push_text(self, count):
        raw = self.take(count)
        # Bytes per character that Python will use, from the largest lead byte of the UTF-8.
        lead = int(np.frombuffer(raw, np.uint8).max()) if count > 255 else 0xFF
        wide = 1 if lead < 0xC4 else 2 if lead < 0xF0 else 4
        self.charge(64 + wide * count)
        try:
            self.stack.append(str(raw, "utf-8"))
        except UnicodeDecodeError:
            raise self.error("a string that is not UTF-8") from None

    def push_bytes(self, count):
        self.take(count)
        self.stack.append(BYTES)

    def op_tuple1(self):
        self.container(TUPLE, [self.pop()])

    def op_tuple2(self):
        second = self.pop()
        self.container(TUPLE, [self.pop(), second])

    def op_tuple3(self):
        third, second = self.pop(), self.pop()
        self.container(TUPLE, [self.pop(), second, third])

    def op_tuple(self):
        self.container(TUPLE, self.pop_mark())

    def op_frozenset(self):
        self.pop_mark()
        self.stack.append(SET)

    def op_additems(self):
        self.pop_mark()
        if self.top() is not SET:
            raise self.error("the value on the stack is no set")

    def op_append(self):
        item = self.pop()
        self.extend((LIST,), [item])

    def op_appends(self):
        items = self.pop_mark()
        self.extend((LIST,), items)

    def _key(self, key):
        if key.__class__ is Node and key.kind is TUPLE and len(key.items) <= MAX_KEY_TUPLE:
            for item in key.items:
                self._scalar(item)
        else:
            self._scalar(key)

    def _scalar(self, key):
        if key is not None and key is not BYTES and key.__class__ not in (str, int, float, bool):
            raise self.error("a key that is neither text, a number, None nor a small tuple of them")

    def op_setitem(self):
        value, key = self.pop(), self.pop()
        self._key(key)
        self.extend((DICT, ORDERED), [key, value])

    def op_setitems(self):
        items = self.pop_mark()
        if len(items) % 2:
            raise self.error("a key without a value")
        for key in items[::2]:
            self._key(key)
        self.extend((DICT, ORDERED), items)

    def remember(self, index):
        if index != len(self.memo):
            raise self.error(f"memo {index} is set, {len(self.memo)} is the next")
        self.charge(16)
        self.memo.append(self.top())

    def op_memoize(self):
        self.remember(len(self.memo))

    def recall(self, index):
        if index >= len(self.memo):
            raise self.error(f"memo {index} was never set")
        self.stack.append(self.memo[index])

    def _line(self):
        end = self.data.find(b"\n", self.pos, self.pos + MAX_GLOBAL + 1)
        if end < 0:
            raise self.error(f"a global's name without end, or longer than {MAX_GLOBAL}")
        raw = self.take(end - self.pos)
        self.pos += 1
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError:
            raise self.error("a global's name that is not UTF-8") from None

    def op_global(self):
        module = self._line()
        self._global(module, self._line())

    def op_stack_global(self):
        name, module = self.pop(), self.pop()
        for half in (module, name):
            if half.__class__ is not str or len(half) > MAX_GLOBAL:
                raise self.error(f"a global's name must be text, at most {MAX_GLOBAL} long")
        self._global(module, name)

    def _global(self, module, name):
        full = f"{module}.{name}"
        if full not in self.allowed:
            whole = not (self.stack or self.marks) or self.stack[-1:] == ["module"]
            if module.startswith("torch.nn.modules") or whole:
                raise self.error(
                    f"a whole pickled object of class {show(full)}, which needs its code to load; "
                    "where it was made, save `model.state_dict()` instead"
                )
            raise self.error(
                f"the global {show(full)} is not allowed in a checkpoint; "
                "save tensors only, such as `model.state_dict()`"
            )
        if full not in self.globals:
            self.globals[full] = Global(full)
        self.stack.append(self.globals[full])

    def op_reduce(self):
        args, function = self.pop(), self.pop()
        if function.__class__ is not Global or args.__class__ is not Node or args.kind != TUPLE:
            raise self.error("REDUCE takes an allowed function and a tuple")
        self.stack.append(self.call(function, args.items))

    def call(self, function, args):
        """What the allowed global `function` makes of the list `args`."""
        action = self.allowed[function.name]
        if action is None:
            raise self.error(f"{function.name} is a name, not a function")
        return action(self, args)

    def op_build(self):
        self.pop()  # attributes, such as the `_metadata` of a state dict: not needed
        target = self.top()
        if not (
            (target.__class__ is Node and target.kind is ORDERED)
            or (target.__class__ is Opaque and target.kind == "numpy")
        ):
            raise self.error("attributes are set on a value that has none")

    def op_persistent(self):
        self.stack.append(self.persistent(self, self.pop()))


def _push(value):
    return lambda self: self.stack.append(value)


def _empty(kind):
    return lambda self: self.container(kind, [])


_I = Interpreter
# opcode: (name, method, bytes of operand, which is the method's argument)
_OPCODES = {
    0x28: ("MARK", _I.op_mark, 0),
    0x29: ("EMPTY_TUPLE", _empty(TUPLE), 0),
    0x2E: ("STOP", _I.op_stop, 0),
    0x30: ("POP", _I.op_pop, 0),
    0x42: ("BINBYTES", _I.push_bytes, 4),
    0x43: ("SHORT_BINBYTES", _I.push_bytes, 1),
    0x47: ("BINFLOAT", _I.op_float, 0),
    0x4A: ("BININT", _I.push_signed, 4),
    0x4B: ("BININT1", _I.push_byte, 1),
    0x4D: ("BININT2", _I.push_number, 2),
    0x4E: ("NONE", _push(None), 0),
    0x51: ("BINPERSID", _I.op_persistent, 0),
    0x52: ("REDUCE", _I.op_reduce, 0),
    0x58: ("BINUNICODE", _I.push_text, 4),
    0x5D: ("EMPTY_LIST", _empty(LIST), 0),
    0x61: ("APPEND", _I.op_append, 0),
    0x62: ("BUILD", _I.op_build, 0),
    0x63: ("GLOBAL", _I.op_global, 0),
    0x65: ("APPENDS", _I.op_appends, 0),
    0x68: ("BINGET", _I.recall, 1),
    0x6A: ("LONG_BINGET", _I.recall, 4),
    0x71: ("BINPUT", _I.remember, 1),
    0x72: ("LONG_BINPUT", _I.remember, 4),
    0x73: ("SETITEM", _I.op_setitem, 0),
    0x74: ("TUPLE", _I.op_tuple, 0),
    0x75: ("SETITEMS", _I.op_setitems, 0),
    0x7D: ("EMPTY_DICT", _empty(DICT), 0),
    0x85: ("TUPLE1", _I.op_tuple1, 0),
    0x86: ("TUPLE2", _I.op_tuple2, 0),
    0x87: ("TUPLE3", _I.op_tuple3, 0),
    0x88: ("NEWTRUE", _push(True), 0),
    0x89: ("NEWFALSE", _push(False), 0),
    0x8A: ("LONG1", _I.push_long, 1),
    0x8B: ("LONG4", _I.push_long, 4),
    0x8C: ("SHORT_BINUNICODE", _I.push_text, 1),
    0x8D: ("BINUNICODE8", _I.push_text, 8),
    0x8E: ("BINBYTES8", _I.push_bytes, 8),
    0x8F: ("EMPTY_SET", _push(SET), 0),
    0x90: ("ADDITEMS", _I.op_additems, 0),
    0x91: ("FROZENSET", _I.op_frozenset, 0),
    0x93: ("STACK_GLOBAL", _I.op_stack_global, 0),
    0x94: ("MEMOIZE", _I.op_memoize, 0),
    0x95: ("FRAME", _I.op_frame, 8),
    0x96: ("BYTEARRAY8", _I.push_bytes, 8),
}
TABLE = [_OPCODES.get(op, ("", _I.op_refused, 0))[1:] for op in range(256)]
# Known, and refused: they call, import, or belong to protocols 0 and 1.
# fmt: off
_REFUSED = {
    0x31: "POP_MARK", 0x32: "DUP", 0x46: "FLOAT", 0x49: "INT", 0x4C: "LONG", 0x50: "PERSID",
    0x53: "STRING", 0x54: "BINSTRING", 0x55: "SHORT_BINSTRING", 0x56: "UNICODE", 0x64: "DICT",
    0x67: "GET", 0x69: "INST", 0x6C: "LIST", 0x6F: "OBJ", 0x70: "PUT", 0x80: "PROTO",
    0x81: "NEWOBJ", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x92: "NEWOBJ_EX",
    0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
}
# fmt: on
NAMES = _REFUSED | {op: pair[0] for op, pair in _OPCODES.items()}
