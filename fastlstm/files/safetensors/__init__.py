# SPDX-License-Identifier: MIT
"""Safetensors: arrays (file.py), this package's own layers among them (layers.py), and writing
either (write.py)."""
