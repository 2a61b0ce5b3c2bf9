"""The audit, newest first, page by page: each event once, whatever is looked for."""

import itertools
from datetime import timedelta

import pytest

from gitpat_proxy.access.model import AuditEvent, AuditFilter, AuditPlace, AuditRow, EventKind
from gitpat_proxy.store import audit
from gitpat_proxy.store.database import Database
from tests.access.examples import NOW

TICK = timedelta(microseconds=1)
# Several of each moment, and not in the order of their time.
EVENTS = [
    AuditEvent(
        NOW - (number * 7 % 40) // 3 * TICK,
        event,
        account=["alice", "bob", None][number % 3],
        token=["t-1", "t-2", None, "t-3"][number % 4],
        repository=["team/app", None, "team/lib"][number // 2 % 3],
        address=["192.0.2.1", None, "192.0.2.2", "192.0.2.3", "192.0.2.1"][number % 5],
        details={"number": number},
    )
    for number, event in enumerate(
        itertools.islice(itertools.cycle(["clone", "push", "refused", "token_edited", "signed_in"]), 97)
    )
]
FILTERS = [
    AuditFilter(),
    *[AuditFilter(kind=kind) for kind in EventKind],
    *[AuditFilter(account=account) for account in ("alice", "nobody")],
    *[AuditFilter(token=token) for token in ("t-1", "t-9")],
    *[AuditFilter(repository=repository) for repository in ("team/app", "team", "")],
    *[AuditFilter(address=address) for address in ("192.0.2.2", "192.0.2")],
    AuditFilter(since=NOW - 5 * TICK),
    AuditFilter(since=NOW + TICK),
    AuditFilter(account="alice", kind=EventKind.PUSH),
    AuditFilter(account="bob", token="t-2", kind=EventKind.READ),
    AuditFilter(token="t-1", address="192.0.2.1", since=NOW - 9 * TICK),
    AuditFilter(account="alice", repository="team/app", address="192.0.2.1", kind=EventKind.READ),
]


def fits(event: AuditEvent, wanted: AuditFilter) -> bool:
    names = ("account", "token", "repository", "address", "kind")
    return (wanted.since is None or event.at >= wanted.since) and all(
        getattr(wanted, name) in {None, getattr(event, name)} for name in names
    )


def expected(wanted: AuditFilter) -> list[AuditRow]:
    rows = [(number, event) for number, event in enumerate(EVENTS, 1) if fits(event, wanted)]
    return sorted(rows, key=lambda row: (row[1].at, row[0]), reverse=True)


@pytest.fixture
async def events(database: Database) -> Database:
    async with database.writing() as connection:
        await connection.run_sync(audit.insert, EVENTS)
    return database


async def walk(database: Database, wanted: AuditFilter, limit: int) -> list[list[AuditRow]]:
    pages: list[list[AuditRow]] = []
    before: AuditPlace | None = None
    async with database.reading() as connection:
        while True:
            page, before = await audit.page(connection, wanted, before, limit)
            pages.append(page)
            assert len(page) <= limit
            if before is None:
                return pages
            assert len(pages) <= 2 * len(EVENTS)


@pytest.mark.parametrize("wanted", FILTERS)
async def test_the_pages_have_each_event_once_newest_first(
    events: Database, wanted: AuditFilter
) -> None:
    rows = expected(wanted)
    for limit in (2, 10, len(rows) or 1, 1000):
        pages = await walk(events, wanted, limit)
        assert [row for page in pages for row in page] == rows
        # Only the last may have fewer, and none is empty where there is something.
        assert all(len(page) == limit for page in pages[:-1])
        assert pages[-1] or len(pages) == 1


@pytest.mark.parametrize("looked_at", [2, 7, 96, 97, 98])
@pytest.mark.parametrize("wanted", FILTERS)
async def test_what_is_looked_at_at_a_time_is_bounded_and_all_is_found_still(
    events: Database, monkeypatch: pytest.MonkeyPatch, wanted: AuditFilter, looked_at: int
) -> None:
    """Most events fit no search for a repository or an address, and no index leads to those that do."""
    monkeypatch.setattr(audit, "_MOST_LOOKED_AT", looked_at)
    for limit in (1, 50) if looked_at > 2 else (3,):
        pages = await walk(events, wanted, limit)
        assert [row for page in pages for row in page] == expected(wanted)


async def test_what_is_written_meanwhile_does_not_move_the_pages(events: Database) -> None:
    async with events.writing() as connection:
        first, place = await audit.page(connection, AuditFilter(), None, 10)
        await connection.run_sync(
            audit.insert, [AuditEvent(NOW + TICK, "push"), AuditEvent(NOW, "clone")]
        )
        second, _ = await audit.page(connection, AuditFilter(), place, 10)
    assert first + second == expected(AuditFilter())[:20]


async def test_the_kind_is_written_with_each_event(events: Database) -> None:
    async with events.reading() as connection:
        rows = await connection.exec_driver_sql("SELECT event, kind FROM audit")
        assert {(row.event, row.kind) for row in rows} == {(e.event, e.kind) for e in EVENTS}


async def test_of_a_large_push_a_page_has_so_many_refs_and_says_how_many_more(
    database: Database,
) -> None:
    updates = [{"ref": f"refs/heads/{number}"} for number in range(5000)]
    pushes = [
        AuditEvent(NOW, "push", details={"updates": updates, "unclear": True}),
        AuditEvent(NOW, "push", details={"updates": updates[:10]}),
    ]
    async with database.writing() as connection:
        await connection.run_sync(audit.insert, pushes)
        bounded, _ = await audit.page(connection, AuditFilter(), None, 10, most_refs=10)
        whole, _ = await audit.page(connection, AuditFilter(), None, 10)
    small, large = (event.details for _, event in bounded)
    assert large == {"updates": updates[:10], "updates_more": 4990, "unclear": True}
    assert small == {"updates": updates[:10]}
    assert [event for _, event in whole] == pushes[::-1]
