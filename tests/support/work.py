# SPDX-License-Identifier: MIT
"""Work that is counted, and so is the same on every machine: calls of functions."""

import cProfile
import time

QUIET = 0.02  # s of CPU, in which no machine makes as many calls as any bound allows


def counted(function):
    """(function(), the calls it made of functions of Python and of C)."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        result = function()
    finally:
        profile.disable()
    return result, sum(entry.callcount for entry in profile.getstats())


def work_of(function):
    """(function(), the calls it made of functions of Python and of C, its CPU seconds).

    Resumed generators count as calls. No loop of the readers goes round without a call, and their
    number is the same on every machine, however busy: function is called again to count them, or
    they are 0 if it was over in QUIET seconds. What it raises is raised.
    """
    start = time.process_time()
    result = function()
    spent = time.process_time() - start
    if spent < QUIET:
        return result, 0, spent
    return result, counted(function)[1], spent
