# SPDX-License-Identifier: MIT
"""The command line `fastlstm`.

main.py    the commands, exit codes, and how errors are said
files.py   `fastlstm inspect` and `fastlstm convert`; inspect_model.py of a whole model
run.py     `fastlstm run`; run_model.py of a whole model
score.py   `fastlstm score`            serve.py   `fastlstm serve`
arrays.py  arrays in files, files that are written whole, a bar of progress
"""
