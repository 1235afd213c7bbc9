# SPDX-License-Identifier: MIT
"""The outputs and gradients of 300 fixed configurations have the bits they had when hashes.json was
written. support/configurations.py draws them; support/hashes.py says how to rewrite the file when
bits are meant to change.
"""

import hashes
import pytest
from configurations import configurations

pytestmark = pytest.mark.needs("c")  # the file's hashes are those of the C backend's bits


def test_the_file_is_of_these_configurations():
    """A configuration's name says what is drawn of it, so this fails when the drawing changes."""
    names = [c.name for c in configurations()]
    assert len(names) == 300 and list(hashes.saved()) == names


def test_outputs_and_gradients_have_the_bits_of_the_file(isa):
    wrong = hashes.differing(hashes.hashes(isa), hashes.saved())
    listed = "\n".join(wrong)
    assert not wrong, f"{isa}: {len(wrong)} of 300 configurations have other bits:\n{listed}"
