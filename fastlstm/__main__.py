# SPDX-License-Identifier: MIT
"""`python -m fastlstm`."""

import sys

from fastlstm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
