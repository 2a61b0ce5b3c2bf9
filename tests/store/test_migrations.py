"""The migrations make what the tables say, and nothing is done with a database at another one."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import gitpat_proxy.store.migrations
from gitpat_proxy.access.model import AuditEvent
from gitpat_proxy.store import accounts, tokens
from gitpat_proxy.store.database import Database, check_revision, revision_of, upgrade
from gitpat_proxy.store.errors import DatabaseError
from gitpat_proxy.store.tables import REVISION, metadata
from tests.access.examples import NOW
from tests.store.databases import opened

TABLES = {"accounts", "tokens", "token_uses", "audit", "sessions", "known_devices", "failed_sign_ins"}
TABLES |= {"idempotency_keys", "audit_pruned"}


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", next(iter(gitpat_proxy.store.migrations.__path__)))
    return ScriptDirectory.from_config(config)


def test_the_revision_that_the_code_needs_is_the_newest_migration() -> None:
    assert scripts().get_heads() == [REVISION]


def test_the_migrations_are_numbered_in_their_order() -> None:
    """Older and newer are told apart by comparing the names."""
    names = [script.revision for script in scripts().walk_revisions()]
    assert names == [f"{number:04}" for number in range(len(names), 0, -1)]


def structure(connection: sa.Connection) -> dict[str, object]:
    """Return all that SQLAlchemy can find out, constraints with their names."""
    found = sa.inspect(connection)
    return {
        table: (
            [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)],
            found.get_pk_constraint(table),
            sorted((u["name"], *u["column_names"]) for u in found.get_unique_constraints(table)),
            sorted((f["name"] or "", f["referred_table"]) for f in found.get_foreign_keys(table)),
            sorted((i["name"], *i["column_names"]) for i in found.get_indexes(table)),
        )
        for table in found.get_table_names()
        if table != "alembic_version"
    }


async def test_the_migrations_make_exactly_the_tables(database: Database, tmp_path: Path) -> None:
    def differences(connection: sa.Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []
        migrated = await connection.run_sync(structure)
    (tmp_path / "direct.db").touch()
    async with opened(tmp_path / "direct.db") as direct, direct.writing() as connection:
        await connection.run_sync(metadata.create_all)
        assert migrated == await connection.run_sync(structure)
    assert migrated.keys() == TABLES


async def made_at(folder: Path, revision: str) -> Database:
    """Make a database as an older version did."""
    (folder / "old.db").touch()
    config = Config()
    config.set_main_option("script_location", next(iter(gitpat_proxy.store.migrations.__path__)))

    def run(connection: sa.Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    database = opened(folder / "old.db")
    async with database.writing() as connection:
        await connection.run_sync(run)
    return database


DAY = 86_400_000_000
TODAY = 20_526
# event, token, the day, and the kind that it is of
EVENTS = [
    ("clone", "t-1", TODAY * DAY, "read"),
    ("fetch", "t-1", (TODAY + 1) * DAY - 1, "read"),
    ("push", "t-1", (TODAY + 1) * DAY, "push"),
    ("archive", "t-1", (TODAY + 3) * DAY, "read"),
    ("push", "t-2", (TODAY + 3) * DAY + 5, "push"),
    ("push", "t-2", (TODAY + 3) * DAY + 6, "push"),
    ("refused", "t-1", TODAY * DAY, "refused"),
    ("refused", None, TODAY * DAY, "refused"),
    ("clone", None, TODAY * DAY, "read"),
    *[
        (event, "t-1", TODAY * DAY, "change")
        for event in ("token_created", "token_edited", "token_rotated", "token_revoked")
    ],
    *[
        (event, None, TODAY * DAY, "change")
        for event in ("account_added", "account_disabled", "account_enabled")
    ],
]
USES = {("t-1", TODAY): 2, ("t-1", TODAY + 1): 1, ("t-1", TODAY + 3): 1, ("t-2", TODAY + 3): 2}


async def test_an_upgrade_from_the_first_version_keeps_all_and_fills_what_is_new(tmp_path: Path) -> None:
    database = await made_at(tmp_path, "0001")
    rows: dict[str, list[tuple[object, ...]]] = {
        "accounts": [(1, "alice", 0, 0, 5, None), (2, "ci", 1, 1, 6, 7)],
        "tokens": [
            ("t-1", 1, "A", b"a", "h", '["code:read"]', None, 1, None, 9, 3, "::1", None, None, None),
            ("t-2", 2, "B", b"b", "h", "[]", '["::/0"]', 2, 1, None, None, None, 4, "ada", "lost"),
        ],
        "audit": [
            (number, at, event, "alice", token, "team/app", "192.0.2.1", "r", '{"by": "ada"}')
            for number, (event, token, at, _) in enumerate(EVENTS, 1)
        ],
    }
    async with database.writing() as connection:
        for table, content in rows.items():
            places = ", ".join("?" * len(content[0]))
            for row in content:
                await connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({places})", row)
    await upgrade(database)
    async with database:
        assert await revision_of(database) == REVISION
        async with database.reading() as connection:

            async def all_of(query: str) -> list[tuple[object, ...]]:
                return [tuple(row) for row in await connection.exec_driver_sql(query)]

            for table, content in rows.items():
                width = len(content[0])
                assert [row[:width] for row in await all_of(f"SELECT * FROM {table}")] == content
            assert {row[6:] for row in await all_of("SELECT * FROM accounts")} == {(None,)}
            kinds = await all_of("SELECT kind FROM audit ORDER BY id")
            assert [kind for (kind,) in kinds] == [kind for *_, kind in EVENTS]
            uses = await all_of("SELECT token_id, day, uses FROM token_uses")
            assert {(token, day): number for token, day, number in uses} == USES
            # What reads the new tables finds the old facts in them.
            found = await tokens.uses_since(connection, ["t-1", "t-2"], TODAY + 1)
            assert {(token, day): n for token, day, n in found} == {
                use: n for use, n in USES.items() if use[1] > TODAY
            }
            account = await accounts.named(connection, "alice")
        assert account
        assert not account.has_password


def test_the_migration_sorts_events_as_the_code_does() -> None:
    for event, _, _, kind in EVENTS:
        assert AuditEvent(NOW, event).kind == kind


async def test_an_upgrade_that_fails_leaves_the_old_version(
    tmp_path: Path,
) -> None:
    async with await made_at(tmp_path, "0001") as database:
        async with database.writing() as connection:
            # What the migration is about to make.
            await connection.exec_driver_sql("CREATE TABLE idempotency_keys (a)")
            before = await connection.run_sync(structure)
        with pytest.raises(DatabaseError, match="already exists"):
            await upgrade(database)
        assert await revision_of(database) == "0001"
        async with database.reading() as connection:
            assert await connection.run_sync(structure) == before


async def test_an_upgrade_of_what_is_up_to_date_changes_nothing(database: Database) -> None:
    async with database.writing() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO accounts (name, administrator, service, created_at) VALUES ('a', 0, 0, 0)"
        )
    await upgrade(database)
    assert await revision_of(database) == REVISION
    await check_revision(database)
    async with database.reading() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM accounts")).scalar_one() == 1


def at_revision(path: Path, revision: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()


def revision_in(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        [(revision,)] = connection.execute("SELECT version_num FROM alembic_version")
    return str(revision)


@pytest.mark.parametrize(
    ("revision", "sentence"),
    [
        ("0000", r"is of an older version \(0000, this one needs 0004\); back it up, then run `"),
        ("0001", r"is of an older version \(0001, this one needs 0004\); back it up, then run `"),
        ("9999", r"is of a newer version \(9999\) than this program \(0004\); run the newer"),
    ],
)
async def test_another_version_is_not_touched(database: Database, revision: str, sentence: str) -> None:
    at_revision(database.path, revision)
    with pytest.raises(DatabaseError, match=sentence):
        await check_revision(database)
    assert revision_in(database.path) == revision


async def test_an_upgrade_of_a_newer_database_says_what_is_wrong(database: Database) -> None:
    at_revision(database.path, "9999")
    with pytest.raises(DatabaseError, match="newer version"):
        await upgrade(database)
    assert revision_in(database.path) == "9999"


async def test_a_missing_database_is_not_made_by_looking(tmp_path: Path) -> None:
    async with opened(tmp_path / "none.db") as database:
        with pytest.raises(DatabaseError, match=r"there is no database .*none\.db yet; `gitpat-proxy"):
            await check_revision(database)
    assert not database.path.exists()


async def test_an_empty_database_is_told_from_one_with_tables(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    async with opened(tmp_path / "empty.db") as database:
        assert await revision_of(database) is None
        with pytest.raises(DatabaseError, match=r"is empty; run `gitpat-proxy database upgrade` first"):
            await check_revision(database)
        await upgrade(database)
        await check_revision(database)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_a_new_database_is_its_owners_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "new.db") as database:
        await upgrade(database)
        async with database.writing() as connection:
            await connection.exec_driver_sql("DELETE FROM audit")
            found = modes(tmp_path)
    assert found == {"new.db": 0o600, "new.db-shm": 0o600, "new.db-wal": 0o600}


async def test_the_mode_that_an_operator_gave_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    path.touch()
    path.chmod(0o660)
    async with opened(path) as database:
        await upgrade(database)
    assert modes(tmp_path) == {"shared.db": 0o660}
