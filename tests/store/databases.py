"""A database of its own for each test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gitpat_proxy.store.database import Database, upgrade


@asynccontextmanager
async def a_database(folder: Path) -> AsyncIterator[Database]:
    """Make an empty one with all its tables."""
    async with opened(folder / "gitpat.db") as database:
        await upgrade(database)
        yield database


def opened(path: Path) -> Database:
    """Return what opens a database that is there, or is not."""
    return Database(f"sqlite:///{path}")
