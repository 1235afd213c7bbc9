# SPDX-License-Identifier: MIT
"""The backends agree, the choice among them is told, and nothing of one leaks into another.

`make test` runs the suite's files again on each backend; here they meet. Each runs in a process of
its own, since the choice is made once, at import.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import backend_run
import exact_backward
import numpy as np
import pytest
from conftest import FULL
from gradients import relative_errors

from fastlstm.engine.shared.tape import masked

HERE = Path(__file__).parent
DRAWN = 500 if FULL else 40
FORWARD, GRADIENT = 2e-6, 1e-5  # numpy: absolute, or relative to |c| > 1; to the largest element
BACKENDS = [n for n in ("c", "numba", "numpy") if n != "numba" or importlib.util.find_spec(n)]

# A draw whose exact gradients move by more than this part of the bound when its states are rounded.
ROUNDED = GRADIENT / 2
MOST_ROUNDED = DRAWN // 250

HIDDEN = "import sys; sys.modules.update(dict.fromkeys({names}))\n"  # None: cannot be imported


def python(script, hidden=(), **env):
    env = {k: v for k, v in os.environ.items() if not k.startswith("FASTLSTM_")} | env
    script = HIDDEN.format(names=list(hidden)) + script
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    found = {}
    for name in BACKENDS:
        file = tmp_path_factory.mktemp("results") / f"{name}.npz"
        subprocess.run(
            [sys.executable, HERE / "backend_run.py", file, str(DRAWN)],
            check=True, env=os.environ | {"FASTLSTM_BACKEND": name},
        )  # fmt: skip
        with np.load(file) as arrays:
            found[name] = dict(arrays)
    return found


class Exact:
    """Gradients of draw n in float64, each {name: array}: `plain` at the exact states, `at(found)`
    at those that a backend gave."""

    def __init__(self, n):
        self.n, self.cell = n, backend_run.CELLS[n % 5]
        self.drawn = drawn = backend_run.Draw(n)
        self.net, self.masks = drawn.net, None
        x, dy = (a.swapaxes(0, 1) if self.net.batch_first else a for a in (drawn.x, drawn.dy))
        if self.net.dropout and self.net.num_layers > 1:
            shape = (*dy.shape[:2], dy.shape[2])
            self.masks = [
                masked(np.ones(shape, np.float32), self.net.dropout, n, i, len(dy), 0)
                for i in range(self.net.num_layers - 1)
            ]
        empty = np.zeros((*drawn.first[0].shape[:2], 0))
        pairs = ((*s, empty)[:2] for s in (drawn.first, drawn.up))
        self.x, self.first, (dh, dc) = x, next(pairs), next(pairs)
        self.up = dy, dh, dc
        self.plain = self.gradients(None)

    def gradients(self, given):
        found = exact_backward.gradients(
            self.cell, self.net.state_dict(), self.x, self.first, self.drawn.lengths, self.up,
            self.masks, given,
        )  # fmt: skip
        if self.net.batch_first:
            found["x"] = found["x"].swapaxes(0, 1)
        if self.cell != "lstm":
            del found["c0"]
        return found

    def at(self, found):
        tracks = range(self.net.num_layers * self.net.num_directions)
        return self.gradients([[found[f"state {self.n} {i} {k}"] for k in (0, 1)] for i in tracks])

    def of(self, found):
        return {name: found[f"gradient {self.n} {name}"] for name in self.plain}


@pytest.fixture(scope="module")
def exact():
    return [Exact(n) for n in range(DRAWN)]


@pytest.fixture(scope="module")
def given(results, exact):
    """{backend: for each draw the gradients at the states that it gave}."""
    return {name: [e.at(found) for e in exact] for name, found in results.items()}


@pytest.fixture(scope="module")
def rounded(given, exact):
    """The draws that rounding states alone, whatever follows it, takes near the bound."""
    pairs = zip(given["c"], exact, strict=True)
    moves = [max(relative_errors(at, e.plain).values()) for at, e in pairs]
    return {n for n, move in enumerate(moves) if move > ROUNDED}


@pytest.mark.parametrize("name", BACKENDS)
def test_gradients_are_exact_at_the_states_that_forward_gave(results, exact, given, rounded, name):
    """A backward gets states that are rounded to float32, and what it can promise is the gradient
    at these: every draw's is within 1e-5 of it, of each gradient's largest element. Where the terms
    of a gradient's sum cancel, that is another number than the gradient at the exact states. In
    draw 53, a tanh RNN of one unit in three layers, 240 terms are together 557 times as large as
    their sum, and rounding h to float32 moves it by 2.1e-5, by the slopes 1 - h^2 above all. Such
    draws, which are told by two float64 computations that no backend has a part in but for h and c,
    are named in `rounded` and must be rare. All others are within 1e-5 of the gradient at the exact
    states too."""
    assert len(rounded) <= MOST_ROUNDED, rounded
    worst = {"given": 0.0, "exact": 0.0}
    for n, e in enumerate(exact):
        ours = e.of(results[name])
        found = {"given": relative_errors(ours, given[name][n])}
        if n not in rounded:
            found["exact"] = relative_errors(ours, e.plain)
        for which, errors in found.items():
            at = max(errors, key=errors.get)
            assert errors[at] <= GRADIENT, f"draw {n}, {at}, at the {which} states: {errors[at]}"
            worst[which] = max(worst[which], errors[at])
    print(f"{name}: {worst}, rounded: {rounded}")


def test_numpy_is_near_the_c_core(results, rounded):
    """Outputs and states of every draw. Gradients too, but of draws that roundings take near the
    bound (`rounded`): two backends' states differ by roundings, and each backend's gradients are
    held to the exact ones at its own states, above, on every draw."""
    assert len(results["c"]) > 10 * DRAWN
    compared = set()
    for name, want in results["c"].items():
        got = results["numpy"][name]
        assert got.dtype == want.dtype and got.shape == want.shape
        if not name.startswith("gradient"):
            error = np.abs(got - want) / np.maximum(1, np.abs(want))
            assert error.max(initial=0) <= FORWARD, name
        elif (n := int(name.split()[1])) not in rounded:
            compared.add(n)
            scale = np.abs(want).max(initial=0)
            assert np.abs(got - want).max(initial=0) <= GRADIENT * scale, name
    assert len(compared) >= DRAWN - MOST_ROUNDED


def test_numba_has_the_c_cores_bits(results):
    """Going forward; gradients' sums over time are BLAS's."""
    pytest.importorskip("numba")
    from fastlstm.engine.numba.arithmetic import FUSED

    if not FUSED:
        pytest.skip("this CPU has no fused multiply-add")
    for name, want in results["c"].items():
        got = results["numba"][name]
        if not name.startswith("gradient"):
            assert got.tobytes() == want.tobytes(), name
        else:
            scale = np.abs(want).max(initial=0)
            assert np.abs(got - want).max(initial=0) <= GRADIENT * scale, name


NAMED = "import fastlstm; c = fastlstm.config_dict(); print(c['backend'], '|', c['backend_from'])"


@pytest.mark.parametrize("name", BACKENDS)
def test_the_environment_chooses_and_all_of_it_is_said(name):
    done = python(NAMED + "; fastlstm.show_config()", FASTLSTM_BACKEND=name)
    first, *shown = done.stdout.splitlines()
    assert first == f"{name} | FASTLSTM_BACKEND", done.stderr
    assert f"backend   {name} (FASTLSTM_BACKEND)" in shown
    assert not done.stderr


def test_a_fallback_says_why():
    done = python(NAMED)
    assert (done.stdout, done.stderr) == ("c | the best that works\n", "")
    if "numba" in BACKENDS:
        done = python(NAMED, ["fastlstm.engine.c._core"])
        says = "numba | no c backend: import of fastlstm.engine.c._core"
        assert done.stdout.startswith(says), done.stderr
        assert "RuntimeWarning: fastlstm runs on numba, slower" in done.stderr
    done = python(NAMED, ["fastlstm.engine.c._core", "numba"])
    assert done.stdout.startswith("numpy | no c backend: "), done.stderr
    assert "; no numba backend: " in done.stdout
    assert "RuntimeWarning: fastlstm runs on numpy, slower" in done.stderr


def test_a_backend_that_was_asked_for_and_is_not_there_is_an_error():
    for name, module, word in (
        ("c", "fastlstm.engine.c._core", "compiler"), ("numba", "numba", "fastlstm[numba]"),
    ):  # fmt: skip
        done = python("import fastlstm", [module], FASTLSTM_BACKEND=name)
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith(f"ImportError: FASTLSTM_BACKEND={name}: ") and word in last


@pytest.mark.parametrize("name", [n for n in BACKENDS if n != "c"])
def test_an_instruction_set_is_the_backend_itself(name):
    script = f"""
