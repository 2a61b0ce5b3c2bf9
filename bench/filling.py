"""Many rows in a proxy's database, written into SQLite itself; the proxy does not run meanwhile."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from gitpat_proxy.access.identifier import make_id

_CHUNK = 100_000
_DAY = 86_400_000_000
_DIGEST_BYTES = 32

_Rows = Iterator[Sequence[object]]


def add_nothing(_database: Path, _number: int) -> None:
    """What grows is not in the database."""


def add_tokens(database: Path, number: int) -> None:
    """Add tokens of the account that is there, so that there are so many.

    Of a hundred thousand ids two may well be the same; then there is one token fewer.
    """
    _fill(
        database,
        "tokens",
        "INSERT OR IGNORE INTO tokens "
        "(id, account_id, name, digest, hint, scopes, created_at, expires_at) "
        "VALUES (?, (SELECT min(id) FROM accounts), ?, ?, 'gpat_…abcd', ?, ?, ?)",
        lambda there: _tokens(number - there),
    )


def add_audit_rows(database: Path, number: int) -> None:
    """Add fetches of a thousand tokens, so that there are so many rows.

    Their links of the chain are made up: what is written after them takes the last one as it is, and
    only `audit verify` would tell.
    """
    _fill(
        database,
        "audit",
        "INSERT INTO audit (id, at, event, kind, account, token, repository, address, request, details, "
        "chain) VALUES (?, ?, 'fetch', 'read', 'bench', ?, ?, '127.0.0.1', 'abcdef012345', '{}', ?)",
        lambda there: _events(there, number),
    )


def _tokens(number: int) -> _Rows:
    now = _now()
    scopes = json.dumps(["code:read"])
    for each in range(number):
        digest = os.urandom(_DIGEST_BYTES)
        yield make_id(), f"Token {each}", digest, scopes, now - each, now + 90 * _DAY


def _events(there: int, number: int) -> _Rows:
    begin = _now() - 200 * _DAY
    tokens = [make_id() for _ in range(1000)]
    for row_id in range(there + 1, number + 1):
        at = begin + row_id * 190 * _DAY // number
        chain = row_id.to_bytes(_DIGEST_BYTES)
        yield row_id, at, tokens[row_id % len(tokens)], f"team/app-{row_id % 500}", chain


def _fill(database: Path, table: str, insert: str, rows: Callable[[int], _Rows]) -> None:
    """Write the rows in chunks; the indexes are made at the end, sorted, which takes a tenth of it."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -500000")
        indexes = connection.execute(
            "SELECT name, sql FROM sqlite_master "
            "WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = ?",
            (table,),
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        [there] = connection.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()
        new = rows(there)
        while chunk := list(islice(new, _CHUNK)):
            with connection:
                connection.executemany(insert, chunk)
        for _, sql in indexes:
            connection.execute(sql)
        connection.commit()


def _now() -> int:
    return time.time_ns() // 1000
