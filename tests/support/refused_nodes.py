# SPDX-License-Identifier: MIT
"""The node tests of the ONNX package that are refused, and why; and those whose expected numbers
are not what is computed.

REFUSED   {file: [(pattern of the cases' names, what the error says)]}; file as in
          onnx/backend/test/case/node, pattern "" for all of its cases
PLANNED   the same of those that only a model refuses, which is planned and run in the C core
COARSE    {case: (relative tolerance, why)}
CONSTANT  {file: letters, the names of inputs that are constants in the models of our tests, as
          they are in files: the C core packs weights once}
"""

SEQUENCE = "only tensors of numbers go in and out"  # sequences, optional values, strings
NARROW = "of a type not read: only tensors of numbers"  # float8, 4-bit and 2-bit elements, strings
UNCOVERED = "the operator is not covered"
_WHOLE = "^(?!.*expanded)"  # the operator itself; expanded into others it runs
# Elements of less than a byte's or of float8's types.
_SMALL = r"FLOAT8|FLOAT4|INT4|INT2|e8m0"

REFUSED = {
    # Training
    "adagrad": [("", UNCOVERED)], "adam": [("", UNCOVERED)], "momentum": [("", UNCOVERED)],
    "negativeloglikelihoodloss": [(_WHOLE, UNCOVERED)],
    "softmax_cross_entropy_loss": [("", UNCOVERED)],
    "dropout": [("^test_training_dropout(_default)?(_mask)?$", "dropout of training")],
    # Random numbers
    "bernoulli": [("", UNCOVERED)],
    # Loops. Expanded, these operators have one.
    "loop": [("loop11", UNCOVERED), ("loop13|loop16", SEQUENCE)], "scan": [("", UNCOVERED)],
    "rangeop": [("expanded", "(Loop): the operator is not covered")],
    "linear_attention": [("", UNCOVERED)],
    # Attention
    "attention": [(_WHOLE, UNCOVERED)], "flexattention": [(_WHOLE, UNCOVERED)],
    "rotaryembedding": [(_WHOLE, UNCOVERED)], "swiglu": [(_WHOLE, UNCOVERED)],
    "causal_conv_with_state": [(_WHOLE, UNCOVERED)],
    # Images: regions and sampling
    "affinegrid": [(_WHOLE, UNCOVERED)], "deformconv": [("", UNCOVERED)],
    "gridsample": [("", UNCOVERED)], "image_decoder": [("", UNCOVERED)],
    "nonmaxsuppression": [("", UNCOVERED)], "roialign": [("", UNCOVERED)],
    # Sequences and optional values
    "identity": [("sequence|opt", SEQUENCE)], "if_": [("seq|opt", SEQUENCE)],
    "optionalgetelement": [("element_tensor", UNCOVERED), ("", SEQUENCE)],
    "optionalhaselement": [("empty_no_input", UNCOVERED), ("", SEQUENCE)],
    "sequenceinsert": [("", SEQUENCE)], "sequence_map": [("", SEQUENCE)],
    "splittosequence": [("", SEQUENCE)],
    # Strings
    "equal": [("string", NARROW)], "regex_full_match": [("", NARROW)],
    "string_concat": [("", NARROW)], "string_split": [("", NARROW)],
    "stringnormalizer": [("", NARROW)], "tfidfvectorizer": [("", UNCOVERED)],
    # Elements
    "cast": [(_SMALL, NARROW)], "castlike": [(_SMALL, NARROW)],
    "dequantizelinear": [("e4m3fn|e5m2|int4|int2|float4", NARROW)],
    "quantizelinear": [("e4m3fn|e5m2|int4|int2|float4", NARROW)],
}  # fmt: skip

AXES_3 = "windows over 1 and 2 axes are covered, this one has 3"
PLANNED = {
    # Three spatial axes: video and volumes
    "averagepool": [("3d", AXES_3)], "lppool": [("3d", AXES_3)],
    "convtranspose": [("3d", AXES_3)],
    "maxpool": [("3d", AXES_3), ("argmax", "the output of indices is not covered")],
    "maxunpool": [("", UNCOVERED)],
    # Outputs whose sizes depend on data
    "compress": [("", UNCOVERED)], "nonzero": [("", UNCOVERED)], "unique": [("", UNCOVERED)],
    # Training
    "batch_normalization": [("training_mode", "training_mode is not covered")],
    # Bits of other types than the C core holds
    "bitcast": [("", UNCOVERED)],
    # What no model of recurrent layers has
    "col2im": [("", UNCOVERED)], "det": [("", UNCOVERED)], "tensorscatter": [("", UNCOVERED)],
}  # fmt: skip

CONSTANT = {"gru": "WRB", "lstm": "WRBP", "rnn": "WRB"}

COARSE = {
    # bfloat16 is kept in float32. The reference's Cast rounds to it; CastLike does not know of it.
    "test_cast_FLOAT_to_BFLOAT16": (1e-2, "not rounded by a model"),
    "test_castlike_FLOAT_to_BFLOAT16": (1e-2, "not rounded"),
    "test_castlike_FLOAT_to_BFLOAT16_expanded": (1e-2, "not rounded"),
    "test_averagepool_2d_ceil_last_window_starts_on_pad": (1e-3, "written with four digits"),
    # There 4 elements become floor(4 * 0.6) = 2, and the first and the last stay, in PyTorch and in
    # ONNX Runtime as here; the test has the place of the last in 2.4 elements.
    "test_resize_downsample_scales_linear_align_corners": (0.5, "2 elements, not 2.4"),
    "test_resize_downsample_scales_cubic_align_corners": (0.5, "2 elements, not 2.4"),
}
