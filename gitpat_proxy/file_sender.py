"""Files on their way to a client without a stop here (sendfile(2))."""

import asyncio
import os

from aiohttp import hdrs, web

from gitpat_proxy.backends.base import FilePart

_MOST_AT_ONCE = 512 * 1024
"""What is not in the page cache any more is waited for here, on the event loop."""


class FileSender:
    """Sends parts of files as parts of one response that has begun, on a connection without TLS.

    asyncio's own sendfile can't do so in the middle of a response, nor can uvloop's, which has none. It
    has a descriptor of its own for the connection: that of the transport may be another's at any time.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.transport is None:
            raise ConnectionResetError
        self._left = 0
        """So many bytes of the part are still to be sent."""
        self._part: FilePart | None = None
        self._transport = request.transport
        self._is_chunked = hdrs.TRANSFER_ENCODING in response.headers
        self._connection: int | None = os.dup(request.transport.get_extra_info("socket").fileno())
        self._waiting: asyncio.Future[None] | None = None

    async def send_some(self, part: FilePart) -> int:
        """Send what the client takes of the part, and return how much; raises ConnectionError.

        What was written before goes before it. `is_sent` tells when it has to be called no more.
        """
        if part is not self._part:
            self._part, self._left = part, part.size
            if self._is_chunked:
                self._transport.write(b"%x\r\n" % part.size)
        while self._transport.get_write_buffer_size():
            await self._until_writable()
        while True:
            try:
                sent = self._send()
            except BlockingIOError:
                await self._until_writable()
            else:
                break
        self._left -= sent
        if not self._left and self._is_chunked:
            self._transport.write(b"\r\n")
        return sent

    def is_sent(self, part: FilePart) -> bool:
        """Tell whether the client has all of the part."""
        return part is self._part and not self._left

    def close(self) -> None:
        """Let go of the connection, also where it is waited for; may be called again."""
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(ConnectionResetError())
        if self._connection is not None:
            asyncio.get_running_loop().remove_writer(self._connection)
            os.close(self._connection)
            self._connection = None

    def _send(self) -> int:
        if self._connection is None or self._part is None or self._transport.is_closing():
            raise ConnectionResetError
        offset = self._part.offset + self._part.size - self._left
        size = min(self._left, _MOST_AT_ONCE)
        sent = os.sendfile(self._connection, self._part.descriptor, offset, size)
        if not sent:
            raise ConnectionResetError("the file has become shorter")
        return sent

    async def _until_writable(self) -> None:
        if self._connection is None or self._transport.is_closing():
            raise ConnectionResetError
        loop, connection = asyncio.get_running_loop(), self._connection
        waiting = self._waiting = loop.create_future()
        loop.add_writer(connection, _wake, waiting)
        try:
            await waiting
        finally:
            self._waiting = None
            if self._connection is not None:
                loop.remove_writer(connection)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
