"""A bounded look into a request's body while it passes by."""

import zlib
from collections.abc import Callable

LONGEST_LOOK = 8 * 1024 * 1024

GZIP = frozenset({"gzip", "x-gzip"})


def reader_of(content_encoding: str) -> Callable[[bytes], bytes]:
    """Return a function that takes the body's chunks as sent and gives their content.

    It gives nothing any more after LONGEST_LOOK bytes of content, nor after gzip data that can't be
    inflated: git reads the body itself and says what is wrong with it.
    """
    inflate = zlib.decompressobj(wbits=31) if content_encoding in GZIP else None
    left = LONGEST_LOOK

    def read(chunk: bytes) -> bytes:
        nonlocal left
        if left <= 0:
            return b""
        try:
            content = inflate.decompress(chunk, left) if inflate else chunk[:left]
        except zlib.error:
            left = 0
            return b""
        left -= len(content)
        return content

    return read
