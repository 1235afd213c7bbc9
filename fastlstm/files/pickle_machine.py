# SPDX-License-Identifier: MIT
"""The machine that a pickle is a program for: a stack, marks in it, a memo, the place in the bytes
that is read next, and how much memory the values may still take. The opcodes are not known here:
pickle_scalars.py and inert_pickle.py have them.

What a file can make this do is bounded by MAX_PICKLE, MAX_OPCODES, MAX_DEPTH, and by a budget of
memory: each value is charged about the bytes that it takes, and all together may take a small
multiple of the pickle's size.
"""

from .pickle_tree import MAX_DEPTH, Node

# torch.save spends about 100 bytes and 32 opcodes of its pickle on each tensor of a state dict, so
# these two hold 670,000 and 31,000 tensors. The second bounds the time, as no opcode takes long.
MAX_PICKLE = 64 << 20  # bytes; callers read no more of a file
MAX_OPCODES = 1_000_000
# Bytes that all values may take together. A small pickle gets BASE_BUDGET and 16 for each of its
# bytes, as most opcodes have 1 or 2 bytes and make values of 16 to 144. A large one, whose bytes
# are mostly text, gets BASE_BUDGET + MORE_BUDGET and 2 for each byte.
BASE_BUDGET, MORE_BUDGET = 8 << 20, 28 << 20


class Machine:
    """Runs one pickle. A subclass gives the opcodes:

    table   [(method, bytes of operand)] for each of the 256 opcodes. The operand is an unsigned
            little-endian number, the method's argument; with 0 bytes the method has no argument.
            What a method gives is ignored, but True ends the run.
    names   {opcode: its name}, for messages

    data     bytes that the pickle stands in
    record   what to call the pickle in messages
    source   the open file, for errors
    start    where in `data` the pickle begins

    While it runs: stack, and memo (a list: an index may only be set when it is the next); marks, as
    heights of the stack, and floor, the last of them, below which nothing may be taken; at, where
    the opcode begins that is run; pos, where the next one does, and afterwards the pickle's end.
    """

    table, names = None, {}

    def __init__(self, data, record, source, start=0):
        self.data, self.record, self.source = data, record, source
        self.view = memoryview(data)
        self.at = self.pos = self.start = start
        self.stack, self.marks, self.memo, self.floor = [], [], [], 0
        self.budget = BASE_BUDGET + min(16 * len(data), MORE_BUDGET + 2 * len(data))

    def error(self, rule):
        """The LoadError for the opcode being run."""
        place = self.record
        if self.at < len(self.data):
            op = self.data[self.at]
            place += f", byte {self.at} (opcode {self.names.get(op, f'{op:#04x}')})"
        return self.source.error(place, rule)

    def charge(self, count):
        """Take `count` bytes of the budget; LoadError if it is used up. Callers charge what CPython
        takes for a value: 144 bytes for a Node with its list, 8 for each element, and so on."""
        self.budget -= count
        if self.budget < 0:
            raise self.error("the values need far more memory than the pickle is long")

    def run(self):
        """Run the pickle to its STOP and give the value that is then on the stack."""
        data, size, table, at = self.data, len(self.data), self.table, self.start
        if data[at : at + 1] == b"\x80":  # PROTO; protocols 0 and 1 begin without it
            if size < at + 2 or not 2 <= data[at + 1] <= 5:
                raise self.error("it does not begin as a pickle of protocol 0 to 5")
            at += 2
        self.pos = at
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

    def line(self, limit, what):
        """The bytes up to the next newline, at most `limit`, as the operands of protocol 0 are
        written; the newline is left out. what: the operand's name, for the message."""
        end = self.data.find(b"\n", self.pos, self.pos + limit + 1)
        if end < 0:
            raise self.error(f"{what} without end, or longer than {limit}")
        raw = self.take(end - self.pos)
        self.pos += 1
        return raw

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

    def mark(self):
        """Set a mark at the height that the stack has."""
        if len(self.marks) >= MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH}")
        self.floor = len(self.stack)
        self.marks.append(self.floor)

    def pop_mark(self):
        """The list of values above the last mark, which are taken off, and the mark with them."""
        if not self.marks:
            raise self.error("no mark on the stack")
        start = self.marks.pop()
        self.floor = self.marks[-1] if self.marks else 0
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def remember(self, index):
        """Put the top of the stack into the memo. Picklers count upwards, so that a list serves."""
        if index != len(self.memo):
            raise self.error(f"memo {index} is set, {len(self.memo)} is the next")
        self.charge(16)
        self.memo.append(self.top())

    def recall(self, index):
        """Push the memo's value of that index."""
        if not 0 <= index < len(self.memo):
            raise self.error(f"memo {index} was never set")
        self.stack.append(self.memo[index])

    # ---- containers

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
