"""How many operations run at once, and who is next where some have to wait."""

import asyncio
import itertools
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from gitpat_proxy.access.address import Address, network_of
from gitpat_proxy.access.refusal import Code, Refusal, RefusedError, refuse
from gitpat_proxy.config.model import Config, Limits
from gitpat_proxy.shared import Shared
from gitpat_proxy.store.errors import DatabaseError

_LOOK_SECONDS = 0.05
"""How soon those who wait see that another worker has room."""
_RETRY_SECONDS = 5

_log = structlog.get_logger()


@dataclass(frozen=True)
class Claim:
    """Whose an operation is; `network` is "" for a Unix socket whose proxy names no client."""

    token: str
    network: str


class Running(NamedTuple):
    """How many run, by token and by network."""

    tokens: Counter[str]
    networks: Counter[str]


class Place:
    """One operation's place among those that run; given back once, as soon as it costs no process."""

    def __init__(self, admission: "Admission", number: int) -> None:
        self._admission = admission
        self._number: int | None = number

    def release(self) -> None:
        """Give it back; may be called again."""
        if self._number is not None:
            number, self._number = self._number, None
            self._admission.leave(number)


class Admission:
    """Gives each operation a place, in all workers together, or lets it wait for one for a while."""

    def __init__(self, shared: Shared, config: Config) -> None:
        self._shared = shared
        self._config = config
        self._left: list[int] = []
        self._waiting: dict[asyncio.Future[int | None], Claim] = {}
        self._turns = itertools.count(1)
        self._served: dict[str, int] = {}
        """When each token's turn was last, as long as anybody waits."""
        self._looking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def place(self, token_id: str, address: Address | None) -> AsyncIterator[Place]:
        """Hold a place as long as the block runs, at most.

        Raises RefusedError if there is none in time, DatabaseError if that can't be found out.
        """
        claim = Claim(token_id, str(network_of(address)) if address else "")
        place = Place(self, await self._enter(claim))
        try:
            yield place
        finally:
            place.release()

    def leave(self, number: int) -> None:
        """Give a place back; where that fails, with the next that is given back or asked for."""
        self._left.append(number)
        try:
            if self._waiting:
                self._admit()
            else:
                with self._giving_back():
                    pass
        except DatabaseError as error:
            _log.error("place_not_given_back", places=len(self._left), reason=str(error))

    async def _enter(self, claim: Claim) -> int:
        limits = self._config.limits
        given: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._waiting[given] = claim
        try:
            running = self._admit()
            self._turn_away(limits.waiting)
            if not given.done():
                self._look_on()
                await asyncio.wait([given], timeout=limits.waiting_seconds)
                if not given.done():
                    running = self._admit()
        except BaseException:
            if given.done() and (number := given.result()):
                self.leave(number)
            raise
        finally:
            self._waiting.pop(given, None)
        if not given.done() or (number := given.result()) is None:
            raise RefusedError(_busy(claim, running, limits))
        return number

    def _turn_away(self, most: int) -> None:
        """Let no more wait than may; who has the most waiting has the newest turned away."""
        while len(self._waiting) > most:
            newest = list(self._waiting)[one_too_many(list(self._waiting.values()))]
            del self._waiting[newest]
            newest.set_result(None)

    def _admit(self) -> Running:
        """Give places to those who are next; return what ran before."""
        waiting = list(self._waiting.items())
        with self._giving_back() as connection:
            running = _running(connection)
            chosen = [
                waiting[index]
                for index in next_of([c for _, c in waiting], running, self._config.limits, self._served)
            ]
            numbers = [
                connection.execute(
                    "INSERT INTO running (worker, token, network) VALUES (?, ?, ?)",
                    (os.getpid(), claim.token, claim.network),
                ).lastrowid
                for _, claim in chosen
            ]
        for (given, claim), number in zip(chosen, numbers, strict=True):
            del self._waiting[given]
            given.set_result(number)
            self._served[claim.token] = next(self._turns)
        if not self._waiting:
            self._served.clear()
        return running

    @contextmanager
    def _giving_back(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction by giving back what is left; where it fails, it will be with the next."""
        with self._shared.transaction() as connection:
            left = [(number,) for number in self._left]
            connection.executemany("DELETE FROM running WHERE id = ?", left)
            yield connection
        self._left.clear()

    def _look_on(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while self._waiting:
            await asyncio.sleep(_LOOK_SECONDS)
            # Those who wait look once more in the end, and say what is wrong.
            with suppress(DatabaseError):
                self._admit()


def next_of(
    waiting: Sequence[Claim], running: Running, limits: Limits, served: Mapping[str, int]
) -> list[int]:
    """Return the indexes of those of the waiting, oldest first, who may run now, in their order.

    Fair to each token: everybody's first comes before anybody's second, and whose turn was last,
    by `served`, comes after the others.
    """
    running = Running(running.tokens.copy(), running.networks.copy())
    ahead: Counter[str] = Counter()
    ranks = []
    for claim in waiting:
        ranks.append(ahead[claim.token])
        ahead[claim.token] += 1
    chosen = []
    for index in sorted(
        range(len(waiting)), key=lambda index: (ranks[index], served.get(waiting[index].token, 0))
    ):
        claim = waiting[index]
        if _what_is_full(claim, running, limits) is None:
            running.tokens[claim.token] += 1
            running.networks[claim.network] += 1
            chosen.append(index)
    return chosen


def one_too_many(waiting: Sequence[Claim]) -> int:
    """Return the index of the newest of those whose token has the most waiting."""
    tokens = Counter(claim.token for claim in waiting)
    most = max(tokens.values())
    return max(index for index, claim in enumerate(waiting) if tokens[claim.token] == most)


def _running(connection: sqlite3.Connection) -> Running:
    # Counted by SQLite, in a fraction of the time that it takes here.
    tokens = connection.execute("SELECT token, COUNT(*) FROM running GROUP BY token")
    networks = connection.execute("SELECT network, COUNT(*) FROM running GROUP BY network")
    return Running(Counter(dict(tokens)), Counter(dict(networks)))


def _what_is_full(claim: Claim, running: Running, limits: Limits) -> str | None:
    """Return, as the end of a sentence, whose bound keeps the claim waiting; None: it may run."""
    if running.tokens.total() >= limits.operations:
        return ""
    if running.tokens[claim.token] >= limits.operations_per_token:
        return f" with the token {claim.token}"
    if claim.network and running.networks[claim.network] >= limits.operations_per_address:
        return f" from the address {claim.network.removesuffix('/32')}"
    return None


def _busy(claim: Claim, running: Running, limits: Limits) -> Refusal:
    whose = _what_is_full(claim, running, limits) or ""
    return refuse(Code.BUSY, retry_after=_RETRY_SECONDS, whose=whose)
