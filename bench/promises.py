"""The two lines that must be won, whatever else the table says."""

from collections.abc import Sequence
from statistics import median

from bench.measure import Row
from bench.numbers import number, spread
from bench.run import Results
from bench.servers import Apache, GitpatProxy
from bench.table import ratios

# Python's heap is not the same to the page from one start to the next, and a transfer of a second
# may end before every buffer has once been full.
_NOISE_MIB = 4.0


def promises(results: Results) -> list[str]:
    """Return a sentence for each, as far as it was measured."""
    return [*_streaming(results), *_memory(results, "clone"), *_memory(results, "push")]


def _streaming(results: Results) -> list[str]:
    rows = [row for row in results.rows if row.unit == "MB/s"]
    sentences = []
    for row in rows:
        against = ratios(row, results.figures[row, GitpatProxy.name], results.figures[row, Apache.name])
        if known := [ratio for ratio in against if ratio is not None]:
            sentences.append(
                f"{_won(median(known) >= 1.0)}: {row.label}: {spread(against)} times Apache's "
                "throughput (at least 1.0)"
            )
    return sentences


def _memory(results: Results, what: str) -> list[str]:
    """The kernel's record of the peak misses nothing, as samples may."""
    rows = [
        row
        for row in results.rows
        if row.label.startswith(f"memory, {what}") and row.label.endswith("(peak RSS)")
    ]
    peaks = [(row, median(known)) for row in rows if (known := _known(results, row))]
    if len(peaks) < 2:
        return []
    (small, least), (large, most) = peaks
    return [
        f"{_won(most - least <= _NOISE_MIB)}: memory of the proxy's own: {_size(small)}: "
        f"{number(least)} MiB, {_size(large)}: {number(most)} MiB (no growth beyond "
        f"{_NOISE_MIB:.0f} MiB of noise)"
    ]


def _known(results: Results, row: Row) -> Sequence[float]:
    figures = results.figures[row, GitpatProxy.name]
    return [figure for figure in figures if figure is not None]


def _size(row: Row) -> str:
    return row.label.removeprefix("memory, ").partition(":")[0]


def _won(won: bool) -> str:
    return "Won" if won else "NOT WON"
