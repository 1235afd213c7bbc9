# SPDX-License-Identifier: MIT
"""Files, read without the libraries that wrote them: arrays by name, and descriptions of the
recurrent layers among them. Nothing here knows a class of layers or runs one (layers/build.py).

    read.py         the file's format, arrays and layers, for the caller
    formats.py      the table of formats, a line for each; refused.py  those that are not read
    torch/ onnx/ keras/ hdf5/ safetensors/ numpy/ json/   a folder for each family of formats
    description.py  what a recurrent layer is         find.py    layers by torch's names of arrays
    weight_shapes.py  torch's names and shapes          reparametrised.py beside.py  parts of find
    contents.py     what a reader gives               source.py  the open file, or memory
    stored_zip.py inflate.py     zip archives and deflated data, for several families
    record.py       a record of a zip archive as an open file
    top_fields.py   the first fields of a message of protocol buffers, to tell formats
    inert_pickle.py pickle_scalars.py pickle_machine.py   pickles, likewise
    pickle_tree.py flatten.py    the values that a pickle describes, and names for the tensors
"""
