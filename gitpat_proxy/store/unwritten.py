"""How many events wait to be written, in a file beside the database that a killed process leaves."""

import fcntl
import glob
import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gitpat_proxy.store.audit import Link

_MARK = "-unwritten-"
_LAYOUT = struct.Struct("=4Q32s")
_GIVEN, _WRITTEN, _COMMITTED, _ROW_ID = range(4)
_CHAIN = slice(32, 64)


class Unwritten:
    """Counts a process's events: in its memory, and from `open` on in a file that it keeps locked.

    Each count is stored in one instruction, in the kernel's page at once: a kill leaves no half one, and
    nobody waits for a disk. It is not there to survive a power cut.
    """

    def __init__(self) -> None:
        self._file: Path | None = None
        self._use(bytearray(_LAYOUT.size))

    def open(self, database: Path) -> None:
        """Go on in a file; raise OSError if there can't be one."""
        descriptor, name = tempfile.mkstemp(prefix=f"{database.name}{_MARK}", dir=database.parent)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # To store where the disk has no room for it would be a SIGBUS.
            os.posix_fallocate(descriptor, 0, _LAYOUT.size)
            # It has a duplicate of the descriptor, and with it the lock.
            mapped = mmap.mmap(descriptor, _LAYOUT.size)
        except BaseException:
            Path(name).unlink()
            raise
        finally:
            os.close(descriptor)
        mapped[:] = bytes(self._memory)
        self._file = Path(name)
        self._use(mapped)

    def add(self, number: int) -> None:
        """Count events that are to be written; below 0: that won't be any more."""
        self._counts[_GIVEN] += number

    def before_commit(self, number: int, link: Link) -> None:
        """Note that so many are written once the record with that link is in the database."""
        self._counts[_ROW_ID], self._memory[_CHAIN] = link
        self._counts[_COMMITTED] = self._counts[_WRITTEN] + number

    def after_commit(self) -> None:
        """Count them as written."""
        self._counts[_WRITTEN] = self._counts[_COMMITTED]

    def close(self) -> None:
        """Remove the file, unless something is still unwritten: then it tells so at the next start."""
        if self._file and self._counts[_GIVEN] == self._counts[_WRITTEN]:
            self._file.unlink(missing_ok=True)
        self._file = None
        self._use(bytearray(self._memory))

    def _use(self, memory: bytearray | mmap.mmap) -> None:
        """Nothing refers to the file that was used before, which so is closed and unlocked."""
        self._memory = memory
        self._counts = memoryview(memory).cast("Q")


@dataclass(frozen=True)
class LeftBehind:
    """What a process that was killed has left; whether `link` is in the database decides."""

    given: int
    written: int
    committed: int
    link: Link

    def lost(self, *, link_is_there: bool) -> int:
        """Return how many events are nowhere."""
        return self.given - (self.committed if link_is_there else self.written)


@contextmanager
def left_behind(database: Path) -> Iterator[list[LeftBehind]]:
    """Give what processes have left that are no more; it is removed if the block ends well.

    Of several that look at once, one finds it. Raises OSError.
    """
    with ExitStack() as stack:
        found = []
        for file in database.parent.glob(f"{glob.escape(database.name)}{_MARK}*"):
            with suppress(FileNotFoundError):
                opened = stack.enter_context(file.open("r+b"))
                if _is_left(opened.fileno()):
                    found.append((file, opened.read(_LAYOUT.size)))
        yield [_read(content) for _, content in found]
        for file, _ in found:
            file.unlink(missing_ok=True)


def _is_left(descriptor: int) -> bool:
    """Take it, unless somebody has it, or had it, or is making it: an empty one is not locked yet."""
    if not os.fstat(descriptor).st_size:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0


def _read(content: bytes) -> LeftBehind:
    given, written, committed, row_id, chain = _LAYOUT.unpack(content)
    return LeftBehind(given, written, committed, (row_id, chain))
