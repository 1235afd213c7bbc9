# SPDX-License-Identifier: MIT
"""Operators with weights, packed for the C core: once for a Parameter, anew for other arrays."""

from .array import Parameter, lock

MOST_KEPT = 256
_kept = {}


def kept(weight, key, others, make):
    """make(), which packs `weight` and the arrays `others`; if all are Parameters what it made is
    kept with `weight` and given back for the same key and the same others. Other arrays are new at
    each call, or may be written to."""
    if any(type(array) is not Parameter for array in (weight, *others)):
        return make()
    plans = weight.__dict__.setdefault("_plans", {})
    key = (*key, *map(id, others))
    found = plans.get(key)
    if found is None:
        found = plans[key] = (make(), others)  # keeps `others`, so that no other array has their id
        for array in (weight, *others):
            lock(array)
    return found[0]


def of_numbers(*key_and_make):
    """make(), for what has no weights, kept for the key before it."""
    *key, make = key_and_make
    found = _kept.get(tuple(key))
    if found is None:
        while len(_kept) >= MOST_KEPT:
            _kept.pop(next(iter(_kept)), None)
        found = _kept[tuple(key)] = make()
    return found
