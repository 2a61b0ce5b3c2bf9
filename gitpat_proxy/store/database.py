"""The connection to the database, and what is wrong with one that can't be used."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from gitpat_proxy.store.connection import Connection
from gitpat_proxy.store.direct import DirectReader
from gitpat_proxy.store.errors import DatabaseError, DuplicateError
from gitpat_proxy.store.file_guard import FileGuard
from gitpat_proxy.store.tables import REVISION
from gitpat_proxy.threads import in_thread

BUSY_SECONDS = 60
"""How long a writer waits for others: fifty commands started at once must all succeed."""

_CONNECTIONS = 10


class Database:
    """Opens connections: `reading` without a transaction, `writing` in one that is ready to write.

    `direct` reads single rows without one; `write` is the short way for what is written all the time.
    """

    def __init__(self, url: str) -> None:
        self.path = Path(url.removeprefix("sqlite:///"))
        self.direct = DirectReader(self.path)
        self._writing = asyncio.Lock()
        # Who waits for a connection keeps no thread, which those that have one need. The last is the
        # writer's: the audit of what is pushed and cloned does not wait for those who read it.
        self._free = asyncio.Semaphore(_CONNECTIONS - 1)
        self._threads = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="database")
        self.engine = sa.create_engine(
            _url(self.path),
            connect_args={"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
            # None beyond those that stay open: to open one costs more than to wait for one.
            pool_size=_CONNECTIONS,
            max_overflow=0,
        )
        sa.event.listen(self.engine, "connect", self._set_up)
        sa.event.listen(self.engine, "begin", _begin)
        sa.event.listen(self.engine, "handle_error", _drop_what_failed)
        FileGuard(self.path).watch(self.engine)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Each statement sees what is committed when it runs; raises DatabaseError."""
        turn = _turn(self._free, self.path)
        async with _sentences(self.path), turn, self._connected() as connection:
            connection.execution_options(reading=True)
            yield Connection(connection, self._threads)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        """Commit at the end, roll back on an exception; raises DatabaseError or DuplicateError.

        SQLite has one writer at a time; those of this process wait here for each other, without a
        connection, of which readers would soon find none.
        """
        waiting = _turn(self._writing, self.path)
        async with waiting, _sentences(self.path), self._connected() as connection:
            transaction = await in_thread(self._threads, connection.begin)
            try:
                yield Connection(connection, self._threads)
                await in_thread(self._threads, transaction.commit)
            except BaseException:
                # Also of who is cancelled nothing is kept.
                await in_thread(self._threads, transaction.rollback)
                raise

    async def write(self, function: Callable[[sa.Connection], None]) -> None:
        """Have a function do what `writing` is for, all in one thread: in a third of the time.

        There each statement is passed to a thread and back. Raises as `writing` does; who is cancelled
        is so only when it is known what became of it.
        """
        waiting = _turn(self._writing, self.path)
        async with waiting, _sentences(self.path):
            await in_thread(self._threads, self._write, function)

    def _write(self, function: Callable[[sa.Connection], None]) -> None:
        with self.engine.begin() as connection:
            function(connection)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[sa.Connection]:
        connection = await in_thread(self._threads, self.engine.connect)
        try:
            yield connection
        finally:
            try:
                await in_thread(self._threads, connection.close)
            except RuntimeError:
                # There is no thread to be had: better here, and quickly, than never.
                connection.close()

    def _set_up(self, connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
        try:
            self._prepare(connection)
        except BaseException:
            # Nobody else does.
            connection.close()
            raise

    def _prepare(self, connection: Any) -> None:  # noqa: ANN401 - as above
        cursor = connection.cursor()
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'")
        if cursor.fetchone():
            cursor.execute("SELECT max(version_num) FROM alembic_version")
            self._check_not_newer(cursor.fetchone()[0] or "")
        cursor.close()

    def _check_not_newer(self, revision: str) -> None:
        """What a newer version limits, this one may not know of, and would permit."""
        if revision > REVISION:
            raise DatabaseError(
                f"the database {self.path} is of a newer version ({revision}) than this program "
                f"({REVISION}); run the newer gitpat-proxy"
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.direct.close()
        try:
            # One of them may still wait for SQLite's lock.
            await in_thread(None, self._threads.shutdown)
        except RuntimeError:
            self._threads.shutdown()
        self.engine.dispose()


def _url(path: Path) -> sa.URL:
    # mode=rw: a file that is gone is an error, and no new one that everybody can read.
    query = {"mode": "rw", "uri": "true"}
    return sa.URL.create("sqlite", database=f"file:{quote(str(path))}", query=query)


def _begin(connection: sa.Connection) -> None:
    """Take the lock for writing at once.

    A transaction that began by reading and then finds another writer before it can't be continued,
    only failed (SQLite's documentation, "BEGIN IMMEDIATE").
    """
    if not connection.get_execution_options().get("reading"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


_OF_THE_FILE = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
}


def _drop_what_failed(context: sa.engine.ExceptionContext) -> None:
    """Use no connection again that found the file unusable: it would keep what has been mended since."""
    code = getattr(context.original_exception, "sqlite_errorcode", 0)
    if code & 0xFF in _OF_THE_FILE:
        context.is_disconnect = True


@asynccontextmanager
async def _turn(lock: asyncio.Lock | asyncio.Semaphore, path: Path) -> AsyncIterator[None]:
    try:
        # `wait_for` would lose a cancellation where there is nothing to wait for (Python 3.11).
        async with asyncio.timeout(BUSY_SECONDS):
            await lock.acquire()
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
    except RuntimeError as error:
        # There is none to be had, as `in_thread` says; or none any more, after the end.
        if "thread" not in str(error) and "shutdown" not in str(error):
            raise
        raise DatabaseError(f"the database {path} can't be used: {error}") from error


async def revision_of(database: Database) -> str | None:
    """Return the migration that the database is at, None for an empty one; raises DatabaseError."""
    async with database.reading() as connection:
        if not await connection.run_sync(lambda c: sa.inspect(c).has_table("alembic_version")):
            return None
        rows = await connection.exec_driver_sql("SELECT version_num FROM alembic_version")
        revisions = rows.scalars().all()
    if len(revisions) != 1 or not revisions[0]:
        raise DatabaseError(
            f"the database {database.path} does not say of which version it is; restore a backup"
        )
    return str(revisions[0])


async def check_revision(database: Database) -> None:
    """Raise DatabaseError if the database is not at the migration that this version needs."""
    if await asyncio.to_thread(_is_missing, database.path):
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


def _is_missing(path: Path) -> bool:
    """Tell whether there is nothing; what can't be seen may be there."""
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


async def upgrade(database: Database) -> None:
    """Make the schema, or bring it up to date; raises DatabaseError if that fails."""
    from alembic import command  # noqa: PLC0415 - slow to import, and seldom needed
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))

    def run(connection: sa.Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    try:
        # What is in there is nobody else's business; SQLite gives its other files the same mode.
        os.close(os.open(database.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise DatabaseError(f"the database {database.path} can't be made: {error.strerror}") from None
    await revision_of(database)
    try:
        async with database.writing() as connection:
            await connection.run_sync(run)
    except CommandError as error:
        raise DatabaseError(f"the database {database.path} can't be upgraded: {error}") from error
    await check_revision(database)
