# SPDX-License-Identifier: MIT
"""What stands beside a layer's weights, for find.py: whether it makes the layer another module than
torch's, by names alone.

    a prefix that ends in a dot or slash    nothing else may stand under it: in torch's files it is
                                            a module, and a plain layer has neither parameters
                                            nor submodules besides
    no prefix, or only a checkpoint's       other modules' tensors stand there too ("fc.weight").
    wrappers; or one that ends in "_"       What is named like a recurrent weight may not, nor a
                                            norm that is named for a gate or track ("ln_ih.weight")
    a cell's names (no `_l0`)               nothing else under any prefix
"""

import bisect
import re

from .source import show

# What wraps a model in checkpoints.
WRAPPERS = ("state_dict.", "model_state_dict.", "model.", "module.", "_orig_mod.")

# A layer's own: torch's modules keep a list of their weights, which TorchScript files hold too.
_OWN = re.compile(r"_flat_weights\.[0-9]+")
_WORDS = ("weight_", "bias_", "peephole", "parametrizations.")
_NORM = re.compile(
    r"(?:.*_)?(?:ln|bn|(?:layer|batch|rms|group|instance)?_?norm)s?_?"
    r"(?:[ifgocrznh]|ih|hh|hr|ch|cell|gates?|l[0-9].*)[.\[].*"
)
# (what is searched for in a name, what the module then looks like)
_LOOKS = (
    (r"(^|[._])(ln|bn|layer_?norm|batch_?norm|norm)", "normalisation inside the cell"),
    (r"lora|adapter", "adapters (LoRA)"),
    (r"fake_quant|observer|activation_post_process", "quantisation-aware training"),
    (r"_raw$|^module\.", "weight drop"),
    (r"parametrizations|_(g|v|u|orig|mask)$", "a reparametrisation of it"),
    (r"peephole|weight_c[ifo]|^w_?c[ifo]$", "peepholes"),
    (r"(^|[._])(h_?0|c_?0|init|h0|c0)|initial|hidden_state", "a learned initial state"),
    (r"att(n|ention)", "attention inside it"),
    (r"^weight|^bias", "a cell with more weights"),
)
_SHOWN = 6


def unwrapped(prefix):
    """`prefix` without the wrappers that it begins with."""
    while True:
        for wrapper in WRAPPERS:
            if prefix.startswith(wrapper):
                prefix = prefix[len(wrapper) :]
                break
        else:
            return prefix


class Beside:
    """The names of a file, sorted, so that those under a prefix are found by two searches, however
    many layers there are."""

    def __init__(self, names):
        self.names = sorted(names)

    def _range(self, prefix):
        """(first, end) of the names that begin with `prefix`."""
        if not prefix:
            return 0, len(self.names)
        after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return bisect.bisect_left(self.names, prefix), bisect.bisect_left(self.names, after)

    def _under(self, prefix, used):
        """(how many names under `prefix` are neither in `used` nor a layer's own, the first of
        them)."""
        first, end = self._range(prefix)
        count = end - first - sum(name.startswith(prefix) for name in used)
        own = self._range(f"{prefix}_flat_weights.")
        count -= sum(_OWN.fullmatch(self.names[n], len(prefix)) is not None for n in range(*own))
        found = []
        for n in range(first, end):
            if len(found) == min(_SHOWN, count):
                break
            name = self.names[n]
            if name not in used and not _OWN.fullmatch(name, len(prefix)):
                found.append(name)
        return count, found

    def _named_for_it(self, prefix, used):
        """As _under, of those names alone that say they belong to a recurrent layer."""
        count, found = 0, []
        for word in _WORDS:
            more, names = self._under(prefix + word, used)
            count, found = count + more, found + names
        if not prefix.endswith("_"):
            norms = [
                self.names[n]
                for n in range(*self._range(prefix))
                if _NORM.fullmatch(self.names[n], len(prefix))
            ]
            count, found = count + len(norms), found + norms
        return count, found[:_SHOWN]

    def problem(self, prefix, layer, used):
        """Why the tensors under `prefix` are more than the weights of `layer`, in words; None if
        they are not. used: the names that its weights are made of."""
        shared = prefix.endswith("_") or (prefix.count(".") <= 3 and not unwrapped(prefix))
        look = self._named_for_it if shared and not layer.cell else self._under
        count, found = look(prefix, used)
        if not count:
            return None
        names = [name[len(prefix) :] for name in found]
        looks = next(
            (text for pattern, text in _LOOKS if any(re.search(pattern, n, re.I) for n in names)),
            "a module with parameters of its own",
        )
        listed = ", ".join(show(name, 60) for name in names) + ", ..." * (count > len(names))
        return (
            f"no plain {layer.kind}: {count} more tensor{'s' * (count > 1)} under its prefix "
            f"({listed}), it looks like {looks}; if the plain {layer.kind} is meant, give its "
            f"weights alone to {layer.kind}.from_state_dict"
        )
