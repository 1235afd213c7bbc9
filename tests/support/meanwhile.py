# SPDX-License-Identifier: MIT
"""Numbers that another thread changes while a call works on them."""

import subprocess
import sys

# The end of a script that has `call`, which appends to `got` what it made of `numbers`, or None if
# these were refused; `given` numbers, what is wanted of them, and what of zeros.
CHANGED_MEANWHILE = """
# Later or sooner, until some were changed during the call: after they were checked, before its end.
rng, give_up = np.random.default_rng(2), time.monotonic() + float(sys.argv[1])
for value in (2**40, -(2**62), 0):
    during = 0
    while during < 5:
        assert time.monotonic() < give_up, (value, during)
        numbers, got = given.copy(), []
        thread = threading.Thread(target=call)
        thread.start()
        time.sleep(rng.choice((0, 0.001, 0.003, 0.01, 0.03, 0.1)))
        numbers[:] = value
        changed_in_time = not got
        thread.join()
        assert got[0] in (want, None if value else zeros), value
        during += changed_in_time and got[0] == want
print("fine")
"""


def until_changed_meanwhile(script, seconds, *arguments):
    """Runs the script, CHANGED_MEANWHILE behind it, for `seconds` at most: no crash, and no number
    is used but those that were checked."""
    command = [sys.executable, "-c", script + CHANGED_MEANWHILE, str(seconds), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
