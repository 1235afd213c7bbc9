# SPDX-License-Identifier: MIT
"""Wrong calls: ValueError, TypeError or MemoryError, both shapes in the text, nothing changed."""

import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import invalid_calls
import invalid_objects
import numpy as np
import pytest
from conftest import FULL

import fastlstm

MAKERS = (
    *invalid_calls.CALL,
    *invalid_objects.CONSTRUCTOR,
    *invalid_objects.STREAM,
    *invalid_objects.DICTS,
)
CALLS = 50_000 if FULL else 5_000
ALLOWED = (ValueError, TypeError, MemoryError)
PATIENCE = 60.0  # s of own time, after which a call counts as begun, not refused
HEADROOM = 2 << 30  # bytes a wrong call may add to the address space before it fails


@pytest.fixture
def little_memory():
    """So that a giant taken seriously ends in MemoryError, not in an exhausted machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + HEADROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def named(text, wanted):
    """Is the shape, or the size, in the text?"""
    if isinstance(wanted, tuple):
        return str(wanted) in invalid_calls.plain(text)
    return re.search(rf"(?<![\w.]){wanted}(?![\w.]*\w)", text) is not None


class TooLong(BaseException):
    pass


@pytest.fixture
def little_time():
    """Ends a wrong call after PATIENCE seconds of own time. (SIGALRM belongs to pytest-timeout.)"""

    def give_up(*_):
        raise TooLong

    before = signal.signal(signal.SIGVTALRM, give_up)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


def refused(bad):
    """Make the call; say what is wrong with how it was refused, or None."""
    before = [a.tobytes() for a in bad.untouched]
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE, 0.1)  # again: a callback may eat one
        bad.call()
    except ALLOWED as e:
        text = str(e)
        if isinstance(e, MemoryError) and bad.got is not None:
            return f"its shapes were wrong, and it asked for memory: {text}"
        if not text and not isinstance(e, MemoryError):
            return f"{type(e).__name__} without a text"
        for wanted in (bad.got, bad.want):
            if wanted is not None and not named(text, wanted):
                return f"{type(e).__name__} does not name {wanted}: {text!r}"
    except TooLong:
        return f"no answer in {PATIENCE} s"
    except Exception as e:
        return f"{type(e).__name__}, which is none of ours: {e}"
    else:
        return "accepted"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    if before != [a.tobytes() for a in bad.untouched]:
        return "refused, but out was written"
    return None


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_generated_wrong_calls(little_memory, little_time):
    subjects = invalid_calls.subjects()
    failures, made = {}, 0
    for n in range(CALLS):
        maker = MAKERS[n % len(MAKERS)]
        rng = np.random.default_rng([n, FULL])
        subject = subjects[int(rng.integers(len(subjects)))]
        bad = maker(rng, subject)
        problem = refused(bad)
        made += 1
        if problem is None and not subject.unharmed():
            problem = "refused, but the object changed"
            subjects = invalid_calls.subjects()
        if problem is not None:
            failures.setdefault(maker.__name__, []).append(f"[{n}] {bad.what}: {problem}")
    lines = [f"{name}: {len(found)}, first {found[0]}" for name, found in failures.items()]
    assert not failures, "\n".join(lines)
    assert made >= CALLS


def test_subjects_are_valid_themselves():
    """The makers start from calls that work, so that what is refused is their one mistake."""
    for subject in invalid_calls.subjects():
        assert subject.unharmed()
        y, _ = subject.layer(subject.x, subject.state, lengths=np.full(subject.case.B, 1))
        out = np.empty_like(y)
        assert subject.layer(subject.x, subject.state, out=out)[0] is out
        assert subject.layer.load_state_dict(subject.layer.state_dict()) == ([], [])


def test_a_change_would_be_seen():
    subject = invalid_calls.subjects()[0]
    sd = subject.layer.state_dict()
    sd["bias_hh_l0"][0] = np.nextafter(sd["bias_hh_l0"][0], np.float32(1))
    subject.layer.load_state_dict(sd)
    assert not subject.unharmed()
    subject = invalid_calls.subjects()[0]
    subject.stream.step(invalid_calls.ones((subject.case.B, subject.case.I)))
    assert not subject.unharmed()
    assert refused(invalid_calls.Bad(lambda: None, "")) == "accepted"
    assert "none of ours" in refused(invalid_calls.Bad(lambda: 1 / 0, ""))


OVER_LENGTHS = """
import numpy as np, fastlstm
B, T, H = 200, 10, 64
layer = fastlstm.LSTM(3, H)
memory = np.zeros(T * B * H, np.float32)
lengths = memory.view(np.int64)[:B]
lengths[:] = T
try:
    layer(np.ones((T, B, 3), np.float32), lengths=lengths, out=memory.reshape(T, B, H))
