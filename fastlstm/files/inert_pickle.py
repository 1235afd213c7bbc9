# SPDX-License-Identifier: MIT
"""An interpreter of pickles that builds a tree of plain values. It imports nothing that a pickle
names, and calls nothing but functions that the caller gave it.

A pickle is a program for a machine with a stack, a list of marks and a memo (the comments of
CPython's Lib/pickletools.py are its specification). The opcodes that are run here are those which
picklers of protocol 2 to 5 write for checkpoints. GLOBAL gives a name that the caller allows;
REDUCE runs the caller's function for that name on values of the tree. All other opcodes are
refused. The keys of the file's dicts are neither hashed nor compared, so that no file can make this
slow by keys of equal hash.

The values are Python's None, bool, int, float and str; those of pickle_tree.py; and what the
caller's functions give.

What a file can make this do is bounded by MAX_PICKLE, MAX_OPCODES, MAX_DEPTH, MAX_INT_BYTES, and by
a budget of memory: each value is charged about the bytes that it takes, and all together may take a
small multiple of the pickle's size.

Tensors and arrays are not known here.
"""

import struct

import numpy as np

from .pickle_tree import BYTES, DICT, LIST, MAX_DEPTH, ORDERED, SET, TUPLE, Global, Node, Opaque
from .source import show

# torch.save spends about 100 bytes and 32 opcodes of its pickle on each tensor of a state dict, so
# these two hold 670,000 and 31,000 tensors. The second bounds the time, as no opcode takes long.
MAX_PICKLE = 64 << 20  # bytes; callers read no more of a file
MAX_OPCODES = 1_000_000
MAX_INT_BYTES = 255  # what LONG1 can say; PyTorch's largest int, its magic number, has 10
MAX_GLOBAL = 256  # bytes of a global's module, and of its name; allowed ones have below 50
MAX_KEY_TUPLE = 32  # elements of a tuple that is a key; each is looked at
# Bytes that all values may take together. A small pickle gets BASE_BUDGET and 16 for each of its
# bytes, as most opcodes have 1 or 2 bytes and make values of 16 to 144. A large one, whose bytes
# are mostly text, gets BASE_BUDGET + MORE_BUDGET and 2 for each byte.
BASE_BUDGET, MORE_BUDGET = 8 << 20, 28 << 20


