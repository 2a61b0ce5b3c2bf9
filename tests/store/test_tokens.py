"""Queries on tokens."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
import sqlalchemy as sa

from gitpat_proxy.access.model import Token
from gitpat_proxy.store import accounts, tokens
from gitpat_proxy.store.database import Database
from gitpat_proxy.store.errors import DuplicateError
from tests.access.examples import NOW, a_token, an_account

HOUR = timedelta(hours=1)
DIGEST, OTHER = b"d" * 32, b"o" * 32


@pytest.fixture
async def owner(database: Database) -> None:
    async with database.writing() as connection:
        await accounts.insert(connection, an_account())
        await accounts.insert(connection, an_account(name="bob", service=True, disabled_at=NOW))


async def insert(database: Database, token: Token, digest: bytes = DIGEST) -> Token:
    async with database.writing() as connection:
        await tokens.insert(connection, token, digest)
    return token


async def found(database: Database, token_id: str = "lusab-babad") -> Token:
    async with database.reading() as connection:
        token = await tokens.by_id(connection, token_id)
    assert token
    return token


FULL = {
    "scopes": frozenset({"work_items:read", "code:read"}),
    "addresses": (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
    "not_before": NOW,
    "expires_at": datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
}


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize("changes", [{}, FULL, {"addresses": ()}, {"account": "bob", "name": "größe 🗝"}])
async def test_what_is_written_is_found_by_id_and_by_digest(
    database: Database, changes: Mapping[str, Any]
) -> None:
    token = await insert(database, a_token(**changes))
    assert await found(database) == token
    async with database.reading() as connection:
        pair = await tokens.by_digest(connection, DIGEST)
        assert pair == (token, await accounts.named(connection, token.account))
        assert await tokens.by_digest(connection, OTHER) is None
        assert await tokens.by_id(connection, "another-one") is None


@pytest.mark.usefixtures("owner")
async def test_times_are_microseconds_since_1970_and_no_limit_is_null(database: Database) -> None:
    """Other programs and later versions read the file as well."""
    await insert(database, a_token(expires_at=datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)))
    async with database.reading() as connection:
        columns = "created_at, expires_at, not_before, addresses, scopes"
        [row] = await connection.exec_driver_sql(f"SELECT {columns} FROM tokens")
    assert tuple(row) == (1773500966_000000, 1_000005, None, None, '["code:read"]')


@pytest.mark.usefixtures("owner")
async def test_an_update_writes_what_an_edit_may_change_and_nothing_else(database: Database) -> None:
    token = await insert(database, a_token())
    edited = a_token(name="Other", **FULL, hint="x", created_at=NOW + HOUR, revoked_at=NOW)
    async with database.writing() as connection:
        await tokens.update(connection, edited)
    assert await found(database) == a_token(name="Other", **FULL)
    async with database.writing() as connection:
        await tokens.update(connection, token)
    assert await found(database) == token


@pytest.mark.usefixtures("owner")
async def test_another_secret_takes_the_old_ones_place(database: Database) -> None:
    await insert(database, a_token())
    async with database.writing() as connection:
        await tokens.set_digest(connection, "lusab-babad", OTHER, "gpat_…abcd")
        assert await tokens.by_digest(connection, DIGEST) is None
        assert await tokens.by_digest(connection, OTHER) == (a_token(hint="gpat_…abcd"), an_account())


@pytest.mark.usefixtures("owner")
async def test_ids_and_digests_are_unique(database: Database) -> None:
    await insert(database, a_token())
    with pytest.raises(DuplicateError, match=r"tokens\.id"):
        await insert(database, a_token(), OTHER)
    with pytest.raises(DuplicateError, match=r"tokens\.digest"):
        await insert(database, a_token(id="another-one"))


async def test_a_token_without_an_owner_is_not_written(database: Database) -> None:
    with pytest.raises(DuplicateError, match="NOT NULL"):
        await insert(database, a_token())


@pytest.mark.usefixtures("owner")
async def test_last_used_never_goes_back(database: Database) -> None:
    await insert(database, a_token())
    await insert(database, a_token(id="another-one"), OTHER)
    uses = [
        (("lusab-babad", NOW, "192.0.2.1"), NOW, "192.0.2.1"),
        (("lusab-babad", NOW + HOUR, "192.0.2.2"), NOW + HOUR, "192.0.2.2"),
        (("lusab-babad", NOW, "192.0.2.3"), NOW + HOUR, "192.0.2.2"),
        (("lusab-babad", NOW + HOUR, "192.0.2.4"), NOW + HOUR, "192.0.2.4"),
        (("not-there", NOW + 9 * HOUR, "192.0.2.5"), NOW + HOUR, "192.0.2.4"),
    ]
    for use, at, address in uses:
        async with database.writing() as connection:
            await connection.run_sync(tokens.set_last_used, [use])
        token = await found(database)
        assert (token.last_used_at, token.last_used_from) == (at, address)
    assert (await found(database, "another-one")).last_used_at is None
    async with database.writing() as connection:
        late = [("another-one", NOW, "192.0.2.6"), ("lusab-babad", NOW + 2 * HOUR, "192.0.2.7")]
        await connection.run_sync(tokens.set_last_used, late)
    assert (await found(database, "another-one")).last_used_from == "192.0.2.6"
    assert (await found(database)).last_used_at == NOW + 2 * HOUR


@pytest.mark.usefixtures("owner")
async def test_a_revocation_is_written_with_author_and_reason(database: Database) -> None:
    await insert(database, a_token())
    for reason in ("left on a train", None):
        async with database.writing() as connection:
            await tokens.set_revoked(connection, "lusab-babad", NOW, "ada", reason)
        expected = a_token(revoked_at=NOW, revoked_by="ada", revoked_reason=reason)
        assert await found(database) == expected


async def plan_of(database: Database, query: Any) -> list[str]:
    """Run a query and return how SQLite finds the rows."""
    statements: list[tuple[str, Any]] = []

    def remember(*arguments: Any) -> None:
        statements.append((arguments[2], arguments[3]))

    engine = database.engine
    sa.event.listen(engine, "before_cursor_execute", remember)
    async with database.reading() as connection:
        await query(connection)
    sa.event.remove(engine, "before_cursor_execute", remember)
    [(sql, parameters)] = statements
    async with database.reading() as connection:
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)
        return [row.detail for row in rows]


async def test_a_look_up_is_one_indexed_read(database: Database) -> None:
    by_digest = await plan_of(database, lambda c: tokens.by_digest(c, DIGEST))
    assert by_digest == [
        "SEARCH tokens USING INDEX sqlite_autoindex_tokens_2 (digest=?)",
        "SEARCH accounts USING INTEGER PRIMARY KEY (rowid=?)",
        # What it was derived from: nothing is looked for where that is nothing.
        "SEARCH older USING INDEX sqlite_autoindex_tokens_1 (id=?) LEFT-JOIN",
        "SEARCH oldest USING INDEX sqlite_autoindex_tokens_1 (id=?) LEFT-JOIN",
    ]
    by_id = await plan_of(database, lambda c: tokens.by_id(c, "lusab-babad"))
    assert by_id[0] == "SEARCH tokens USING INDEX sqlite_autoindex_tokens_1 (id=?)"
    async with database.reading() as connection:
        columns = await connection.exec_driver_sql("PRAGMA index_info(sqlite_autoindex_tokens_2)")
        assert [row.name for row in columns] == ["digest"]