except ValueError:
    print("refused")
"""


def test_out_over_the_lengths_of_many_rows():
    """In a process of its own: taken, it would read lengths that are outputs."""
    done = subprocess.run([sys.executable, "-c", OVER_LENGTHS], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "refused\n")


def test_batch_first_is_not_set_in_vain():
    """Setting it on a layer, as torch's users do, is an error or has its effect."""
    rng = np.random.default_rng(0)
    layer = fastlstm.LSTM(3, 4)
    try:
        layer.batch_first = True
    except AttributeError:
        return
    x = rng.standard_normal((2, 5, 3)).astype(np.float32)
    same = fastlstm.LSTM.from_state_dict(layer.state_dict(), batch_first=True)
    for given in (x, x.astype(np.float64), x[0]):
        assert layer(given)[0].tobytes() == same(given)[0].tobytes()


def test_sizes_may_be_numpy_integers():
    layer = fastlstm.LSTM(np.int64(3), np.uint8(4), np.int32(2), proj_size=np.int16(2))
    assert (layer.input_size, layer.hidden_size, layer.num_layers, layer.proj_size) == (3, 4, 2, 2)
    y, _ = layer(np.zeros((np.int64(2), 1, 3), np.float32), lengths=np.array([1], np.uint64))
    assert y.shape == (2, 1, 2)


# Crash reports published against other systems, as far as they can be said to this one.


@pytest.fixture
def lstm():
    return fastlstm.LSTM(8, 8, num_layers=3)


@pytest.mark.parametrize(
    "h, c", [((4, 10, 8), (3, 10, 8)), ((3, 10, 8), (2, 10, 8)), ((4, 1, 1), (3, 2, 1))]
)
def test_pytorch_173946_states_with_different_layer_counts(lstm, h, c):
    with pytest.raises(ValueError, match=re.escape("(3, 10, 8)")):
        lstm(np.zeros((1, 10, 8)), (np.zeros(h), np.zeros(c)))


def test_pytorch_193823_one_array_in_place_of_the_state():
    lstm = fastlstm.LSTM(3, 3)
    with pytest.raises((ValueError, TypeError)):
        lstm(np.zeros((1, 3)), np.zeros((2, 3, 3)))
    with pytest.raises((ValueError, TypeError)):
        lstm(np.zeros((1, 3)), np.zeros((3, 3, 3)))


def test_pytorch_175978_one_row_with_the_states_of_several():
    stream = fastlstm.LSTM(5, 3).stream()
    with pytest.raises(ValueError, match=re.escape("(1, 3, 3)")):
        stream.state = np.zeros((1, 3, 3)), np.zeros((1, 3, 3))
    with pytest.raises(ValueError, match=re.escape("(5,)")):
        stream.step(np.zeros(5))


