# SPDX-License-Identifier: MIT
"""Draws docs/pictures/panel-light.svg and panel-dark.svg: how packed weights lie in a panel.

python docs/site/panel.py
"""

from pathlib import Path

PICTURES = Path(__file__).parents[1] / "pictures"
COLOURS = {  # text, faint text, lines, the four gates
    "light": ("#1f2328", "#59636e", "#b6bec7", ("#8ec1e0", "#f2b880", "#a8d5a2", "#d3b3e0")),
    "dark": ("#e6edf3", "#9198a1", "#59636e", ("#2f6f97", "#9a5f22", "#3f7d3a", "#7a4d91")),
}
GATES = "ifgo"
LANES, DEEP = 4, 5  # units of a panel, and k's that are drawn
BOX = 17


def text(x, y, words, fill, size=12, anchor="middle", weight=400):
    return (
        f'<text x="{x}" y="{y}" fill="{fill}" font-size="{size}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{words}</text>'
    )


def box(x, y, fill, line):
    return f'<rect x="{x}" y="{y}" width="{BOX}" height="{BOX}" fill="{fill}" stroke="{line}"/>'


def draw(ink, faint, line, fills):
    parts = [text(92, 22, "as frameworks keep it", ink, 13, weight=600)]
    left, top = 44, 40
    for gate, fill in zip(GATES, fills):
        for row in range(LANES + 1):
            for k in range(DEEP):
                fade = fill if row < LANES else "none"
                parts.append(box(left + k * BOX, top + row * BOX, fade, line))
        parts.append(text(left - 16, top + 2.9 * BOX, gate, ink, 14, weight=600))
        top += (LANES + 1) * BOX + 8
    parts.append(text(left + DEEP * BOX / 2, top + 12, "k: the states before it", faint))

    left, top = 236, 40
    wide = 4 * LANES * BOX
    parts.append(text(left + wide / 2, 22, "a panel of R, units 0 to 3", ink, 13, weight=600))
    for k in range(DEEP):
        for g, fill in enumerate(fills):
            for unit in range(LANES):
                x = left + (g * LANES + unit) * BOX + 6 * g
                parts.append(box(x, top + k * (BOX + 4), fill, line))
                parts.append(text(x + BOX / 2, top + k * (BOX + 4) + 12.5, unit, ink, 10))
        parts.append(text(left - 22, top + k * (BOX + 4) + 13, f"k = {k}", faint))
    top += DEEP * (BOX + 4) + 8
    parts.append(text(left + wide / 2 + 9, top + 10, "read straight through, row by row", faint))
    top += 32
    for g, (gate, fill) in enumerate(zip(GATES, fills)):
        x = left + g * (LANES * BOX + 6)
        parts.append(
            f'<path d="M{x + LANES * BOX / 2} {top - 12}v20m-4 -5l4 5l4 -5" fill="none" '
            f'stroke="{faint}"/>'
        )
        parts.append(
            f'<rect x="{x}" y="{top + 14}" width="{LANES * BOX}" height="26" rx="4" fill="{fill}" '
            f'stroke="{line}"/>'
        )
        parts.append(text(x + LANES * BOX / 2, top + 31, gate, ink, 13))
    top += 66
    middle = left + wide / 2 + 9
    parts.append(text(middle, top, "four accumulators += weights * h[k]", ink))
    parts.append(text(middle, top + 26, "then, still in registers:", faint))
    parts.append(text(middle, top + 46, "c = sigmoid(f) c + sigmoid(i) tanh(g)", ink, 13))
    parts.append(text(middle, top + 66, "h = sigmoid(o) tanh(c)", ink, 13))
    parts.append(
        text(middle, top + 94, "(drawn for a vector of 4 lanes; AVX-512 has 16, AVX2 8)", faint, 11)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 570 450" '
        'font-family="system-ui, sans-serif" role="img">\n'
        "<title>A panel of packed weights</title>\n"
        + "\n".join(parts) + "\n</svg>\n"
    )  # fmt: skip


def pictures():
    """{path: text} of the two files."""
    return {PICTURES / f"panel-{name}.svg": draw(*c) for name, c in COLOURS.items()}


if __name__ == "__main__":
    for path, drawn in pictures().items():
        path.write_text(drawn)
