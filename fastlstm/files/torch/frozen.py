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
_FLAGS = {"True": True, "False": False}


def _constants(items, arrays):
    """The arrays that `items`, texts of code, name, or None."""
    numbers = [_CONSTANT.fullmatch(item) for item in items]
    if not numbers or not all(numbers) or any(int(n[1]) not in arrays for n in numbers):
        return None
    return [arrays[int(n[1])] for n in numbers]


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


def _layer(function, cell, arguments, lists, arrays):
    """(Layer, {torch's name: array}) of a call, or None if it is not understood."""
    kind = _KINDS[function]
    if cell:
        weights, rest = _constants(arguments[-4:], arrays), ["True", "1", "0.", "False", "False"]
        packed = True
    else:
        at = next((n for n in (2, 3) if arguments[n : n + 1] and arguments[n] in lists), None)
        if at is None:
            return None
        weights, rest = _constants(lists[arguments[at]], arrays), arguments[at + 1 :]
        packed = at == 3
    if weights is None or len(weights) < 2 or len(rest) != (5 if packed else 6):
        return None
    bias, both, first = (_FLAGS.get(rest[n]) for n in (0, 4, -1))
    if None in (bias, both, first) or not re.fullmatch("[1-9][0-9]{0,3}", rest[1]):
        return None
    number = int(rest[1])
    per_track, left = divmod(len(weights), number * (2 if both else 1))
    proj = len(weights[-1]) if per_track == 3 + 2 * bias and weights[-1].ndim == 2 else 0
    if left or weights[0].ndim != 2 or weights[1].ndim != 2:
        return None
    layer = Layer(
        kind, weights[0].shape[1], len(weights[0]) // _GATES[kind], proj, number, bias,
        "bidirectional" if both else "forward",
        activations=((RELU,),) * (2 if both else 1) if function == "rnn_relu" else (),
        batch_first=first and not packed,
        guessed=("batch_first",) if packed and not cell else (),
    )  # fmt: skip
    named = _weights(layer, weights)
    return (layer, named) if named and misfit(layer, named) is None else None


def layers(code, arrays):
    """[(name, Layer, {torch's name: array})] of the calls in `code`, text, of `arrays`, {number of
    the constant: array}. The name is that of the module's attribute, where the code says it."""
    lists, found, seen = {}, [], set()
    for match in _LIST.finditer(code):
        lists[match[1]] = [item.strip() for item in match[2].split(",")]
    for match in _CALL.finditer(code):
        arguments = _arguments(match[3])
        made = _layer(match[1], bool(match[2]), arguments, lists, arrays)
        if made is None or (match[2] and tuple(arguments[-4:]) in seen):
            continue
        if match[2]:  # a cell in a loop that was unrolled
            seen.add(tuple(arguments[-4:]))
            name = _KINDS[match[1]].lower() + "_cell"
        else:
            used = next(each for each in arguments[2:4] if each in lists)
            named = re.fullmatch(r"(?:self_)?(.+)__flat_weights\w*", used)
            name = named[1] if named else _KINDS[match[1]].lower()
            if tuple(lists[used]) in seen:
                continue
            seen.add(tuple(lists[used]))
        found.append((name, *made))
    return found
