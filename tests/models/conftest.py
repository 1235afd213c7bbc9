# SPDX-License-Identifier: MIT
"""Models that many tests of this folder run."""

import pytest
import small_models


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """f(name) -> (path of the ONNX file, torch module) of tests/support/small_models.py; once."""
    folder, made = tmp_path_factory.mktemp("small"), {}

    def of(name):
        if name not in made:
            made[name] = small_models.export(name, folder)
        return made[name]

    return of
