# SPDX-License-Identifier: MIT
"""Keras models and weights, read without keras and h5py.

file.py            the files, and where in each a layer's weights are
groups.py          the same in the layout of .h5 files, by the names of groups
configuration.py   the recurrent layers that a model's configuration names
layer.py           what a layer's configuration says
cell.py            a layer's weights in torch's order
"""
