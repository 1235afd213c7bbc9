# SPDX-License-Identifier: MIT
"""The layers of torch.nn, one file for each kind."""
