# SPDX-License-Identifier: MIT
"""Checkpoints, saved by torch itself in both of its formats, whose tensors are sound and beside
which values of Python of every kind stand, as training programs save them. All are to be read.
"""

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import io
import operator
import pathlib
import random
import types
import uuid

import numpy as np
import torch


class _Colour(enum.Enum):
    RED = 1


class _Flag(enum.IntFlag):
    A = 1


@dataclasses.dataclass
class _Data:
    lr: float = 0.1
    name: str = "x"


class _Attributes(dict):
    """A dict whose items are attributes too, as Lightning keeps hyperparameters."""

    __getattr__ = dict.__getitem__


class _Pair(collections.namedtuple("_Pair", "a b")):
    __slots__ = ()


class _Slots:
    __slots__ = ("a",)

    def __init__(self):
        self.a = 1


class _Ordered(collections.OrderedDict):
    pass


class _Text(str):
    __slots__ = ()


class _Number(float):
    __slots__ = ()


class _List(list):
    pass


class _Set(set):
    pass


class _Tensor(torch.Tensor):
    pass


class _Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.loss = torch.nn.LSTM(2, 3), torch.nn.CrossEntropyLoss()
        self.me = [self]


def _function():
    """Saved by its name."""


def _loop():
    """A tuple in a list in that tuple."""
    inner = []
    inner.append((inner, 1, 2, 3))
    return inner[0]


def _optimizer():
    model = torch.nn.LSTM(2, 3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 1, 2))[0].sum().backward()
    optimizer.step()
    return optimizer


def unread_tensors():
    """{name: a tensor or array that is left out, as it is of a kind that is not read}."""
    ones = torch.ones(3, 3)
    return {
        "quantised": torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8),
        "quantised-int32": torch.quantize_per_tensor(ones, 0.1, 0, torch.qint32),
        "quantised-channels": torch.quantize_per_channel(
            ones, torch.ones(3), torch.zeros(3), 0, torch.quint8
        ),
        "sparse": ones.to_sparse(),
        "sparse-csr": ones.to_sparse_csr(),
        "meta": torch.empty(3, 3, device="meta"),
        "float8": ones.to(torch.float8_e4m3fn),
        "float8-e5m2": ones.to(torch.float8_e5m2),
        "expanded": torch.ones(1, 3).expand(9, 3),
        "conjugated": torch.ones(3, 3, dtype=torch.complex64).conj(),
        "negated": torch.ones(3, 3, dtype=torch.complex64).conj().imag,
        "uninitialized": torch.nn.UninitializedParameter(),
        "nested": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
        "quantised-parameter": torch.nn.Parameter(
            torch.quantize_per_tensor(ones, 0.1, 0, torch.quint8), requires_grad=False
        ),
        "numpy": np.ones((3, 3), np.float32),
    }


def values():
    """{name: a value that stands beside tensors}: all but tensors, and containers of tensors."""
    utc = datetime.UTC
    loss = torch.nn.CrossEntropyLoss(weight=torch.ones(3))
    return {
        "version": torch.__version__,
        "namespace": argparse.Namespace(lr=0.1, layers=[1, 2], inner=argparse.Namespace(a=None)),
        "simple-namespace": types.SimpleNamespace(a=1),
        "path": pathlib.PurePosixPath("/data/x"),
        "windows-path": pathlib.PureWindowsPath("c:/data"),
        "real-path": pathlib.Path("x"),
        "datetime": datetime.datetime(2024, 1, 2, tzinfo=utc),
        "date": datetime.date(2024, 1, 2), "timedelta": datetime.timedelta(3),
        "enum": _Colour.RED, "flag": _Flag.A,
        "dataclass": _Data(), "attributes": _Attributes(lr=0.1, path=pathlib.PurePosixPath("x")),
        "namedtuple": _Pair(1, [2]), "slots": _Slots(), "partial": functools.partial(int, base=2),
        "class": torch.nn.LSTM, "own-class": _Data, "function": _function, "builtin": len,
        "method": _Data().__eq__, "torch-function": torch.relu, "operator": operator.itemgetter(1),
        "module": torch.nn.LSTM(2, 3), "own-module": _Module(), "loss": loss,
        "sequential": torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()),
        "optimizer": _optimizer(), "optimizer-state": _optimizer().state_dict()["param_groups"],
        "scheduler": torch.optim.lr_scheduler.StepLR(_optimizer(), 3).state_dict(),
        "defaultdict": collections.defaultdict(list, {"a": [1]}),
        "defaultdict-of-partial": collections.defaultdict(functools.partial(dict, a=1)),
        "deque": collections.deque([1, 2], maxlen=3), "counter": collections.Counter("aab"),
        "ordered": _Ordered(a=1), "chain": collections.ChainMap({"a": 1}, {}),
        "user-dict": collections.UserDict(a=1), "list": _List([1]), "set": {1, _Colour.RED},
        "own-set": _Set([1]), "frozenset": frozenset([pathlib.PurePosixPath("x")]),
        "text": _Text("x"), "number": _Number(1.5), "complex": 1 + 2j, "bytes": b"\0\xff",
        "bytearray": bytearray(b"ab"), "range": range(3), "slice": slice(1, None, 2),
        "ellipsis": ..., "decimal": decimal.Decimal("1.5"), "fraction": fractions.Fraction(1, 3),
        "uuid": uuid.UUID(int=5), "random": random.Random(1), "random-state": random.getstate(),
        "exception": ValueError("x"), "big-int": 1 << 300,
        "size": torch.Size([1, 2]), "device": torch.device("cpu"), "dtype": torch.float16,
        "layout": torch.strided, "loop": _loop(),
        "generator": np.random.default_rng(1), "numpy-random": np.random.RandomState(1),
        "numpy-number": np.float64(1.5), "numpy-bool": np.bool_(True),
        "numpy-dtype": np.dtype("f4"),
        "numpy-time": np.datetime64("2024-01-02"), "numpy-text": np.str_("x"),
        "tuple-key": {("a", 1): 1, (_Colour.RED,): 2}, "enum-key": {_Colour.RED: 1},
        "class-key": {torch.nn.LSTM: 1}, "frozenset-key": {frozenset([1]): 2},
        "path-key": {pathlib.PurePosixPath("x"): 3}, "device-key": {torch.device("cpu"): 1},
        "many": [datetime.date(2024, 1, 1 + n % 28) for n in range(3000)],
    }  # fmt: skip


def saved(value, legacy=False, protocol=2):
    """The file that torch.save makes of `value`."""
    file = io.BytesIO()
    torch.save(
        value, file, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy
    )  # fmt: skip
    return file.getvalue()


def lstm():
    """The layer whose weights are in all files of `saved_cases`."""
    layer = torch.nn.LSTM(2, 3)
    for n, weight in enumerate(layer.parameters()):
        torch.nn.init.constant_(weight, n + 0.5)
    return layer


def saved_cases():
    """(name, file, value): torch's files of an LSTM's state dict beside `value`, under "beside"."""
    state = lstm().state_dict()
    for name, value in (values() | unread_tensors()).items():
        for legacy, protocol in ((False, 2), (True, 2), (False, 4)):
            data = saved({"beside": value, "state_dict": state}, legacy, protocol)
            yield f"{name}-{'stream' if legacy else 'zip'}-{protocol}", data, value
