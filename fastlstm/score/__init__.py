# SPDX-License-Identifier: MIT
"""Recorded sequences scored: Parquet in, Parquet out. Needs the extra: pip install fastlstm[score].

columns.py   Arrow's columns as arrays, and back
scorer.py    Scorer: a table of sequences to a table of outputs, in batches by real steps
parts.py     files of any size part by part, whole or not at all, resumed where they stopped
"""
