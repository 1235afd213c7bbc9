# SPDX-License-Identifier: MIT
"""Keras models and weights: where each layer's weights are, and their order made torch's."""
