"""Single rows read on the event loop's own thread, for what every request must know."""

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gitpat_proxy.store.file_guard import identity_of


class NotAtOnceError(Exception):
    """It can't be read without waiting, or not at all: the pool can wait, and says what is wrong."""


_MOST_REMEMBERED = 1000


class DirectReader:
    """A connection that only reads, and never waits: 10 µs, where one of the pool takes 500.

    What any process has committed is seen by the next call. A row is remembered for as long as SQLite
    says that nobody has committed anything since (its documentation, "PRAGMA data_version").
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._connection: sqlite3.Connection | None = None
        self._file: object = None
        self._version: object = None
        self._rows: dict[tuple[object, ...], tuple[Any, ...] | None] = {}

    def open(self) -> None:
        """Begin to read. To be called right after the pool could: it knows what may not be opened."""
        self.close()
        self._file = identity_of(self._path)
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(self._path)}?mode=ro", uri=True, timeout=0, isolation_level=None
            )
        except sqlite3.Error:
            # The pool goes on alone, which says so when it can't.
            self._connection = None

    def row(self, statement: str, *parameters: object) -> tuple[Any, ...] | None:
        """Return the first row as the file has it; raises NotAtOnceError."""
        if self._connection is None:
            raise NotAtOnceError
        # One that was put in its place holds what must be obeyed now.
        if identity_of(self._path) != self._file:
            self.close()
            raise NotAtOnceError
        asked = (statement, *parameters)
        try:
            version = self._connection.execute("PRAGMA data_version").fetchone()
            if version != self._version or len(self._rows) >= _MOST_REMEMBERED:
                self._version = version
                self._rows.clear()
            if asked not in self._rows:
                # What is committed after the version was read shows in the next one.
                rows = self._connection.execute(statement, parameters).fetchall()
                self._rows[asked] = rows[0] if rows else None
        except sqlite3.Error:
            self.close()
            raise NotAtOnceError from None
        return self._rows[asked]

    def close(self) -> None:
        """End reading; may be called again."""
        if self._connection:
            self._connection.close()
            self._connection = None
            self._rows.clear()
