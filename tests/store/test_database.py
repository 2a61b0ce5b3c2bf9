"""What a connection guarantees, and what becomes of the driver's errors."""

import asyncio
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from gitpat_proxy.store import accounts
from gitpat_proxy.store.database import BUSY_SECONDS, Database, check_revision, revision_of, upgrade
from gitpat_proxy.store.errors import DatabaseError, DuplicateError
from tests.access.examples import an_account
from tests.store.databases import a_database, opened


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),  # FULL: what was committed outlasts a power cut
        ("foreign_keys", 1),
        ("busy_timeout", BUSY_SECONDS * 1000),
    ],
)
async def test_every_connection_is_set_up(database: Database, pragma: str, value: object) -> None:
    async with database.reading() as first, database.reading() as second, database.writing() as third:
        for connection in (first, second, third):
            found = (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar_one()
            assert found == value


async def names(database: Database) -> set[str]:
    async with database.reading() as connection:
        return {account.name for account in await accounts.everyone(connection)}


async def add(database: Database, *new: str) -> None:
    async with database.writing() as connection:
        for name in new:
            await accounts.insert(connection, an_account(name=name))


async def test_writing_is_kept_as_a_whole_or_not_at_all(database: Database) -> None:
    await add(database, "kept")
    with pytest.raises(DuplicateError, match=r"accounts\.name"):
        await add(database, "lost", "kept")
    assert await names(database) == {"kept"}


async def test_a_reader_sees_what_was_committed_since_its_last_statement(database: Database) -> None:
    """A token that was revoked before a request arrived must not open it: no snapshot stands between."""
    async with database.reading() as connection:
        assert await accounts.everyone(connection) == []
        async with database.writing() as other:
            await accounts.insert(other, an_account())
            assert await accounts.everyone(connection) == []
        assert await accounts.everyone(connection) == [an_account()]


async def test_writers_wait_for_each_other(database: Database) -> None:
    """Each has the lock from its beginning, so that none reads what another is about to change."""

    async def count_and_add() -> None:
        async with database.writing() as connection:
            count = len(await accounts.everyone(connection))
            await asyncio.sleep(0)
            await accounts.insert(connection, an_account(name=str(count)))

    await asyncio.gather(*(count_and_add() for _ in range(12)))
    assert await names(database) == {str(number) for number in range(12)}


async def test_every_token_has_an_owner(database: Database) -> None:
    with pytest.raises(DuplicateError, match="FOREIGN KEY"):
        async with database.writing() as connection:
            await connection.exec_driver_sql(
                "INSERT INTO tokens (id, account_id, name, digest, hint, scopes, created_at)"
                " VALUES ('a', 7, '', x'00', '', '[]', 0)"
            )


async def test_a_table_that_is_not_there_is_told_in_a_sentence(database: Database) -> None:
    with pytest.raises(DatabaseError, match=r"the database .*gitpat\.db can't be used: no such table"):
        async with database.reading() as connection:
            await connection.exec_driver_sql("SELECT * FROM no_table")


async def test_a_file_that_is_no_database_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.write_text("no database, " * 1000)
    async with opened(path) as database:
        for action in (check_revision, revision_of, upgrade):
            with pytest.raises(DatabaseError, match=r"other\.db can't be used: file is not a database"):
                await action(database)
    assert path.read_text().startswith("no database, ")


async def test_a_damaged_database_is_told_in_a_sentence(tmp_path: Path) -> None:
    async with a_database(tmp_path):
        pass
    path = tmp_path / "gitpat.db"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    async with opened(path) as database:
        with pytest.raises(DatabaseError, match=r"gitpat\.db can't be used: "):
            await names(database)


@pytest.mark.parametrize("place", ["", "missing/gitpat.db", "file/gitpat.db"])
async def test_a_place_where_no_database_can_be_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    async with opened(tmp_path / place) as database:
        with pytest.raises(DatabaseError, match=r"the database .* can't be (made|used: it is no file)"):
            await upgrade(database)
        with pytest.raises(DatabaseError):
            await check_revision(database)


@pytest.mark.parametrize("name", ["with space", "ü", "a?b", "a#b", "a%20b", "a&b=c"])
async def test_a_path_means_itself_whatever_is_in_it(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    async with a_database(folder) as database:
        await check_revision(database)
        async with database.reading() as connection:
            used = (await connection.exec_driver_sql("PRAGMA database_list")).scalars(2).first()
    assert used == str(folder / "gitpat.db")


@pytest.fixture
async def another(tmp_path: Path) -> Path:
    """A whole database in one file, with an account that the test's own does not have."""
    (tmp_path / "elsewhere").mkdir()
    async with a_database(tmp_path / "elsewhere") as other:
        await add(other, "new")
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(other.path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


async def fill_pool(database: Database) -> None:
    """Leave several open connections behind, each of which has read."""
    async with database.reading() as first, database.reading() as second, database.reading() as third:
        for connection in (first, second, third):
            await accounts.everyone(connection)


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def replace(path: Path, by: Path) -> None:
    os.replace(by, path)  # noqa: PTH105 - it says what the test is about


def remove_log(path: Path) -> None:
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


async def test_a_file_in_the_place_of_another_is_noticed_by_the_next_read(
    database: Database, another: Path
) -> None:
    """A token that was revoked in the new one must not go on in the old."""
    await add(database, "old")
    await fill_pool(database)
    assert await names(database) == {"old"}
    remove_log(database.path)
    replace(database.path, another)
    for _ in range(4):
        assert await names(database) == {"new"}
    await fill_pool(database)
    await add(database, "more")
    assert await names(database) == {"new", "more"}


async def test_the_log_of_a_file_that_was_replaced_is_not_read_into_its_successor(
    database: Database, another: Path
) -> None:
    """SQLite takes what lies beside a database for its log, whose ever it is."""
    await add(database, "old")
    await fill_pool(database)
    replace(database.path, another)
    for _ in range(4):
        with pytest.raises(DatabaseError, match="was replaced while it was in use; stop gitpat-proxy"):
            await names(database)


async def test_a_file_that_is_gone_is_told_and_not_made_again(
    database: Database, tmp_path: Path
) -> None:
    await add(database, "old")
    await fill_pool(database)
    database.path.unlink()
    remove_log(database.path)
    sentence = r"the database .*gitpat\.db can't be used: no such file or directory"
    for _ in range(4):
        with pytest.raises(DatabaseError, match=sentence):
            await names(database)
    with pytest.raises(DatabaseError, match=sentence):
        await add(database, "new")
    assert files_in(tmp_path) == []


async def test_a_file_that_comes_back_is_used_again(database: Database, another: Path) -> None:
    await fill_pool(database)
    database.path.unlink()
    remove_log(database.path)
    with pytest.raises(DatabaseError):
        await names(database)
    replace(database.path, another)
    assert await names(database) == {"new"}


async def test_a_connection_that_is_never_opened_makes_no_file(tmp_path: Path) -> None:
    async with opened(tmp_path / "none.db") as database:
        with pytest.raises(DatabaseError, match=r"none\.db can't be used: no such file"):
            await names(database)
    assert files_in(tmp_path) == []


async def test_writers_that_wait_leave_connections_to_readers(database: Database) -> None:
    """Another process holds the lock: whoever only reads must not notice."""
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writers = [asyncio.create_task(add(database, f"writer-{number}")) for number in range(30)]
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            for _ in range(20):
                assert await names(database) == set()
        other.execute("ROLLBACK")
        await asyncio.gather(*writers)
    assert len(await names(database)) == 30


async def test_a_file_that_was_damaged_and_mended_in_place_is_used_again(database: Database) -> None:
    """A connection would keep the damaged pages."""
    await add(database, "kept")
    database.engine.dispose()
    await revision_of(database)
    content = database.path.read_bytes()
    with database.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (len(content) - 4096))
        file.flush()
        for _ in range(3):
            with pytest.raises(DatabaseError, match="malformed"):
                await names(database)
        file.seek(0)
        file.write(content)
    assert await names(database) == {"kept"}


async def test_a_newer_database_in_the_place_of_another_is_not_used(
    database: Database, another: Path
) -> None:
    """What it limits, this version may not know of."""
    await fill_pool(database)
    with closing(sqlite3.connect(another)) as newer, newer:
        newer.execute("UPDATE alembic_version SET version_num = '0999'")
    remove_log(database.path)
    replace(database.path, another)
    for action in (names, check_revision, upgrade):
        with pytest.raises(DatabaseError, match=r"of a newer version \(0999\)"):
            await action(database)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("DELETE FROM alembic_version", "does not say of which version it is"),
        ("INSERT INTO alembic_version VALUES ('0001')", "does not say of which version it is"),
        ("UPDATE alembic_version SET version_num = ''", "does not say of which version it is"),
        ("UPDATE alembic_version SET version_num = '0000x'", "can't be upgraded: Can't locate"),
    ],
)
async def test_a_version_that_makes_no_sense_is_told(
    database: Database, change: str, sentence: str
) -> None:
    with closing(sqlite3.connect(database.path)) as other, other:
        other.execute(change)
    with pytest.raises(DatabaseError, match=sentence):
        await upgrade(database)


