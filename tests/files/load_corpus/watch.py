# SPDX-License-Identifier: MIT
"""Run in a process of its own by test_load_hostile.py: loads files and reports what it saw.

python -m load_corpus.watch cost FILE ...     JSON {file: [outcome, calls, seconds, peak bytes]}
python -m load_corpus.watch audit FILE ...    JSON {"events": [...], "opened": [...]}
"""

import json
import os
import re
import sys

from speed import slowness
from work import counted, work_of

from fastlstm import LoadError, load_all, read_state_dict
from fastlstm.files.read import sniff

FULL = os.environ.get("FASTLSTM_FULL", "") not in ("", "0")


def _memory(key):
    """VmRSS or VmHWM of this process, in bytes."""
    with open("/proc/self/status") as file:
        return 1024 * int(re.search(rf"{key}:\s+(\d+)", file.read())[1])


def _outcome(path):
    try:
        return f"{len(read_state_dict(path))} arrays"
    except LoadError as error:
        return f"LoadError: {error}"


def _measure(path):
    """[outcome, calls, CPU seconds, growth of the peak of resident memory in bytes] of a load. The
    seconds are asked for in full alone, and take a load that nothing is counted in: else 0."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts again from here
    before = _memory("VmRSS")
    if FULL:
        outcome, calls, spent = work_of(lambda: _outcome(path))
    else:
        outcome, calls, spent = *counted(lambda: _outcome(path)), 0
    return [outcome[:300], calls, spent, _memory("VmHWM") - before]


def cost(paths):
    """_measure of each file, each in a fork: no memory that an earlier one freed is used again. The
    seconds are those of a quick machine."""
    report, slower = {}, slowness()
    for path in paths:
        sys.stdout.flush()
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            with open(write_end, "w") as file:
                json.dump(_measure(path), file)
            os._exit(0)
        os.close(write_end)
        with open(read_end) as file:
            report[path] = json.load(file)
        report[path][2] /= slower
        os.waitpid(child, 0)
    return report


def audit(paths):
    """Load the files in each way. Gives the names of the audit events that this raised, the files
    that were opened, and how many loads were refused."""
    seen, opened = set(), set()
    watching = True

    def hook(event, args):
        if watching:
            seen.add(event)
            if event == "open":
                opened.add(str(args[0]))

    sys.addaudithook(hook)
    refused = 0
    for path in paths:
        for call in (read_state_dict, sniff, load_all):
            try:
                call(path)
            except LoadError:
                refused += 1
    watching = False
    return {"events": sorted(seen), "opened": sorted(opened), "refused": refused}


if __name__ == "__main__":
    print(json.dumps({"cost": cost, "audit": audit}[sys.argv[1]](sys.argv[2:])))
