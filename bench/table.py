"""The figures as a table: medians, their spread, and how the proxy compares."""

from collections.abc import Sequence
from statistics import median

from bench.measures import Row
from bench.run import Results
from bench.servers import Apache, GitpatProxy

Cells = list[list[str]]
_NOTHING = "-"
EXPLANATION = (
    "Median (smallest to largest). The ratios compare figures of the same round; above 1 the proxy is "
    "the better one, in every row. The best peer is the one with the better median."
)


def cells_of(results: Results) -> Cells:
    """Return the table with its head."""
    head = ["", "unit", *results.servers, f"to {Apache.name}", "to the best peer"]
    return [head, *(_line(results, row) for row in results.rows)]


def _line(results: Results, row: Row) -> list[str]:
    own = results.figures[row, GitpatProxy.name]
    best = best_peer(results, row)
    return [
        row.label,
        row.unit,
        *(spread(results.figures[row, server]) for server in results.servers),
        spread(ratios(row, own, results.figures[row, Apache.name])),
        spread(ratios(row, own, results.figures[row, best])) if best else _NOTHING,
    ]


def best_peer(results: Results, row: Row) -> str | None:
    """Return the peer with the best median; None if no peer has a figure."""
    medians = {
        server: median(known)
        for server in results.servers
        if server != GitpatProxy.name and (known := _known(results.figures[row, server]))
    }
    if not medians:
        return None
    return (max if row.more_is_better else min)(medians, key=medians.__getitem__)


def ratios(row: Row, own: Sequence[float | None], peer: Sequence[float | None]) -> list[float | None]:
    """Return for each round how many times as good the proxy is."""
    pairs = [(a, b) if row.more_is_better else (b, a) for a, b in zip(own, peer, strict=False)]
    return [a / b if a is not None and b else None for a, b in pairs]


def spread(figures: Sequence[float | None]) -> str:
    known = _known(figures)
    if not known:
        return _NOTHING
    if len(known) == 1:
        return number(known[0])
    return f"{number(median(known))} ({number(min(known))} to {number(max(known))})"


def _known(figures: Sequence[float | None]) -> list[float]:
    return [figure for figure in figures if figure is not None]


def number(figure: float) -> str:
    """Return it with three digits that count."""
    if figure >= 100:
        return f"{figure:,.0f}"
    if figure >= 10:
        return f"{figure:.1f}"
    return f"{figure:.2f}" if figure >= 1 else f"{figure:.3f}"


def as_text(cells: Cells) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def as_markdown(cells: Cells) -> str:
    head, *lines = [f"| {' | '.join(line)} |" for line in cells]
    alignment = ["---", "---", *("---:" for _ in cells[0][2:])]
    return "\n".join([head, f"| {' | '.join(alignment)} |", *lines])
