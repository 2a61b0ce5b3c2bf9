"""The figures as a table: medians, their spread, how the proxy compares, and with what goal."""

from collections.abc import Sequence
from statistics import median

from bench.goals import AtMost
from bench.measure import Row
from bench.numbers import NOTHING, known, spread
from bench.run import Results
from bench.servers import Apache, GitpatProxy

Cells = list[list[str]]
EXPLANATION = (
    "Median (smallest to largest). The ratios compare figures of the same round; above 1 the proxy is "
    "the better one, in every row, so that a third of the time is 3. The best peer is the one with the "
    "best median. A goal is a ratio to the best peer, or to the one that it names, or so much of the "
    "row's unit; the median decides whether it is reached."
)


def cells_of(results: Results) -> Cells:
    """Return the table with its head."""
    head = ["", "unit", *results.servers, f"to {Apache.name}", "to the best peer", "goal", "reached"]
    return [head, *(_line(results, row) for row in results.rows)]


def _line(results: Results, row: Row) -> list[str]:
    own = results.figures[row, GitpatProxy.name]
    best = best_peer(results, row)
    reached = {None: NOTHING, True: "yes", False: "NO"}[is_reached(results, row)]
    return [
        row.label,
        row.unit,
        *(spread(results.figures[row, server]) for server in results.servers),
        spread(ratios(row, own, results.figures[row, Apache.name])),
        spread(ratios(row, own, results.figures[row, best])) if best else NOTHING,
        str(row.goal or NOTHING),
        reached,
    ]


def is_reached(results: Results, row: Row) -> bool | None:
    """Tell whether the median reaches the row's goal; None if it has none, or was not measured."""
    own = results.figures[row, GitpatProxy.name]
    if isinstance(row.goal, AtMost):
        return median(those) <= row.goal.most if (those := known(own)) else None
    if row.goal is None or not (peer := row.goal.peer or best_peer(results, row)):
        return None
    those = known(ratios(row, own, results.figures[row, peer]))
    return median(those) >= row.goal.least if those else None


def summary(results: Results) -> str:
    """Return how many goals are reached, and the rows of those that are missed."""
    verdicts = {row.label: is_reached(results, row) for row in results.rows}
    missed = [label for label, reached in verdicts.items() if reached is False]
    count = sum(reached is not None for reached in verdicts.values())
    return f"Goals reached: {count - len(missed)} of {count}; missed: {'; '.join(missed) or 'none'}"


def best_peer(results: Results, row: Row) -> str | None:
    """Return the peer with the best median; None if no peer has a figure."""
    medians = {
        server: median(those)
        for server in results.servers
        if server != GitpatProxy.name and (those := known(results.figures[row, server]))
    }
    if not medians:
        return None
    return (max if row.more_is_better else min)(medians, key=medians.__getitem__)


def ratios(row: Row, own: Sequence[float | None], peer: Sequence[float | None]) -> list[float | None]:
    """Return for each round how many times as good the proxy is."""
    pairs = [(a, b) if row.more_is_better else (b, a) for a, b in zip(own, peer, strict=False)]
    return [a / b if a is not None and b else None for a, b in pairs]


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
