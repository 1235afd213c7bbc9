# SPDX-License-Identifier: MIT
"""JSON files: state dicts, and the models of RTNeural and the Neural Amp Modeler.

text.py   JSON in bounded memory, its lists of numbers as arrays
audio.py  the layers of RTNeural and NAM models          file.py  the reader
"""