import fastlstm
print(fastlstm.runnable_isas(), fastlstm.LSTM(1, 1).isa, fastlstm.LSTM(1, 1, isa={name!r}).isa)
try:
    fastlstm.LSTM(1, 1, isa="avx2")
except ValueError as e:
    print(e)
fastlstm.warmup()
"""
    done = python(script, FASTLSTM_BACKEND=name)
    assert done.stdout.splitlines() == [
        f"['{name}'] {name} {name}",
        f"isa 'avx2' is not one of the {name} backend's; it has: {name}",
    ], done.stderr  # fmt: skip
    done = python("import fastlstm", FASTLSTM_BACKEND=name, FASTLSTM_ISA="avx2")
    assert "ImportError: FASTLSTM_ISA=avx2: isa 'avx2' is not one" in done.stderr


def test_only_the_chosen_backend_is_imported():
    script = "import sys, fastlstm; fastlstm.LSTM(1, 1); print('numba' in sys.modules)"
    assert python(script).stdout == "False\n"
    assert python(script, FASTLSTM_BACKEND="numpy").stdout == "False\n"
    script = (
        "import sys, fastlstm as f; f.LSTM(1, 1); print('fastlstm.engine.c._core' in sys.modules)"
    )
    assert python(script, FASTLSTM_BACKEND="numpy").stdout == "False\n"


def test_without_a_place_for_a_cache_and_without_scipy():
    pytest.importorskip("numba")
    # NUMBA_OPT=0: without a cache all is compiled, which takes half the time without optimising.
    script = """