@pytest.mark.parametrize("kind", ["reading", "writing"])
async def test_who_is_cancelled_ends_once_it_is_known_what_became_of_it(
    database: Database, kind: str
) -> None:
    done: list[int] = []
    begun, may_end = threading.Event(), threading.Event()

    def work(_connection: object, number: int) -> None:
        begun.set()
        may_end.wait(10)
        done.append(number)

    async def work_on() -> None:
        for block in range(3):
            async with getattr(database, kind)() as connection:
                for number in range(3):
                    await connection.run_sync(work, 3 * block + number)

    task = asyncio.create_task(work_on())
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [0]


async def test_a_cancellation_between_two_blocks_is_not_lost(database: Database) -> None:
    """Also where there is nothing to wait for."""

    async def read_twice() -> None:
        async with database.reading() as connection:
            await connection.exec_driver_sql("SELECT 1")
        async with database.reading() as connection:
            await connection.exec_driver_sql("SELECT 1")

    for turns in range(40):
        task = asyncio.create_task(read_twice())
        for _ in range(turns):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_nothing_of_a_commit_that_fails_is_there(database: Database) -> None:
    async with database.writing() as connection:
        await connection.exec_driver_sql("CREATE TABLE parts (id INTEGER PRIMARY KEY)")
        await connection.exec_driver_sql(
            "CREATE TABLE uses (part REFERENCES parts (id) DEFERRABLE INITIALLY DEFERRED)"
        )
    with pytest.raises(DuplicateError):
        async with database.writing() as connection:
            await connection.exec_driver_sql("INSERT INTO uses VALUES (7)")
    async with database.reading() as connection:
        assert (await connection.exec_driver_sql("SELECT * FROM uses")).all() == []
    await add(database, "next")
    assert await names(database) == {"next"}


