"""The recorder: requests don't wait for it, and nothing that it was given is lost."""

import asyncio
import errno
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from gitpat_proxy.access.model import AuditEvent, AuditFilter
from gitpat_proxy.services import audit as service
from gitpat_proxy.services.audit import Recorder, search, verify
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store import audit
from gitpat_proxy.store.connection import Connection
from gitpat_proxy.store.database import Database
from tests.access.examples import NOW
from tests.services.token_life import create
from tests.store.databases import opened
from tests.store.killed import killed_after

HOUR = timedelta(hours=1)


def event(number: int) -> AuditEvent:
    return AuditEvent(NOW + HOUR, f"event-{number}")


async def written(database: Database) -> list[str]:
    return [event.event for _, event in await search(database, AuditFilter())]


@pytest.fixture(autouse=True)
def no_regular_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine would see one in between."""
    monkeypatch.setattr(service, "_WAIT_SECONDS", 3600)


class HeldUp(Database):
    """A database that takes its time: whoever writes waits until it is told to go on."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        self.entered.set()
        await self.go_on.wait()
        async with super().writing() as connection:
            yield connection

    async def write(self, function: Callable[[sa.Connection], None]) -> None:
        self.entered.set()
        await self.go_on.wait()
        await super().write(function)


@pytest.fixture
async def held_up(database: Database) -> AsyncIterator[HeldUp]:
    async with HeldUp(f"sqlite:///{database.path}") as held_up:
        yield held_up


@pytest.fixture
async def recorder(database: Database) -> AsyncIterator[Recorder]:
    recorder = Recorder(database)
    recorder.start()
    yield recorder
    await recorder.close()


async def test_what_was_recorded_is_on_disk_when_flush_returns(
    recorder: Recorder, database: Database
) -> None:
    full = AuditEvent(NOW, "push", "alice", "t-1", "team/app", "192.0.2.1", "r1", {"updates": []})
    recorder.event(full)
    recorder.event(event(1))
    await recorder.flush()
    async with opened(database.path) as other:
        assert await search(other, AuditFilter()) == [(1, full), (2, event(1))]
    await recorder.flush()
    assert len(await written(database)) == 2


