# SPDX-License-Identifier: MIT
"""Gradients are sums over all rows of a tape: how much of their error is the summing's."""

import dataclasses

import gradients
import numpy as np
import torch
from cases import Case
from gradients import train

import fastlstm

NETWORKS = 200


def test_gradients_of_many_rows():
    """The error hardly grows with their number: in one chain it was 1.0e-5, with chains of 64
    without regard to it 2.0e-6."""
    case = Case(I=5, H=5, T=200, B=512, seed=1)
    x, _, _ = case.as_seen()
    for P in (0, 3):
        case = dataclasses.replace(case, P=P)
        _, up, ours = train(case.layer(), case, ("dy",))
        gradients.assert_close(ours, gradients.torch_gradients(case, x, None, None, up), 1.5e-6)


def test_terms_that_cancel_are_summed_nearly_as_exactly_as_they_are():
    """Of one unit's bias, 240 terms of either sign: root mean square of the error over networks.

    In chains of 512 rows it was 2.0 times PyTorch's, in chains of 64 it is 1.4 times; the terms
    alone, summed exactly, have as much as PyTorch's.
    """
    errors = {name: [] for name in (*fastlstm.runnable_isas(), "torch")}
    for seed in range(NETWORKS):
        case = Case(I=8, H=1, T=24, B=10, cell="rnn_tanh", seed=seed)
        x, state, lengths = case.as_seen()
        for isa in fastlstm.runnable_isas():
            _, up, ours = train(case.layer(isa), case, ("dy",))
            errors[isa].append(ours["bias_hh_l0"][0])
        exact, theirs = (
            gradients.torch_gradients(case, x, state, lengths, up, dtype)["bias_hh_l0"][0]
            for dtype in (torch.float64, torch.float32)
        )
        errors["torch"].append(theirs)
        for values in errors.values():
            values[-1] = float(values[-1]) - exact
    rms = {name: np.sqrt(np.mean(np.square(values))) for name, values in errors.items()}
    for isa in fastlstm.runnable_isas():
        assert rms[isa] <= 1.6 * rms["torch"], rms
