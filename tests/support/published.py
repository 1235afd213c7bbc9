# SPDX-License-Identifier: MIT
"""Model files of published packages that nobody here wrote: `path_of(name)` fetches one."""

from fetch import fetch

# package, version, SHA-256 of its archive
SILERO = ("silero-vad", "6.2.3", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8")
G2P = ("g2p-fa", "1.1.0", "4b5fde901920fa326852ae121431c3d91e696e1290f9fca87b5657ea2e56a320")
TEXTGENRNN = (
    "textgenrnn",
    "2.0.0",
    "c2b6f1c201c76d5a6021079e95a8db499bbe15d9f3448d33cb51c0cd496c86f8",
)

# file name: (package, member, SHA-256)
FILES = {
    "silero_vad.jit": (
        SILERO, "silero_vad/data/silero_vad.jit",
        "e1122837f4154c511485fe0b9c64455f7b929c96fbb8d79fbdb336383ebd3720",
    ),
    "silero_vad.onnx": (
        SILERO, "silero_vad/data/silero_vad.onnx",
        "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    ),
    "silero_vad_16k.safetensors": (
        SILERO, "silero_vad/data/silero_vad_16k.safetensors",
        "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1",
    ),
    "silero_vad_16k_op15.onnx": (
        SILERO, "silero_vad/data/silero_vad_16k_op15.onnx",
        "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
    ),
    "silero_vad_16k_sequence.onnx": (
        SILERO, "silero_vad/data/silero_vad_16k_sequence.onnx",
        "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
    ),
    "silero_vad_half.onnx": (
        SILERO, "silero_vad/data/silero_vad_half.onnx",
        "1e0b195ad4806595ef4466f419d16fca7e4afcfc6669b8c0b5f76ea87547c769",
    ),
    "silero_vad_op18_ifless.onnx": (
        SILERO, "silero_vad/data/silero_vad_op18_ifless.onnx",
        "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28",
    ),
    "silero_vad_openvino_16k.onnx": (
        SILERO, "silero_vad/data/silero_vad_openvino_16k.onnx",
        "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87",
    ),
    "weights": (
        G2P, "g2p_fa/data/weights",
        "c83ac4d3d403a3f628cb16688fd1a39c0cd0ab55ced48e33a035ccf0901fdcb8",
    ),
    "textgenrnn_weights.hdf5": (
        TEXTGENRNN, "textgenrnn-2.0.0/textgenrnn/textgenrnn_weights.hdf5",
        "6a89ca4235ed9f00be7b2acd65d5fe4a099967d676bfe20afb696106286ffbca",
    ),
}  # fmt: skip


def path_of(name):
    """The path of the file; FetchError if it cannot be had or has changed."""
    (package, version, archive), member, sha256 = FILES[name]
    return fetch(package, version, member, sha256, archive)
