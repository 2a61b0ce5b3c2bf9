"""Changes to files as the kernel tells of them, so that not every file need be looked at each time.

Of a change by way of its own file systems Linux tells before the call that made it returns: who asks
after that hears of it (inotify(7)). What lies on others, which somebody else may change, is looked at.
"""

import os
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from select import POLLIN, POLLPRI, poll
from typing import BinaryIO

from inotify_simple import INotify, flags

from gitpat_proxy.backends.fingerprint import Fingerprint

_TELLING = frozenset({"ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs"})
"""File systems that nobody but this kernel changes, and that it tells of whoever does."""
_MOUNTS = Path("/proc/self/mountinfo")
_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
_SHARE_OF_LIMIT = 4
"""A quarter of what the processes of this user may have together."""
_MOST_WATCHES = 20_000
"""Each takes about 1 KiB of the kernel's memory."""
_WORTH_FILES = 2000
"""After so many have been looked at in vain they are watched: to begin takes some milliseconds, once."""
_LOOK_SECONDS = 1.0
"""No event tells of what is written through mmap(2): once in so long all is looked at."""
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


class Changes:
    """Passes on what the kernel tells to those that it concerns, whenever one of them asks."""

    def __init__(self) -> None:
        self._told: _Told | None = None
        self._has_begun = False
        self._watchers: dict[int, set[Watched]] = {}
        self._devices: set[int] = set()
        self._most = 0

    def watch(self, watched: "Watched", paths: Iterable[str]) -> dict[str, int]:
        """Let `watched` hear of changes to the files from now on.

        Return those that it will hear of, with the watch's number, which may be others' as well.
        """
        if not self._has_begun:
            self._begin()
        if self._told is None:
            return {}
        is_straight = cache(_is_straight)
        found: dict[str, int] = {}
        for path in paths:
            if len(self._watchers) >= self._most:
                break
            # It is gone by now, or the kernel has no room for it: then it is looked at.
            with suppress(OSError):
                status = os.lstat(path)
                # Where a link leads may change elsewhere.
                is_link = stat.S_ISLNK(status.st_mode) or not is_straight(os.path.dirname(path))  # noqa: PTH120 - as above
                if status.st_dev in self._devices and not is_link:
                    found[path] = self._told.inotify.add_watch(path, _CHANGES)
                    self._watchers.setdefault(found[path], set()).add(watched)
        return found

    def unwatch(self, watched: "Watched", numbers: Iterable[int]) -> None:
        """Let it hear of nothing any more."""
        for number in numbers:
            watchers = self._watchers.get(number, set())
            watchers.discard(watched)
            if self._told and not watchers and self._watchers.pop(number, None) is not None:
                # With the file the watch is gone.
                with suppress(OSError):
                    self._told.inotify.rm_watch(number)

    def read(self) -> None:
        """Pass on all that has been told until now."""
        if self._told is None:
            return
        for descriptor, _ in self._told.ready.poll(0):
            if descriptor == self._told.mounts.fileno():
                # Another file system may lie over what is watched.
                self._devices = _telling_devices(_MOUNTS.read_text())
                self._pass_on_to_all()
            else:
                self._read_events(self._told.inotify)

    def close(self) -> None:
        """Hear of nothing any more."""
        if self._told:
            self._told.inotify.close()
            self._told.mounts.close()
            self._told = None
            self._watchers.clear()

    def _begin(self) -> None:
        """Without /proc, or where this user watches too much already, all is looked at instead."""
        self._has_begun = True
        with suppress(OSError, ValueError):
            self._most = min(_MOST_WATCHES, int(_LIMIT.read_text()) // _SHARE_OF_LIMIT)
            self._told = _Told()
            self._devices = _telling_devices(_MOUNTS.read_text())

    def _read_events(self, inotify: INotify) -> None:
        events = inotify.read(timeout=0)
        if any(event.mask & flags.Q_OVERFLOW for event in events):
            self._pass_on_to_all()
        for number in {event.wd for event in events}:
            for watched in self._watchers.get(number, ()):
                watched.has_changed = True
        for number in {event.wd for event in events if event.mask & flags.IGNORED}:
            for watched in tuple(self._watchers.pop(number, ())):
                watched.close()

    def _pass_on_to_all(self) -> None:
        for watchers in self._watchers.values():
            for watched in watchers:
                watched.has_changed = True


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
        if self._rest and not self.has_changed and now < self._looked_at + _LOOK_SECONDS:
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
        facts = self._fingerprint.facts
        told = self._changes.watch(self, [path for path, _, inode in facts if inode])
        self._numbers = set(told.values())
        # The way there is no watched folder's: one of those above may be renamed.
        top = self._fingerprint.folder
        self._rest = self._fingerprint.of_these(
            [fact for fact in facts if fact[0] not in told or fact[0] == top]
        )


class _Told:
    """Where the kernel tells of changes to files and of what is mounted; raises OSError."""

    def __init__(self) -> None:
        self.inotify = INotify()
        try:
            self.mounts: BinaryIO = _MOUNTS.open("rb")
        except OSError:
            self.inotify.close()
            raise
        self.ready = poll()
        self.ready.register(self.inotify, POLLIN)
        self.ready.register(self.mounts, POLLPRI)


def _is_straight(folder: str) -> bool:
    return os.path.realpath(folder) == folder


def _telling_devices(mounts: str) -> set[int]:
    """Return the device numbers of the file systems that changes are told of (proc(5), mountinfo)."""
    devices = set()
    for line in mounts.splitlines():
        mount, _, system = line.partition(" - ")
        if system.split(" ")[0] in _TELLING:
            major, minor = mount.split(" ")[2].split(":")
            devices.add(os.makedev(int(major), int(minor)))
    return devices
