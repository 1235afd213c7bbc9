# SPDX-License-Identifier: MIT
"""Recurrent layers of frozen TorchScript archives (torch.jit.freeze, optimize_for_inference): their
weights are numbered constants without names, and only the module's code says which belong together:

    self_rnn__flat_weights = [CONSTANTS.c1, CONSTANTS.c2, CONSTANTS.c3, CONSTANTS.c4]
    _0, _1, _2 = torch.lstm(x, [h, c], self_rnn__flat_weights, True, 1, 0., False, False, True)
    ... or torch.lstm_cell(x, [h, c], CONSTANTS.c0, CONSTANTS.c1, CONSTANTS.c2, CONSTANTS.c3)

The code is text that is searched for these two forms, and nothing else of it is understood. The
arguments behind the weights are has_biases, num_layers, dropout, train, bidirectional and, unless
the input is a packed sequence (data, batch_sizes), batch_first.
"""

import re

from ...engine.variants import RELU
from ..description import Layer
from ..weight_shapes import misfit, tracks

_KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_CONSTANT = re.compile(r"CONSTANTS\.c([0-9]{1,6})")
# Neither runs over a bracket or a line's end, and a name is bounded: both are linear in the text.
_LIST = re.compile(r"\b(\w{1,200}) = \[([^\[\]()\n]*)\]")
_CALL = re.compile(r"torch\.(lstm|gru|rnn_tanh|rnn_relu)(_cell)?\(([^()\n]*)\)")
_LAYERS = re.compile("[1-9][0-9]{0,3}")
_MAX_WEIGHTS = 9999 * 2 * 5  # of one call: layers, as _LAYERS has them, directions and weights
_FLAGS = {"True": True, "False": False}


def _numbers(items, arrays):
    """The numbers of the constants that `items`, texts of code, are; None if one of them is none,
    or is not in `arrays`, or if they are more than any call takes."""
    if len(items) > _MAX_WEIGHTS:
        return None
    matches = [_CONSTANT.fullmatch(item.strip()) for item in items]
    found = tuple(int(match[1]) for match in matches if match)
    return found if len(found) == len(items) and all(n in arrays for n in found) else None


def _arguments(text):
    """The arguments of a call, split at the commas outside of lists."""
    found, depth, start = [], 0, 0
    for match in re.finditer(r"[\[\],]", text):
        if match[0] == ",":
            if not depth:
                found.append(text[start : match.start()].strip())
                start = match.end()
        else:
            depth += 1 if match[0] == "[" else -1
    return [*found, text[start:].strip()]


def _weights(layer, arrays):
    """{torch's name: array} of the list that torch's functions take, a track after the other."""
    parts = ["weight_ih", "weight_hh"] + ["bias_ih", "bias_hh"] * layer.bias
    parts += ["weight_hr"] * bool(layer.proj_size)
    names = [
        part + end for *_, end in tracks(layer.num_layers, layer.num_directions) for part in parts
    ]
    return dict(zip(names, arrays, strict=True)) if len(names) == len(arrays) else {}


def _options(rest):
    """(has_biases, num_layers, bidirectional, batch_first) in the arguments behind a call's list;
    None if they are not understood."""
    bias, both, first = (_FLAGS.get(rest[n]) for n in (0, 4, -1))
    if None in (bias, both, first) or not _LAYERS.fullmatch(rest[1]):
        return None
    return bias, int(rest[1]), both, first


def _layer(kind, relu, weights, options, packed):
    """(Layer, {torch's name: array}) of a call, or None if its weights do not fit.

    weights   the arrays of its list       options   as _options gave them
    packed    whether these do not say batch_first
    """
    bias, number, both, first = options
    directions = 2 if both else 1
    per_track, left = divmod(len(weights), number * directions)
    if left or per_track < 2 or any(each.ndim != 2 for each in weights[:2]):
        return None
    proj = len(weights[-1]) if per_track == 3 + 2 * bias and weights[-1].ndim == 2 else 0
    layer = Layer(
        kind, weights[0].shape[1], len(weights[0]) // _GATES[kind], proj, number, bias,
        "bidirectional" if both else "forward",
        activations=((RELU,),) * directions if relu else (),
        batch_first=first and not packed, assumed=("batch_first",) * packed,
    )  # fmt: skip
    named = _weights(layer, weights)
    return (layer, named) if named and misfit(layer, named) is None else None


def _understood(cell, arguments, lists, arrays):
    """(the numbers of the constants, the _options, whether these do not say batch_first, the name
    of their list) of a call; None if it is not understood. lists: {name: numbers or None}."""
    if cell:  # x, state, weight_ih, weight_hh, bias_ih, bias_hh; the biases may be None
        items = [each for each in arguments[2:] if each != "None"]
        numbers, options = _numbers(items, arrays), (len(items) == 4, 1, False, False)
        return (numbers, options, False, "") if numbers and len(numbers) in (2, 4) else None
    for at, due in ((2, 6), (3, 5)):
        if len(arguments) == at + 1 + due:
            used, options = arguments[at], _options(arguments[at + 1 :])
            inline = used[:1] == "["
            numbers = _numbers(used[1:-1].split(","), arrays) if inline else lists.get(used)
            if numbers and options:
                return numbers, options, due == 5, used
    return None


def layers(code, arrays):
    """[(name, Layer, {torch's name: array})] of the calls in `code`, text, of `arrays`, {number of
    the constant: array}. The name is that of the module's attribute, where the code says it."""
    lists = {match[1]: _numbers(match[2].split(","), arrays) for match in _LIST.finditer(code)}
    found, seen, tried = [], set(), set()  # tried: lists, which may be long and in very many calls
    for match in _CALL.finditer(code):
        kind, cell = _KINDS[match[1]], match[2]
        call = _understood(cell, _arguments(match[3]), lists, arrays)
        if call is None or call[3] in tried:
            continue
        numbers, options, packed, used = call
        if used:
            tried.add(used)
        if numbers in seen:  # a cell in a loop stands there for each step
            continue
        made = _layer(kind, match[1] == "rnn_relu", [arrays[n] for n in numbers], options, packed)
        if made is not None:
            seen.add(numbers)
            attribute = re.fullmatch(r"(?:self_)?(.+)__flat_weights\w*", used)
            name = attribute[1] if attribute else kind.lower() + ("_cell" if cell else "")
            found.append((name, *made))
    return found
