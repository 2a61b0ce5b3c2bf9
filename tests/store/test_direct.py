"""What every request reads at once: the same as the pool's answer, and never an old one."""

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from gitpat_proxy.access.refs import ref_rule_of
from gitpat_proxy.store import accounts, tokens
from gitpat_proxy.store.database import Database
from gitpat_proxy.store.direct import NotAtOnceError
from tests.access.examples import NOW, a_token, an_account

DIGEST = b"d" * 32
REVOKE = "UPDATE tokens SET revoked_at = ?"


@pytest.fixture
async def filled(database: Database) -> Database:
    """A database with a token, opened to be read at once."""
    return await fill(database, {})


async def fill(database: Database, facts: Mapping[str, Any]) -> Database:
    async with database.writing() as connection:
        await accounts.insert(connection, an_account(), "a hash" if facts else None)
        await tokens.insert(connection, a_token(**facts), DIGEST)
    database.direct.open()
    return database


FULL = {
    "scopes": frozenset({"work_items:read", "code:read"}),
    "addresses": (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
    "not_before": NOW,
    "expires_at": NOW + timedelta(days=9, microseconds=1),
    "name": "größe 🗝",
    "repositories": ("team/**", "!team/größe"),
    "refs": (ref_rule_of("refs/heads/main=update"),),
    "uses": 5,
    "uses_left": 4,
}


@pytest.mark.parametrize("facts", [{}, FULL, {"addresses": ()}])
async def test_it_is_what_the_pool_would_give(database: Database, facts: Mapping[str, Any]) -> None:
    await fill(database, facts)
    async with database.writing() as connection:
        await connection.run_sync(tokens.set_last_used, [("lusab-babad", NOW, "192.0.2.1")])
    async with database.reading() as connection:
        pair = await tokens.by_digest(connection, DIGEST)
    assert pair is not None
    assert tokens.by_digest_at_once(database.direct, DIGEST) == pair
    assert tokens.by_digest_at_once(database.direct, b"o" * 32) is None


async def test_what_another_connection_commits_is_seen_by_the_next_read(filled: Database) -> None:
    with closing(sqlite3.connect(filled.path, isolation_level=None)) as another:
        for number in range(1000):
            another.execute(REVOKE, (None if number % 2 else number,))
            if number % 7 == 0:
                another.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            found = tokens.by_digest_at_once(filled.direct, DIGEST)
            assert found is not None
            assert (found[0].revoked_at is None) == bool(number % 2)


async def test_so_many_are_asked_for_that_not_all_are_remembered(filled: Database) -> None:
    for number in range(3000):
        assert tokens.by_digest_at_once(filled.direct, b"%032d" % number) is None
    assert tokens.by_digest_at_once(filled.direct, DIGEST)
    assert len(filled.direct._rows) <= 1000


async def test_a_database_that_took_its_place_is_left_to_the_pool(filled: Database) -> None:
    copy = filled.path.with_name("copy.db")
    shutil.copy(filled.path, copy)
    copy.rename(filled.path)
    for _ in range(2):
        with pytest.raises(NotAtOnceError):
            tokens.by_digest_at_once(filled.direct, DIGEST)


async def test_a_locked_database_is_not_waited_for(filled: Database) -> None:
    filled.engine.dispose()
    filled.direct.close()
    with closing(sqlite3.connect(filled.path, isolation_level=None)) as another:
        another.execute("PRAGMA locking_mode = EXCLUSIVE")
        another.execute("BEGIN EXCLUSIVE")
        filled.direct.open()
        with pytest.raises(NotAtOnceError):
            tokens.by_digest_at_once(filled.direct, DIGEST)
        another.execute("ROLLBACK")


async def test_before_it_is_opened_and_after_it_is_closed_there_is_nothing(database: Database) -> None:
    with pytest.raises(NotAtOnceError):
        tokens.by_digest_at_once(database.direct, DIGEST)
    await fill(database, {})
    filled_once = tokens.by_digest_at_once(database.direct, DIGEST)
    database.direct.close()
    assert filled_once
    with pytest.raises(NotAtOnceError):
        tokens.by_digest_at_once(database.direct, DIGEST)
