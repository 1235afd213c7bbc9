# SPDX-License-Identifier: MIT
"""What the examples share: data out of packages, intervals, times, training beside PyTorch,
results.

data.py      files out of packages of PyPI and Debian, checked by SHA-256
scores.py    95 % intervals by bootstrap, exact ones of counts
timing.py    microseconds of several engines by turns; what an installation weighs
beside.py    the first updates of a training, by PyTorch and through fastlstm, batch by batch
export.py    a network out of PyTorch as a whole model, for fastlstm.load_model
peers.py     PyTorch and ONNX Runtime on the same network
report.py    results.json, and what of a README is made of it: the first sentence, the tables
pictures.py  a picture for light pages and one for dark ones
"""
