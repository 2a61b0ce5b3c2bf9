"""What grows, how so much of it is made, and what a request costs then.

Repositories that take long to make are kept for the next run.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import requests
from bench.clients import Question, load
from bench.filling import add_audit_rows, add_nothing, add_tokens
from bench.questions import advertisement, in_protocol_2, listing, refused, signed
from bench.repositories import (
    FULL,
    QUICK,
    Repositories,
    import_repository,
    many_references,
    random_files,
    repositories,
    run_git,
)
from bench.servers import GitpatProxy, Server
from bench.surroundings import WORK
from bench.transfers import stream, together

_KEPT = WORK / "sizes-1"
_GROWN = "grown.git"
_LINKS_TO_ONE_FILE = 10_000

Costs = tuple[float, ...]
"""One for each of a dimension's curves."""


@dataclass(frozen=True)
class Dimension:
    """`served` is the folder of repositories where there is so much; `fill` puts so much into the
    database; `cost` asks a running server. `flat`: the cost is to stay the same, however much there is.
    """

    name: str
    unit: str
    curves: tuple[str, ...]
    sizes: tuple[int, ...]
    quick_sizes: tuple[int, ...]
    served: Callable[[int], Path]
    cost: Callable[[Server, int], Costs]
    fill: Callable[[Path, int], None] = add_nothing
    flat: bool = False

    def proxy(self, size: int, folder: Path) -> Server:
        """Return a proxy, not started yet, with so much of what grows."""
        proxy = GitpatProxy(folder, self.served(size))
        self.fill(folder / "gitpat.db", size)
        return proxy


def dimensions(*, quick: bool) -> list[Dimension]:
    """Return all of them; `quick` takes smaller repositories and shorter loads."""
    there = repositories(QUICK if quick else FULL)
    seconds = 1.0 if quick else 3.0
    flat = partial(
        Dimension,
        unit="ms of CPU a request",
        curves=("advertisement, protocol 2", "unknown token"),
        cost=_asked(seconds, there.small),
        flat=True,
    )
    return [
        flat(
            "tokens",
            sizes=(10, 1_000, 1_000_000),
            quick_sizes=(10, 1_000),
            served=lambda _size: there.served,
            fill=add_tokens,
        ),
        flat(
            "repositories",
            sizes=(1, 1_000, 100_000),
            quick_sizes=(1, 100),
            served=partial(_among_empty, there),
        ),
        flat(
            "audit rows",
            sizes=(1_000, 100_000, 10_000_000),
            quick_sizes=(1_000, 10_000),
            served=lambda _size: there.served,
            fill=add_audit_rows,
        ),
        Dimension(
            "refs",
            unit="ms of CPU a request",
            curves=("advertisement, protocol 0", "listing, protocol 2"),
            sizes=(10, 100, 1_000, 10_000, 100_000),
            quick_sizes=(10, 1_000),
            served=_with_references,
            cost=partial(_listed, seconds),
        ),
        Dimension(
            "equal clones at once",
            unit="s a clone",
            curves=("CPU", "wall"),
            sizes=(1, 4, 16, 64, 256),
            quick_sizes=(1, 4),
            served=lambda _size: there.served,
            cost=partial(_cloned, there),
        ),
        Dimension(
            "MiB of the pack",
            unit="s a clone",
            curves=("CPU, first", "wall, first", "CPU, second", "wall, second"),
            sizes=(1, 10, 100, 500, 2_000),
            quick_sizes=(1, 10),
            served=_with_pack,
            cost=_streamed,
        ),
    ]


# --- what is asked --------------------------------------------------------------------------------


def _asked(seconds: float, repository: str) -> Callable[[Server, int], Costs]:
    question = advertisement(repository)

    def cost(server: Server, _size: int) -> Costs:
        right = signed(in_protocol_2(question), server, server.secret)
        wrong = signed(refused(question), server, server.wrong_secret)
        return _milliseconds(server, right, seconds), _milliseconds(server, wrong, seconds)

    return cost


def _listed(seconds: float, server: Server, _size: int) -> Costs:
    first = signed(advertisement(_GROWN), server, server.secret)
    second = signed(listing(_GROWN), server, server.secret)
    return _milliseconds(server, first, seconds), _milliseconds(server, second, seconds)


def _milliseconds(server: Server, question: Question, seconds: float) -> float:
    return load(server, question, seconds).cpu_milliseconds


def _cloned(there: Repositories, server: Server, size: int) -> Costs:
    """In a server that was just started: nobody has cloned it before."""
    body = requests.clone(there.served / there.commits)
    _restart(server, there.small, requests.clone(there.served / there.small))
    before = server.cpu_seconds()
    wall = together(server, requests.post(server, there.commits, body), size)
    return (server.cpu_seconds() - before) / size, wall / size


def _streamed(server: Server, size: int) -> Costs:
    body = requests.clone(_with_pack(size) / _GROWN)
    _restart(server, _GROWN, requests.listing())
    costs: Costs = ()
    for _ in range(2):
        before = server.cpu_seconds()
        wall = together(server, requests.post(server, _GROWN, body), 1)
        costs += server.cpu_seconds() - before, wall
    return costs


def _restart(server: Server, repository: str, body: str) -> None:
    """Start it anew, and let it load what it loads at its first request."""
    server.restart()
    stream(server, requests.post(server, repository, body))


# --- what is served -------------------------------------------------------------------------------


def _with_references(number: int) -> Path:
    def make(folder: Path) -> None:
        import_repository(folder / _GROWN, many_references(number))

    return _kept(f"references-{number}", make)


def _with_pack(mebibytes: int) -> Path:
    def make(folder: Path) -> None:
        import_repository(folder / _GROWN, random_files(mebibytes, commits=20))

    return _kept(f"pack-{mebibytes}", make)


def _among_empty(there: Repositories, number: int) -> Path:
    """One repository, and so many in all; git asks no more of an empty one than this."""

    def make(folder: Path) -> None:
        shutil.copytree(there.served / there.small, folder / there.small)
        template = folder / "empty.git"
        for each in range(1, number):
            # A file can't have more than 65,000 names on ext4.
            if each % _LINKS_TO_ONE_FILE == 1:
                template = folder / f"empty-{each}.git"
                run_git("init", "--quiet", "--bare", "--template=", str(template))
                continue
            repository = folder / f"empty-{each}.git"
            for part in ("objects", "refs"):
                (repository / part).mkdir(parents=True)
            for name in ("HEAD", "config"):
                os.link(template / name, repository / name)

    return _kept(f"repositories-{number}", make)


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of that name; make it first if it is not there, or not whole."""
    folder = _KEPT / name
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder
