# SPDX-License-Identifier: MIT
"""Every picture twice, for a page that is light and for one that is dark."""

from typing import NamedTuple


class Colours(NamedTuple):
    page: str
    text: str
    faint: str  # grids, marks that stand behind
    lines: tuple
    mark: str  # the background of a stretch that is marked

    def map(self):
        """Colours for 0 to 1, from the page's to a line's."""
        from matplotlib.colors import LinearSegmentedColormap

        return LinearSegmentedColormap.from_list("page", [self.page, self.lines[0]])


SCHEMES = {
    "light": Colours(
        "#ffffff", "#1f2328", "#8c959f", ("#2f6f9f", "#c2410c", "#4d7c0f", "#7c3aed"), "#fbd7a4",
    ),
    "dark": Colours(
        "#0d1117", "#e6edf3", "#6e7681", ("#6cb6e8", "#f0883e", "#a3d26b", "#c4a1ff"), "#6b4510",
    ),
}  # fmt: skip


def save(stem, draw):
    """Writes `stem`-light.png and `stem`-dark.png of the figures of draw(pyplot, colours)."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    for name, colours in SCHEMES.items():
        options = {
            "figure.facecolor": colours.page, "axes.facecolor": colours.page,
            "savefig.facecolor": colours.page, "text.color": colours.text,
            "axes.edgecolor": colours.faint, "axes.labelcolor": colours.text,
            "xtick.color": colours.text, "ytick.color": colours.text,
            "axes.prop_cycle": plt.cycler(color=colours.lines), "font.size": 10,
        }  # fmt: skip
        with plt.rc_context(options):
            figure = draw(plt, colours)
            figure.savefig(f"{stem}-{name}.png", dpi=110)
            plt.close(figure)
