# SPDX-License-Identifier: MIT
"""HDF5: groups, attributes and datasets, read without h5py. Keras is not known here.

file.py     the file: objects and their headers, groups, attributes, contiguous arrays
types.py    the messages for types and shapes
chunks.py   arrays in chunks, and the filters shuffle and deflate
"""
