# SPDX-License-Identifier: MIT
"""Keras' models as a Graph, computed by their configuration without Keras.

read.py     a file's model: its inputs and outputs, and the calls of its layers in order
item.py     the layers and models that a configuration has, and their weights
nodes.py    the calls of a functional model's layers, as Keras 2 and Keras 3 write them
target.py   the Graph while it is made
call.py     one layer's call: its options, weights and inputs, checked
layers/     what each of Keras' layers computes, a function of a Call for each
"""

from .read import read as read
