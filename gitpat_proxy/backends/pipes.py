"""Pipes to a child that hold no more than the kernel does.

asyncio's own streams keep up to twice their limit for each child, and make waiting for a child's
end depend on grandchildren that hold its pipes.
"""

import asyncio
import fcntl
import os
import termios
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from gitpat_proxy.threads import in_thread

_READ_SIZE = 64 * 1024
_BULK_BYTES = 1024 * 1024
"""After so much a transfer is a long one: its pipe gets this size, and a millisecond does not matter."""
_FILLING_SECONDS = 0.001
_DRAINING_SECONDS = 0.002
"""In which git, which reads 4 KiB at a time, makes room for more than that in a large pipe.

Not for all of it: a quick one empties that in 7 ms, and would then have to wait.
"""
_MOVING_SECONDS = 0.02
"""So long a thread moves on with a long transfer, rather than to be called for each piece."""


class Pipe:
    """One end of a pipe, the proxy's; `childs_end` is passed on and closed here once it has been."""

    def __init__(self, own_end: int, childs_end: int) -> None:
        os.set_blocking(own_end, False)
        self._end: int | None = own_end
        self.childs_end: int | None = childs_end
        self._passed_bytes = 0
        self._is_bulk = False
        self._is_large = False
        self.patience: float | None = None
        """So many seconds the child may keep the proxy waiting at this pipe; then TimeoutError."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.passed_on()
        self.close()

    def passed_on(self) -> None:
        """Close the child's end here; may be called again."""
        if self.childs_end is not None:
            os.close(self.childs_end)
            self.childs_end = None

    def close(self) -> None:
        """Close the proxy's end; may be called again."""
        if self._end is not None:
            os.close(self._end)
            self._end = None

    def _count(self, passed_bytes: int, end: int) -> None:
        """Give a long transfer a larger pipe, so that git and the proxy wake each other less often."""
        self._passed_bytes += passed_bytes
        if self._passed_bytes > _BULK_BYTES and not self._is_bulk:
            self._is_bulk = True
            # Beyond the user's bound for all pipes (pipe(7), pipe-user-pages-soft) it stays as it is.
            with suppress(OSError):
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _BULK_BYTES)
                self._is_large = True

    async def _until_ready(
        self, add: Callable[..., None], remove: Callable[[int], bool], end: int
    ) -> None:
        ready = asyncio.Event()
        add(end, ready.set)
        try:
            async with asyncio.timeout(self.patience):
                await ready.wait()
        finally:
            remove(end)


def _waiting_in(end: int) -> int:
    """Return how many bytes can be read."""
    waiting = array("i", [0])
    fcntl.ioctl(end, termios.FIONREAD, waiting)
    return waiting[0]


def _splice(end: int, descriptor: int, offset: int, most: int, seconds: float) -> int:
    """Put what comes in that time into a file; return how many bytes, 0 at the end of the pipe.

    Raises BlockingIOError if nothing came, OSError where the file takes none; nothing is lost then.
    """
    deadline = time.monotonic() + seconds
    moved = 0
    while moved < most:
        try:
            flags = os.SPLICE_F_NONBLOCK
            piece = os.splice(end, descriptor, most - moved, offset_dst=offset + moved, flags=flags)
        except BlockingIOError:
            if time.monotonic() < deadline:
                # In its thread: git writes in pieces of five bytes and of 64 KiB, and nobody else waits.
                time.sleep(_FILLING_SECONDS)
                continue
            if moved:
                break
            raise
        except OSError:
            if moved:
                break
            raise
        if not piece:
            break
        moved += piece
    return moved


async def _spliced(end: int, descriptor: int, offset: int, most: int, seconds: float) -> int:
    """Do so in a thread; here where there is none to be had."""
    arguments = (end, descriptor, offset, most, seconds)
    try:
        return await in_thread(None, _splice, *arguments)
    except RuntimeError:
        return _splice(*arguments)


class OutputPipe(Pipe):
    """What a child writes.

    git writes five bytes, then 64 KiB, then five bytes. Woken for each of them the proxy used three
    times the CPU for a large clone; so, where it finds the pipe of a long answer empty, it lets it
    fill for a moment.
    """

    @classmethod
    def open(cls) -> Self:
        """Make the pipe; raises OSError."""
        return cls(*os.pipe())

    async def read(self, most: int = _READ_SIZE) -> bytes:
        """Return what there is as soon as there is any, b"" at the end; raises TimeoutError."""
        while self._end is not None:
            try:
                output = os.read(self._end, most)
            except BlockingIOError:
                await self._until_filled(self._end)
            else:
                self._count(len(output), self._end)
                return output
        return b""

    async def move(self, descriptor: int, offset: int, most: int) -> int:
        """Put what there is into a file, without a copy here; return how many bytes, 0 at the end.

        Raises TimeoutError, and OSError where the file takes none.
        """
        while self._end is not None:
            if not _waiting_in(self._end):
                await self._until_filled(self._end)
            seconds = _MOVING_SECONDS if self._is_bulk else 0.0
            try:
                moved = await _spliced(self._end, descriptor, offset, most, seconds)
            except BlockingIOError:
                continue
            self._count(moved, self._end)
            return moved
        return 0

    async def _until_filled(self, end: int) -> None:
        loop = asyncio.get_running_loop()
        await self._until_ready(loop.add_reader, loop.remove_reader, end)
        if self._is_bulk:
            await asyncio.sleep(_FILLING_SECONDS)


class InputPipe(Pipe):
    """What a child reads."""

    @classmethod
    def open(cls) -> Self:
        """Make the pipe; raises OSError."""
        childs_end, own_end = os.pipe()
        return cls(own_end, childs_end)

    async def write(self, data: bytes) -> None:
        """Return when the kernel has it all.

        Raises BrokenPipeError if nobody will read it, TimeoutError if nobody does.
        """
        loop = asyncio.get_running_loop()
        view = memoryview(data)
        while view:
            if self._end is None:
                raise BrokenPipeError
            try:
                written = os.write(self._end, view)
            except BlockingIOError:
                await self._until_ready(loop.add_writer, loop.remove_writer, self._end)
                written = 0
            self._count(written, self._end)
            view = view[written:]
            if view and self._is_large:
                await asyncio.sleep(_DRAINING_SECONDS)
