# SPDX-License-Identifier: MIT
"""Whole models: read from files, planned, and run in one call.

graph, onnx/, keras/     what a model is, and how files become one
infer, shapes            what is known of its values without running it
passes/, plan, plans     a graph made ready to run
lower/                   its operators as the C core has them
reference/               its operators in NumPy
model, stream, load, saved   what people use
"""
