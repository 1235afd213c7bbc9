# SPDX-License-Identifier: MIT
"""HDF5's chunked and compressed arrays, written by h5py in many ways: what h5py reads."""

import h5py
import numpy as np
import pytest
from make_keras import FOLDER
from test_load_formats import NUMBERS

from fastlstm import LoadError, load, read_state_dict

pytestmark = pytest.mark.once

FORMS = {
    "chunked": {"chunks": True},
    "gzip": {"compression": "gzip"},
    "gzip-9": {"compression": "gzip", "compression_opts": 9},
    "shuffle": {"shuffle": True},
    "gzip-shuffle": {"compression": "gzip", "shuffle": True},
    "growing": {"compression": "gzip", "maxshape": True},
}
SHAPES = {  # and chunks, of which some reach past the array
    "one": ((1,), (1,)), "row": ((7,), (3,)), "table": ((5, 9), (2, 4)), "auto": ((300, 77), True),
    "whole": ((4, 6, 3), (4, 6, 3)), "many": ((700,), (2,)), "deep": ((3,) * 6, (2,) * 6),
}  # fmt: skip
# libver: its versions of the messages differ; from 1.10 on chunks are found in other ways.
WRITERS = {"1.6": "earliest", "1.8": ("v108", "v108")}
DTYPES = (*NUMBERS, "?", ">f4", ">i2")


def drawn(rng, dtype, shape):
    """Random bits; bool: 0 and 1."""
    raw = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
    return (raw[..., 0] & 1).astype(bool) if dtype == "?" else raw.view(dtype)[..., 0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", SHAPES)
def test_arrays_are_bit_equal_to_h5pys(tmp_path, rng, writer, form, name):
    """One file for each; it holds every dtype, and more beside them."""
    (shape, chunks), options = SHAPES[name], FORMS[form]
    if "maxshape" in options:
        options = options | {"maxshape": (None,) * len(shape)}
    stored = {dtype: drawn(rng, dtype, shape) for dtype in DTYPES}
    stored |= {"zeros": np.zeros(shape), "steps": np.arange(np.prod(shape)).reshape(shape)}
    # groups of the format 1.8 are read up to eight members
    stored = {f"{n // 8}/{each}": array for n, (each, array) in enumerate(stored.items())}
    path = tmp_path / "c.h5"
    with h5py.File(path, "w", libver=WRITERS[writer]) as file:
        for each, array in stored.items():
            file.create_dataset(each, data=array, **({"chunks": chunks} | options))
    ours = read_state_dict(path)
    with h5py.File(path) as file:
        assert set(ours) == set(stored)
        for each in stored:
            theirs = file[each][()]
            native = theirs.astype(theirs.dtype.newbyteorder("="))
            assert (ours[each].dtype, ours[each].shape) == (native.dtype, native.shape), each
            assert ours[each].tobytes() == native.tobytes(), each


def test_chunks_that_deflate_left_as_they_are(tmp_path, rng):
    """h5py's library skips a filter that would make a chunk longer, and says so in a mask."""
    noise = rng.integers(0, 256, (64, 16), np.uint8)
    noise[16:32] = 0
    with h5py.File(tmp_path / "m.h5", "w") as file:
        each = file.create_dataset("x", noise.shape, "u1", chunks=(16, 16), compression="gzip")
        for n in range(4):  # as the library writes them, and without the filter
            part = np.ascontiguousarray(noise[16 * n : 16 * n + 16])
            if n == 1:
                each[16:32] = part
            else:
                each.id.write_direct_chunk((16 * n, 0), part.tobytes(), filter_mask=1)
    assert np.array_equal(read_state_dict(tmp_path / "m.h5")["x"], noise)


@pytest.mark.parametrize("name", ["lstm.keras.h5", "bi_gru.tf_keras.h5", "gru.keras.weights.h5"])
def test_keras_files_packed_again(tmp_path, name):
    """Every dataset compressed, as `h5repack -f GZIP=6` does: the layer is the same."""

    def copy(source, target):
        for key, value in source.attrs.items():
            target.attrs[key] = value
        for key, each in source.items():
            if isinstance(each, h5py.Group):
                copy(each, target.create_group(key))
            else:
                packed = {"compression": "gzip", "shuffle": True} if each.shape else {}
                target.create_dataset(key, data=each[()], **packed)

    with h5py.File(FOLDER / name) as source, h5py.File(tmp_path / "p.h5", "w") as target:
        copy(source, target)
    options = {"activation": "tanh"} if "weights" in name else {}
    plain, packed = load(FOLDER / name, **options), load(tmp_path / "p.h5", **options)
    assert repr(plain) == repr(packed)
    for key, array in plain.state_dict().items():
        assert np.array_equal(packed.state_dict()[key], array), key


def test_what_is_not_stored_or_stored_in_newer_ways(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (4, 4), "f4", chunks=(2, 2))[0, 0] = 1
    with pytest.raises(LoadError, match="1 of its 4 chunks are stored"):
        read_state_dict(path)
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("x", data=np.ones((4, 4)), chunks=(2, 2))
    with pytest.raises(LoadError, match="libver='latest'"):
        read_state_dict(path)
