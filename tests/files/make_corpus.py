# SPDX-License-Identifier: MIT
"""Writes the malformed files of test_load_hostile.py to a folder.

python tests/files/make_corpus.py FOLDER
"""

import sys
from pathlib import Path

from load_corpus import all_cases

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    cases = list(all_cases())
    for case in cases:
        (folder / case.name).write_bytes(case.data)
    print(f"{len(cases)} files in {folder}")
