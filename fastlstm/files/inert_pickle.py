# SPDX-License-Identifier: MIT
"""An interpreter of pickles that builds a tree of plain values. It imports nothing that a pickle
names, and calls nothing but functions that the caller gave it.

A pickle is a program for a machine with a stack, a list of marks and a memo (the comments of
CPython's Lib/pickletools.py are its specification). The opcodes that are run here are all that
picklers of protocol 0 to 5 write to a file. GLOBAL gives a name, whatever it is. REDUCE of a name
for which the caller has a function runs that, on values of the tree. Every other name is inert:
what REDUCE, NEWOBJ, INST and the like make of it is an object without content, and what BUILD sets
in it is dropped. So the values beside a checkpoint's tensors may be of any class, and an object's
attributes cannot grow into anything. The keys of the file's dicts are neither hashed nor compared,
so that no file can make this slow by keys of equal hash.

The values are Python's None, bool, int, float and str; those of pickle_tree.py; and what the
caller's functions give. Tensors and arrays are not known here.
"""

from .pickle_scalars import Scalars
from .pickle_tree import BYTES, DICT, LIST, OBJECT, ORDERED, SET, TUPLE, Global, Node

MAX_GLOBAL = 256  # bytes of a global's module, and of its name; torch's have below 60
# Functions whose first argument is the class of the object that they make. The third one of
# _reconstructor(class, base, value) is the content, where protocols 0 and 1 write a class derived
# from dict or list.
_MAKERS = {
    f"{module}.{name}"
    for module in ("copyreg", "copy_reg")
    for name in ("_reconstructor", "__newobj__", "__newobj_ex__")
}


