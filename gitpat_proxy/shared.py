"""What the worker processes of one installation count together, for as long as they run."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gitpat_proxy.store.errors import DatabaseError

_LOCK_SECONDS = 1.0
"""Each transaction takes microseconds: who does not get the lock in this time never will."""

_TABLES = """
    CREATE TABLE IF NOT EXISTS running (
        id INTEGER PRIMARY KEY, worker INTEGER NOT NULL, token TEXT NOT NULL, network TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS counts (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, amount INTEGER NOT NULL, ends REAL NOT NULL
    );
    CREATE INDEX IF NOT EXISTS counts_end ON counts (ends);
"""


class Shared:
    """A small SQLite database that is never synced: it ends with the processes that use it.

    A worker that is killed leaves no lock behind, since the kernel holds them. `path` None: in memory,
    for one process alone. Each process opens it for itself, after the fork; the first one makes it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit at the end, roll back on an exception; raise DatabaseError if it can't be had."""
        with _sentences():
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection

    def rows(self, query: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """Return what a query finds, without a lock; raise DatabaseError if it can't be had."""
        with _sentences():
            return self._opened().execute(query, parameters).fetchall()

    def forget(self, worker: int) -> None:
        """Take the operations of a dead worker away."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM running WHERE worker = ?", (worker,))

    def close(self) -> None:
        """Close the connection; the next use opens another one."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                self._path or ":memory:", timeout=_LOCK_SECONDS, isolation_level=None
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = OFF")
                connection.executescript(_TABLES)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DatabaseError(f"what the workers share can't be used: {error}") from error
