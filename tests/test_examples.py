# SPDX-License-Identifier: MIT
"""The examples run, and learn what they say they learn."""

import importlib.util
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_training_without_torch_solves_the_adding_problem(monkeypatch, capsys):
    example = load("train_numpy")
    monkeypatch.setattr(example, "STEPS", 10)  # as told in the example, but with shorter sequences
    assert example.main(["--updates", "600"]) < 0.02 < 1 / 6
    assert "600 updates" in capsys.readouterr().out
