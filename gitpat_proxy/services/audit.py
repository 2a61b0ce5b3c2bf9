"""The audit: written without making requests wait, read by those who run the proxy."""

import asyncio
from collections import deque
from contextlib import suppress
from datetime import datetime

import structlog

from gitpat_proxy.store import audit, tokens
from gitpat_proxy.store.audit import AuditEvent, AuditFilter
from gitpat_proxy.store.database import Database, DatabaseError

_WAIT_SECONDS = 1.0
_LONGEST_QUEUE = 10_000

_log = structlog.get_logger()


async def search(database: Database, wanted: AuditFilter) -> list[tuple[int, AuditEvent]]:
    """Return the events with their row ids, oldest first."""
    async with database.reading() as connection:
        return await audit.matching(connection, wanted)


class Recorder:
    """Collects what passed the gate and writes it in groups, within a second or at once.

    "Last used" is written the same way, so that two requests with one token never wait for each
    other. What can't be written is kept for the next try, up to a bound, and the loss is logged.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._events: deque[AuditEvent] = deque()
        self._uses: dict[str, tuple[datetime, str]] = {}
        self._writing = asyncio.Lock()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._write_regularly())

    def event(self, event: AuditEvent) -> None:
        """Have the event written soon."""
        if len(self._events) >= _LONGEST_QUEUE:
            self._events.popleft()
            _log.error("audit_event_lost", reason="the database can't be written to")
        self._events.append(event)

    def use(self, token_id: str, at: datetime, address: str) -> None:
        """Have it written soon when and from where the token was last used."""
        self._uses[token_id] = (at, address)

    async def flush(self) -> None:
        """Write all that is waiting; when this returns it is on disk, or logged as not written."""
        async with self._writing:
            events, uses = list(self._events), self._uses
            if not events and not uses:
                return
            self._events.clear()
            self._uses = {}
            try:
                await self._write(events, uses)
            except DatabaseError as error:
                _log.error("audit_not_written", events=len(events), reason=str(error))
                self._events.extendleft(reversed(events))
                self._uses = uses | self._uses

    async def close(self) -> None:
        """Write the last of it."""
        self._closing.set()
        await self._task

    async def _write(self, events: list[AuditEvent], uses: dict[str, tuple[datetime, str]]) -> None:
        async with self._database.writing() as connection:
            if events:
                await audit.insert(connection, events)
            if uses:
                await tokens.set_last_used(
                    connection, [(token_id, at, address) for token_id, (at, address) in uses.items()]
                )

    async def _write_regularly(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _WAIT_SECONDS)
            await self.flush()
