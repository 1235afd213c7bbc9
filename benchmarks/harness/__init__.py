# SPDX-License-Identifier: MIT
"""What the benchmark scripts share: shapes, weights and reference, timing, targets, tables."""
