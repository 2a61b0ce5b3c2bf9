"""`gitpat-proxy database backup`: a whole file or none, and a sentence."""

import os
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gitpat_proxy.store import backup
from gitpat_proxy.store.backup import back_up
from gitpat_proxy.store.errors import DatabaseError
from tests.cli.program import run
from tests.support.proxy import Proxy
from tests.support.tools import skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where backups go."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def identity_of(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def database_of(proxy: Proxy) -> Path:
    return proxy.folder / "gitpat.db"


def test_a_backup_has_all_and_says_what(proxy: Proxy, folder: Path) -> None:
    for _ in range(3):
        proxy.make_token()
    file = folder / "monday.db"
    # Somebody has the database open, and what was written last is in its log alone.
    with closing(sqlite3.connect(database_of(proxy))) as other:
        other.execute("INSERT INTO token_uses VALUES ('kept', 1, 7)")
        other.commit()
        other.execute("INSERT INTO token_uses VALUES ('not yet', 1, 7)")
        made = run(proxy, "database", "backup", str(file), "--json").json
    with closing(sqlite3.connect(database_of(proxy))) as original:
        [revision] = original.execute("SELECT version_num FROM alembic_version").fetchone()
    size = file.stat().st_size
    counted = {"accounts": 1, "tokens": 3, "events": 4}
    assert made == {"file": str(file), "bytes": size, "revision": revision} | counted
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with closing(sqlite3.connect(f"file:{file}?immutable=1", uri=True)) as copy:
        assert copy.execute("SELECT token_id FROM token_uses").fetchall() == [("kept",)]
    assert names_in(folder) == ["monday.db"]


def test_a_person_reads_what_it_holds(proxy: Proxy, folder: Path) -> None:
    found = run(proxy, "database", "backup", "here.db", folder=folder)
    assert (found.code, found.out) == (0, "")
    assert found.err.startswith("The backup here.db is complete: ")
    assert found.err.endswith("1 accounts, 0 tokens, 1 events.\n")
    assert names_in(folder) == ["here.db"]


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dead link"])
def test_nothing_is_overwritten(proxy: Proxy, folder: Path, kind: str) -> None:
    place = folder / "taken.db"
    if kind == "folder":
        place.mkdir()
    elif kind == "file":
        place.write_text("of somebody else")
    else:
        place.symlink_to(database_of(proxy) if kind == "link" else folder / "nowhere")
    before = identity_of(place)
    sentence = f"{place} is there already, and a backup takes nothing's place; name another file"
    assert run(proxy, "database", "backup", str(place)).refusal == sentence
    assert identity_of(place) == before
    assert names_in(folder) == ["taken.db"]


def test_what_took_the_name_meanwhile_stays(
    proxy: Proxy, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "raced.db"
    whole = backup._verified

    def verified(temporary: Path, wanted: Path) -> backup.Backup:
        file.write_text("of somebody else")
        return whole(temporary, wanted)

    monkeypatch.setattr(backup, "_verified", verified)
    with pytest.raises(DatabaseError, match=r"raced\.db is there already"):
        back_up(database_of(proxy), file)
    assert file.read_text() == "of somebody else"
    assert names_in(folder) == ["raced.db"]


def test_a_place_where_no_file_can_be(proxy: Proxy, folder: Path) -> None:
    for place, reason in [
        (folder / "missing" / "a.db", f"there is no folder {folder}/missing"),
        (database_of(proxy) / "a.db", f"there is no folder {database_of(proxy)}"),
        (folder / ("a" * 300), "File name too long"),
    ]:
        sentence = f"the backup {place} can't be made: {reason}"
        assert run(proxy, "database", "backup", str(place)).refusal == sentence
    assert names_in(folder) == []
    # There not even root may make a file; in a container it is mounted so that nobody can.
    refusal = run(proxy, "database", "backup", "/sys/a.db").refusal
    begin, _, reason = refusal.rpartition(": ")
    assert begin == "the backup /sys/a.db can't be made"
    assert reason in {"Permission denied", "Read-only file system"}


def test_a_database_that_can_not_be_copied(proxy: Proxy, folder: Path) -> None:
    database, file = database_of(proxy), folder / "a.db"
    content = database.read_bytes()
    begin = f"the database {database} can't be backed up to {file}: "
    for damage, sentence in [
        (b"no database, " * 1000, f"{begin}file is not a database"),
        # Pages in the middle: all can be copied, and the copy is as damaged.
        (
            content[:8192] + b"\xff" * 8192 + content[16384:],
            f"{begin}the copy is damaged, and so may be",
        ),
        (b"", f"{begin}no such table: alembic_version"),
    ]:
        database.write_bytes(damage)
        assert run(proxy, "database", "backup", str(file)).refusal.startswith(sentence)
        assert names_in(folder) == []
    database.unlink()
    sentence = f"there is no database {database} yet, so there is nothing to back up"
    assert run(proxy, "database", "backup", str(file)).refusal == sentence
    assert not database.exists()


@pytest.mark.parametrize("step", ["fsync", "rename", "fsync of the folder"])
def test_a_disk_that_fails_at_the_end_leaves_nothing(
    proxy: Proxy, folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    def fail_for_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            fail()

    if step == "rename":
        monkeypatch.setattr(Path, "rename", fail)
    else:
        monkeypatch.setattr(os, "fsync", fail if step == "fsync" else fail_for_folders)
    with pytest.raises(DatabaseError, match=r"a\.db can't be made: Input/output error"):
        back_up(database_of(proxy), folder / "a.db")
    assert names_in(folder) == []


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system with room for a few pages."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        skip("whoever runs this may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_nothing(proxy: Proxy, small_disk: Path) -> None:
    file = small_disk / "a.db"
    sentence = f"the database {database_of(proxy)} can't be backed up to {file}: "
    assert run(proxy, "database", "backup", str(file)).refusal == f"{sentence}database or disk is full"
    assert names_in(small_disk) == []


def test_a_database_of_an_older_version_can_be_backed_up(proxy: Proxy, folder: Path) -> None:
    """Whoever is to upgrade it is told to do that first."""
    with closing(sqlite3.connect(database_of(proxy))) as database:
        database.execute("UPDATE alembic_version SET version_num = '0000'")
        database.commit()
    assert "back it up, then run" in run(proxy, "account", "list").refusal
    assert run(proxy, "database", "backup", str(folder / "a.db"), "--json").json["revision"] == "0000"


def test_an_interrupted_backup_leaves_nothing(
    proxy: Proxy, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backup, "_verified", interrupt)
    with pytest.raises(KeyboardInterrupt):
        back_up(database_of(proxy), folder / "a.db")
    assert names_in(folder) == []
