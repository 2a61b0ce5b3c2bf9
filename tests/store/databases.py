"""A database of its own for each test."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gitpat_proxy.store.database import Database, upgrade

_migrated: list[bytes] = []


async def whole_database() -> bytes:
    """Return the file that the migrations make; they run once, as they take their time."""
    if not _migrated:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "gitpat.db"
            async with opened(path) as database:
                await upgrade(database)
            _migrated.append(path.read_bytes())
    return _migrated[0]


@asynccontextmanager
async def a_database(folder: Path, content: bytes | None = None) -> AsyncIterator[Database]:
    """Make an empty one with all its tables, or one with the content of another."""
    path = folder / "gitpat.db"
    path.touch(0o600)
    path.write_bytes(await whole_database() if content is None else content)
    async with opened(path) as database:
        yield database


def opened(path: Path) -> Database:
    """Return what opens a database that is there, or is not."""
    return Database(f"sqlite:///{path}")
