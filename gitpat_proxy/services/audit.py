"""The audit: written without making requests wait, read by those who run the proxy."""

import asyncio
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog

from gitpat_proxy.access.chain import link_of
from gitpat_proxy.access.model import AuditEvent, AuditFilter, AuditPlace, AuditRow, Clock
from gitpat_proxy.access.moment import day_of
from gitpat_proxy.services.clock import utc_now
from gitpat_proxy.services.errors import ServiceError
from gitpat_proxy.store import audit, tokens
from gitpat_proxy.store.database import Database
from gitpat_proxy.store.errors import DatabaseError
from gitpat_proxy.store.unwritten import Unwritten, left_behind

_WAIT_SECONDS = 1.0
_PRUNE_SECONDS = 3600
_PRUNED_AT_ONCE = 5_000
_VERIFIED_AT_ONCE = 5_000

_log = structlog.get_logger()


async def page(
    database: Database,
    wanted: AuditFilter,
    before: AuditPlace | None,
    limit: int,
    most_refs: int | None = None,
) -> tuple[list[AuditRow], AuditPlace | None]:
    """Return the newest events before a place, and the place where to go on; None at the end.

    As `store.audit.page` says.
    """
    async with database.reading() as connection:
        return await audit.page(connection, wanted, before, limit, most_refs)


async def search(database: Database, wanted: AuditFilter) -> list[AuditRow]:
    """Return the events with their row ids, oldest first."""
    async with database.reading() as connection:
        return await audit.matching(connection, wanted)


@dataclass(frozen=True)
class Verification:
    """What came of following the chain; `broken` says what is wrong first, None: nothing."""

    events: int
    last_id: int
    digest: str
    """Of the last record that is right: noted elsewhere, it shows later that none is missing."""
    broken: str | None


async def verify(database: Database, noted: tuple[int, str] | None = None) -> Verification:
    """Follow the chain from the first record that is there to the end, or to where it is broken.

    `noted` is the id and the digest of a record that somebody wrote down: it must still be there.
    """
    events = 0
    async with database.reading() as connection:
        last_id, digest = await connection.run_sync(audit.first_link)
        if noted and noted[0] <= last_id:
            raise ServiceError(f"the record {noted[0]} has been pruned; note a newer one")
        while rows := await audit.linked(connection, last_id, _VERIFIED_AT_ONCE):
            for (row_id, event), found in rows:
                broken = _flaw(last_id, digest, (row_id, event), found)
                if broken is None and noted and noted[0] == row_id and noted[1] != found.hex():
                    broken = f"the record {row_id} is another than the one that was noted"
                if broken:
                    return Verification(events, last_id, digest.hex(), broken)
                last_id, digest, events = row_id, found, events + 1
    if noted and noted[0] > last_id:
        return Verification(
            events, last_id, digest.hex(), f"the record {noted[0]}, which was noted, is missing"
        )
    return Verification(events, last_id, digest.hex(), None)


def _flaw(last_id: int, digest: bytes, row: AuditRow, found: bytes) -> str | None:
    """Return what is wrong with the record that follows the one with that id and digest."""
    row_id, event = row
    if row_id != last_id + 1:
        return f"records are missing between {last_id} and {row_id} ({event.at:%Y-%m-%d %H:%M} UTC)"
    if found != link_of(digest, row_id, event):
        return f"the record {row_id} of {event.at:%Y-%m-%d %H:%M} UTC, or its link, was changed"
    return None


async def prune(database: Database, before: datetime) -> int:
    """Remove the records from before that time; return how many.

    In pieces, so that nobody who has something to write waits long.
    """
    removed = 0
    while True:
        async with database.writing() as connection:
            piece = await audit.prune(connection, before, _PRUNED_AT_ONCE)
        removed += piece
        if piece < _PRUNED_AT_ONCE:
            return removed


async def prune_regularly(database: Database, clock: Clock, keep: timedelta) -> None:
    """Remove what is older than `keep`, at once and each hour; what fails is logged."""
    while True:
        try:
            if removed := await prune(database, clock() - keep):
                _log.info("audit_pruned", events=removed)
        except Exception:
            # The outermost edge of a task that nobody waits for.
            _log.exception("audit_not_pruned")
        await asyncio.sleep(_PRUNE_SECONDS)