class Interpreter:
    """Runs one pickle.

    data        bytes that the pickle stands in
    record      what to call the pickle in messages
    source      the open file, for errors
    allowed     {"module.name": None, or f(interpreter, list of arguments) -> value}: the globals
                that the pickle may name, and the function that REDUCE then runs
    persistent  f(interpreter, persistent id) -> value, for BINPERSID
    start       where in `data` the pickle begins

    While it runs: stack, and memo (a list: an index may only be set when it is the next); marks, as
    heights of the stack, and floor, the last of them, below which nothing may be taken; at, where
    the opcode begins that is run; pos, where the next one does, and afterwards the pickle's end.
    """

    table = None  # TABLE; a subclass may have a copy of it with further opcodes

    def __init__(self, data, record, source, allowed, persistent, start=0):
        self.data, self.record, self.source = data, record, source
        self.view = memoryview(data)
        self.allowed, self.persistent = allowed, persistent
        self.globals = {}
        self.at = self.pos = self.start = start
        self.stack, self.marks, self.memo, self.floor = [], [], [], 0
        self.budget = BASE_BUDGET + min(16 * len(data), MORE_BUDGET + 2 * len(data))

    def error(self, rule):
        """The LoadError for the opcode being run."""
        place = self.record
        if self.at < len(self.data):
            op = self.data[self.at]
            place += f", byte {self.at} (opcode {NAMES.get(op, f'{op:#04x}')})"
        return self.source.error(place, rule)

    def charge(self, count):
        """Take `count` bytes of the budget; LoadError if it is used up. Callers charge what CPython
        takes for a value: 144 bytes for a Node with its list, 8 for each element, and so on."""
        self.budget -= count
        if self.budget < 0:
            raise self.error("the values need far more memory than the pickle is long")

    def run(self):
        """Run the pickle to its STOP and give the value that is then on the stack."""
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
        self.at = size  # an error that is found from here on names no opcode
        return self.stack[0]

    # ---- operands and the stack; an operand or value that is not there is a LoadError

    def take(self, count):
        """The next `count` bytes of the pickle, a memoryview."""
        start = self.pos
        end = start + count
        if end > len(self.data):
            raise self.error(f"{count} bytes are due, {len(self.data) - start} are left")
        self.pos = end
        return self.view[start:end]

    def pop(self):
        """The value on top of the stack, taken off; those below the last mark are out of reach."""
        if len(self.stack) <= self.floor:
            raise self.error("the stack is empty")
        return self.stack.pop()

    def top(self):
        """The value on top of the stack, which stays there."""
        if len(self.stack) <= self.floor:
            raise self.error("the stack is empty")
        return self.stack[-1]

    def pop_mark(self):
        """The list of values above the last mark, which are taken off, and the mark with them."""
        if not self.marks:
            raise self.error("no mark on the stack")
        start = self.marks.pop()
        self.floor = self.marks[-1] if self.marks else 0
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def container(self, type_name, items):
        """Push a new container of `items`."""
        self.charge(144 + 8 * len(items))
        node = Node(type_name, items)
        self.deepen(node, items)
        self.stack.append(node)

    def deepen(self, node, items):
        """Set the depth of `node` for `items` that are put into it."""
        depth = node.depth
        for item in items:
            if item.__class__ is Node and item.depth >= depth:
                depth = item.depth + 1
        if depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH}")
        node.depth = depth

    def extend(self, type_names, items):
        """Put `items` into the container on top of the stack, whose type must be one of
        `type_names`."""
        node = self.top()
        if node.__class__ is not Node or node.type_name not in type_names:
            raise self.error(f"the value on the stack is no {type_names[0]}")
        self.charge(16 * len(items))
        self.deepen(node, items)
        node.items += items

    # ---- opcodes: a method for each, or for several; its argument is the opcode's operand, if it
    # has one. What it gives is ignored, but for STOP's True.

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
        self.stack.append(value)  # CPython keeps ints of 0 to 255 once: they take no memory

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
        # CPython stores 1, 2 or 4 bytes for each character of a str, by its widest one. That is
        # seen from the largest byte of the UTF-8; short texts are charged 4 without a look.
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
        """LoadError unless `key` may be a dict's key: a scalar, or a small tuple of scalars."""
        if key.__class__ is Node and key.type_name is TUPLE and len(key.items) <= MAX_KEY_TUPLE:
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
        """Put the top of the stack into the memo. Picklers count upwards, so that a list serves."""
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
        """The next line of the pickle, as GLOBAL's operands are written."""
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
        """Push the Global of an allowed name. For others the error says what to save instead: if
        nothing is on the stack yet, the pickle's root is an object of the named class."""
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
        is_tuple = args.__class__ is Node and args.type_name == TUPLE
        if function.__class__ is not Global or not is_tuple:
            raise self.error("REDUCE takes an allowed function and a tuple")
        self.stack.append(self.call(function, args.items))

    def call(self, function, args):
        """What the caller's function for the Global `function` makes of the list `args`."""
        action = self.allowed[function.name]
        if action is None:
            raise self.error(f"{function.name} is a name, not a function")
        return action(self, args)

    def op_build(self):
        self.pop()  # attributes, such as the `_metadata` of a state dict, which nothing needs
        target = self.top()
        if not (
            (target.__class__ is Node and target.type_name is ORDERED)
            or (target.__class__ is Opaque and target.type_name == "numpy")
        ):
            raise self.error("attributes are set on a value that has none")

    def op_persistent(self):
        self.stack.append(self.persistent(self, self.pop()))


def _push(value):
    """The method of an opcode that pushes `value`."""
    return lambda self: self.stack.append(value)


def _empty(type_name):
    """The method of an opcode that pushes an empty container."""
    return lambda self: self.container(type_name, [])


_I = Interpreter
# opcode: (its name, its method, bytes of its operand). The operand is an unsigned little-endian
# number; with 0 bytes the method has no argument.
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
# [(method, bytes of operand)] for each of the 256 opcodes.
TABLE = [_OPCODES.get(op, ("", _I.op_refused, 0))[1:] for op in range(256)]
# Opcodes that are refused by name: they make objects, or belong to protocols 0 and 1.
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
