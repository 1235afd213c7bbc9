# SPDX-License-Identifier: MIT
"""HDF5: groups, attributes and datasets, without h5py. It knows nothing of Keras."""
