"""What git answers, taken off its hands as it comes, for as many clients as want it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol

import structlog

from gitpat_proxy.backends.base import AnswerCutError, FilePart, Piece
from gitpat_proxy.backends.spool import Spool

_PIECE_BYTES = 64 * 1024
_LARGEST_PART = 2 * 1024 * 1024

_log = structlog.get_logger()


class Source(Protocol):
    """Where it comes from; both raise TimeoutError where nothing does for too long."""

    async def read(self, most: int) -> bytes:
        """Return the next bytes, so many at most; b"" at the end."""

    async def move(self, descriptor: int, offset: int, most: int) -> int:
        """Put the next bytes, so many at most, into a file; return how many, 0 at the end.

        Raises OSError where the file takes none; nothing is lost then.
        """


class Output:
    """The beginning in memory, what follows in a file without a name, which clients read as it grows.

    So a slow client holds no git up. Where the file can't grow any more, git waits for the slowest.
    """

    def __init__(self, spool: Spool, most_in_memory: int = _PIECE_BYTES) -> None:
        """`most_in_memory`: so many bytes are held there. Most answers are shorter, and cost no file."""
        self.head = b""
        self._most_in_memory = most_in_memory
        self._spool = spool
        self._file: BinaryIO | None = None
        self._in_file = 0
        self._piece = b""
        self._passed_on = 0
        """So much found no room in the file; `_piece` is the last of it."""
        self._positions: dict[object, int] = {}
        self._is_taken = False
        self._on_taken: list[Callable[[], None]] = []
        self.is_over = False
        self._error: AnswerCutError | None = None
        self._changed = asyncio.Event()

    @property
    def can_be_joined(self) -> bool:
        """Tell whether all of it so far can still be read from its beginning."""
        return self._error is None and self._passed_on == 0

    @property
    def is_whole(self) -> bool:
        """Tell whether it is all there."""
        return self.is_over and self.can_be_joined

    @property
    def size(self) -> int:
        """So many bytes are there so far."""
        return len(self.head) + self._in_file + self._passed_on

    @property
    def is_in_memory(self) -> bool:
        """Tell whether `head` is all there is so far."""
        return self._file is None

    @property
    def has_readers(self) -> bool:
        return bool(self._positions)

    def when_taken(self, tell: Callable[[], None]) -> None:
        """Have `tell` called as soon as git has given it all: what is left to do costs no process."""
        if self._is_taken:
            tell()
        else:
            self._on_taken.append(tell)

    async def fill(self, source: Source) -> None:
        """Take all that there is; raises TimeoutError."""
        while (room := self._most_in_memory - len(self.head)) > 0:
            chunk = await source.read(min(room, _PIECE_BYTES))
            if not chunk:
                break
            self.head += chunk
            self._change()
        else:
            if not await self._fill_file(source):
                await self._pass_on(source)
        self._is_taken = True
        for tell in self._on_taken:
            tell()
        self._on_taken.clear()

    def end(self, error: AnswerCutError | None = None) -> None:
        """Say that nothing more comes, and why not if it is not whole; only the first word counts."""
        if not self.is_over:
            self.is_over = True
            self._error = error
            self._change()

    @contextmanager
    def read(self) -> Iterator[AsyncIterator[Piece]]:
        """Give it from its beginning, as it comes, as long as the block runs: nothing passes by unread.

        Where it is not whole AnswerCutError is raised at its end.
        """
        reader = object()
        self._positions[reader] = 0
        try:
            yield self._pieces(reader)
        finally:
            del self._positions[reader]
            self._change()

    async def _pieces(self, reader: object) -> AsyncIterator[Piece]:
        while True:
            position = self._positions[reader]
            if piece := self._piece_at(position):
                yield piece
                self._positions[reader] = position + len(piece)
                if self._passed_on:
                    self._change()
            elif not self.is_over:
                await self._changed.wait()
            elif self._error:
                raise self._error
            else:
                return

    def close(self) -> None:
        """Leave no file; may be called again."""
        if self._file:
            self._file.close()
            self._file = None
        self._spool.give_back(self._in_file)
        self._in_file = 0

    async def _fill_file(self, source: Source) -> bool:
        """Fill the file; return whether that is all, else it takes no more."""
        try:
            self._file = self._spool.open()
            while room := self._spool.take(_LARGEST_PART):
                moved = 0
                try:
                    moved = await source.move(self._file.fileno(), self._in_file, room)
                finally:
                    self._spool.give_back(room - moved)
                if not moved:
                    return True
                self._in_file += moved
                self._change()
        except TimeoutError:
            raise
        except OSError as error:
            _log.error("spool_failed", reason=str(error))
        return False

    async def _pass_on(self, source: Source) -> None:
        """Let each piece be taken by all before the next comes."""
        while chunk := await source.read(_PIECE_BYTES):
            self._piece = chunk
            self._passed_on += len(chunk)
            self._change()
            while min(self._positions.values(), default=self.size) < self.size:
                await self._changed.wait()

    def _piece_at(self, position: int) -> Piece | None:
        if position < len(self.head):
            return self.head[position : position + _PIECE_BYTES]
        in_file = position - len(self.head)
        if self._file and in_file < self._in_file:
            return FilePart(self._file.fileno(), in_file, min(_LARGEST_PART, self._in_file - in_file))
        if position < self.size:
            return self._piece[len(self._piece) - (self.size - position) :]
        return None

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
