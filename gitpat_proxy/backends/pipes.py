"""Pipes to a child that hold no more than the kernel does.

asyncio's own streams keep up to twice their limit for each child, and make waiting for a child's
end depend on grandchildren that hold its pipes.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Self

_READ_SIZE = 64 * 1024


class Pipe:
    """One end of a pipe, the proxy's; `childs_end` is passed on and closed here once it has been."""

    def __init__(self, own_end: int, childs_end: int) -> None:
        os.set_blocking(own_end, False)
        self._end: int | None = own_end
        self.childs_end = childs_end

    def passed_on(self) -> None:
        os.close(self.childs_end)

    def close(self) -> None:
        """Close the proxy's end; may be called again."""
        if self._end is not None:
            os.close(self._end)
            self._end = None

    async def _until_ready(
        self, add: Callable[..., None], remove: Callable[[int], bool], end: int
    ) -> None:
        ready = asyncio.Event()
        add(end, ready.set)
        try:
            await ready.wait()
        finally:
            remove(end)


class OutputPipe(Pipe):
    """What a child writes."""

    @classmethod
    def open(cls) -> Self:
        return cls(*os.pipe())

    async def read(self) -> bytes:
        """Return at most 64 KiB as soon as there is any, b"" at the end."""
        loop = asyncio.get_running_loop()
        while self._end is not None:
            try:
                return os.read(self._end, _READ_SIZE)
            except BlockingIOError:
                await self._until_ready(loop.add_reader, loop.remove_reader, self._end)
        return b""


class InputPipe(Pipe):
    """What a child reads."""

    @classmethod
    def open(cls) -> Self:
        childs_end, own_end = os.pipe()
        return cls(own_end, childs_end)

    async def write(self, data: bytes) -> None:
        """Return when the kernel has it all; raise BrokenPipeError if nobody will read it."""
        loop = asyncio.get_running_loop()
        view = memoryview(data)
        while view:
            if self._end is None:
                raise BrokenPipeError
            try:
                view = view[os.write(self._end, view) :]
            except BlockingIOError:
                await self._until_ready(loop.add_writer, loop.remove_writer, self._end)