class Interpreter(Scalars):
    """Runs one pickle.

    allowed     {"module.name": f(interpreter, list of arguments) -> value}: the functions that
                REDUCE runs, by the names that the pickle has for them
    persistent  f(interpreter, persistent id) -> value, for BINPERSID
    leaves      how many persistent ids there were; a caller may add what else tensors are made of

    The rest is as in Machine.
    """

    def __init__(self, data, record, source, allowed, persistent, start=0):
        super().__init__(data, record, source, start)
        self.allowed, self.persistent, self.leaves = allowed, persistent, 0

    # ---- a method for each opcode, or for several; its argument is the opcode's operand, if it has
    # one. What it gives is ignored, but for STOP's True.

    def op_refused(self):
        raise self.error("an opcode that no checkpoint needs")

    def op_stop(self):
        return True

    def op_frame(self, count):
        if count > len(self.data) - self.pos:
            raise self.error("a frame longer than the pickle")

    def op_mark(self):
        self.mark()

    def op_pop(self):
        """Take off the top of the stack, which may be a mark."""
        if self.marks and len(self.stack) == self.floor:
            self.pop_mark()
        else:
            self.pop()

    def op_pop_mark(self):
        self.pop_mark()

    def op_dup(self):
        self.stack.append(self.top())

    # ---- containers

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

    def op_list(self):
        self.container(LIST, self.pop_mark())

    def op_dict(self):
        items = self.pop_mark()
        self._check_pairs(items)
        self.container(DICT, items)

    def op_frozenset(self):
        self.pop_mark()
        self.stack.append(SET)

    def op_additems(self):
        self.pop_mark()
        target = self.top()
        if target is not SET and getattr(target, "type_name", None) is not OBJECT:
            raise self.error("the value on the stack is no set")

    def op_append(self):
        item = self.pop()
        self.extend((LIST,), [item])

    def op_appends(self):
        items = self.pop_mark()
        self.extend((LIST,), items)

    def op_setitem(self):
        value, key = self.pop(), self.pop()
        self._check_pairs((key, value))
        self.extend((DICT, ORDERED), [key, value])

    def op_setitems(self):
        items = self.pop_mark()
        self._check_pairs(items)
        self.extend((DICT, ORDERED), items)

    def _check_pairs(self, items):
        """LoadError if a key of `items`, key, value, key, value ..., has none behind it or cannot
        be a key of a Python dict."""
        if len(items) % 2:
            raise self.error("a key without a value")
        for key in items[::2]:
            if key.__class__ is Node and key.type_name in (LIST, DICT, ORDERED):
                raise self.error(f"a {key.type_name} as a key")

    def extend(self, type_names, items):
        """Put `items` into the container on top of the stack, whose type must be one of
        `type_names`. An object becomes a container of the first of them."""
        node = self.top()
        if node.__class__ is Node and node.type_name is OBJECT:
            self.charge(72)
            node.type_name, node.items = type_names[0], []
        if node.__class__ is not Node or node.type_name not in type_names:
            raise self.error(f"the value on the stack is no {type_names[0]}")
        self.charge(16 * len(items))
        self.deepen(node, items)
        node.items += items

    # ---- the memo

    def op_memoize(self):
        self.remember(len(self.memo))

    def _index_line(self):
        text = self.number()
        try:
            return int(text)
        except ValueError:
            raise self.error("a memo's index that is no number") from None

    def op_put(self):
        self.remember(self._index_line())

    def op_get(self):
        self.recall(self._index_line())

    # ---- names, and what is made of them

    def _name_line(self):
        """The next line, as the names of GLOBAL and INST are written."""
        try:
            return str(self.line(MAX_GLOBAL, "a global's name"), "utf-8")
        except UnicodeDecodeError:
            raise self.error("a global's name that is not UTF-8") from None

    def op_global(self):
        module = self._name_line()
        self.push_global(module, self._name_line())

    def op_stack_global(self):
        name, module = self.pop(), self.pop()
        for half in (module, name):
            if half.__class__ is not str or len(half) > MAX_GLOBAL:
                raise self.error(f"a global's name must be text, at most {MAX_GLOBAL} long")
        self.push_global(module, name)

    def op_extension(self, code):
        """EXT1, EXT2, EXT4: a name by the number that a program once gave it."""
        self.push_global("copyreg", f"extension {code}")

    def push_global(self, module, name):
        """Push the Global of a name."""
        self.charge(128 + 4 * (len(module) + len(name)))
        self.stack.append(Global(f"{module}.{name}"))

    def opaque(self, function):
        """An object of which the name of its class is kept alone. function: the class, or what
        else made the object, a Global or itself such an object."""
        if function.__class__ is Global:
            name = function.name
        elif function.__class__ is Node and function.type_name is OBJECT:
            name = function.origin
        else:
            raise self.error("an object is made of a name alone")
        self.charge(96)
        return Node(OBJECT, (), name)

    def arguments(self):
        """The list of arguments on top of the stack, a tuple, taken off."""
        node = self.pop()
        if node.__class__ is not Node or node.type_name is not TUPLE:
            raise self.error("the arguments must be a tuple")
        return node.items

    def op_reduce(self):
        args, function = self.arguments(), self.pop()
        self.stack.append(self.call(function, args))

    def call(self, function, args):
        """What `function`, called with the list `args`, becomes."""
        if function.__class__ is Global:
            action = self.allowed.get(function.name)
            if action is not None:
                return action(self, args)
            if function.name in _MAKERS and args and args[0].__class__ is Global:
                return self._made(args[0], args[-1])
        return self.opaque(function)

    def _made(self, cls, content):
        """An object of the class `cls`; with the items of `content` if that is a dict or a list."""
        made = self.opaque(cls)
        if content.__class__ is Node and content.type_name in (DICT, LIST):
            self.charge(72 + 8 * len(content.items))
            made.type_name, made.items = content.type_name, list(content.items)
            self.deepen(made, made.items)
        return made

    def op_newobj(self):
        args, cls = self.arguments(), self.pop()
        self.stack.append(self.new(cls, args))

    def op_newobj_ex(self):
        self.pop()  # keyword arguments
        self.op_newobj()

    def op_inst(self):
        self.op_global()
        self.stack.append(self.new(self.stack.pop(), self.pop_mark()))

    def op_obj(self):
        items = self.pop_mark()
        if not items:
            raise self.error("an object without a class")
        self.stack.append(self.new(items[0], items[1:]))

    def new(self, cls, args):
        """An object of the class `cls`, made with the list `args`."""
        return self.opaque(cls)

    def op_build(self):
        state = self.pop()
        self.build(state, self.top())

    def build(self, state, target):
        """Set attributes of `target`, such as the `_metadata` of a state dict: nothing needs them,
        and they are dropped."""
        if target.__class__ is Node:
            bare = target.type_name in (TUPLE, LIST, DICT) and target.origin is None
        else:
            bare = target.__class__ in _BARE or target is BYTES or target is SET
        if bare:
            raise self.error("attributes are set on a value that has none")

    def op_persistent(self):
        self.leaves += 1
        self.stack.append(self.persistent(self, self.pop()))