async def test_a_writer_never_waits_for_readers(database: Database) -> None:
    may_end = asyncio.Event()
    reading = 0

    async def read() -> None:
        nonlocal reading
        async with database.reading():
            reading += 1
            await may_end.wait()

    readers = [asyncio.create_task(read()) for _ in range(30)]
    async with asyncio.timeout(20):
        for _ in range(1000):
            if reading < 9:  # So many and no more have a connection.
                await asyncio.sleep(0.01)
        await add(database, "ada")
        await database.write(lambda connection: None)
        assert reading == 9
        may_end.set()
        await asyncio.gather(*readers)
    assert reading == 30


async def test_the_end_leaves_the_event_loop_free(tmp_path: Path) -> None:
    """A thread may wait for the lock of another process for as long as that has it."""
    async with a_database(tmp_path) as database:
        with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            begun = threading.Event()
            sa.event.listen(database.engine, "begin", lambda _: begun.set(), insert=True)
            writer = asyncio.create_task(add(database, "ada"))
            await asyncio.to_thread(begun.wait, 10)
            end = asyncio.create_task(database.__aexit__())
            await asyncio.sleep(0.05)
            assert not end.done()
            other.execute("ROLLBACK")
            async with asyncio.timeout(20):
                await end
            with pytest.raises(DatabaseError, match="shutdown"):
                await writer
