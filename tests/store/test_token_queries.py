"""Tokens are found by status and by what is typed, page by page."""

import itertools
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from gitpat_proxy.access.model import Status, Token
from gitpat_proxy.store import accounts, tokens
from gitpat_proxy.store.database import Database
from gitpat_proxy.store.tokens import TokenQuery
from tests.access.examples import NOW, a_token, an_account

TICK, HOUR = timedelta(microseconds=1), timedelta(hours=1)
MOMENTS = [None, NOW - HOUR, NOW - TICK, NOW, NOW + TICK, NOW + HOUR]


async def insert(database: Database, *made: Token) -> None:
    async with database.writing() as connection:
        for name in sorted({token.account for token in made}):
            await accounts.insert(connection, an_account(name=name))
        for token in made:
            await tokens.insert(connection, token, token.id.encode())
            if token.revoked_at:
                await tokens.set_revoked(connection, token.id, token.revoked_at, "ada", None)


async def found(database: Database, wanted: TokenQuery) -> list[Token]:
    async with database.reading() as connection:
        return await tokens.matching(connection, wanted, NOW)


async def ids(database: Database, wanted: TokenQuery) -> list[str]:
    return [token.id for token in await found(database, wanted)]


async def test_each_status_is_the_tokens_own_at_every_boundary(database: Database) -> None:
    made = [
        a_token(
            id=f"t-{number:03}",
            not_before=not_before,
            expires_at=expires_at,
            revoked_at=revoked_at,
            revoked_by="ada" if revoked_at else None,
        )
        for number, (not_before, expires_at, revoked_at) in enumerate(
            itertools.product(MOMENTS, MOMENTS, [None, NOW - HOUR, NOW, NOW + HOUR])
        )
    ]
    await insert(database, *made)
    statuses = {status: [t for t in made if t.status(NOW) is status] for status in Status}
    assert all(statuses.values())
    for status, expected in statuses.items():
        for account in ("alice", None):
            assert await found(database, TokenQuery(account, status)) == expected[::-1], status
        assert await found(database, TokenQuery("nobody", status)) == []
    assert await found(database, TokenQuery()) == made[::-1]


async def pages(database: Database, wanted: TokenQuery) -> list[list[str]]:
    """Return the ids on each page."""
    walked: list[list[str]] = []
    while page := await found(database, wanted):
        walked.append([token.id for token in page])
        assert len(walked) < 100
        wanted = replace(wanted, before=(page[-1].created_at, page[-1].id))
    return walked


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 24, 100])
async def test_the_pages_have_each_token_once_newest_first(database: Database, limit: int) -> None:
    made = [
        a_token(
            id=f"t-{number * 7 % 24:02}",
            account="alice" if number % 3 else "bob",
            created_at=NOW - number // 6 * TICK,
            expires_at=NOW if number % 2 else None,
        )
        for number in range(24)
    ]
    await insert(database, *made)
    newest = sorted(made, key=lambda token: (token.created_at, token.id), reverse=True)
    for account, status in [
        (None, None),
        ("alice", None),
        (None, Status.ACTIVE),
        ("bob", Status.EXPIRED),
    ]:
        expected = [
            token.id
            for token in newest
            if account in {None, token.account} and status in {None, token.status(NOW)}
        ]
        walked = await pages(database, TokenQuery(account, status, limit=limit))
        assert [token_id for page in walked for token_id in page] == expected
        assert all(len(page) == limit for page, _ in pairwise(walked))


async def test_a_search_finds_names_ids_and_hints_as_they_are_typed(database: Database) -> None:
    names = ["100% Wool", "100 percent", "under_score", "underscore", "back\\slash", "/slash", "Größe"]
    made = [
        a_token(id=f"id{number}-x", name=name, hint=f"gpat_…Q{number}zz")
        for number, name in enumerate(names)
    ]
    await insert(database, *made)
    for search, expected in [
        ("wool", [0]),
        ("WOOL", [0]),
        ("100", [1, 0]),
        ("100%", [0]),
        ("%", [0]),
        ("0%w", []),
        ("r_s", [2]),
        ("RS", [3]),
        ("\\", [4]),
        ("/", [5]),
        ("slash", [5, 4]),
        ("ö", [6]),
        ("id3-", [3]),
        ("ID3", [3]),
        ("Q4z", [4]),
        ("gpat", [6, 5, 4, 3, 2, 1, 0]),
        (" ", [1, 0]),
        ("'", []),
        ("nothing", []),
        ("", [6, 5, 4, 3, 2, 1, 0]),
    ]:
        wanted = TokenQuery("alice", search=search)
        assert await ids(database, wanted) == [f"id{n}-x" for n in expected], search
        assert await ids(database, replace(wanted, status=Status.REVOKED)) == []
    # The scopes and the account are not looked at.
    assert await ids(database, TokenQuery(search="code:read")) == []
    assert await ids(database, TokenQuery(search="alice")) == []


async def test_uses_are_added_up_by_token_and_day(database: Database) -> None:
    async with database.writing() as connection:
        await connection.run_sync(tokens.add_uses, [("a", 7, 2), ("b", 7, 1), ("a", 8, 1)])
        await connection.run_sync(tokens.add_uses, [("a", 7, 3)])
        await connection.run_sync(tokens.add_uses, [("a", 9, 1), ("a", 9, 1)])

        async def since(day: int, *token_ids: str) -> set[tuple[str, int, int]]:
            return set(await tokens.uses_since(connection, token_ids, day))

        assert await since(0, "a", "b") == {("a", 7, 5), ("b", 7, 1), ("a", 8, 1), ("a", 9, 2)}
        assert await since(8, "a", "b") == {("a", 8, 1), ("a", 9, 2)}
        assert await since(7, "b", "c") == {("b", 7, 1)}
        assert await since(0) == set()
