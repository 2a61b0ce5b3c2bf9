"""A bounded look into a body, as sent or inflated."""

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.git.body import LONGEST_LOOK, ContentReader
from tests.git.cuts import CUTS, cut

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
    whole, by_bytes = ContentReader(encoding), ContentReader(encoding)
    assert whole.read(body) == TEXT
    assert b"".join(map(by_bytes.read, single_bytes(body))) == TEXT
    assert (whole.gave_up, by_bytes.gave_up) == (False, False)


def test_an_encoding_that_git_does_not_know_is_not_inflated() -> None:
    body = zlib.compress(TEXT)
    reader = ContentReader("deflate")
    assert (reader.read(body), reader.gave_up) == (body, False)


@pytest.mark.parametrize(("more", "gave_up"), [(-1, False), (1, True), (256, True)])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_the_look_ends_after_its_longest(encoding: str, more: int, gave_up: bool) -> None:
    content = (bytes(range(256)) * (LONGEST_LOOK // 256 + 1))[: LONGEST_LOOK + more]
    body = gzip.compress(content, 1) if encoding else content
    reader = ContentReader(encoding)
    pieces = [reader.read(body[start : start + 100_000]) for start in range(0, len(body), 100_000)]
    assert b"".join(pieces) == content[:LONGEST_LOOK]
    assert reader.gave_up is gave_up
    if gave_up:
        assert reader.read(b"more") == b""


def test_a_bomb_in_one_chunk_takes_no_more_memory_and_time_than_the_look() -> None:
    body = bomb(256)
    reader = ContentReader("gzip")
    tracemalloc.start()
    before = time.process_time()
    content = reader.read(body)
    seconds = time.process_time() - before
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert content == bytes(LONGEST_LOOK)
    assert reader.gave_up
    assert peak < 3 * LONGEST_LOOK
    assert seconds < 0.2
    assert reader.read(body) == b""


def test_junk_after_the_first_member_is_not_collected() -> None:
    """zlib keeps all that follows, and copies it again with each chunk."""
    junk = b"\xff" * 100_000
    reader = ContentReader("gzip")
    assert reader.read(gzip.compress(b"one")) == b"one"
    assert not reader.gave_up
    tracemalloc.start()
    assert {reader.read(junk) for _ in range(500)} == {b""}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reader.gave_up
    assert peak < 3 * len(junk)


@pytest.mark.parametrize(
    ("body", "content", "gave_up"),
    [
        (b"no gzip at all", b"", True),
        (b"\x1f\x8b\x08", b"", False),
        (gzip.compress(b"one") + b"garbage", b"one", True),
        (gzip.compress(b"one") + b"\0", b"one", True),
        (gzip.compress(b"one") + gzip.compress(b"two"), b"one", True),
        (gzip.compress(b"") + gzip.compress(b"two"), b"", True),
        (gzip.compress(b"one"), b"one", False),
        (zlib.compress(TEXT), b"", True),
        (b"", b"", False),
    ],
)
def test_what_git_would_not_inflate_gives_nothing(body: bytes, content: bytes, gave_up: bool) -> None:
    """git's http-backend, too, stops at the end of the first gzip member."""
    whole, by_bytes = ContentReader("gzip"), ContentReader("gzip")
    assert whole.read(body) == b"".join(map(by_bytes.read, single_bytes(body))) == content
    for reader in (whole, by_bytes):
        assert reader.gave_up is gave_up
        assert reader.read(b"more") == b""
        assert reader.gave_up


def test_broken_gzip_ends_the_look_at_the_break() -> None:
    body = bytearray(gzip.compress(TEXT, 0))
    body[-8] ^= 1  # the checksum
    reader = ContentReader("gzip")
    assert TEXT.startswith(b"".join(map(reader.read, single_bytes(bytes(body)))))
    assert reader.gave_up
    assert reader.read(gzip.compress(b"more")) == b""


CONTENT = st.binary(max_size=200) | st.binary(max_size=3).map(lambda piece: piece * 5000)
GZIPPED = st.tuples(CONTENT, st.integers(0, 9)).map(
    lambda pair: gzip.compress(pair[0], pair[1], mtime=0)
)


def flipped(body: bytes, place: int, bit: int) -> bytes:
    place %= len(body)
    return body[:place] + bytes([body[place] ^ 1 << bit]) + body[place + 1 :]


BROKEN = st.builds(flipped, GZIPPED, st.integers(0, 10**4), st.integers(0, 7))
LIKE_GZIP = st.lists(GZIPPED | BROKEN | st.binary(max_size=20), max_size=3).map(b"".join)


@given(LIKE_GZIP, st.sampled_from(["", "gzip", "x-gzip", "deflate"]), CUTS, st.integers(1, 2000))
def test_any_body_gives_the_content_that_zlib_alone_finds_in_it(
    body: bytes, encoding: str, cuts: list[int], longest_look: int
) -> None:
    """As much of it as is looked at, and of a broken one no more than comes before the break."""
    whole, in_pieces = ContentReader(encoding, longest_look), ContentReader(encoding, longest_look)
    content, parts = whole.read(body), [in_pieces.read(piece) for piece in cut(body, cuts)]
    expected, complete = inflated(body) if encoding in {"gzip", "x-gzip"} else (body, True)
    assert expected[:longest_look].startswith(b"".join(parts))
    assert b"".join(parts).startswith(content)
    assert (whole.gave_up, whole.is_used_up) == (in_pieces.gave_up, in_pieces.is_used_up)
    assert whole.is_used_up or whole.gave_up is not complete
    if complete or whole.is_used_up:
        assert content == b"".join(parts) == expected[:longest_look]


def inflated(body: bytes) -> tuple[bytes, bool]:
    """Return what comes out of the first member, and whether it is sound and nothing follows it."""
    inflate, content = zlib.decompressobj(wbits=31), b""
    try:
        for byte in single_bytes(body):
            content += inflate.decompress(byte)
    except zlib.error:
        return content, False
    return content, not inflate.unused_data
