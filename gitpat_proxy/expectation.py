"""`Expect: 100-continue` (RFC 9110, section 10.1.1): when a client that waits may send its body."""

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11


async def keep_waiting(_request: web.Request) -> None:
    """Tell nobody to send a body before it is known that it is wanted: an `expect_handler`."""


async def let_body_come(request: web.Request) -> None:
    """Tell a client that waits that the body is wanted now; of HTTP/1.0 none does."""
    waits = request.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
    if waits and request.body_exists and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
