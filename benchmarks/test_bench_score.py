# SPDX-License-Identifier: MIT
"""The benchmark of recorded sequences: all engines score the same rows alike."""

import re

import score


def test_engines_agree(capsys):
    score.main(["--rows", "300", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["fastlstm", "torch", "onnxruntime"]
    assert all(float(re.search(r"differs by (\S+)", line)[1]) < 1e-5 for line in lines)
