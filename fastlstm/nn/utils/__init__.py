# SPDX-License-Identifier: MIT
"""torch.nn.utils, as far as inference needs it."""

from . import rnn as rnn


def parametrizations_refused(module, *args, **kwargs):
    """weight_norm, spectral_norm: their state dicts hold other names than the layer's own."""
    raise NotImplementedError(
        "fastlstm.nn: weight_norm and spectral_norm are not supported: remove them in PyTorch "
        "(torch.nn.utils.remove_weight_norm) before saving"
    )


weight_norm = spectral_norm = parametrizations_refused


def clip_grad_norm_(*args, **kwargs):
    """Refused."""
    raise NotImplementedError("fastlstm.nn is for inference: there are no gradients")
