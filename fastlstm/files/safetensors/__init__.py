# SPDX-License-Identifier: MIT
"""Safetensors: arrays (file.py), and this package's own layers among them (layers.py)."""
