# SPDX-License-Identifier: MIT
"""A graph as an SVG picture: nodes in layers from top to bottom, values as curves between them.

    text = svg(graph, facts, title)

A node lies one layer below the lowest of those it needs. A curve that passes layers has a place in
each of them, so that it does not cross nodes. Places within a layer are ordered by the middle of
their neighbours' places, downwards and upwards in turn, which keeps crossings few (Sugiyama's
method). The picture has its own colours for light and dark.
"""

import re
from html import escape

WIDTH, HEIGHT = 168, 44  # of a node
ACROSS, DOWN = 26, 34  # between nodes of a layer, between layers
THIN = 18  # the width of a curve's place
MARGIN = 24
SWEEPS = 8
MOST_NODES = 3000
LETTERS = 24  # of a line of text in a node

# Colours: paper, ink, soft ink, lines, edges of boxes, boxes, recurrent layers, products, ends.
LIGHT = "#ffffff #1d2329 #5d6874 #a9b3bd #c9d0d6 #f2f4f6 #dcebfb #e3f4e6 #fdf0d5"
DARK = "#14171a #e6eaee #9aa6b2 #55606b #39424b #22282e #1d3956 #1e3d28 #4a3a17"
FONT = """
text { font: 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; text-anchor: middle; }
text.op { font-weight: 600; } text.soft { font-size: 10.5px; }
text.title { text-anchor: start; font-size: 15px; font-weight: 600; }
path { fill: none; stroke-width: 1.4; }
"""


def _rules(colours):
    paper, ink, soft, line, edge, node, layer, product, end = colours.split()
    return (
        f".paper {{ fill: {paper}; }} text {{ fill: {ink}; }} text.soft {{ fill: {soft}; }}\n"
        f"path {{ stroke: {line}; }} rect.node {{ fill: {node}; stroke: {edge}; }}\n"
        f"rect.layer {{ fill: {layer}; }} rect.product {{ fill: {product}; }} "
        f"rect.end {{ fill: {end}; }}\n"
    )


# Without CSS variables, which not every program that shows SVG knows.
STYLE = f"{FONT}{_rules(LIGHT)}@media (prefers-color-scheme: dark) {{\n{_rules(DARK)}}}\n"

_LAYERS = {"LSTM", "GRU", "RNN", "Recurrent", "com.microsoft.DynamicQuantizeLSTM"}
_PRODUCTS = {
    "Linear", "MatMul", "Gemm", "Conv", "ConvLast", "ConvTranspose", "ConvTransposeLast", "Einsum",
    "MatMulInteger", "ConvInteger",
}  # fmt: skip


class _Box:
    """A node, an input or an output, or (with no lines) a curve's place in a layer it passes."""

    def __init__(self, lines, css=""):
        self.lines, self.css = lines, css
        self.above, self.below, self.layer, self.x = [], [], 0, 0.0
        self.width = WIDTH if lines else THIN


def _cut(text):
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", text)
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"


def _shape(fact):
    if fact is None:
        return ""
    return ", ".join("?" if n is None else str(n) for n in fact.shape) or "one number"


def _label(node, facts):
    """Two lines: what the node is, and its output's shape."""
    op = node.op.removeprefix("com.microsoft.")
    if node.op == "Recurrent":
        layer = node.attrs["layer"]
        op = f"{layer.kind} {layer.input_size} → {layer.hidden_size}"
        op += f", {layer.num_layers} layers" if layer.num_layers > 1 else ""
        op += " both ways" if layer.bidirectional else ""
    elif node.op == "Pointwise":
        op = f"Pointwise ({len(node.attrs['code'])})"
    elif "activation" in node.attrs:
        op += f", {node.attrs['activation'][0]}"
    output = next(filter(None, node.outputs), None)
    return [_cut(op), _cut(_shape(facts.get(output)))]


def _boxes(graph, facts):
    """All boxes, each after those above it, with their neighbours."""
    made, boxes = {}, []

    def add(box, names):
        for name in names:
            above = made.get(name)
            if above is not None and above not in box.above:
                box.above.append(above)
                above.below.append(box)
        boxes.append(box)

    for value in graph.inputs:
        made[value.name] = _Box([_cut(value.name), _cut(_shape(facts.get(value.name)))], "end")
        add(made[value.name], [])
    for node in graph.nodes:
        css = "layer" if node.op in _LAYERS else "product" if node.op in _PRODUCTS else ""
        box = _Box(_label(node, facts), css)
        add(box, node.inputs)
        made.update((name, box) for name in node.outputs if name)
    names = graph.results or [value.name for value in graph.outputs]
    for value, name in zip(graph.outputs, names, strict=True):
        add(_Box([_cut(value.name), _cut(_shape(facts.get(name)))], "end"), [name])
    return boxes


