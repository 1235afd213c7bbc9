# SPDX-License-Identifier: MIT
"""Hashes of what 300 fixed configurations compute. They show that a change of the code has not
changed a bit: tests/bits/test_hashes.py compares them with tests/bits/hashes.json.

    python tests/support/hashes.py            prints how many hashes of each instruction set differ
    python tests/support/hashes.py --write    computes them anew and rewrites the file

Rewrite the file only when a change is meant to change bits, such as another order of a sum. Say in
its commit which configurations changed and why.

Each configuration has up to six hashes in the file. Outputs (y and the final states) have the same
bits on all instruction sets with fused multiply-add. Gradients are sums over the gates in the order
of the packed weights, which depends on how many floats a vector holds, so they have a hash for each
vector length. The plain C code without fused multiply-add rounds twice and has hashes of its own.

    outputs fma        gradients fma x4    generic-fma, neon
                       gradients fma x8    avx2
                       gradients fma x16   avx512
    outputs generic    gradients generic   generic

`--write` keeps the hashes of vector lengths that this CPU does not run, and says so; they are stale
if the change was to gradients. Those of 16 floats can be had without AVX-512: set FL_LANES and the
4s of csrc's vec_generic.h to 16, build, and run

    python tests/support/hashes.py --write --isa generic-fma --as avx512

Only the public interface is used, so that the instrument outlives any rearrangement behind it.
configurations.py draws the configurations.
"""

import argparse
import hashlib
import json
from pathlib import Path

import isas
import numpy as np
from configurations import COUNT, Arrays, Draws, configurations

import fastlstm

PATH = Path(__file__).parents[1] / "bits" / "hashes.json"


def _parts(state):
    return list(state) if isinstance(state, tuple) else [state]


def _streamed(arrays, layer):
    """y and the states of a stream that is given x in pieces."""
    c, draws, t, outputs = arrays.c, Draws(18, arrays.c.number), 0, []
    stream = layer.stream(c.B)
    if c.state == "given":
        stream.state = arrays.state
    cut = lambda t0, t1: arrays.x[:, t0:t1] if c.batch_first else arrays.x[t0:t1]  # noqa: E731
    while t < c.T:
        n = min(draws.choice((1, 1, 2, 3, 12)), c.T - t)
        if n == 1 and draws.chance(60):
            outputs.append(stream.step(np.ascontiguousarray(cut(t, t + 1).reshape(c.B, c.I))))
        else:
            outputs.append(stream(cut(t, t + n)))
        t += n
        if c.reset and draws.chance(30):
            stream.reset([draws.between(0, c.B - 1)])
    return [*outputs, *_parts(stream.state)]


def computed(arrays, isa):
    """(outputs, gradients) on one instruction set, lists of arrays; gradients None if the mode does
    not train."""
    c, layer = arrays.c, arrays.layer(isa)
    if c.mode == "stream":
        return _streamed(arrays, layer), None
    state = arrays.state if c.state == "given" else None
    if c.mode in ("call", "last"):
        whole = c.mode == "call"
        y, end = layer(arrays.x, state, lengths=arrays.lengths, return_sequences=whole)
        return [y, *_parts(end)], None
    y, end, tape = layer.forward_train(
        arrays.x, state, lengths=arrays.lengths, seed=arrays.seed, checkpoint=c.checkpoint or None
    )
    grads = layer.backward(tape, arrays.dy, arrays.dstate, input_grad=c.input_grad)
    dx = [grads.x] if c.input_grad else []
    return [y, *_parts(end)], [*dx, *_parts(grads.state), *grads.params.values()]


def digest(arrays):
    """Of shapes and bits, in memory order of the shape."""
    made = hashlib.blake2b(digest_size=8)
    for array in arrays:
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise AssertionError(f"{array.dtype} {array.shape}: not finite, or not float32")
        made.update(repr(array.shape).encode())
        made.update(array.astype("<f4", order="C").tobytes())
    return made.hexdigest()


def keys(isa):
    """The names in the file of the hashes that this instruction set must give."""
    if isa == "generic":
        return "outputs generic", "gradients generic"
    floats = {"generic-fma": 4, "neon": 4, "avx2": 8, "avx512": 16}[isa]
    return "outputs fma", f"gradients fma x{floats}"


def hashes(isa, named=None):
    """{configuration's name: {key: hash}} of one instruction set, whose keys are those of `named`
    if that is given."""
    found = {}
    for c in configurations():
        made = zip(keys(named or isa), computed(Arrays(c), isa))
        found[c.name] = {key: digest(arrays) for key, arrays in made if arrays is not None}
    return found


def saved():
    return json.loads(PATH.read_text())


def differing(ours, theirs):
    """Names of configurations, and which of their hashes `theirs` has not or has otherwise."""
    found = []
    for name, each in ours.items():
        wrong = [key for key, value in each.items() if theirs.get(name, {}).get(key) != value]
        found += [f"{name}: {' and '.join(wrong)}"] if wrong else []
    return found


def write(names, named):
    old = saved() if PATH.exists() else {}
    made = {c.name: {} for c in configurations()}
    for isa in names:
        for name, each in hashes(isa, named).items():
            for key, value in each.items():
                if made[name].setdefault(key, value) != value:
                    raise SystemExit(f"{isa} differs from another instruction set: {name}: {key}")
    new = {key for each in made.values() for key in each}
    for key in sorted({key for each in old.values() for key in each} - new):
        print(f"not computed here, kept as it was: {key}")
    merged = {name: dict(sorted((old.get(name, {}) | each).items())) for name, each in made.items()}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(merged[name])}" for name in merged)
    PATH.write_text(f"{{\n{lines}\n}}\n")
    print(f"{PATH}: {len(merged)} configurations, {', '.join(sorted(new))}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="rewrite the file")
    parser.add_argument("--isa", action="append", help="one instead of all that run here")
    parser.add_argument("--as", dest="named", help="the instruction set it stands for")
    given = parser.parse_args()
    if fastlstm.config_dict()["backend"] != "c":
        raise SystemExit("the hashes are of the C backend")
    names = given.isa or isas.FLOATS
    if given.write:
        write(names, given.named)
        return
    for isa in names:
        wrong = differing(hashes(isa, given.named), saved())
        print(f"{isa}: {len(wrong)} of {COUNT} configurations differ", *wrong, sep="\n    ")


if __name__ == "__main__":
    main()
