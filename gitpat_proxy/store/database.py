"""The connection to the database, and what is wrong with one that can't be used."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gitpat_proxy.store.errors import DatabaseError, DuplicateError
from gitpat_proxy.store.file_guard import FileGuard
from gitpat_proxy.store.tables import REVISION

BUSY_SECONDS = 60
"""How long a writer waits for others: fifty commands started at once must all succeed."""


class Database:
    """Opens connections: `reading` without a transaction, `writing` in one that is ready to write."""

    def __init__(self, url: str) -> None:
        self.path = Path(url.removeprefix("sqlite:///"))
        self._writing = asyncio.Lock()
        self.engine: AsyncEngine = create_async_engine(
            # mode=rw: a file that is gone is an error, and no new one that everybody can read.
            sa.URL.create(
                "sqlite+aiosqlite",
                database=f"file:{quote(str(self.path))}",
                query={"mode": "rw", "uri": "true"},
            ),
            connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
            poolclass=sa.AsyncAdaptedQueuePool,
        )
        sa.event.listen(self.engine.sync_engine, "connect", _set_up_connection)
        sa.event.listen(self.engine.sync_engine, "begin", _begin)
        FileGuard(self.path).watch(self.engine.sync_engine)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Each statement sees what is committed when it runs; raises DatabaseError."""
        async with _sentences(self.path), self.engine.connect() as connection:
            yield await connection.execution_options(reading=True)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Commit at the end, roll back on an exception; raises DatabaseError or DuplicateError.

        SQLite has one writer at a time; those of this process wait here for each other, without a
        connection, of which readers would soon find none.
        """
        waiting = _turn(self._writing, self.path)
        async with waiting, _sentences(self.path), self.engine.begin() as connection:
            yield connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.dispose()


def _set_up_connection(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    """Take the lock for writing at once.

    A transaction that began by reading and then finds another writer before it can't be continued,
    only failed (SQLite's documentation, "BEGIN IMMEDIATE").
    """
    if not connection.get_execution_options().get("reading"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@asynccontextmanager
async def _turn(lock: asyncio.Lock, path: Path) -> AsyncIterator[None]:
    try:
        await asyncio.wait_for(lock.acquire(), BUSY_SECONDS)
    except TimeoutError:
        raise DatabaseError(f"the database {path} does not answer in time") from None
    try:
        yield
    finally:
        lock.release()


@asynccontextmanager
async def _sentences(path: Path) -> AsyncIterator[None]:
    """Turn the driver's errors into two of ours, in this one place."""
    try:
        yield
    except IntegrityError as error:
        raise DuplicateError(str(error.orig)) from error
    except DBAPIError as error:
        raise DatabaseError(f"the database {path} can't be used: {error.orig}") from error
    except PoolTimeoutError as error:
        raise DatabaseError(f"the database {path} does not answer in time") from error


async def revision_of(database: Database) -> str | None:
    """Return the migration that the database is at, None for an empty one."""
    async with database.reading() as connection:
        if not await connection.run_sync(lambda c: sa.inspect(c).has_table("alembic_version")):
            return None
        rows = await connection.exec_driver_sql("SELECT version_num FROM alembic_version")
        return str(rows.scalar_one())


async def check_revision(database: Database) -> None:
    """Raise DatabaseError if the database is not at the migration that this version needs."""
    if not await asyncio.to_thread(database.path.exists):
        raise DatabaseError(
            f"there is no database {database.path} yet; `gitpat-proxy database upgrade` makes it"
        )
    revision = await revision_of(database)
    if revision is None:
        raise DatabaseError(
            f"the database {database.path} is empty; run `gitpat-proxy database upgrade` first"
        )
    if revision < REVISION:
        raise DatabaseError(
            f"the database {database.path} is of an older version ({revision}, this one needs "
            f"{REVISION}); back it up, then run `gitpat-proxy database upgrade`"
        )
    _check_not_newer(database, revision)


def _check_not_newer(database: Database, revision: str) -> None:
    if revision > REVISION:
        raise DatabaseError(
            f"the database {database.path} is of a newer version ({revision}) than this program "
            f"({REVISION}); run the newer gitpat-proxy"
        )


async def upgrade(database: Database) -> None:
    """Make the schema, or bring it up to date; raises DatabaseError if that fails."""
    from alembic import command  # noqa: PLC0415 - slow to import, and seldom needed
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))

    def run(connection: sa.Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    try:
        # What is in there is nobody else's business; SQLite gives its other files the same mode.
        os.close(os.open(database.path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise DatabaseError(f"the database {database.path} can't be made: {error.strerror}") from None
    _check_not_newer(database, await revision_of(database) or "")
    async with database.writing() as connection:
        await connection.run_sync(run)
    await check_revision(database)
