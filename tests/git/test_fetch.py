"""A clone, a fetch, or a part of one: in the shapes of protocol v0, v1 and v2."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.git.fetch import FetchObserver
from gitpat_proxy.git.pktline import pkt_line

A, B = "a1" * 20, "b2" * 20
FLUSH, DELIMITER = b"0000", b"0001"
PACK = b"PACK\0\0\0\2\0\0\0\1" + bytes(range(256))


def lines(*texts: str) -> bytes:
    return b"".join(pkt_line(f"{text}\n".encode()) for text in texts)


def banded(*pieces: bytes) -> bytes:
    return b"".join(map(pkt_line, pieces)) + FLUSH


WANT = f"want {A} multi_ack_detailed side-band-64k thin-pack ofs-delta agent=git/2.39.5"
CLONE_V0 = lines(WANT, f"want {B}") + FLUSH + lines("done")
SHALLOW_CLONE_V0 = lines(WANT, "deepen 1") + FLUSH + lines("done")
FETCH_V0 = lines(WANT) + FLUSH + lines(f"have {B}") + FLUSH + lines("done")
DEEPEN_V0 = lines(WANT, f"shallow {B}", "deepen 5") + FLUSH + lines(f"have {B}", "done")
LS_REFS_V2 = lines("command=ls-refs", "agent=git/2.39.5") + DELIMITER + lines("peel", "symrefs") + FLUSH
FETCH_COMMAND_V2 = lines("command=fetch", "agent=git/2.39.5", "object-format=sha1") + DELIMITER
CLONE_V2 = FETCH_COMMAND_V2 + lines("thin-pack", "ofs-delta", f"want {A}", "done") + FLUSH
FETCH_V2 = FETCH_COMMAND_V2 + lines("thin-pack", f"want {A}", f"have {B}") + FLUSH

BANDED_PACK = banded(b"\2Enumerating objects: 3, done.\n", b"\1" + PACK)
QUIET_PACK = banded(b"\1" + PACK)
NAK = lines("NAK")
PACK_V2 = lines("packfile") + BANDED_PACK
NEGOTIATION_V2 = lines("acknowledgments", "NAK") + FLUSH
REFS_V2 = lines(f"{A} HEAD symref-target:refs/heads/main", f"{A} refs/heads/packfile") + FLUSH


@pytest.mark.parametrize(
    ("asked", "answered", "event"),
    [
        (CLONE_V0, NAK + BANDED_PACK, "clone"),
        (CLONE_V0, NAK + QUIET_PACK, "clone"),
        (CLONE_V0, NAK + PACK, "clone"),
        (SHALLOW_CLONE_V0, lines(f"shallow {A}") + FLUSH + NAK + BANDED_PACK, "clone"),
        (FETCH_V0, lines(f"ACK {B} common", f"ACK {B}") + BANDED_PACK, "fetch"),
        (FETCH_V0, lines(f"ACK {B}") + PACK, "fetch"),
        (DEEPEN_V0, lines(f"unshallow {B}") + FLUSH + lines(f"ACK {B}") + QUIET_PACK, "fetch"),
        (CLONE_V2, PACK_V2, "clone"),
        (CLONE_V2, lines("shallow-info", f"shallow {A}") + DELIMITER + PACK_V2, "clone"),
        (
            FETCH_V2,
            lines("acknowledgments", f"ACK {B}", "ready") + DELIMITER + PACK_V2,
            "fetch",
        ),
        # a round of negotiation, an advertisement, a refusal: no pack, no event
        (FETCH_V0, NAK, None),
        (FETCH_V0, lines(f"ACK {B} common", f"ACK {B} ready", "NAK"), None),
        (SHALLOW_CLONE_V0, lines(f"shallow {A}") + FLUSH, None),
        (FETCH_V2, NEGOTIATION_V2, None),
        (LS_REFS_V2, REFS_V2, None),
        (CLONE_V0, lines("ERR upload-pack: not our ref"), None),
        (CLONE_V0, b"", None),
        (b"0000", b"", None),
        (b"", b"", None),
        # what is no Git at all
        (b"garbage", b"garbage", None),
        (CLONE_V0, b"<html>PACK", None),
        (b"garbage", PACK_V2, None),
        (LS_REFS_V2, lines("packfile"), None),
    ],
)
@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_what_an_exchange_was(asked: bytes, answered: bytes, event: str | None, cut: int) -> None:
    observer = FetchObserver("")
    for start in range(0, len(asked), cut):
        observer.asked(asked[start : start + cut])
    for start in range(0, len(answered), cut):
        observer.answered(answered[start : start + cut])
    assert observer.event() == (None if event is None else (event, {}))


def test_a_gzip_body_is_read() -> None:
    observer = FetchObserver("gzip")
    observer.asked(gzip.compress(FETCH_V2))
    observer.answered(PACK_V2)
    assert observer.event() == ("fetch", {})


def test_a_have_far_behind_many_wants_is_found() -> None:
    observer = FetchObserver("")
    observer.asked(lines(*(f"want {number:040x}" for number in range(20_000))) + FLUSH)
    observer.asked(lines(f"have {B}", "done"))
    observer.answered(NAK + BANDED_PACK)
    assert observer.event() == ("fetch", {})


def test_a_pack_behind_a_long_negotiation_is_found() -> None:
    """Whoever has 30,000 commits in common must not fetch unseen for that."""
    commits = [f"{number:040x}" for number in range(30_000)]
    observer = FetchObserver("")
    observer.asked(FETCH_COMMAND_V2 + lines(f"want {A}", *(f"have {c}" for c in commits)) + FLUSH)
    acknowledged = lines("acknowledgments", *(f"ACK {c}" for c in commits), "ready")
    for chunk in (acknowledged, DELIMITER, PACK_V2):
        observer.answered(chunk)
    assert observer.event() == ("fetch", {})


@given(st.lists(st.binary(max_size=50)), st.lists(st.binary(max_size=50)))
def test_any_bytes_pass_by(asked: list[bytes], answered: list[bytes]) -> None:
    observer = FetchObserver("")
    for chunk in asked:
        observer.asked(chunk)
    for chunk in answered:
        observer.answered(chunk)
    assert observer.event() in [None, ("clone", {}), ("fetch", {})]
