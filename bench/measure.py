"""What a measure is, and what all of them work with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.clients import Git
from bench.goals import Goal
from bench.repositories import Repositories
from bench.servers import Server

Values = tuple[float | None, ...]
"""A figure for each row; None where this server has none."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    label: str
    unit: str
    more_is_better: bool = False
    goal: Goal | None = None


@dataclass(frozen=True)
class Measure:
    """`name` is what `--only` takes. `fresh`: the server is started anew before it. `turns`: how
    often all servers have their turn in a round.
    """

    name: str
    rows: tuple[Row, ...]
    run: Callable[[Server], Values]
    fresh: bool = False
    turns: int = 1


@dataclass(frozen=True)
class Effort:
    """How long the loads are, how often short work is repeated, how many do it at once."""

    wrk_seconds: float
    repetitions: int
    together: int
    stalled: int


FULL_EFFORT = Effort(wrk_seconds=3, repetitions=4, together=32, stalled=200)
QUICK_EFFORT = Effort(wrk_seconds=1, repetitions=1, together=4, stalled=10)


@dataclass(frozen=True)
class Tools:
    """What the measures work with."""

    repositories: Repositories
    git: Git
    effort: Effort

    def folder(self, repository: str) -> Path:
        return self.repositories.served / repository

    def megabytes(self, repository: str) -> str:
        return f"{self.repositories.megabytes(repository):.0f} MB"


def warm_up(tools: Tools, server: Server) -> None:
    """Let a server that was just started load what it loads at its first request."""
    tools.git.clone(server, tools.repositories.small)


def with_cpu(server: Server, action: Callable[[Server], float]) -> tuple[float, float | None]:
    """Return what the action returns, and the seconds of CPU that it cost the server."""
    before = server.cpu_seconds()
    figure = action(server)
    return figure, counted(server, server.cpu_seconds() - before)


def counted(server: Server, cpu: float) -> float | None:
    """A figure that leaves out the CGI programs would be wrong by most of it."""
    return cpu if server.cpu_is_counted else None
