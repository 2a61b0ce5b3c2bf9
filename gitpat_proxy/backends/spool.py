"""A file for what git answers faster than its client takes it: a slow client costs no process."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import BinaryIO, TypeVar, cast

import structlog

from gitpat_proxy.config.model import Config

_PATIENCE_SECONDS = 0.5
"""So much later than a quick client would, it must have been until it counts as a slow one."""
_QUICK_BYTES_PER_SECOND = 8 * 1024 * 1024
_READ_SIZE = 64 * 1024

Result = TypeVar("Result")

_log = structlog.get_logger()


class Spool:
    """The space that all files of this process may take: its share of `limits.spool_bytes`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._taken = 0

    def take(self, size: int) -> bool:
        """Take so many bytes, if they are left."""
        if self._taken + size > self._config.limits.spool_bytes // self._config.workers:
            return False
        self._taken += size
        return True

    def give_back(self, size: int) -> None:
        """Give so many bytes back."""
        self._taken -= size

    def open(self) -> BinaryIO:
        """Make a file without a name, which is gone when it is closed; raise OSError."""
        return cast(BinaryIO, tempfile.TemporaryFile(dir=self._config.spool, buffering=0))


class SpooledOutput:
    """What `read` returns until b"", in order, without making it wait for whoever takes it.

    Where the file can't grow any more, git waits, as it would without it.
    """

    def __init__(self, read: Callable[[], Awaitable[bytes]], spool: Spool) -> None:
        self._read = read
        self._spool = spool
        self._file: BinaryIO | None = None
        self._filling: asyncio.Task[bytes] | None = None
        self._written = 0
        self._changed = asyncio.Event()
        self._late = 0.0
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the pieces; `close` must be called afterwards, however it ended."""
        while chunk := await self._read():
            given = time.monotonic()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_PATIENCE_SECONDS - self._late, self._start)
            yield chunk
            self._timer.cancel()
            usual = len(chunk) / _QUICK_BYTES_PER_SECOND
            self._late = max(0.0, self._late + time.monotonic() - given - usual)
            if self._late >= _PATIENCE_SECONDS:
                self._start()
            if self._filling:
                async for spooled in self._take_from_file(self._filling):
                    yield spooled

    async def close(self) -> None:
        """End what goes on, and leave no file."""
        self._is_over = True
        if self._timer:
            self._timer.cancel()
        if self._filling:
            self._filling.cancel()
            # What it failed at, nobody wants to know any more.
            await asyncio.gather(self._filling, return_exceptions=True)
        self._stop()

    def _start(self) -> None:
        """Begin to take git's output into a file."""
        if self._filling or self._is_over:
            return
        try:
            self._file = self._spool.open()
        except OSError as error:
            self._fail(error)
        else:
            self._filling = asyncio.create_task(self._fill(self._file))

    def _fail(self, error: OSError) -> None:
        self._is_over = True
        _log.error("spool_failed", reason=str(error))

    def _stop(self) -> None:
        if self._file:
            self._file.close()
        self._spool.give_back(self._written)
        self._file, self._filling, self._written, self._late = None, None, 0, 0.0

    async def _fill(self, file: BinaryIO) -> bytes:
        """Write until there is no more, or no more space; return the piece that found none."""
        try:
            while (chunk := await self._read()) and self._spool.take(len(chunk)):
                try:
                    await _in_thread(_write, file, chunk, self._written)
                except BaseException as error:
                    self._spool.give_back(len(chunk))
                    if not isinstance(error, OSError):
                        raise
                    self._fail(error)
                    return chunk
                self._written += len(chunk)
                self._changed.set()
            return chunk
        finally:
            self._changed.set()

    async def _take_from_file(self, filling: asyncio.Task[bytes]) -> AsyncIterator[bytes]:
        file, position = self._file, 0
        while file and (position < self._written or not filling.done()):
            if position < self._written:
                chunk = await _in_thread(_read, file, self._left(position), position)
                position += len(chunk)
                yield chunk
            else:
                self._changed.clear()
                await self._changed.wait()
        last = await filling
        self._stop()
        if last:
            yield last

    def _left(self, position: int) -> int:
        return min(_READ_SIZE, self._written - position)


async def _in_thread(function: Callable[..., Result], *arguments: object) -> Result:
    """Wait for its end also when cancelled: what it works on is closed next."""
    running = asyncio.create_task(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(running)
    except RuntimeError:
        # There is no thread to be had.
        return function(*arguments)
    finally:
        if not running.done():
            await asyncio.wait([running])


# The descriptor is looked up in the thread: what runs too late finds the file closed, and no other one.


def _read(file: BinaryIO, size: int, position: int) -> bytes:
    return os.pread(file.fileno(), size, position)


def _write(file: BinaryIO, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file.fileno(), view, position)
        view, position = view[written:], position + written
