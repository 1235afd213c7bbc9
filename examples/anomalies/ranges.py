# SPDX-License-Identifier: MIT
"""Alarms and anomalies as ranges of steps, and how well the ones match the others: precision and
recall for ranges (Tatbul et al. 2018).

A range is (first step, step after the last). Precision asks of every alarm, recall of every
anomaly, how much of it the others cover; each counts once, however long it is:

    covered(a) = (weights of a's steps that the others cover) / (weights of all a's steps)
                 / (how many others touch a)
    precision  = mean of covered(alarm) over the alarms
    recall     = mean of alpha * (1 if any alarm touches it) + (1 - alpha) * covered(anomaly)

The division by the others that touch it punishes one anomaly that is reported in pieces.
"""

import numpy as np

ALPHA = 0.5  # how much of recall is for having noticed an anomaly at all


def flat(steps):
    """All steps of a range weigh the same."""
    return np.ones(steps)


def front(steps):
    """Early steps of a range weigh more: a late alarm is worth less."""
    return np.arange(steps, 0.0, -1.0)


def spans(over, gap):
    """[(first, after the last)] of the steps that are true; those at most `gap` steps apart are
    one."""
    found = []
    for t in np.flatnonzero(over):
        if found and t - found[-1][1] <= gap:
            found[-1][1] = int(t) + 1
        else:
            found.append([int(t), int(t) + 1])
    return [(first, last) for first, last in found]


def covered(own, others, weights=flat):
    """How much of the range `own` the others, which do not overlap one another, cover: 0 to 1."""
    first, last = own
    parts = [(max(first, a), min(last, b)) for a, b in others]
    parts = [(a, b) for a, b in parts if a < b]
    if not parts:
        return 0.0
    weight = weights(last - first)
    inside = sum(float(weight[a - first : b - first].sum()) for a, b in parts)
    return inside / float(weight.sum()) / len(parts)


def noticed(anomaly, alarms, weights=flat, alpha=ALPHA):
    """What an anomaly adds to recall."""
    touched = any(a < anomaly[1] and b > anomaly[0] for a, b in alarms)
    return alpha * touched + (1 - alpha) * covered(anomaly, alarms, weights)


def rates(anomalies, alarms, weights=flat, alpha=ALPHA):
    """(precision, recall) of a series; precision without an alarm, recall without an anomaly is
    1."""
    right = [covered(alarm, anomalies) for alarm in alarms]
    found = [noticed(anomaly, alarms, weights, alpha) for anomaly in anomalies]
    return tuple(float(np.mean(part)) if part else 1.0 for part in (right, found))


def harmonic(precision, recall):
    """F1."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
