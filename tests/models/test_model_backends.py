# SPDX-License-Identifier: MIT
"""The drawn networks in a process of each backend: the numbers of the C core."""

import importlib.util
import os
import subprocess
import sys

import model_run
import networks_more  # noqa: F401 (it registers its networks)
import numpy as np
import pytest
from conftest import FULL
from networks import NETWORKS, exported, sizes_of

pytestmark = [pytest.mark.once, pytest.mark.needs("c")]
BOUND = 1e-5  # of an output's largest number
# Each cell, a cell in a loop, convolutions, a transposed one, embeddings, attention, states.
FEW = ("VoiceFrame", "DeepFilter", "TextLine", "LanguageId", "Attention", "RnnLoop", "Recording")
NAMES = tuple(NETWORKS) if FULL else FEW


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """f(backend) -> {name: array}: what model_run.py gave for all networks of NAMES."""
    folder, found = tmp_path_factory.mktemp("networks"), {}
    for name in NAMES:
        folder.joinpath(f"{name}.onnx").write_bytes(exported(name, "script")[0])
        rng, given = np.random.default_rng(7), {}
        for number, (batch, time) in enumerate(sizes_of(name, "script")):
            feeds = NETWORKS[name].feeds(rng, batch, time)
            given |= {f"{number} {key}": array for key, array in feeds.items()}
        np.savez(folder / f"{name}.npz", **given)

    def of(backend):
        if backend not in found:
            results = folder / backend / "results.npz"
            results.parent.mkdir()
            subprocess.run(
                [sys.executable, model_run.__file__, folder, results],
                check=True, env=os.environ | {"FASTLSTM_BACKEND": backend},
            )  # fmt: skip
            with np.load(results) as arrays:
                found[backend] = dict(arrays)
        return found[backend]

    return of


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_every_backend_gives_the_numbers_of_the_c_core(backend, outputs):
    if backend == "numba" and importlib.util.find_spec("numba") is None:
        pytest.skip("numba is not installed")
    due, made = outputs("c"), outputs(backend)
    assert (str(due["backend"]), str(made["backend"])) == ("c", backend)
    errors, keys = {}, set(due) - {"backend"}
    assert {key.split()[0] for key in keys} == set(NAMES) and set(made) == set(due)
    for key in sorted(keys):
        expected = due[key]
        found = made[key]
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), key
        scale = np.abs(expected).max()
        errors[key] = np.abs(found - expected).max() / max(scale, np.finfo(np.float32).tiny)
    worst = max(errors, key=errors.get)
    print(f"{backend}: {len(errors)} outputs of {len(NAMES)} networks, {errors[worst]:.1e} {worst}")
    assert errors[worst] <= BOUND, worst
    if backend == "numpy":  # its products are BLAS's, in an order of their own
        assert errors[worst] > 0
