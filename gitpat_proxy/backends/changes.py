"""Changes to files as the kernel tells of them, so that not every file need be looked at each time.

Of a change by way of its own file systems Linux tells before the call that made it returns: who asks
after that hears of it (inotify(7)). What lies on others, which somebody else may change, is looked at.
"""

import errno
import os
import stat
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from select import POLLIN, POLLPRI, poll
from typing import BinaryIO

import structlog
from inotify_simple import INotify, flags

from gitpat_proxy.backends.fingerprint import Fingerprint

_TELLING = frozenset({"ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs"})
"""File systems that nobody but this kernel changes, and that it tells of whoever does."""
_MOUNTS = Path("/proc/self/mountinfo")
_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
_LOWEST_LIMIT = 8192
"""That of old kernels. Which it is can't be seen under systemd's `ProcSubset=pid`."""
_SHARE_OF_LIMIT = 4
"""A quarter of what the processes of this user may have together."""
_MOST_WATCHES = 20_000
"""For all workers together: each takes about 1 KiB of the kernel's memory."""
_WORTH_FILES = 2000
"""After so many have been looked at in vain they are watched: to begin takes as long as ten looks."""
_LOOK_SECONDS = 1.0
"""No event tells of what is written through mmap(2): once in so long all is looked at."""
_MOST_READ = 64 * 1024
"""Bytes of events, some thousand of them: where there are more, all is looked at."""
_EVENT = struct.Struct("iIII")
_LONGEST_EVENT = _EVENT.size + 256
_CHANGES = (
    flags.MODIFY
    | flags.ATTRIB
    | flags.CREATE
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.DONT_FOLLOW
)
_LOST = flags.Q_OVERFLOW | flags.UNMOUNT

_log = structlog.get_logger()


