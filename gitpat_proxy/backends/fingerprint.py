"""What git's answers about a repository depend on, as the file system tells it.

As long as nothing of it has changed, git would answer the same again.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_FILES = (
    "HEAD",
    "commondir",
    "info/grafts",
    "objects",
    "objects/info/alternates",
    "objects/pack",
    "packed-refs",
    "reftable",
    "reftable/tables.list",
    "shallow",
)
_CONFIGURATIONS = ("config", "config.worktree")
_MOST_REFS = 5000
"""Who has more of them in files of their own should pack them: to look at each takes its time."""
_TICK_NANOSECONDS = 50_000_000
"""How long two changes may bear the same time: the kernel's clock for files moves 100 times a second."""
_COARSE_TICK_NANOSECONDS = 2_000_000_000
"""The same where a file system keeps whole seconds, or every second one."""


class UnknowableError(Exception):
    """What git would answer depends on more than is looked at."""


_Facts = tuple[int, ...] | None


@dataclass(frozen=True)
class Fingerprint:
    """The files' identities and times of change, taken before git looked at them.

    The time of change (ctime) and not that of the content: a restored backup brings old ones of those,
    but nobody can set the other. It moves too when a file is written in place, gets another owner or
    mode, and for a folder when something is made, renamed or removed in it.
    """

    paths: tuple[str, ...]
    facts: tuple[_Facts, ...]
    folder: tuple[int, ...]
    """The repository's own folder, apart from what git makes and removes in it for a moment."""
    taken_at: int

    def is_current(self) -> bool:
        """Tell whether nothing has changed since."""
        try:
            return self.folder == _folder_facts(self.paths[0]) and all(
                _facts(path) == facts for path, facts in zip(self.paths[1:], self.facts, strict=True)
            )
        except OSError:
            return False

    @property
    def is_settled(self) -> bool:
        """Tell whether what changes from now on is seen to have changed.

        A file that changes twice within a tick of the kernel's clock bears the same time after both: as
        git does with its index ("racy git"), what is so young is not relied upon.
        """
        times = [facts[0] for facts in self.facts if facts]
        is_coarse = not any(moment % 1_000_000_000 for moment in times)
        tick = _COARSE_TICK_NANOSECONDS if is_coarse else _TICK_NANOSECONDS
        return max(times) < self.taken_at - tick

    def shows_the_same(self, other: "Fingerprint") -> bool:
        """Tell whether another one found the same files, unchanged."""
        return (self.folder, self.paths, self.facts) == (other.folder, other.paths, other.facts)


@dataclass(frozen=True)
class Installation:
    """What all repositories have in common: git's programs, and the configuration of the machine."""

    programs: tuple[str, ...]
    configurations: tuple[str, ...]


def fingerprint_of(root: Path, directory: str, installation: Installation) -> Fingerprint:
    """Look at the Git directory below `root`, the folders above it, and git itself.

    Raises UnknowableError where that does not tell all, OSError where it can't be looked at.
    """
    repository = root / directory
    taken_at = time.time_ns()
    configurations = [
        *(str(repository / name) for name in _CONFIGURATIONS),
        *installation.configurations,
    ]
    paths = (
        str(repository),
        # Which folder a name leads to is seen in those above it: see `git_directory`.
        *(str(root / parent) for parent in Path(directory).parents),
        *(str(repository / name) for name in _FILES),
        *_refs(str(repository / "refs")),
        *configurations,
        *installation.programs,
    )
    fingerprint = Fingerprint(
        paths, tuple(_facts(path) for path in paths[1:]), _folder_facts(paths[0]), taken_at
    )
    if (repository / "HEAD").is_symlink() or (repository / "commondir").exists():
        raise UnknowableError
    _check_configurations(configurations)
    return fingerprint


def _facts(path: str) -> _Facts:
    try:
        status = os.stat(path)  # noqa: PTH116 - twenty times for each request, half as long as Path's
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ctime_ns, status.st_ino, status.st_dev


def _folder_facts(path: str) -> tuple[int, ...]:
    status = os.stat(path)  # noqa: PTH116 - as above
    return status.st_ino, status.st_dev, status.st_mode, status.st_uid


def _refs(folder: str) -> list[str]:
    """Return the folder and all in it; a link may lead to what changes without any sign here."""
    found, folders = [folder], [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise UnknowableError
                found.append(entry.path)
                if entry.is_dir():
                    folders.append(entry.path)
        if len(found) > _MOST_REFS:
            raise UnknowableError
    return found


def _check_configurations(paths: Iterable[str]) -> None:
    """One that takes in another file is not followed."""
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            if b"include" in Path(path).read_bytes().lower():
                raise UnknowableError
