"""Plots as SVG that is the same each time, and can be read on a light and on a dark page."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from benchmarks.part import Bars, Lines, Plot

mpl.use("svg")
from matplotlib import pyplot
from matplotlib.axes import Axes

GREY = "#808080"
"""Reads on white as on black."""
STYLE = {
    "svg.hashsalt": "stormfold",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": mpl.cycler(
        color=["#3b82f6", "#e8590c", "#2f9e44", "#ae3ec9", "#e0a100", "#0c8599"], marker=[*"os^Dvx"]
    ),
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "lines.markersize": 4,
    "legend.frameon": False,
    "savefig.transparent": True,
}
WIDTH, HEIGHT = 7.0, 3.2
"""Inches of 72 points."""
BAR = 0.3
"""Inches for each."""


def draw(plot: Plot, path: Path) -> None:
    """Write one plot."""
    with mpl.rc_context(STYLE):
        height = HEIGHT if isinstance(plot, Lines) else 0.9 + BAR * len(plot.lengths)
        figure, axes = pyplot.subplots(figsize=(WIDTH, height), layout="constrained")
        axes.set_title(plot.title, loc="left")
        axes.set_xlabel(plot.x)
        if plot.log_x:
            axes.set_xscale("log")
        if isinstance(plot, Lines):
            _lines(axes, plot)
        else:
            _bars(axes, plot)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)


def _lines(axes: Axes, plot: Lines) -> None:
    axes.set_ylabel(plot.y)
    if plot.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0, top=1.1 * max(y for points in plot.curves.values() for _, y in points))
    for name, points in plot.curves.items():
        axes.plot(*zip(*points, strict=True), label=name)
    axes.legend()


def _bars(axes: Axes, plot: Bars) -> None:
    bars = axes.barh(list(plot.lengths), list(plot.lengths.values()), color="#3b82f6", height=0.6)
    axes.bar_label(bars, fmt="{:,.3g}", padding=3, color=GREY)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
