"""What the figures of a row are to reach."""

from dataclasses import dataclass

from bench.numbers import number


@dataclass(frozen=True)
class Ratio:
    """So many times as good as a peer: the best one, unless it is named."""

    least: float
    peer: str | None = None

    def __str__(self) -> str:
        return f"≥ {number(self.least)} times" + (f" {self.peer}" if self.peer else "")


@dataclass(frozen=True)
class AtMost:
    """So much of the row's unit, whatever the peers need."""

    most: float

    def __str__(self) -> str:
        return f"≤ {number(self.most)}"


Goal = Ratio | AtMost


def share(most: float) -> Ratio:
    """Return the goal that the proxy needs at most this share of what the best peer needs."""
    return Ratio(1 / most)
