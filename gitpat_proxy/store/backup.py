"""A backup: the database as it was at one moment, in a file of its own."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gitpat_proxy.store.database import BUSY_SECONDS
from gitpat_proxy.store.errors import DatabaseError


@dataclass(frozen=True)
class Backup:
    """A backup that is complete, and what was counted in it."""

    file: Path
    bytes: int
    revision: str
    accounts: int
    tokens: int
    events: int


def back_up(database: Path, file: Path) -> Backup:
    """Copy the database into a file that is not there yet; raises DatabaseError.

    It may be of any revision: who upgrades is told to back up first. The copy is made by SQLite's backup
    API in a single step, which is one read transaction: it has all that was committed before and nothing
    of what is committed meanwhile, and with a write-ahead log neither waits for the other. (In several
    steps it would begin anew after each write.) VACUUM INTO is as consistent and its file a tenth
    smaller, but it takes three times as long, in which the log can only grow, and what is then verified
    is a database rewritten, not the pages that people rely on. The time goes into the verification:
    nobody waits for that.
    """
    if not database.exists():
        raise DatabaseError(f"there is no database {database} yet, so there is nothing to back up")
    if not file.parent.is_dir():
        raise DatabaseError(f"the backup {file} can't be made: there is no folder {file.parent}")
    if os.path.lexists(file):
        raise _taken(file)
    try:
        with _named_at_the_end(file) as temporary:
            _copy(database, temporary)
            return _verified(temporary, file)
    except FileExistsError:
        raise _taken(file) from None
    except OSError as error:
        raise DatabaseError(f"the backup {file} can't be made: {error.strerror}") from error
    except sqlite3.Error as error:
        raise DatabaseError(f"the database {database} can't be backed up to {file}: {error}") from error


def _taken(file: Path) -> DatabaseError:
    return DatabaseError(
        f"{file} is there already, and a backup takes nothing's place; name another file"
    )


@contextmanager
def _named_at_the_end(file: Path) -> Iterator[Path]:
    """Give a file beside it, for nobody else to read, that gets the name once it is filled and on disk.

    If anything fails, neither is left.
    """
    descriptor, name = tempfile.mkstemp(".part", ".gitpat-backup-", file.parent)
    temporary = Path(name)
    try:
        yield temporary
        os.fsync(descriptor)
        _rename(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _rename(temporary: Path, file: Path) -> None:
    # Renaming replaces what is there; so the name is taken first, which fails if somebody else has it.
    file.touch(0o600, exist_ok=False)
    try:
        temporary.rename(file)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        file.unlink()
        raise


def _copy(database: Path, temporary: Path) -> None:
    with closing(_opened(database, "mode=rw")) as source, closing(_opened(temporary, "mode=rw")) as copy:
        # What fails is thrown away, and what does not is synced as a whole.
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        source.backup(copy)


def _verified(temporary: Path, file: Path) -> Backup:
    # Immutable: SQLite makes no log beside it.
    with closing(_opened(temporary, "immutable=1")) as copy:
        found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            flaw = found.splitlines()[-1]
            raise sqlite3.DatabaseError(f"the copy is damaged, and so may be the database: {flaw}")
        revision = copy.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        accounts, tokens, events = (
            copy.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - constants
            for table in ("accounts", "tokens", "audit")
        )
    return Backup(file, temporary.stat().st_size, revision, accounts, tokens, events)


def _opened(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path))}?{options}", timeout=BUSY_SECONDS, isolation_level=None, uri=True
    )