def test_pytorch_94668_94808_ranks_dtypes_and_counts_all_wrong():
    for options in ({"num_layers": -119}, {"num_layers": -49}, {"dropout": 33.87668089766325}):
        with pytest.raises(ValueError):
            fastlstm.LSTM(13, 4, **options)
    lstm = fastlstm.LSTM(13, 4, batch_first=True)
    with pytest.raises(ValueError, match=re.escape("(2, 12, 3, 2, 13)")):
        lstm(np.zeros((2, 12, 3, 2, 13)), (np.zeros((13, 14, 0, 7, 15)), np.zeros((11, 15, 9, 13))))
    with pytest.raises(ValueError, match=re.escape("(15, 5, 0, 9)")):
        lstm(np.zeros((15, 5, 0, 9)))
    with pytest.raises(ValueError, match=re.escape("(14, 4, 12)")):
        lstm(np.zeros((2, 1, 13)), (np.zeros((14, 4, 12), np.int32), np.zeros((8, 14, 15))))


def test_pytorch_143485_two_dimensional_states_for_a_batch(lstm):
    with pytest.raises(ValueError, match=re.escape("(2, 16)")):
        lstm(np.zeros((3, 2, 8)), (np.zeros((2, 16)), np.zeros((2, 16))))


@pytest.mark.parametrize(
    "name, shape",
    [
        ("weight_ih_l0", (31, 8)),
        ("weight_hh_l0", (32, 7)),
        ("bias_ih_l1", (8,)),
        ("weight_hh_l2", (4, 4)),
    ],
)
def test_onnxruntime_29595_28653_weights_smaller_than_the_hidden_size_says(lstm, name, shape):
    sd = lstm.state_dict()
    good = sd[name].shape
    sd[name] = np.zeros(shape, np.float32)
    for call in (lstm.load_state_dict, fastlstm.LSTM.from_state_dict):
        with pytest.raises(ValueError) as caught:
            call(sd)
        text = invalid_calls.plain(str(caught.value))
        assert str(shape) in text
        assert str(good[0]) in text or call != lstm.load_state_dict


def test_onnxruntime_28653_rank_is_looked_at_before_sizes(lstm):
    for shape in ((), (8,), (0,)):
        with pytest.raises(ValueError, match=re.escape(str(shape))):
            lstm(np.zeros(shape))


def test_onnxruntime_28052_rows_of_length_zero():
    """There: memory before the output was read. Here: output 0, and the state stays."""
    rng = np.random.default_rng(0)
    for bidirectional in (False, True):
        lstm = fastlstm.LSTM(3, 5, bidirectional=bidirectional)
        D = 1 + bidirectional
        h0, c0 = (rng.standard_normal((D, 2, 5)).astype(np.float32) for _ in range(2))
        x = rng.standard_normal((4, 2, 3)).astype(np.float32)
        for lengths in ((0, 3), (3, 0), (0, 0)):
            y, (h, c) = lstm(x, (h0, c0), lengths=np.array(lengths))
            for b, n in enumerate(lengths):
                assert not y[n:, b].any()
                if n == 0:
                    assert np.array_equal(h[:, b], h0[:, b]) and np.array_equal(c[:, b], c0[:, b])


def test_onnxruntime_28003_products_that_overflow(little_memory):
    lstm = fastlstm.LSTM(1, 1)
    for T, B in ((2**30, 2**30), (2**31, 2**29), (2**20, 2**40), (2**60, 1)):
        x = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (T, B, 1), (0, 0, 0))
        with pytest.raises((MemoryError, ValueError)):
            lstm(x)
    with pytest.raises(ValueError):
        lstm(np.zeros((0, 4, 1)))
    assert lstm(np.zeros((4, 0, 1)))[0].shape == (4, 0, 1)


def test_pytorch_94122_lengths_on_nothing():
    lstm = fastlstm.LSTM(3, 4, batch_first=True)
    y, _ = lstm(np.zeros((0, 14, 3)), lengths=np.zeros(0, np.int64))
    assert y.shape == (0, 14, 4)
    for lengths in (np.zeros((11, 14, 14, 2), np.float32), np.zeros(1, np.int64)):
        with pytest.raises((ValueError, TypeError)):
            lstm(np.zeros((0, 14, 3)), lengths=lengths)
