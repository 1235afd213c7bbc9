# SPDX-License-Identifier: MIT
"""Elementwise nodes that follow one another become one Pointwise, whose values between them stay in
the nearest cache. A value that somebody else reads, or that has another shape, ends a chain."""

from ..elementwise import (
    ELEMENTWISE,
    MOST_CONSTANTS,
    MOST_INPUTS,
    MOST_INSTRUCTIONS,
    Code,
    instructions_of,
)


class _Chain:
    """Instructions whose operands are ("value", name), ("number", float) or ("result", index)."""

    def __init__(self, edit, node):
        code, constants, inputs = instructions_of(
            node, lambda name: edit.facts[name].dtype, edit.value
        )
        registers = [self._operand(edit, name) for name in inputs]
        registers += [("number", float(c)) for c in constants]
        registers += [("result", i) for i in range(len(code))]
        self.code = [(name, *[registers[i] for i in operands]) for name, *operands in code]

    @staticmethod
    def _operand(edit, name):
        array = edit.value(name)
        if array is not None and array.size == 1 and array.ndim == 0 and array.dtype == "float32":
            return "number", float(array)
        return "value", name

    def reads(self):
        """The names of values, each once, in order."""
        found = [o for _, *operands in self.code for o in operands if o[0] == "value"]
        return list(dict.fromkeys(name for _, name in found))

    def after(self, before, name):
        """This chain with `before`, the chain that makes `name`, in front."""
        shift = len(before.code)
        made = object.__new__(_Chain)
        made.code = list(before.code)
        for instruction, *operands in self.code:
            moved = [
                ("result", shift - 1) if o == ("value", name)
                else ("result", o[1] + shift) if o[0] == "result" else o
                for o in operands
            ]  # fmt: skip
            made.code.append((instruction, *moved))
        return made

    def fits(self):
        numbers = [o for _, *operands in self.code for o in operands if o[0] == "number"]
        return (
            len(self.code) <= MOST_INSTRUCTIONS
            and len(numbers) <= MOST_CONSTANTS
            and len(self.reads()) <= MOST_INPUTS
        )

    def finish(self):
        """(code, consts, inputs) as elementwise.py has them."""
        code, registers = Code(), []
        for name, *operands in self.code:
            places = [
                registers[o[1]] if o[0] == "result"
                else code.constant(o[1]) if o[0] == "number" else code.input(o[1])
                for o in operands
            ]  # fmt: skip
            registers.append(code.add(name, *places))
        return code.finish()


def fuse(edit):
    """All chains of the graph."""
    chains, gone = {}, set()
    for node in edit.graph.nodes:
        if node.op not in ELEMENTWISE or len(node.outputs) != 1 or not node.inputs:
            continue
        output = node.outputs[0]
        chain = _Chain(edit, node)
        for name in chain.reads() if chain.fits() else ():
            before = chains.get(name)
            if (
                before is None
                or edit.only_reader(name) is not node
                or edit.shape(name) != edit.shape(output)
            ):
                continue
            longer = chain.after(before, name)
            if longer.fits() and longer.reads():
                chain = longer
                gone.add(name)
        chains[output] = chain
    nodes = []
    for node in edit.graph.nodes:
        output = node.outputs[0] if node.outputs else ""
        if output in gone:
            continue
        chain = chains.get(output)
        if chain is not None and len(chain.code) > 1 and chain.fits():
            code, consts, inputs = chain.finish()
            dtype = edit.facts[output].dtype.name
            node = edit.node("Pointwise", inputs, [output], node,
                             code=code, consts=consts, dtype=dtype)  # fmt: skip
        nodes.append(node)
    edit.graph.nodes = nodes
    edit.tidy()
