# SPDX-License-Identifier: MIT
"""The command line `fastlstm`.

main.py    the commands, exit codes, and how errors are said
files.py   `fastlstm inspect` and `fastlstm convert`
run.py     `fastlstm run`
"""
