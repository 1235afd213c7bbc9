# SPDX-License-Identifier: MIT
"""What the examples share: data out of packages, intervals, times, training beside PyTorch,
results.

data.py      files out of packages of PyPI and Debian, checked by SHA-256
scores.py    95 % intervals by bootstrap
timing.py    microseconds of several engines by turns; what an installation weighs
beside.py    the first updates of a training, by PyTorch and through fastlstm, batch by batch
peers.py     ONNX Runtime on the same network
report.py    results.json, and the tables of a README that are made of it
"""