class Recorder:
    """Collects what passed the gate and writes it in groups, within a second or at once.

    "Last used" is written the same way, so that two requests with one token never wait for each
    other. What can't be written is kept for the next try, up to a bound, and the loss is logged. How
    much dies with a process that is killed, the next one tells.
    """

    def __init__(self, database: Database, longest_queue: int = 10_000, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._unwritten = Unwritten()
        self._events: deque[AuditEvent] = deque()
        self._longest_queue = longest_queue
        self._uses: dict[str, tuple[datetime, str]] = {}
        self._writing = asyncio.Lock()
        self._closing = asyncio.Event()
        self._flushing: set[asyncio.Task[None]] = set()
        self._next_flush: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write what is collected, inside a running event loop."""
        try:
            self._unwritten.open(self._database.path)
        except OSError as error:
            _log.error("audit_losses_not_counted", reason=str(error))
        self._task = asyncio.create_task(self._write_regularly())

    def event(self, event: AuditEvent) -> None:
        """Have the event written soon."""
        self._events.append(event)
        self._unwritten.add(1)
        self._drop_oldest()

    def use(self, token_id: str, at: datetime, address: str) -> None:
        """Have it written soon when and from where the token was last used."""
        self._uses[token_id] = (at, address)

    async def flush(self) -> None:
        """Write all that is waiting; when this returns it is on disk, or logged as not written."""
        async with self._writing:
            self._next_flush = None
            events, uses = list(self._events), self._uses
            if not events and not uses:
                return
            self._events.clear()
            self._uses = {}
            try:
                await self._write(events, uses)
            except BaseException as error:
                self._events.extendleft(reversed(events))
                self._uses = uses | self._uses
                self._drop_oldest()
                if not isinstance(error, DatabaseError):
                    raise
                _log.error("audit_not_written", waiting=len(self._events), reason=str(error))

    async def flush_within(self, seconds: float) -> None:
        """Flush, but wait no longer than that; the writing goes on.

        Those who wait while another flush is writing share the next one.
        """
        if self._next_flush is None:
            self._next_flush = asyncio.create_task(self.flush())
            self._flushing.add(self._next_flush)
            self._next_flush.add_done_callback(self._flushing.discard)
        await asyncio.wait([self._next_flush], timeout=seconds)

    async def close(self) -> None:
        """Write the last of it."""
        self._closing.set()
        if self._task:
            await self._task
        await self.flush()
        self._unwritten.close()

    def _drop_oldest(self) -> None:
        lost = max(0, len(self._events) - self._longest_queue)
        for _ in range(lost):
            self._events.popleft()
        if lost:
            self._unwritten.add(-lost)
            _log.error("audit_events_lost", events=lost, reason="the database can't be written to")

    async def _write(self, events: list[AuditEvent], uses: dict[str, tuple[datetime, str]]) -> None:
        def write(connection: sa.Connection) -> None:
            if events:
                link = audit.insert(connection, events)
                self._unwritten.before_commit(len(events), link)
            if counted := Counter((e.token, day_of(e.at)) for e in events if e.token and e.is_use):
                tokens.add_uses(connection, [(*use, number) for use, number in counted.items()])
            if uses:
                tokens.set_last_used(
                    connection, [(token_id, at, address) for token_id, (at, address) in uses.items()]
                )

        await self._database.write(write)
        if events:
            self._unwritten.after_commit()

    async def _tell_losses(self) -> None:
        """Write how many events died with processes that were killed.

        Killed itself between the commit and the end of the block, it is told twice: better than never.
        """
        with left_behind(self._database.path) as found:
            if not found:
                return
            async with self._database.writing() as connection:
                lost = sum(
                    [left.lost(link_is_there=await audit.holds(connection, left.link)) for left in found]
                )
                if lost:
                    event = AuditEvent(self._clock(), "events_lost", details={"events": lost})
                    await connection.run_sync(audit.insert, [event])
        if lost:
            _log.error("audit_events_lost", events=lost, reason="the process that had them was killed")

    async def _write_regularly(self) -> None:
        """The outermost edge of a task that nobody waits for: what fails is logged and tried again."""
        try:
            await self._tell_losses()
        except Exception:
            # The files are left to the next start.
            _log.exception("audit_losses_not_told")
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _WAIT_SECONDS)
            try:
                await self.flush()
            except Exception:
                _log.exception("audit_not_written", waiting=len(self._events))