# Classes of values that cannot have attributes.
_BARE = (type(None), bool, int, float, str, Global)


def _push(value):
    """The method of an opcode that pushes `value`."""
    return lambda self: self.stack.append(value)


def _empty(type_name):
    """The method of an opcode that pushes an empty container."""
    return lambda self: self.container(type_name, [])


_I = Interpreter
# opcode: (its name, its method, bytes of its operand), as Machine.table says.
_OPCODES = {
    0x28: ("MARK", _I.op_mark, 0),
    0x29: ("EMPTY_TUPLE", _empty(TUPLE), 0),
    0x2E: ("STOP", _I.op_stop, 0),
    0x30: ("POP", _I.op_pop, 0),
    0x31: ("POP_MARK", _I.op_pop_mark, 0),
    0x32: ("DUP", _I.op_dup, 0),
    0x42: ("BINBYTES", _I.push_bytes, 4),
    0x43: ("SHORT_BINBYTES", _I.push_bytes, 1),
    0x46: ("FLOAT", _I.push_float_line, 0),
    0x47: ("BINFLOAT", _I.push_float, 0),
    0x49: ("INT", _I.push_int_line, 0),
    0x4A: ("BININT", _I.push_signed, 4),
    0x4B: ("BININT1", _I.push_byte, 1),
    0x4C: ("LONG", _I.push_long_line, 0),
    0x4D: ("BININT2", _I.push_number, 2),
    0x4E: ("NONE", _push(None), 0),
    0x51: ("BINPERSID", _I.op_persistent, 0),
    0x52: ("REDUCE", _I.op_reduce, 0),
    0x53: ("STRING", _I.push_string_line, 0),
    0x54: ("BINSTRING", _I.push_string, 4),
    0x55: ("SHORT_BINSTRING", _I.push_string, 1),
    0x56: ("UNICODE", _I.push_unicode_line, 0),
    0x58: ("BINUNICODE", _I.push_text, 4),
    0x5D: ("EMPTY_LIST", _empty(LIST), 0),
    0x61: ("APPEND", _I.op_append, 0),
    0x62: ("BUILD", _I.op_build, 0),
    0x63: ("GLOBAL", _I.op_global, 0),
    0x64: ("DICT", _I.op_dict, 0),
    0x65: ("APPENDS", _I.op_appends, 0),
    0x67: ("GET", _I.op_get, 0),
    0x68: ("BINGET", _I.recall, 1),
    0x69: ("INST", _I.op_inst, 0),
    0x6A: ("LONG_BINGET", _I.recall, 4),
    0x6C: ("LIST", _I.op_list, 0),
    0x6F: ("OBJ", _I.op_obj, 0),
    0x70: ("PUT", _I.op_put, 0),
    0x71: ("BINPUT", _I.remember, 1),
    0x72: ("LONG_BINPUT", _I.remember, 4),
    0x73: ("SETITEM", _I.op_setitem, 0),
    0x74: ("TUPLE", _I.op_tuple, 0),
    0x75: ("SETITEMS", _I.op_setitems, 0),
    0x7D: ("EMPTY_DICT", _empty(DICT), 0),
    0x81: ("NEWOBJ", _I.op_newobj, 0),
    0x82: ("EXT1", _I.op_extension, 1),
    0x83: ("EXT2", _I.op_extension, 2),
    0x84: ("EXT4", _I.op_extension, 4),
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
    0x92: ("NEWOBJ_EX", _I.op_newobj_ex, 0),
    0x93: ("STACK_GLOBAL", _I.op_stack_global, 0),
    0x94: ("MEMOIZE", _I.op_memoize, 0),
    0x95: ("FRAME", _I.op_frame, 8),
    0x96: ("BYTEARRAY8", _I.push_bytes, 8),
}
# Opcodes that are refused by name. PROTO stands at the beginning alone; the buffers belong to
# pickles that are sent with data beside them; torch writes no tensors with the textual PERSID.
_REFUSED = {0x50: "PERSID", 0x80: "PROTO", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER"}
Interpreter.table = [_OPCODES.get(op, ("", _I.op_refused, 0))[1:] for op in range(256)]
Interpreter.names = _REFUSED | {op: row[0] for op, row in _OPCODES.items()}