async def test_it_is_written_without_a_flush_as_well(
    held_up: HeldUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_WAIT_SECONDS", 0)
    recorder = Recorder(held_up)
    recorder.start()
    recorder.event(event(1))
    held_up.go_on.set()
    await asyncio.wait_for(held_up.entered.wait(), 10)
    await recorder.close()
    assert await written(held_up) == ["event-1"]


async def test_close_writes_the_rest(database: Database) -> None:
    recorder = Recorder(database)
    recorder.start()
    recorder.event(event(1))
    recorder.event(event(2))
    await recorder.close()
    assert await written(database) == ["event-1", "event-2"]


async def test_the_last_use_of_a_token_is_written(
    recorder: Recorder, tokens: Tokens, database: Database
) -> None:
    token = (await create(tokens))[1]
    recorder.use(token.id, NOW, "192.0.2.1")
    recorder.use(token.id, NOW + HOUR, "192.0.2.2")
    await recorder.flush()
    used = await tokens.get(token.id)
    assert (used.last_used_at, used.last_used_from) == (NOW + HOUR, "192.0.2.2")
    recorder.use(token.id, NOW, "192.0.2.3")
    await recorder.flush()
    assert await tokens.get(token.id) == used


def without_table(path: Path, statement: str) -> None:
    """Take the audit's table away from under the recorder, and put it back."""
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


async def test_what_can_not_be_written_is_kept_and_written_later_in_its_order(
    recorder: Recorder, tokens: Tokens, database: Database
) -> None:
    token = (await create(tokens))[1]
    before = await written(database)
    without_table(database.path, "ALTER TABLE audit RENAME TO away")
    recorder.event(event(1))
    recorder.use(token.id, NOW, "192.0.2.1")
    with capture_logs() as log:
        await recorder.flush()
        recorder.event(event(2))
        recorder.use(token.id, NOW + HOUR, "192.0.2.2")
        await recorder.flush()
    assert [(line["event"], line["waiting"]) for line in log] == [
        ("audit_not_written", 1),
        ("audit_not_written", 2),
    ]
    assert "no such table: audit" in log[0]["reason"]
    assert (await tokens.get(token.id)).last_used_at is None
    without_table(database.path, "ALTER TABLE away RENAME TO audit")
    recorder.event(event(3))
    await recorder.flush()
    assert await written(database) == [*before, "event-1", "event-2", "event-3"]
    assert (await tokens.get(token.id)).last_used_from == "192.0.2.2"


async def test_what_is_kept_is_bounded_and_a_loss_is_logged(database: Database) -> None:
    recorder = Recorder(database, longest_queue=3)
    recorder.start()
    with capture_logs() as log:
        for number in range(5):
            recorder.event(event(number))
    assert [(line["event"], line["events"]) for line in log] == [("audit_events_lost", 1)] * 2
    await recorder.flush()
    assert await written(database) == ["event-2", "event-3", "event-4"]
    await recorder.close()


async def test_what_comes_back_from_a_failed_write_is_bounded_too(held_up: HeldUp) -> None:
    recorder = Recorder(held_up, longest_queue=3)
    recorder.start()
    for number in range(3):
        recorder.event(event(number))
    failing = asyncio.create_task(recorder.flush())
    await held_up.entered.wait()
    recorder.event(event(3))
    without_table(held_up.path, "ALTER TABLE audit RENAME TO away")
    held_up.go_on.set()
    with capture_logs() as log:
        await failing
    assert [line["event"] for line in log] == ["audit_events_lost", "audit_not_written"]
    without_table(held_up.path, "ALTER TABLE away RENAME TO audit")
    await recorder.flush()
    assert await written(held_up) == ["event-1", "event-2", "event-3"]
    await recorder.close()


async def test_a_flush_that_is_cancelled_loses_nothing(held_up: HeldUp) -> None:
    recorder = Recorder(held_up)
    recorder.start()
    recorder.event(event(1))
    flush = asyncio.create_task(recorder.flush())
    await held_up.entered.wait()
    flush.cancel()
    await asyncio.wait([flush])
    held_up.go_on.set()
    await recorder.flush()
    assert await written(held_up) == ["event-1"]
    await recorder.close()


async def test_a_flush_that_is_cancelled_while_it_writes_writes_once(database: Database) -> None:
    recorder = Recorder(database)
    recorder.event(event(1))
    with closing(sqlite3.connect(database.path, isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        flush = asyncio.create_task(recorder.flush())
        for _ in range(3):
            await asyncio.sleep(0.02)
            flush.cancel()
        another.execute("ROLLBACK")
    await asyncio.wait([flush])
    await recorder.flush()
    assert await written(database) == ["event-1"]


async def test_without_a_thread_it_is_written_later_and_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    recorder = Recorder(database)
    recorder.event(event(1))
    with monkeypatch.context() as patch, capture_logs() as log:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(3):
            await recorder.flush()
    assert [line["event"] for line in log] == ["audit_not_written"] * 3
    await recorder.flush()
    assert await written(database) == ["event-1"]


async def test_recording_waits_for_nobody(held_up: HeldUp) -> None:
    recorder = Recorder(held_up)
    recorder.start()
    recorder.event(event(1))
    flush = asyncio.create_task(recorder.flush())
    await held_up.entered.wait()
    recorder.event(event(2))
    recorder.use("t-1", NOW, "192.0.2.1")
    held_up.go_on.set()
    await flush
    await recorder.flush()
    assert await written(held_up) == ["event-1", "event-2"]
    await recorder.close()


async def test_a_flush_covers_what_another_one_is_writing(held_up: HeldUp) -> None:
    """A push is acknowledged after its flush: its event must not be on its way still."""
    recorder = Recorder(held_up)
    recorder.start()
    recorder.event(event(1))
    first = asyncio.create_task(recorder.flush())
    await held_up.entered.wait()
    second = asyncio.create_task(recorder.flush())
    await asyncio.sleep(0)
    assert not second.done()
    held_up.go_on.set()
    await second
    assert await written(held_up) == ["event-1"]
    await first
    await recorder.close()


async def test_a_flush_with_a_limit_returns_when_all_is_written(
    recorder: Recorder, database: Database
) -> None:
    recorder.event(event(1))
    before = time.monotonic()
    await recorder.flush_within(60)
    assert time.monotonic() - before < 10
    assert await written(database) == ["event-1"]


async def test_a_flush_with_a_limit_waits_no_longer_for_another_writer_and_loses_nothing(
    recorder: Recorder, tokens: Tokens, database: Database
) -> None:
    token = (await create(tokens))[1]
    before = await written(database)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in (1, 2):
            recorder.event(event(number))
            recorder.use(token.id, NOW + number * HOUR, "192.0.2.1")
            began = time.monotonic()
            await recorder.flush_within(0.3)
            assert 0.2 < time.monotonic() - began < 2
        assert await written(database) == before
        other.execute("ROLLBACK")
    recorder.event(event(3))
    await recorder.flush()
    assert await written(database) == [*before, "event-1", "event-2", "event-3"]
    assert (await tokens.get(token.id)).last_used_at == NOW + 2 * HOUR


async def test_what_a_flush_with_a_limit_left_goes_on_by_itself(held_up: HeldUp) -> None:
    recorder = Recorder(held_up)
    recorder.start()
    recorder.event(event(1))
    await recorder.flush_within(0)
    await asyncio.wait_for(held_up.entered.wait(), 10)
    assert await written(held_up) == []
    held_up.go_on.set()
    for _ in range(200):
        if await written(held_up):
            break
        await asyncio.sleep(0.01)
    assert await written(held_up) == ["event-1"]
    await recorder.close()
    assert await written(held_up) == ["event-1"]


async def test_close_also_writes_what_came_while_the_last_was_being_written(
    held_up: HeldUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_WAIT_SECONDS", 0)
    recorder = Recorder(held_up)
    recorder.start()
    recorder.event(event(1))
    await held_up.entered.wait()
    recorder.event(event(2))
    closing = asyncio.create_task(recorder.close())
    await asyncio.sleep(0)
    held_up.go_on.set()
    await closing
    assert await written(held_up) == ["event-1", "event-2"]


# What dies with a process


def files_beside(database: Database) -> list[Path]:
    return list(database.path.parent.glob(f"{database.path.name}-unwritten-*"))


async def told(database: Database) -> tuple[list[AuditEvent], list[tuple[str, int]]]:
    """Start and end a recorder; return what is in the audit then, and what it logged."""
    with capture_logs() as log:
        recorder = Recorder(database, clock=lambda: NOW)
        recorder.start()
        await recorder.close()
    events = [event for _, event in await search(database, AuditFilter())]
    return events, [(line["event"], line["events"]) for line in log]


async def test_what_died_with_killed_processes_is_told_once(database: Database) -> None:
    killed_after(database.path, ("add", (3,)))
    killed_after(database.path, ("add", (4,)))
    events, log = await told(database)
    assert events == [AuditEvent(NOW, "events_lost", details={"events": 7})]
    assert log == [("audit_events_lost", 7)]
    assert files_beside(database) == []
    assert await told(database) == (events, [])
    assert (await verify(database)).broken is None


async def test_what_was_committed_when_its_process_was_killed_is_not_told(database: Database) -> None:
    async with database.writing() as connection:
        link = await connection.run_sync(audit.insert, [event(1), event(2)])
    killed_after(database.path, ("add", (2,)), ("before_commit", (2, link)))
    assert await told(database) == ([event(1), event(2)], [])
    killed_after(database.path, ("add", (2,)), ("before_commit", (2, (link[0], bytes(32)))))
    assert (await told(database))[1] == [("audit_events_lost", 2)]


async def test_a_recorder_counts_what_it_is_given_what_it_writes_and_what_it_drops(
    database: Database,
) -> None:
    recorder = Recorder(database, longest_queue=3)
    recorder.start()
    recorder.event(event(1))
    recorder.use("t-1", NOW, "192.0.2.1")
    await recorder.flush()
    without_table(database.path, "ALTER TABLE audit RENAME TO away")
    with capture_logs() as log:
        for number in range(2, 7):
            recorder.event(event(number))
        await recorder.close()
    assert log[-1]["waiting"] == 3
    without_table(database.path, "ALTER TABLE away RENAME TO audit")
    assert (await told(database))[1] == [("audit_events_lost", 3)]


async def test_what_was_written_at_the_second_try_is_not_lost(database: Database) -> None:
    recorder = Recorder(database)
    recorder.start()
    without_table(database.path, "ALTER TABLE audit RENAME TO away")
    recorder.event(event(1))
    await recorder.flush()
    without_table(database.path, "ALTER TABLE away RENAME TO audit")
    recorder.event(event(2))
    assert len(files_beside(database)) == 1
    await recorder.close()
    assert files_beside(database) == []


async def test_what_can_not_be_told_now_is_told_at_the_next_start(database: Database) -> None:
    killed_after(database.path, ("add", (3,)))
    without_table(database.path, "ALTER TABLE audit RENAME TO away")
    recorder = Recorder(database)
    with capture_logs() as log:
        recorder.start()
        await recorder.close()
    assert [line["event"] for line in log] == ["audit_losses_not_told"]
    without_table(database.path, "ALTER TABLE away RENAME TO audit")
    assert (await told(database))[1] == [("audit_events_lost", 3)]


async def test_where_no_file_can_be_made_all_else_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(database.path.parent))

    monkeypatch.setattr(tempfile, "mkstemp", denied)
    recorder = Recorder(database)
    with capture_logs() as log:
        recorder.start()
        recorder.event(event(1))
        await recorder.close()
    assert [line["event"] for line in log] == ["audit_losses_not_counted"]
    assert await written(database) == ["event-1"]
