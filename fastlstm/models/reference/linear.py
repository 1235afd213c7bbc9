# SPDX-License-Identifier: MIT
"""Products of matrices."""

import math

import numpy as np

from .call import operator


def product(call, a, b):
    """The product of matrices, or of stacks of them, as NumPy has it: vectors too."""
    call.ndim(a, range(1, 64), "A")
    call.ndim(b, range(1, 64), "B")
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != inner:
        raise call.error(f"the product of the shapes {a.shape} and {b.shape}")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise call.error(f"the product of the shapes {a.shape} and {b.shape}") from None
    shape = [*batch, *a.shape[-2:-1], *(b.shape[-1:] if b.ndim > 1 else ())]
    call.allowed(shape, a.dtype)
    call.work(math.prod(shape) * inner)
    return np.matmul(a, b)


@operator("MatMul", 2)
def mat_mul(call, a, b):
    call.same(a, b)
    call.kind(a, "fiu", "A")
    return product(call, a, b)


@operator("com.microsoft.FusedMatMul", 2)
def fused_mat_mul(call, a, b):
    """alpha A B, of which transA and transB exchange the last two axes, and transBatchA and
    transBatchB move the first to the place before the last."""
    call.same(a, b)
    for name in ("A", "B"):
        x = a if name == "A" else b
        if call.attr(f"transBatch{name}"):
            call.ndim(x, range(3, 64), name)
            x = np.moveaxis(x, 0, -2)
        if call.attr(f"trans{name}") and x.ndim > 1:
            x = x.swapaxes(-1, -2)
        a, b = (x, b) if name == "A" else (a, x)
    return (call.attr("alpha", 1.0) * product(call, a, b)).astype(a.dtype)


@operator("Gemm", 2, 3)
def gemm(call, a, b, c=None):
    call.same(*(x for x in (a, b, c) if x is not None))
    call.kind(a, "fiu", "A")
    for x, name in ((a, "A"), (b, "B")):
        call.ndim(x, 2, name)
    a = a.T if call.attr("transA", 0) else a
    b = b.T if call.attr("transB", 0) else b
    y = product(call, a, b)
    alpha, beta = call.attr("alpha", 1.0), call.attr("beta", 1.0)
    y = y if alpha == 1 else (alpha * y).astype(a.dtype)
    if c is not None:
        if call.broadcast(y, c) != y.shape:
            raise call.error(f"C of the shape {c.shape} does not fit {y.shape}")
        y = y + (c if beta == 1 else (beta * c).astype(a.dtype))
    return y


def _labels(call, term, ndim):
    """The labels of a term of an equation, those of "..." as ints from the end: -1, -2 ..."""
    before, dots, after = term.partition("...")
    given = len(before) + len(after)
    if given != ndim if not dots else given > ndim:
        raise call.error(f"the term {term!r} for {ndim} axes")
    return [*before, *(range(given - ndim, 0) if dots else ()), *after]


@operator("Einsum", 1, many=True)
def einsum(call, arrays):
    call.same(*arrays)
    equation = (call.attr("equation") or "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(arrays) or not all(c.isalpha() or c in ".," for c in left + right):
        raise call.error(f"the equation {equation!r} for {len(arrays)} inputs")
    sizes, every = {}, []
    for term, array in zip(terms, arrays):
        for label, n in zip(_labels(call, term, array.ndim), array.shape):
            every.append(label)
            known = sizes.setdefault(label, n)
            if known != n and 1 not in (known, n):
                raise call.error(f"{label!r} is {known} and {n} in {equation!r}")
            sizes[label] = max(known, n) if 0 not in (known, n) else 0
    dots = sorted(label for label in sizes if isinstance(label, int))
    if arrow:
        before, mark, after = right.partition("...")
        kept = [*before, *(dots if mark else ()), *after]
    else:
        kept = [*dots, *sorted(c for c in set(every) - set(dots) if every.count(c) == 1)]
    if not set(kept) <= set(sizes):
        raise call.error(f"the equation {equation!r} has an output that no input has")
    call.allowed([sizes[label] for label in kept], arrays[0].dtype)
    call.work(16 * math.prod(sizes.values()))
    limit = call.max_bytes // arrays[0].dtype.itemsize
    return np.einsum(equation, *arrays, optimize=("greedy", limit))


@operator("Det", 1)
def det(call, x):
    call.kind(x, "f", "its input")
    call.ndim(x, range(2, 64), "its input")
    if x.shape[-1] != x.shape[-2]:
        raise call.error(f"the shape {x.shape} is not square")
    return np.linalg.det(x.astype(np.float32 if x.dtype == np.float16 else x.dtype)).astype(x.dtype)
