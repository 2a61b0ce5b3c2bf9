"""Costs against sizes, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.growth import Costs, Dimension
from bench.numbers import number

_COLUMNS = 3
_PANEL_INCHES = (4.6, 3.4)


def draw(results: Sequence[tuple[Dimension, Mapping[int, Sequence[Costs]]]], file: Path) -> None:
    """Write an SVG with a panel for each dimension: medians, with the smallest and the largest."""
    columns = min(_COLUMNS, len(results))
    rows = -(-len(results) // columns)
    # The same figures make the same file; text stays text, which can be searched and read out.
    mpl.rcParams.update({"svg.hashsalt": "gitpat-proxy", "svg.fonttype": "none", "font.size": 9})
    figure = Figure((columns * _PANEL_INCHES[0], rows * _PANEL_INCHES[1]), layout="constrained")
    for place, (dimension, figures) in enumerate(results, 1):
        _panel(figure.add_subplot(rows, columns, place), dimension, figures)
    figure.savefig(file, format="svg", metadata={"Date": None})


def _panel(axes: Axes, dimension: Dimension, figures: Mapping[int, Sequence[Costs]]) -> None:
    sizes = list(figures)
    for curve, label in enumerate(dimension.curves):
        costs = [[each[curve] for each in rounds] for rounds in figures.values()]
        middles = [median(each) for each in costs]
        below = [middle - min(each) for middle, each in zip(middles, costs, strict=True)]
        above = [max(each) - middle for middle, each in zip(middles, costs, strict=True)]
        axes.errorbar(sizes, middles, yerr=[below, above], label=label, marker="o", capsize=3)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
    axes.set_xticks([], minor=True)
    if dimension.flat:
        axes.set_ylim(bottom=0)
    else:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axes.yaxis.set_minor_formatter("")
    axes.set_xlabel(dimension.name)
    axes.set_ylabel(dimension.unit)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False)
