# SPDX-License-Identifier: MIT
"""The command line: main.py has the commands, files.py and run.py what some of them do."""
