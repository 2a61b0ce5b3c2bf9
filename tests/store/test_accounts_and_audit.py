"""Queries on accounts and on the audit."""

from datetime import timedelta
from typing import Any

import pytest

from gitpat_proxy.access.model import AuditEvent, AuditFilter
from gitpat_proxy.store import accounts, audit
from gitpat_proxy.store.database import Database
from tests.access.examples import NOW, an_account

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("changes", [{"administrator": True}, {"service": True}, {"disabled_at": NOW}])
async def test_an_account_is_found_as_it_was_written(
    database: Database, changes: dict[str, Any]
) -> None:
    account = an_account(**changes)
    async with database.writing() as connection:
        await accounts.insert(connection, account)
        assert await accounts.named(connection, "alice") == account
        assert await accounts.named(connection, "Alice") is None
        assert await accounts.named(connection, "bob") is None


async def test_accounts_are_listed_by_name_and_disabled_one_by_one(database: Database) -> None:
    async with database.writing() as connection:
        for name in ("bob", "carol", "alice"):
            await accounts.insert(connection, an_account(name=name))
        await accounts.set_disabled(connection, "bob", NOW)
        await accounts.set_disabled(connection, "carol", NOW)
        await accounts.set_disabled(connection, "carol", None)
        listed = await accounts.everyone(connection)
    assert [(account.name, account.disabled_at) for account in listed] == [
        ("alice", None),
        ("bob", NOW),
        ("carol", None),
    ]


EVENTS = [
    AuditEvent(NOW, "clone", "alice", "t-1", "team/app", "192.0.2.1", "r1", {}),
    AuditEvent(NOW + HOUR, "push", "bob", "t-2", "team/app", "192.0.2.2", "r2", {"updates": [{"a": 1}]}),
    AuditEvent(NOW + HOUR, "push", "alice", "t-1", "team/lib", "192.0.2.1", "r3", {"ü": None}),
    AuditEvent(NOW - HOUR, "account_added", "alice", details={"by": "ada"}),
]


@pytest.fixture
async def events(database: Database) -> Database:
    async with database.writing() as connection:
        await connection.run_sync(audit.insert, EVENTS[:3])
        await connection.run_sync(audit.insert, EVENTS[3:])
    return database


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (AuditFilter(), [3, 0, 1, 2]),
        (AuditFilter(since=NOW), [0, 1, 2]),
        (AuditFilter(since=NOW + timedelta(microseconds=1)), [1, 2]),
        (AuditFilter(since=NOW + 2 * HOUR), []),
        (AuditFilter(token="t-1"), [0, 2]),
        (AuditFilter(account="alice"), [3, 0, 2]),
        (AuditFilter(account="Alice"), []),
        (AuditFilter(repository="team/app"), [0, 1]),
        (AuditFilter(repository="team"), []),
        (AuditFilter(account="alice", repository="team/app"), [0]),
        (AuditFilter(account="bob", token="t-1"), []),
        (AuditFilter(after_id=2), [3, 2]),
        (AuditFilter(after_id=2, since=NOW), [2]),
    ],
)
async def test_events_are_found_by_what_is_asked_oldest_first(
    events: Database, wanted: AuditFilter, numbers: list[int]
) -> None:
    async with events.reading() as connection:
        found = await audit.matching(connection, wanted)
    assert found == [(number + 1, EVENTS[number]) for number in numbers]
