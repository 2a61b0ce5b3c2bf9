"""A bounded look into a body, as sent or inflated."""

import gzip
import tracemalloc
import zlib
from collections.abc import Iterable

import pytest

from gitpat_proxy.git.body import LONGEST_LOOK, reader_of

TEXT = b"0032want 0123456789012345678901234567890123456789\n" * 50


def bomb(mebibytes: int) -> bytes:
    """Zeros, deflated to a thousandth of their size."""
    deflate = zlib.compressobj(wbits=31)
    pieces = [deflate.compress(bytes(1024 * 1024)) for _ in range(mebibytes)]
    return b"".join([*pieces, deflate.flush()])


def single_bytes(data: bytes) -> Iterable[bytes]:
    return (bytes([byte]) for byte in data)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("", TEXT), ("gzip", gzip.compress(TEXT)), ("x-gzip", gzip.compress(TEXT, 1))],
)
def test_the_content_comes_out_however_the_body_is_cut(encoding: str, body: bytes) -> None:
    assert reader_of(encoding)(body) == TEXT
    read = reader_of(encoding)
    assert b"".join(map(read, single_bytes(body))) == TEXT


def test_an_encoding_that_git_does_not_know_is_not_inflated() -> None:
    body = zlib.compress(TEXT)
    assert reader_of("deflate")(body) == body


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_the_look_ends_after_its_longest(encoding: str) -> None:
    content = bytes(range(256)) * (LONGEST_LOOK // 256 + 1)
    body = gzip.compress(content, 1) if encoding else content
    read = reader_of(encoding)
    pieces = [read(body[start : start + 100_000]) for start in range(0, len(body), 100_000)]
    assert b"".join(pieces) == content[:LONGEST_LOOK]
    assert read(b"more") == b""


def test_a_bomb_in_one_chunk_takes_no_more_memory_than_the_look() -> None:
    body = bomb(256)
    read = reader_of("gzip")
    tracemalloc.start()
    content = read(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert content == bytes(LONGEST_LOOK)
    assert peak < 3 * LONGEST_LOOK
    assert read(body) == b""


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"no gzip at all", b""),
        (b"\x1f\x8b\x08", b""),
        (gzip.compress(b"one") + b"garbage", b"one"),
        (gzip.compress(b"one") + gzip.compress(b"two"), b"one"),
        (zlib.compress(TEXT), b""),
        (b"", b""),
    ],
)
def test_what_git_would_not_inflate_gives_nothing(body: bytes, content: bytes) -> None:
    """git's http-backend, too, stops at the end of the first gzip member."""
    read = reader_of("gzip")
    assert b"".join(map(read, single_bytes(body))) == content
    assert read(b"more") == b""


def test_broken_gzip_ends_the_look_at_the_break() -> None:
    body = bytearray(gzip.compress(TEXT, 0))
    body[-8] ^= 1  # the checksum
    read = reader_of("gzip")
    assert TEXT.startswith(b"".join(map(read, single_bytes(bytes(body)))))
    assert read(gzip.compress(b"more")) == b""
