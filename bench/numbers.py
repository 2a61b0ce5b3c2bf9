"""Figures as people read them."""

from collections.abc import Sequence
from statistics import median

NOTHING = "-"


def number(figure: float) -> str:
    """Return it with three digits that count."""
    if figure >= 100:
        return f"{figure:,.0f}"
    if figure >= 10:
        return f"{figure:.1f}"
    return f"{figure:.2f}" if figure >= 1 else f"{figure:.3f}"


def spread(figures: Sequence[float | None]) -> str:
    """Return the median with the smallest and the largest."""
    those = known(figures)
    if not those:
        return NOTHING
    if len(those) == 1:
        return number(those[0])
    return f"{number(median(those))} ({number(min(those))} to {number(max(those))})"


def known(figures: Sequence[float | None]) -> list[float]:
    return [figure for figure in figures if figure is not None]