class Changes:
    """Passes on what the kernel tells to those that it concerns, whenever one of them asks."""

    def __init__(self, workers: int) -> None:
        """`workers`: among so many processes the watches are divided."""
        self._watchers: dict[int, set[Watched]] = {}
        self._devices: set[int] = set()
        """The file systems that are told of; none: that has to be found out."""
        self._most = min(_MOST_WATCHES, _limit() // _SHARE_OF_LIMIT) // workers
        self._sources: _Sources | None = None

    def watch(self, watched: "Watched", paths: Iterable[str]) -> dict[str, int]:
        """Let `watched` hear of changes to the files from now on.

        Return those that it will hear of, with the watch's number, which may be others' as well.
        """
        found: dict[str, int] = {}
        self._sources = self._sources or _opened()
        if self._sources is None:
            return found
        self._devices = self._devices or _telling_devices(_MOUNTS)
        is_straight = cache(_is_straight)
        for path in paths:
            if len(self._watchers) >= self._most:
                break
            try:
                status = os.lstat(path)
                # Where a link leads may change elsewhere.
                is_link = stat.S_ISLNK(status.st_mode) or not is_straight(path.rpartition("/")[0])
                if status.st_dev in self._devices and not is_link:
                    found[path] = self._sources.inotify.add_watch(path, _CHANGES)
                    self._watchers.setdefault(found[path], set()).add(watched)
            except OSError as error:
                # What is gone by now, or may not be read, is looked at.
                if error.errno == errno.ENOSPC:
                    break
        return found

    def unwatch(self, watched: "Watched", numbers: Iterable[int]) -> None:
        """Let it hear of nothing any more."""
        for number in numbers:
            watchers = self._watchers.get(number, set())
            watchers.discard(watched)
            if self._sources and not watchers and self._watchers.pop(number, None) is not None:
                # It may have ended with its file.
                with suppress(OSError):
                    self._sources.inotify.rm_watch(number)

    def read(self) -> None:
        """Pass on all that has been told until now."""
        if (sources := self._sources) is None:
            return
        for descriptor, _ in sources.ready.poll(0):
            if descriptor == sources.mounts.fileno():
                # Another file system may lie over what is watched.
                self._devices.clear()
                for watched in self._all():
                    watched.has_changed = True
            else:
                self._pass_on(sources.events())

    def close(self) -> None:
        """Hear of nothing any more."""
        if self._sources:
            self._sources.close()
            self._sources = None
            self._watchers.clear()

    def _pass_on(self, events: dict[int, int] | None) -> None:
        if events is None or any(kinds & _LOST for kinds in events.values()):
            self._begin_anew()
            return
        for number, kinds in events.items():
            for watched in tuple(self._watchers.get(number, ())):
                watched.has_changed = True
                if kinds & flags.IGNORED:
                    watched.close()

    def _begin_anew(self) -> None:
        """Rely on no watch any more: which of them are gone was not told."""
        everybody = self._all()
        self.close()
        for watched in everybody:
            watched.close()

    def _all(self) -> set["Watched"]:
        return {watched for watchers in self._watchers.values() for watched in watchers}


class Watched:
    """A fingerprint, of whose files the kernel tells if it is asked for often."""

    def __init__(self, fingerprint: Fingerprint, changes: Changes) -> None:
        self.has_changed = False
        self._fingerprint = fingerprint
        self._changes = changes
        self._numbers: set[int] = set()
        self._rest: Fingerprint | None = None
        """What has to be looked at each time; None: all."""
        self._looked_at = 0.0
        self._files_looked_at = 0

    def is_current(self) -> bool:
        """Tell whether nothing has changed since the fingerprint was taken."""
        self._changes.read()
        now = time.monotonic()
        if self._rest is not None and not self.has_changed and now < self._looked_at + _LOOK_SECONDS:
            return self._rest.is_current()
        if self._rest is None and self._files_looked_at >= _WORTH_FILES:
            self._watch()
        # From here on each change is told of: what comes after the look is known the next time.
        self.has_changed = False
        self._files_looked_at += len(self._fingerprint.facts)
        self._looked_at = now
        return self._fingerprint.is_current()

    def close(self) -> None:
        """Watch nothing any more; it can still be asked, and begins anew if that is often."""
        self._changes.unwatch(self, self._numbers)
        self._numbers = set()
        self._rest = None
        self._files_looked_at = 0

    def _watch(self) -> None:
        told = self._changes.watch(self, self._fingerprint.near)
        self._numbers = set(told.values())
        self._rest = self._fingerprint.without(told)


class _Sources:
    """Where the kernel tells of changes to files, and of what is mounted; raises OSError."""

    def __init__(self) -> None:
        self.inotify = INotify(nonblocking=True)
        try:
            self.mounts: BinaryIO = _MOUNTS.open("rb")
        except OSError:
            self.inotify.close()
            raise
        self.ready = poll()
        self.ready.register(self.inotify, POLLIN)
        self.ready.register(self.mounts, POLLPRI)

    def events(self) -> dict[int, int] | None:
        """Return what has happened, by the numbers of watches; None: there is more than that."""
        data = os.read(self.inotify.fileno(), _MOST_READ)
        if len(data) > _MOST_READ - _LONGEST_EVENT:
            return None
        found: dict[int, int] = {}
        position = 0
        while position < len(data):
            number, kinds, _, length = _EVENT.unpack_from(data, position)
            position += _EVENT.size + length
            found[number] = found.get(number, 0) | kinds
        return found

    def close(self) -> None:
        self.inotify.close()
        self.mounts.close()


def _opened() -> _Sources | None:
    """Return None where there are none to be had: all is looked at then."""
    try:
        return _Sources()
    except OSError as error:
        _log.warning("changes_not_told", reason=str(error))
        return None


def _limit() -> int:
    try:
        return int(_LIMIT.read_text())
    except OSError:
        return _LOWEST_LIMIT


def _is_straight(folder: str) -> bool:
    return os.path.realpath(folder) == folder


def _telling_devices(mounts: Path) -> set[int]:
    """Return the device numbers of the file systems that changes are told of (proc(5), mountinfo)."""
    devices: set[int] = set()
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError as error:
        _log.warning("changes_not_told", reason=str(error))
        return devices
    for line in lines:
        mount, _, system = line.partition(b" - ")
        if system.partition(b" ")[0].decode("ascii", "replace") in _TELLING:
            major, minor = mount.split(b" ")[2].split(b":")
            devices.add(os.makedev(int(major), int(minor)))
    return devices