import numba.core.caching
numba.core.caching.CacheImpl._locator_classes = []
import fastlstm, numpy, sys
y, _ = fastlstm.RNN(2, 3)(numpy.zeros((4, 1, 2)))
print(y.shape)
"""
    done = python(script, ["scipy"], FASTLSTM_BACKEND="numba", NUMBA_OPT="0")
    assert done.stdout == "(4, 1, 3)\n", done.stderr


def compilerless(tmp_path, **env):
    """pip wheel of a copy of this source tree where no compiler can be found."""
    for module in ("setuptools", "Cython", "pip"):
        pytest.importorskip(module)
    source = HERE.parents[1]
    if not (source / "setup.py").exists():
        pytest.skip("no source tree here")
    copy = tmp_path / "source"
    for part in (*source.glob("*.*"), *source.glob("fastlstm/**/*"), *source.glob("csrc/**/*")):
        if part.is_file() and part.suffix not in (".so", ".pyc", ".nbi", ".nbc"):
            to = copy / part.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(part.read_bytes())
    (copy / "LICENSE").write_bytes((source / "LICENSE").read_bytes())
    env = {k: v for k, v in os.environ.items() if k not in ("CC", "CXX")} | env
    empty = tmp_path / "empty"
    empty.mkdir()
    return subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-v", "--no-build-isolation", "--no-deps",
         "--no-index", "-w", tmp_path / "dist", copy],
        capture_output=True, text=True, env=env | {"PATH": str(empty)},
    )  # fmt: skip


def installed(tmp_path):
    """The wheel that was made, unpacked."""
    import zipfile

    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "there")
    assert not list((tmp_path / "there").glob("fastlstm/engine/c/_core.*.so"))
    path = f"import sys; sys.path.insert(0, {str(tmp_path / 'there')!r})\n"
    # an editable install finds modules before any path does
    path += "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in str(f)]\n"
    return wheel, path


def test_no_compiler_no_extension_and_it_runs(tmp_path):
    done = compilerless(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the C extension could not be built" in done.stdout + done.stderr
    _, path = installed(tmp_path)
    script = path + "import fastlstm, numpy\n" + NAMED + "; print(fastlstm.__file__)\n"
    script += "print(fastlstm.LSTM(2, 3)(numpy.zeros((4, 1, 2)))[0].shape)"
    done = python(script, ["numba"])
    assert done.stdout.startswith("numpy | no c backend"), done.stderr
    assert str(tmp_path) in done.stdout and "(4, 1, 3)" in done.stdout
    done = python(path + "import fastlstm.cli.main; fastlstm.cli.main.main(['info'])", ["numba"])
    assert "backend   numpy" in done.stdout, done.stderr


def test_releases_require_the_extension(tmp_path):
    done = compilerless(tmp_path, FASTLSTM_REQUIRE_C="1")
    assert done.returncode != 0
    assert not (tmp_path / "dist").exists() or not list((tmp_path / "dist").iterdir())


def test_a_pure_wheel_is_for_any_machine(tmp_path):
    done = compilerless(tmp_path, FASTLSTM_PURE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    wheel, _ = installed(tmp_path)
    assert wheel.name.endswith("-py3-none-any.whl")
