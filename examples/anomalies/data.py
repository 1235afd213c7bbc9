# SPDX-License-Identifier: MIT
"""Three series, each with a clean part to learn from and labelled anomalies to find.

pressure   arterial blood pressure, series 135 of the KDD-TSAD (UCR) anomaly archive
ecg        a synthetic electrocardiogram, ecg-diff-count-3 of GutenTAG
pulse      simulated by deploy.pulse

The first two are in the wheel of aeon 1.6.0.
"""

from typing import NamedTuple

import numpy as np
from common.data import Wheel, read

from anomalies.deploy import FAULTS, pulse

AEON, FOLDER = Wheel("aeon", "1.6.0"), "aeon/datasets/data/"
PRESSURE = (
    AEON,
    FOLDER + "KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16_TEST.csv",
    "fe26577b94896943e8205d04d56bf2511fe05c008df535a1ec3826adff3597e2",
)
ECG_CLEAN = (
    AEON,
    FOLDER + "UnitTest/ecg-diff-count-3_TRAIN_NA.csv",
    "cb45388a065c2f8bd3dd745ad5f93d759d92d48aa9144dcbff5f4e2ffe1b7b73",
)
ECG = (
    AEON,
    FOLDER + "UnitTest/ecg-diff-count-3_TEST.csv",
    "39794565d99ccb4934f4955e45fc0fbe30397499ca38fd689f43a1d3e2518aec",
)
SEGMENT, FAULTY = 1500, 40  # steps of a segment into which a fault is put; segments for each kind


class Series(NamedTuple):
    """train and held are clean; test has anomalies, (first step, step after the last). period is
    the length of a beat; the moving mean and the matrix profile look at so many steps."""

    train: np.ndarray
    held: np.ndarray
    test: np.ndarray
    anomalies: list
    period: int


def columns(source):
    """(values, labels) of a file of aeon."""
    rows = [line.split(",") for line in read(*source).decode().split()[1:]]
    return np.array([float(r[1]) for r in rows]), np.array([float(r[2]) > 0 for r in rows])


def runs(labels):
    """[(first, after the last)] of the stretches that are true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def read_all():
    """{name: Series}"""
    pressure, labels = columns(PRESSURE)  # its first 1,200 steps are the clean ones to train on
    clean, _ = columns(ECG_CLEAN)
    ecg, marks = columns(ECG)
    faults = [(5300 + 400 * n, 20, kind) for n, kind in enumerate(FAULTS)]
    healthy = pulse(6000, 1)
    return {
        "pressure": Series(
            pressure[:900], pressure[900:1200], pressure[1200:], runs(labels[1200:]), 184
        ),
        "ecg": Series(clean[:7500], clean[7500:], ecg, runs(marks), 20),
        "pulse": Series(
            healthy[:4500], healthy[4500:], pulse(7500, 2, faults),
            [(a, a + n) for a, n, _ in faults], 40,
        ),
    }  # fmt: skip


def with_faults(series, seed=0):
    """[(values, first step, steps, kind)]: clean segments of the test part, a fault in the middle
    half of each."""
    rng = np.random.default_rng(seed)
    length = max(20, series.period // 4)
    clean = [
        start
        for start in range(0, len(series.test) - SEGMENT - length)
        if all(b < start or a > start + SEGMENT + length for a, b in series.anomalies)
    ]
    found = []
    for kind, fault in FAULTS.items():
        for _ in range(FAULTY):
            start = int(rng.choice(clean))
            at = int(rng.integers(SEGMENT // 4, 3 * SEGMENT // 4))
            values = fault(series.test[start : start + SEGMENT + length], at, length, rng)
            found.append((values[:SEGMENT], at, length, kind))
    return found
