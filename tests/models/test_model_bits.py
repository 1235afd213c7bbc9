# SPDX-License-Identifier: MIT
"""The bits of whole models do not change: rows of a batch, cuts of time, threads, instruction sets,
alignment. One comparison is one row of all outputs of one call, as bytes."""

import collections

import networks_more  # noqa: F401 (it registers its networks)
import numpy as np
import pytest
from conftest import FULL
from networks import NETWORKS, exported

import fastlstm

pytestmark = [pytest.mark.needs("c"), pytest.mark.once]

FUSED = [name for name in fastlstm.runnable_isas() if name != "generic"]
THREADS = (1, 2, 4, 16) if FULL else (1, 2, 4)
BATCHED = [n for n, net in NETWORKS.items() if all("B" in s for s, _ in net.inputs.values())]
# {network: {its inputs and outputs that are cut in time: the axis}}; the rest is state
STREAMED = {
    "VoiceSequence": {"x": 0, "p": 0},
    "StackedState": {"x": 1, "y": 1},
    "Recording": {"x": 2, "p": 1},
}
COMPARED = collections.Counter()  # {test: comparisons}
DONE = set()  # (test, network)


@pytest.fixture
def model_of(tmp_path):
    """f(name, options) -> Model of the file that torch's first exporter writes."""

    def made(name, **options):
        path = tmp_path / f"{name}.onnx"
        if not path.exists():
            path.write_bytes(exported(name, "script")[0])
        return fastlstm.load_model(path, **options)

    return made


def last_sizes(name, batch):
    """Inputs of the largest size that a network is tried at, with so many rows."""
    return NETWORKS[name].feeds(np.random.default_rng(9), batch, NETWORKS[name].sizes[-1][1])


def axes_of(name):
    """{input: which axis the batch is}."""
    return {n: s.index("B") for n, (s, _) in NETWORKS[name].inputs.items()}


def parted(feeds, axes, rows):
    return {n: np.ascontiguousarray(np.take(a, rows, axes[n])) for n, a in feeds.items()}


def output_axes(model, name):
    """Which axis of each output is the batch: the one that has another size for other batches."""
    small, large = (model.run(last_sizes(name, batch)) for batch in (3, 5))
    return [
        next(i for i, (n, m) in enumerate(zip(a.shape, b.shape, strict=True)) if n != m)
        for a, b in zip(small, large, strict=True)
    ]


def rows_of(outputs, axes):
    """The bytes of each row of all outputs."""
    moved = [np.moveaxis(a, axis, 0) for a, axis in zip(outputs, axes, strict=True)]
    return [b"".join(a[i].tobytes() for a in moved) for i in range(len(moved[0]))]


def compare(test, name, one, other):
    assert len(one) == len(other) > 0
    for i, (a, b) in enumerate(zip(one, other, strict=True)):
        assert a == b, f"{name}: row {i} has other bits"
    COMPARED[test] += len(one)
    DONE.add((test, name))


@pytest.mark.parametrize("name", BATCHED)
def test_rows_alone_are_rows_of_any_batch(name, model_of):
    """Every run of rows of a batch of 12."""
    model, feeds, axes = model_of(name), last_sizes(name, 12), axes_of(name)
    outs = output_axes(model, name)
    whole = rows_of(model.run(feeds), outs)
    for begin in range(12):
        for end in range(begin + 1, 13):
            part = model.run(parted(feeds, axes, range(begin, end)))
            compare("rows", name, rows_of(part, outs), whole[begin:end])


@pytest.mark.parametrize("name", BATCHED)
def test_any_number_of_threads(name, model_of):
    """A batch that is large enough to be shared, and one row."""
    for batch in (1, 40):
        feeds = last_sizes(name, batch)
        outs = output_axes(model_of(name), name)
        one, *others = (rows_of(model_of(name, num_threads=n).run(feeds), outs) for n in THREADS)
        for other in others:
            compare("threads", name, one, other)


@pytest.mark.parametrize("name", BATCHED)
def test_every_fused_instruction_set(name, model_of):
    feeds = last_sizes(name, 20)
    outs = output_axes(model_of(name), name)
    one, *others = (rows_of(model_of(name, isa=isa).run(feeds), outs) for isa in FUSED)
    for other in others:
        compare("isa", name, one, other)
    DONE.add(("isa", name))


@pytest.mark.parametrize("name", BATCHED)
def test_alignment_of_inputs(name, model_of):
    """Of all offsets in a cache line by whole elements, and by bytes, which are copied."""
    model, feeds = model_of(name), last_sizes(name, 5)
    outs = output_axes(model, name)
    want = rows_of(model.run(feeds), outs)
    for offset in (*range(4, 64, 4), 1, 2, 3):
        moved = {}
        for key, array in feeds.items():
            memory = np.zeros(array.nbytes + 64 + 64, np.uint8)
            start = -memory.ctypes.data % 64 + offset
            moved[key] = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
            moved[key][...] = array
        compare("alignment", name, rows_of(model.run(moved), outs), want)


def cuts(steps):
    """Every way to cut so many steps in two or three parts, and each alone."""
    two = [(i,) for i in range(1, steps)]
    three = [(i, j) for i in range(1, steps) for j in range(i + 1, steps)]
    return [*two, *three, tuple(range(1, steps))]


@pytest.mark.parametrize("name", STREAMED)
def test_streams_have_the_bits_of_the_whole(name, model_of):
    model, time, batch, where = model_of(name), 13, 4, STREAMED[name]
    fixed = NETWORKS[name].inputs
    batch = batch if any("B" in shape for shape, _ in fixed.values()) else 1
    feeds = NETWORKS[name].feeds(np.random.default_rng(4), batch, time)
    for key in feeds:
        if key not in where:
            feeds[key][...] = 0
    names = [value.name for value in model.outputs]
    whole = dict(zip(names, model.run(feeds), strict=True))
    (given,), (returned,) = [n for n in feeds if n in where], [n for n in names if n in where]
    stream = model.stream(batch_size=batch)
    assert set(stream.pairs) == set(feeds) - {given}
    for cut in cuts(time):
        stream.reset()
        parts = np.split(feeds[given], cut, where[given])
        made = [stream.step(np.ascontiguousarray(part)) for part in parts]
        y = np.concatenate(made, where[returned])
        ends = [stream.state[n].tobytes() for n in stream.pairs]
        steps = [a.tobytes() for a in np.moveaxis(y, where[returned], 0)]
        due = [a.tobytes() for a in np.moveaxis(whole[returned], where[returned], 0)]
        compare("streams", name, steps, due)
        compare("streams", name, ends, [whole[n].tobytes() for n in stream.pairs.values()])


def test_ten_thousand_comparisons():
    """Counted where they were made; if only a part of this file was run there is nothing to say."""
    due = {(test, n) for test in ("rows", "threads", "isa", "alignment") for n in BATCHED}
    due |= {("streams", name) for name in STREAMED}
    if due > DONE:
        pytest.skip("only some of this file's tests were run")
    print(dict(COMPARED))
    assert sum(COMPARED.values()) >= 10_000, COMPARED
