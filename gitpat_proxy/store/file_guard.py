"""A database's file may be replaced while it is in use: what was revoked in the new one must hold."""

import os
import stat
from pathlib import Path
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from gitpat_proxy.store.errors import DatabaseError

_Identity: TypeAlias = tuple[int, int] | None


def identity_of(path: Path | str) -> _Identity:
    """Return what tells a file from another one of the same name; None: there is none to be seen."""
    try:
        status = os.stat(path)  # noqa: PTH116 - asked for with each request, half as long as Path's
    except OSError:
        return None
    return status.st_dev, status.st_ino


class FileGuard:
    """Lets no connection be used whose file is another by now, nor be made over another's log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_used: tuple[_Identity, _Identity] = (None, None)

    def watch(self, engine: sa.Engine) -> None:
        """Begin to look at each connection that is made, taken and given back."""
        sa.event.listen(engine, "do_connect", self._before_connecting)
        sa.event.listen(engine, "checkout", self._before_using)
        sa.event.listen(engine, "checkin", self._after_using)

    def _before_connecting(self, _dialect: object, record: ConnectionPoolEntry, *_: object) -> None:
        """Look before it is opened: what takes its place meanwhile is then noticed at the next use."""
        if reason := _why_unusable(self._path):
            # SQLite would only say that it can't open it.
            raise DatabaseError(f"the database {self._path} can't be used: {reason}")
        now, (file, log) = self._identity(), self._last_used
        if now != file and log is not None and log == self._identity("-wal"):
            # SQLite would read the log of the file that was there before into the new one.
            raise DatabaseError(
                f"the database {self._path} was replaced while it was in use; stop gitpat-proxy, remove "
                f"{self._path.name}-wal and {self._path.name}-shm, put the new one in its place, start"
            )
        record.info["file"] = now

    def _before_using(self, _connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        if record.info["file"] != self._identity():
            raise DisconnectionError

    def _after_using(self, _connection: object, record: ConnectionPoolEntry) -> None:
        if record.info.get("file") == self._identity():
            self._last_used = self._identity(), self._identity("-wal")

    def _identity(self, end: str = "") -> _Identity:
        return identity_of(f"{self._path}{end}")


def _why_unusable(path: Path) -> str | None:
    """Return why SQLite could not open the file, for which it has one sentence; None: it could.

    Looked at from outside: to open and close it would give up the locks that SQLite holds on it here.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return (error.strerror or str(error)).lower()
    if not stat.S_ISREG(mode):
        return "it is no file"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return "its file system is read-only"
    if not os.access(path, os.R_OK | os.W_OK):
        return "this user may not read and write it"
    if not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists():
        return "this user may not make files in its folder"
    return None
