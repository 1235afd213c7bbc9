# SPDX-License-Identifier: MIT
"""Work that is counted, and so is the same on every machine: calls of functions."""

import cProfile
import time

PER_CALL = 15e-9  # s of CPU: no machine makes a call of a function of Python in less


def counted(function):
    """(function(), the calls it made of functions of Python and of C)."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        result = function()
    finally:
        profile.disable()
    return result, sum(entry.callcount for entry in profile.getstats())


def work_of(function, allowed):
    """(function(), the calls it made of functions of Python and of C, its CPU seconds).

    Resumed generators count as calls. No loop of the readers goes round without a call, and their
    number is the same on every machine, however busy: function is called again to count them, which
    takes twice the time, or they are 0 if it was over before any machine could have made as many as
    are allowed. What it raises is raised.
    """
    start = time.process_time()
    result = function()
    spent = time.process_time() - start
    if spent < allowed * PER_CALL:
        return result, 0, spent
    return result, counted(function)[1], spent
