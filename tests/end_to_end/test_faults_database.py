"""What becomes of requests and commands when the database can't be used, and afterwards."""

import asyncio
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from gitpat_proxy.store.database import Database, upgrade
from gitpat_proxy.store.tables import REVISION
from tests.support import faults
from tests.support.faults import People
from tests.support.git import make_repository
from tests.support.proxy import Proxy, wait_until

Fault = Callable[[Path], AbstractContextManager[object]]

PAGE = 4096


def aside(database: Path) -> Path:
    """Move the database away with its log, if it has one; return the folder."""
    folder = database.with_name("aside")
    folder.mkdir()
    for file in database.parent.glob(f"{database.name}*"):
        file.rename(folder / file.name)
    return folder


def put_back(database: Path) -> None:
    for file in database.parent.glob(f"{database.name}*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    for file in database.with_name("aside").iterdir():
        file.rename(database.parent / file.name)
    database.with_name("aside").rmdir()


@contextmanager
def removed(database: Path) -> Iterator[None]:
    aside(database)
    yield
    put_back(database)


@contextmanager
def a_folder(database: Path) -> Iterator[None]:
    aside(database)
    database.mkdir()
    yield
    put_back(database)


@contextmanager
def without_a_byte(database: Path) -> Iterator[None]:
    aside(database)
    database.touch(0o600)
    yield
    put_back(database)


@contextmanager
def replaced(database: Path, change: Callable[[Path], object]) -> Iterator[None]:
    """Put a changed copy in its place, at once: one that serves must not use it half made."""
    copy = database.with_name("copy")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    change(copy)
    aside(database)
    copy.rename(database)
    yield
    put_back(database)


def with_statement(database: Path, statement: str) -> AbstractContextManager[None]:
    def change(copy: Path) -> None:
        with closing(sqlite3.connect(copy)) as connection, connection:
            connection.execute(statement)

    return replaced(database, change)


def no_database(database: Path) -> AbstractContextManager[None]:
    return replaced(database, lambda copy: copy.write_text("no database, " * 1000))


def of_a_newer_version(database: Path) -> AbstractContextManager[None]:
    return with_statement(database, "UPDATE alembic_version SET version_num = '0999'")


def of_no_version(database: Path) -> AbstractContextManager[None]:
    return with_statement(database, "DELETE FROM alembic_version")


def of_an_unknown_version(database: Path) -> AbstractContextManager[None]:
    """Older by its name, but none that there ever was."""
    return with_statement(database, "UPDATE alembic_version SET version_num = '0000x'")


def a_copy_to_read(database: Path) -> AbstractContextManager[None]:
    return replaced(database, lambda copy: copy.chmod(0o400))


def cut_short(database: Path) -> AbstractContextManager[None]:
    return replaced(database, lambda copy: os.truncate(copy, 3 * PAGE))


@contextmanager
def overwritten(database: Path) -> Iterator[None]:
    """All but the first page, in place: the file stays the one that it was."""
    content = database.read_bytes()
    with database.open("r+b") as file:
        file.seek(PAGE)
        file.write(b"\xff" * (len(content) - PAGE))
    yield
    with database.open("r+b") as file:
        file.write(content)


@contextmanager
def for_reading_only(database: Path) -> Iterator[None]:
    database.chmod(0o400)
    yield
    database.chmod(0o600)


@contextmanager
def in_a_folder_for_reading_only(database: Path) -> Iterator[None]:
    database.parent.chmod(0o500)
    yield
    database.parent.chmod(0o700)


@contextmanager
def in_a_closed_folder(database: Path) -> Iterator[None]:
    database.parent.chmod(0o000)
    yield
    database.parent.chmod(0o700)


NOT_SQLITE = "can't be used: file is not a database"
MALFORMED = "can't be used: database disk image is malformed"
NEWER = rf"is of a newer version \(0999\) than this program \({REVISION}\); run the newer gitpat-proxy"
GONE = "can't be used: no such file or directory"
NO_FILE = "can't be used: it is no file"
READ_ONLY = "can't be used: this user may not read and write it"

AT_START: list[tuple[Fault, str]] = [
    (no_database, NOT_SQLITE),
    (cut_short, MALFORMED),
    (overwritten, MALFORMED),
    (a_folder, NO_FILE),
    (of_a_newer_version, NEWER),
    (of_no_version, "does not say of which version it is; restore a backup"),
    (for_reading_only, READ_ONLY),
    (in_a_folder_for_reading_only, "can't be used: this user may not make files in its folder"),
    (in_a_closed_folder, "[Pp]ermission denied"),
]


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that is not served, with a database that has an account and a token."""
    proxy = Proxy(tmp_path / "stopped", database="sqlite:///data/gitpat.db")
    (proxy.folder / "data").mkdir(0o700)
    make_repository(proxy.repositories / "team" / "app.git")
    faults.obey_modes(monkeypatch, tmp_path)
    make_database(proxy)
    proxy.make_token("code:read")
    yield proxy
    if proxy.process:
        proxy.stop()


def make_database(proxy: Proxy) -> None:
    async def make() -> None:
        async with Database(f"sqlite:///{database_of(proxy)}") as database:
            await upgrade(database)

    asyncio.run(make())


def database_of(proxy: Proxy) -> Path:
    return Path(str(proxy.config["database"]).replace("sqlite://", str(proxy.folder)))


@pytest.mark.parametrize(("fault", "cause"), AT_START, ids=[fault.__name__ for fault, _ in AT_START])
def test_no_command_begins_with_a_database_that_cant_be_used(
    stopped: Proxy, fault: Fault, cause: str
) -> None:
    before = database_of(stopped).read_bytes()
    with fault(database_of(stopped)):
        faults.assert_shell_is_told(stopped, cause, ["serve"])
        faults.assert_check_fails(stopped, cause)
    assert database_of(stopped).read_bytes() == before
    stopped.start()
    stopped.git("code:read")("ls-remote", f"{stopped.url}/team/app")


def test_every_command_says_what_is_wrong(stopped: Proxy) -> None:
    [token] = json.loads(stopped.ok("token", "list", "--json"))
    commands = [
        *faults.READING,
        *faults.WRITING,
        ["account", "disable", "alice"],
        ["account", "password", "alice", "--password-stdin"],
        ["token", "show", token["id"]],
        ["token", "edit", token["id"], "--name", "Other"],
        ["token", "rotate", token["id"]],
        ["token", "revoke", token["id"]],
        ["database", "backup", str(stopped.folder / "backup.db")],
    ]
    with overwritten(database_of(stopped)):
        faults.assert_shell_is_told(stopped, "database disk image is malformed", *commands)
    assert not list(stopped.folder.glob("*backup*"))
    assert stopped.ok("token", "show", token["id"], "--json")
    assert "2 events, each as it was written" in stopped.ok("audit", "verify")


def test_a_version_that_there_never_was_is_not_upgraded(stopped: Proxy) -> None:
    with of_an_unknown_version(database_of(stopped)):
        cause = "is of an older version"
        faults.assert_shell_is_told(stopped, cause, ["serve"], ["token", "list"])
        cause = r"can't be upgraded: Can't locate revision identified by '0000x'"
        faults.assert_shell_is_told(stopped, cause, ["database", "upgrade"])
    stopped.start()


def test_there_is_no_database_yet(stopped: Proxy) -> None:
    with removed(database_of(stopped)):
        cause = r"there is no database .* yet; `gitpat-proxy database upgrade` makes it"
        faults.assert_shell_is_told(stopped, cause, *faults.READING, *faults.WRITING)
        faults.assert_check_fails(stopped, cause)
        faults.assert_shell_is_told(
            stopped, "so there is nothing to back up", ["database", "backup", "b"]
        )
        assert not database_of(stopped).exists()


def test_an_empty_file_is_told_and_becomes_a_database_by_serve(stopped: Proxy) -> None:
    with without_a_byte(database_of(stopped)):
        cause = "is empty; run `gitpat-proxy database upgrade` first"
        faults.assert_shell_is_told(stopped, cause, ["token", "list"], *faults.WRITING)
        faults.assert_check_fails(stopped, cause)
        stopped.start()
        assert json.loads(stopped.ok("account", "list", "--json")) == []
        stopped.stop()


@faults.with_mounts
def test_no_command_begins_on_a_read_only_file_system(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "proxy", database="sqlite:///data/gitpat.db")
    data = proxy.folder / "data"
    data.mkdir()
    make_database(proxy)
    with faults.mounted(data, "--bind", str(data)):
        with faults.read_only(data):
            cause = "can't be used: its file system is read-only"
            commands = [["serve"], ["token", "list"], *faults.WRITING, ["database", "upgrade"]]
            faults.assert_shell_is_told(proxy, cause, *commands)
            faults.assert_check_fails(proxy, cause)
        proxy.start()
        assert proxy.stop() == 0


WHILE_SERVING: list[tuple[Fault, str]] = [
    (removed, GONE),
    (a_folder, NO_FILE),
    (without_a_byte, "no such table"),
    (no_database, NOT_SQLITE),
    (cut_short, MALFORMED),
    (of_a_newer_version, NEWER),
    (a_copy_to_read, READ_ONLY),
]


@pytest.fixture
def people(start_proxy: Callable[..., Proxy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> People:
    faults.obey_modes(monkeypatch, tmp_path)
    proxy = start_proxy()
    make_repository(proxy.repositories / "team" / "app.git")
    return People(proxy)


def test_a_database_that_can_be_used_no_more_while_it_serves(people: People) -> None:
    people.assert_all_is_well()
    people.until_audit_is_written()
    for fault, cause in WHILE_SERVING:
        with fault(people.proxy.folder / "gitpat.db"):
            faults.assert_all_are_told(people, cause)
        people.assert_all_is_well()


def test_a_database_that_is_overwritten_while_it_serves(people: People) -> None:
    people.proxy.stop()
    people.proxy.start()
    with overwritten(people.proxy.folder / "gitpat.db"):
        faults.assert_all_are_told(people, MALFORMED)
    people.assert_all_is_well()


def test_another_process_that_holds_the_lock_for_a_moment_is_waited_for(people: People) -> None:
    with ThreadPoolExecutor(4) as pool:
        with faults.locked(people.proxy.folder / "gitpat.db", exclusively=False):
            waiting = [
                pool.submit(people.make_token),
                pool.submit(people.browser.make_token, "By the page"),
                pool.submit(people.proxy.ok, "account", "add", "bob"),
            ]
            assert people.fetch().ok
            assert people.push().ok
            assert not any(one.done() for one in waiting)
        for one in waiting:
            one.result()
    people.assert_all_is_well()


def test_another_process_that_keeps_the_lock(people: People, stopped: Proxy) -> None:
    """With the one for writing all that only reads goes on; with the one for reading nothing does."""
    cause = "database is locked|does not answer in time"
    with (
        ThreadPoolExecutor(8) as pool,
        faults.locked(people.proxy.folder / "gitpat.db", exclusively=False),
        faults.locked(database_of(stopped), exclusively=True),
        faults.log_of(people.proxy) as lines,
    ):
        calls = [pool.submit(people.make_token) for _ in range(2)]
        shells = [
            pool.submit(people.proxy.cli, *faults.WRITING[0]),
            *(pool.submit(stopped.cli, *command) for command in (["serve"], ["token", "list"])),
        ]
        assert people.fetch().ok
        pushed = people.push()
        assert pushed.ok, pushed.text
        assert people.browser.get("/-/tokens").status == 200
        assert people.call("GET", "self")[0] == 200
        for call in calls:
            faults.assert_program_was_told(call.result())
        for shell in shells:
            faults.assert_line(shell.result(), cause)
        # The push was passed on after five seconds; its event waits as long as the others.
        wait_until(
            lambda: people.proxy.log_lines("audit_not_written"), 90, "an event that can't be written"
        )
    failed = [line for line in lines if line["event"] == "database_failed"]
    assert len(failed) == 2
    late = [line for line in lines if line["event"] == "audit_not_written"]
    assert 1 <= len(late) <= 3
    faults.assert_reasons(failed + late, cause)
    people.assert_all_is_well()
    people.until_audit_is_written()
