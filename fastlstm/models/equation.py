# SPDX-License-Identifier: MIT
"""The equation of an Einsum, and the shape of what it makes."""

_MORE = "αβγδεζηθ"  # the letters that an ellipsis stands for, counted from its end


def terms_of(node, ranks):
    """([letters of each array], letters of the result) of an equation, for arrays of so many axes.
    ModelError if they do not fit together."""
    equation = node.attrs.get("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks) or not all(c.isalpha() or c in ".," for c in left + right):
        raise node.error(f"the equation {equation!r} for {len(ranks)} inputs")
    found, most = [], 0
    for term, rank in zip(terms, ranks, strict=True):
        before, dots, after = term.partition("...")
        more = rank - len(before + after)
        if more < 0 or (more and not dots) or more > len(_MORE) or "." in before + after:
            raise node.error(f"{term!r} for an array of {rank} axes, in {equation!r}")
        found.append(before + _MORE[:more][::-1] + after)
        most = max(most, more)
    every = "".join(found)
    if arrow:
        result = right.replace("...", _MORE[:most][::-1])
    else:
        result = _MORE[:most][::-1] + "".join(
            c for c in sorted(set(every)) if every.count(c) == 1 and c not in _MORE
        )
    if len(set(result)) != len(result) or not set(result) <= set(every):
        raise node.error(f"the result of the equation {equation!r}")
    return found, result


def einsum(node, facts):
    """The shape of what the Einsum `node` makes; a rule of shapes.py."""
    shapes = [facts[name].shape for name in node.inputs]
    terms, result = terms_of(node, [len(shape) for shape in shapes])
    sizes = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, n in zip(term, shape, strict=True):
            known = sizes.setdefault(letter, n)
            if known is not None and n not in (known, None, 1) and known != 1:
                raise node.error(f"{letter!r} is {known} and {n}")
            sizes[letter] = n if known in (None, 1) and n is not None else known
    return tuple(sizes[letter] for letter in result)
