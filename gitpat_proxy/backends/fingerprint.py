"""What git's answers about a repository depend on, as the file system tells it.

As long as nothing of it has changed, git would answer the same again.
"""

import os
import time
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

_FOLDERS = ("", "info", "objects", "objects/info", "objects/pack", "reftable")
_FILES = (
    "HEAD",
    "config",
    "config.worktree",
    "info/grafts",
    "objects/info/alternates",
    "packed-refs",
    "reftable/tables.list",
    "shallow",
)
"""All lie in those folders, which show when one of them comes to be."""
_CONFIGURATIONS = ("config", "config.worktree")
_MOST_REFS = 1000
"""Who has more of them in files of their own should pack them: to look at each takes its time."""
_TICK_NANOSECONDS = 50_000_000
"""How long two changes may bear the same time: the kernel's clock for files moves 100 times a second."""
_COARSE_TICK_NANOSECONDS = 2_000_000_000
"""The same where a file system keeps whole seconds, or every second one."""


class UnknowableError(Exception):
    """What git would answer depends on more than is looked at."""


Fact: TypeAlias = tuple[str, int, int]
"""Path, time of change in nanoseconds, inode; what is not there has 0 and 0."""


@dataclass(frozen=True)
class Fingerprint:
    """The files' identities and times of change, taken before git looked at them.

    The time of change (ctime) and not that of the content: a restored backup brings old ones of those,
    but nobody can set the other. It moves too when a file is written in place, gets another owner or
    mode, and for a folder when something is made, renamed or removed in it.
    """

    facts: tuple[Fact, ...]
    taken_at: int
    near: tuple[str, ...]
    """The paths of what lies in the Git directory, and on the way there from the root.

    To be told of changes to them (`changes`), and to look at the others and the directory itself, is as
    good as to look at all: what is renamed further up shows in the directory.
    """

    def is_current(self) -> bool:
        """Tell whether nothing has changed since."""
        # Twenty times for each request: half as long as by Path and a function for each.
        stat = os.stat
        try:
            for path, changed_at, inode in self.facts:
                if inode:
                    status = stat(path)
                    if status.st_ctime_ns != changed_at or status.st_ino != inode:
                        return False
                elif _is_there(path):
                    return False
        except OSError:
            return False
        return True

    @property
    def is_settled(self) -> bool:
        """Tell whether what changes from now on is seen to have changed.

        A file that changes twice within a tick of the kernel's clock bears the same time after both: as
        git does with its index ("racy git"), what is so young is not relied upon.
        """
        return all(
            changed_at < self.taken_at - _tick_of(changed_at)
            for _, changed_at, inode in self.facts
            if inode
        )

    def without(self, paths: Container[str]) -> "Fingerprint":
        """Return it without what it says of these."""
        return replace(self, facts=tuple(fact for fact in self.facts if fact[0] not in paths))

    def shows_the_same(self, other: "Fingerprint") -> bool:
        """Tell whether another one found the same files, unchanged."""
        return self.facts == other.facts


def _tick_of(changed_at: int) -> int:
    is_coarse = changed_at % 1_000_000_000 == 0
    return _COARSE_TICK_NANOSECONDS if is_coarse else _TICK_NANOSECONDS


@dataclass(frozen=True)
class Installation:
    """What all repositories have in common: git's programs, and the configuration of the machine."""

    programs: tuple[str, ...]
    configurations: tuple[str, ...]


def configurations_of(root: Path, directory: str, installation: Installation) -> list[str]:
    """Return the files that git reads the configuration of a Git directory below `root` from.

    Those may take in others.
    """
    own = (f"{root}/{directory}/{name}" for name in _CONFIGURATIONS)
    return [*own, *installation.configurations]


def fingerprint_of(
    root: Path, directory: str, before: Sequence[str], installation: Installation
) -> Fingerprint:
    """Look at the Git directory below `root`, the folders above it, and git itself.

    `before` are those that the same name would lead to first, if they were repositories. Raises
    UnknowableError where that does not tell all, OSError where it can't be looked at.
    """
    repository = f"{root}/{directory}"
    taken_at = time.time_ns()
    configurations = configurations_of(root, directory, installation)
    below = [
        # Which folder a name leads to is seen in those above it: see `git_directory`.
        *(str(root / parent) for parent in Path(directory).parents),
        *(f"{repository}/{name}" for name in (*_FOLDERS, *_FILES)),
        *_refs(f"{repository}/refs"),
    ]
    # The folders of these are not looked at: one of them, as /etc, may change all the time.
    perhaps = [*(str(root / name) for name in before), *installation.configurations]
    found = [*filter(None, map(_facts_of, below))]
    elsewhere = [*filter(None, map(_facts_of, installation.programs))]
    facts = (*found, *elsewhere, *(_facts_of(path) or (path, 0, 0) for path in perhaps))
    near = tuple(path for path, _, _ in found if path != f"{repository}/")
    if Path(repository, "HEAD").is_symlink() or _is_there(f"{repository}/commondir"):
        raise UnknowableError
    _check_configurations(configurations)
    return Fingerprint(facts, taken_at, near)


def _facts_of(path: str) -> Fact | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - as in Fingerprint.is_current
    except (FileNotFoundError, NotADirectoryError):
        return None
    return path, status.st_ctime_ns, status.st_ino


def _is_there(path: str) -> bool:
    return _facts_of(path) is not None


def _refs(folder: str) -> list[str]:
    """Return the folder and all in it; a link may lead to what changes without any sign here."""
    found, folders = [folder], [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise UnknowableError
                found.append(entry.path)
                if len(found) > _MOST_REFS:
                    raise UnknowableError
                if entry.is_dir():
                    folders.append(entry.path)
    return found


def _check_configurations(paths: Iterable[str]) -> None:
    """One that takes in another file is not followed."""
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            if b"include" in Path(path).read_bytes().lower():
                raise UnknowableError
