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


def _numbers(items):
    """The numbers of the constants that `items`, texts of code, are; None if one is none."""
    matches = [_CONSTANT.fullmatch(item.strip()) for item in items]
    return tuple(int(match[1]) for match in matches) if all(matches) else None


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


def _layer(kind, relu, weights, rest, packed):
    """(Layer, {torch's name: array}) of a call, or None if it is not understood.

    weights   the arrays of its list       rest   the arguments behind that
    packed    whether these do not say batch_first
    """
    bias, both, first = (_FLAGS.get(rest[n]) for n in (0, 4, -1))
    if None in (bias, both, first) or not re.fullmatch("[1-9][0-9]{0,3}", rest[1]):
        return None
    number, directions = int(rest[1]), 2 if both else 1
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


def _understood(cell, arguments, lists):
    """(the numbers of the constants, the arguments behind them, whether these do not say
    batch_first, the name of their list) of a call; None if it is not understood."""
    if cell:  # x, state, weight_ih, weight_hh, bias_ih, bias_hh; the biases may be None
        items = [each for each in arguments[2:] if each != "None"]
        flags = [str(len(items) == 4), "1", "0.", "False", "False", "False"]
        numbers = _numbers(items)
        return (numbers, flags, False, "") if numbers and len(numbers) in (2, 4) else None
    for at, due in ((2, 6), (3, 5)):
        if len(arguments) == at + 1 + due:
            used = arguments[at]
            items = lists.get(used) or (used[1:-1].split(",") if used[:1] == "[" else [])
            numbers = _numbers(items)
            if numbers:
                return numbers, arguments[at + 1 :], due == 5, used
    return None


def layers(code, arrays):
    """[(name, Layer, {torch's name: array})] of the calls in `code`, text, of `arrays`, {number of
    the constant: array}. The name is that of the module's attribute, where the code says it."""
    lists, found, seen = {}, [], set()
    for match in _LIST.finditer(code):
        lists[match[1]] = match[2].split(",")
    for match in _CALL.finditer(code):
        kind, cell = _KINDS[match[1]], match[2]
        call = _understood(cell, _arguments(match[3]), lists)
        # A cell in a loop stands there for each step.
        if call is None or call[0] in seen or not all(n in arrays for n in call[0]):
            continue
        numbers, rest, packed, used = call
        made = _layer(kind, match[1] == "rnn_relu", [arrays[n] for n in numbers], rest, packed)
        if made is not None:
            seen.add(numbers)
            attribute = re.fullmatch(r"(?:self_)?(.+)__flat_weights\w*", used)
            name = attribute[1] if attribute else kind.lower() + ("_cell" if cell else "")
            found.append((name, *made))
    return found