def _layers(boxes):
    """[[box]]: the layers, with places for curves that pass them. An input without a use before
    the fifth layer, say, lies right above its first use."""
    for box in boxes:
        box.layer = 1 + max((above.layer for above in box.above), default=-1)
    for box in boxes:
        if not box.above and box.below:
            box.layer = min(below.layer for below in box.below) - 1
    layers = [[] for _ in range(1 + max((box.layer for box in boxes), default=0))]
    for box in boxes:
        layers[box.layer].append(box)
    for box in boxes:
        for at, below in enumerate(box.below):
            if below.layer <= box.layer + 1:
                continue
            last = box
            for layer in range(box.layer + 1, below.layer):
                place = _Box([])
                place.layer, place.above = layer, [last]
                if last is box:
                    box.below[at] = place
                else:
                    last.below = [place]
                layers[layer].append(place)
                last = place
            last.below = [below]
            below.above[below.above.index(box)] = last
    return layers


def _middle(boxes, default):
    return sum(box.x for box in boxes) / len(boxes) if boxes else default


def _spread(layer, wanted):
    """Sets the layer's places as near to `wanted` (their x) as they may be side by side: first from
    left to right, then shifted by what that has moved them on the whole."""
    right = None
    for box, x in zip(layer, wanted, strict=True):
        least = x if right is None else right + ACROSS / (1 if box.lines else 2) + box.width / 2
        box.x = max(x, least)
        right = box.x + box.width / 2
    shift = sum(x - box.x for box, x in zip(layer, wanted, strict=True)) / max(len(layer), 1)
    for box in layer:
        box.x += shift


def _place(layers):
    for layer in layers:
        _spread(layer, [n * (WIDTH + ACROSS) for n in range(len(layer))])
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            wanted = {id(box): _middle(box.above if down else box.below, box.x) for box in layer}
            layer.sort(key=lambda box: wanted[id(box)])
            _spread(layer, [wanted[id(box)] for box in layer])


def _top(box):
    return MARGIN + 28 + box.layer * (HEIGHT + DOWN)


def _curve(box, below, left):
    """A value's line from the foot of one box to the head of the next, through places of curves."""
    x, y = box.x - left, _top(box) + HEIGHT
    text = f"M{x:.1f} {y:.1f}"
    while True:
        to, head = below.x - left, _top(below)
        text += f"C{x:.1f} {y + DOWN / 2:.1f} {to:.1f} {head - DOWN / 2:.1f} {to:.1f} {head:.1f}"
        if below.lines:
            return f'<path d="{text}"/>'
        x, y = to, head + HEIGHT
        text += f"V{y:.1f}"
        below = below.below[0]


def svg(graph, facts, title):
    """The picture of a flat graph as text. facts: {name: infer.Fact}, whose shapes are shown.
    ValueError for more than MOST_NODES nodes."""
    if len(graph.nodes) > MOST_NODES:
        raise ValueError(f"a picture of {len(graph.nodes)} nodes; {MOST_NODES} is the most")
    layers = _layers(_boxes(graph, facts))
    _place(layers)
    every = [box for layer in layers for box in layer]
    left = min((box.x - box.width / 2 for box in every), default=0) - MARGIN
    wide = max((box.x + box.width / 2 for box in every), default=0) - left + MARGIN
    wide = max(wide, 9 * len(title) + 2 * MARGIN)
    high = MARGIN * 2 + 28 + len(layers) * (HEIGHT + DOWN) - DOWN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{high:.0f}" '
        f'viewBox="0 0 {wide:.0f} {high:.0f}">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        '<rect class="paper" width="100%" height="100%"/>',
        f'<text class="title" x="{MARGIN}" y="{MARGIN + 6}">{escape(title)}</text>',
    ]
    boxes = [box for box in every if box.lines]
    parts += [_curve(box, below, left) for box in boxes for below in box.below]
    for box in boxes:
        x, y = box.x - left, _top(box)
        css = f"node {box.css}".strip()
        parts.append(
            f'<rect class="{css}" x="{x - WIDTH / 2:.1f}" y="{y}" width="{WIDTH}" '
            f'height="{HEIGHT}" rx="7"/>'
            f'<text class="op" x="{x:.1f}" y="{y + 19}">{escape(box.lines[0])}</text>'
            f'<text class="soft" x="{x:.1f}" y="{y + 35}">{escape(box.lines[1])}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
