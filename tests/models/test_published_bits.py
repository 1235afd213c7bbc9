# SPDX-License-Identifier: MIT
"""Files of published packages: a row alone has the bits of any batch, and the bits are the same on
1, 2 and 3 threads and on every instruction set with fused multiply-add."""

import numpy as np
import pytest
from conftest import FULL
from published import CURVES, path_of

import fastlstm
from fastlstm.bench import networks

pytestmark = [pytest.mark.needs("c"), pytest.mark.once]
F = np.float32
FUSED = [name for name in fastlstm.runnable_isas() if name != "generic"]
ROWS = 3
VAD = {"input": ("B", 576), "state": (2, "B", 128)}
MOS = {"input": (1, 3, 24, 160)}
STATES = {"h": (2, 1, 150), "c": (2, 1, 150)}

# {file: {input: its shape, "B" the batch, or an array}}
BATCHED = {
    "silero_vad.onnx": VAD | {"sr": np.array(16000)},
    "silero_vad.onnx at 8 kHz": VAD | {"input": ("B", 288), "sr": np.array(8000)},
    "silero_vad_16k_op15.onnx": VAD | {"sr": np.array(16000)},
    "silero_vad_half.onnx": VAD,
    "silero_vad_op18_ifless.onnx": VAD | {"sr": np.array(16000)},
    "model_v8.onnx": {"input_1": ("B", 900, 120)},
    **({"bak_ovr.onnx": {"input_1": ("B", 901, 161)}} if FULL else {}),  # half of all the time
    **{f"{name}.keras": {"input_layer": ("B", 200, 2)} for name in list(CURVES)[-3:]},
}
# Those whose files have one row, or rows that meet: a sequence, codes of one scale for all rows.
SINGLE = {
    "silero_vad_16k_sequence.onnx": {"input": (40, 576), "h": (1, 1, 128), "c": (1, 1, 128)},
    "silero_vad_openvino_16k.onnx": {"input": (1, 576), "state": (2, 1, 128)},
    "enc.onnx": {"feat_erb": (1, 1, 20, 32), "feat_spec": (1, 2, 20, 96)},
    "erb_dec.onnx": {
        "emb": (1, 20, 512), "e3": (1, 64, 20, 8), "e2": (1, 64, 20, 8), "e1": (1, 64, 20, 16),
        "e0": (1, 64, 20, 32),
    },
    "df_dec.onnx": {"emb": (1, 20, 512), "c0": (1, 64, 20, 96)},
    "dksplit-int8.onnx": {"chars": np.arange(24).reshape(1, 24) % 27 + 1},
    "Run_1668423760_Stage_0.onnx": MOS | {"h0": (4, 1, 96)},
    "plcmos_v2.onnx": {"degraded_audio": (1, 1, 40, 257), "rater_embed": (1, 64)},
    "beatnet": {"x": (1, 60, 272)} | STATES,
    "uzmorph": {"x": np.arange(15)[None] % 40},
    "languages": {"x": np.arange(50)[None] % 600},
}  # fmt: skip


def model_of(name, **options):
    if "." not in name:
        return fastlstm.load_model(getattr(networks, name)(), **options)
    return fastlstm.load_model(path_of(name.partition(" ")[0]), **options)


def feeds_of(name, rows=ROWS):
    """Recorded sound has numbers of about this size."""
    rng, sizes = np.random.default_rng(8), (BATCHED | SINGLE)[name]
    shapes = {
        key: [rows if n == "B" else n for n in size] if isinstance(size, tuple) else size
        for key, size in sizes.items()
    }
    return {
        key: (0.1 * rng.standard_normal(s)).astype(F) if isinstance(s, list) else s
        for key, s in shapes.items()
    }


def bits(outputs):
    return [(a.shape, a.tobytes()) for a in outputs]


@pytest.mark.parametrize("name", BATCHED)
def test_a_row_alone_has_the_bits_of_a_batch(name):
    """Every row alone, and the first and the last ones together. The batch's axis of an output is
    the one that has another size for one row more."""
    model, feeds = model_of(name), feeds_of(name)
    whole, larger = model.run(feeds), model.run(feeds_of(name, ROWS + 1))
    axes = [
        next(i for i, (n, m) in enumerate(zip(a.shape, b.shape, strict=True)) if n != m)
        for a, b in zip(whole, larger, strict=True)
    ]
    batch = {key: s.index("B") for key, s in BATCHED[name].items() if isinstance(s, tuple)}
    for rows in (*range(ROWS), slice(0, 2), slice(1, ROWS)):
        part = np.arange(ROWS)[rows if isinstance(rows, slice) else slice(rows, rows + 1)]
        given = feeds | {
            key: np.ascontiguousarray(feeds[key].take(part, axis)) for key, axis in batch.items()
        }
        due = [a.take(part, axis) for a, axis in zip(whole, axes, strict=True)]
        assert bits(model.run(given)) == bits(due), f"rows {part}"
    rows = [np.moveaxis(a, axis, 0) for a, axis in zip(whole, axes, strict=True)]
    assert len({b"".join(a[i].tobytes() for a in rows) for i in range(ROWS)}) == ROWS


@pytest.mark.parametrize("name", [*BATCHED, *SINGLE])
def test_threads_and_instruction_sets(name):
    feeds = feeds_of(name)
    due = bits(model_of(name, num_threads=1).run(feeds))
    for threads in (2, 3):
        assert bits(model_of(name, num_threads=threads).run(feeds)) == due, f"{threads} threads"
    for isa in FUSED:
        assert bits(model_of(name, isa=isa, num_threads=1).run(feeds)) == due, isa
