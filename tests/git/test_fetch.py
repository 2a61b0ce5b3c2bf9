"""A clone, a fetch, or a part of one: in the shapes of protocol v0, v1 and v2."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.git.fetch import ArchiveObserver, FetchObserver
from gitpat_proxy.git.pktline import pkt_line
from tests.git.cuts import CUTS, cut

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
LONG_AGENT_V2 = lines("command=fetch") + pkt_line(b"agent=".ljust(65519, b"x"))

CLONE = ("clone", {})
FETCH = ("fetch", {})
UNCLEAR = ("fetch", {"unclear": True})


@pytest.mark.parametrize(
    ("asked", "answered", "event"),
    [
        (CLONE_V0, NAK + BANDED_PACK, CLONE),
        (CLONE_V0, NAK + QUIET_PACK, CLONE),
        (CLONE_V0, NAK + PACK, CLONE),
        (SHALLOW_CLONE_V0, lines(f"shallow {A}") + FLUSH + NAK + BANDED_PACK, CLONE),
        (FETCH_V0, lines(f"ACK {B} common", f"ACK {B}") + BANDED_PACK, FETCH),
        (FETCH_V0, lines(f"ACK {B}") + PACK, FETCH),
        (DEEPEN_V0, lines(f"unshallow {B}") + FLUSH + lines(f"ACK {B}") + QUIET_PACK, FETCH),
        (CLONE_V2, PACK_V2, CLONE),
        (CLONE_V2, lines("shallow-info", f"shallow {A}") + DELIMITER + PACK_V2, CLONE),
        (
            FETCH_V2,
            lines("acknowledgments", f"ACK {B}", "ready") + DELIMITER + PACK_V2,
            FETCH,
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
        (LS_REFS_V2, lines("packfile"), None),
        (LS_REFS_V2, b"garbage", None),
        # git looks for both, in whatever order they come
        (FETCH_COMMAND_V2 + lines(f"have {B}", f"want {A}", "done") + FLUSH, PACK_V2, FETCH),
        (lines("command=fetch") + DELIMITER + lines(f"want-ref {A}", "done") + FLUSH, PACK_V2, CLONE),
        (LONG_AGENT_V2 + DELIMITER + lines(f"want {A}", "done") + FLUSH, PACK_V2, CLONE),
        (LONG_AGENT_V2 + DELIMITER + lines(f"want {A}", f"have {B}") + FLUSH, PACK_V2, FETCH),
        # what is no Git at all may still have been a fetch, unless there was no answer
        (b"garbage", b"garbage", UNCLEAR),
        (b"garbage", PACK_V2, UNCLEAR),
        (b"garbage", b"", None),
        (b"garbage", NAK + FLUSH, None),
        (CLONE_V0 + b"garbage", NAK + BANDED_PACK, UNCLEAR),
        (CLONE_V0, b"<html>PACK", UNCLEAR),
        (FETCH_V0, NAK + b"<html>", UNCLEAR),
    ],
)
@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_what_an_exchange_was(
    asked: bytes, answered: bytes, event: tuple[str, object] | None, cut: int
) -> None:
    observer = FetchObserver("")
    for start in range(0, len(asked), cut):
        observer.asked(asked[start : start + cut])
    for start in range(0, len(answered), cut):
        observer.answered(answered[start : start + cut])
    assert observer.event() == event


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


@pytest.mark.parametrize(
    ("acknowledged", "event"), [(199_998, FETCH), (199_999, UNCLEAR), (300_000, UNCLEAR)]
)
def test_how_far_a_pack_is_waited_for(acknowledged: int, event: tuple[str, object]) -> None:
    """Whoever fetches behind more than that is not unseen, but not understood."""
    observer = FetchObserver("")
    observer.asked(FETCH_V0)
    observer.answered(NAK + pkt_line(b"ACK") * acknowledged)
    for chunk in (BANDED_PACK, PACK):
        observer.answered(chunk)
    assert observer.event() == event


def test_of_an_endless_answer_without_a_pack_it_is_said_that_it_is_unclear() -> None:
    observer = FetchObserver("")
    observer.asked(FETCH_V0)
    observer.answered(pkt_line(b"ACK") * 200_000)
    assert observer.event() is None
    observer.answered(pkt_line(b"ACK"))
    assert observer.event() == UNCLEAR


@pytest.mark.parametrize(
    ("shallow", "event"), [(49_997, CLONE), (49_998, CLONE), (49_999, UNCLEAR), (60_000, UNCLEAR)]
)
def test_how_many_packets_of_a_request_are_read(shallow: int, event: tuple[str, object]) -> None:
    observer = FetchObserver("")
    observer.asked(lines(WANT) + pkt_line(b"s") * shallow + FLUSH)
    observer.answered(NAK + BANDED_PACK)
    assert observer.event() == event


@pytest.mark.parametrize("cut", [1, 1000, 10**7])
def test_what_comes_behind_the_first_want_and_have_changes_nothing(cut: int) -> None:
    """However the body is cut: what was a fetch in one chunk is one in many."""
    asked = lines(WANT, f"have {B}") + pkt_line(b"s") * 60_000 + b"garbage"
    observer = FetchObserver("")
    for start in range(0, len(asked), cut):
        observer.asked(asked[start : start + cut])
    observer.answered(NAK + BANDED_PACK)
    assert observer.event() == FETCH


def test_the_list_of_refs_is_not_read_however_long_it_is() -> None:
    observer = FetchObserver("")
    observer.asked(LS_REFS_V2)
    observer.answered(lines(f"{A} refs/heads/x") * 201_000 + PACK_V2)
    assert observer.event() is None


@pytest.mark.parametrize(
    ("asked", "event"),
    [
        (gzip.compress(CLONE_V2), CLONE),
        (gzip.compress(FETCH_V2), FETCH),
        # what follows the first member git does not read; another server may
        (gzip.compress(CLONE_V2) + b"junk", UNCLEAR),
        (gzip.compress(CLONE_V2) + gzip.compress(FETCH_V2), UNCLEAR),
        (gzip.compress(FLUSH) + gzip.compress(CLONE_V2), UNCLEAR),
        (gzip.compress(CLONE_V2)[:-8] + b"\xff" * 8, UNCLEAR),
        (gzip.compress(bytes(16 * 1024 * 1024)), UNCLEAR),
        (CLONE_V2, UNCLEAR),
    ],
)
def test_what_can_not_be_inflated_is_unclear(asked: bytes, event: tuple[str, object]) -> None:
    observer = FetchObserver("gzip")
    observer.asked(asked)
    observer.answered(PACK_V2)
    assert observer.event() == event


@pytest.mark.parametrize(
    ("answered", "event"),
    [
        ([], None),
        ([b""], None),
        ([b"0008ACK\n0000", b"\1archive"], ("archive", {})),
        ([b"", b"x", b""], ("archive", {})),
    ],
)
def test_an_archive_that_was_sent(answered: list[bytes], event: tuple[str, object] | None) -> None:
    observer = ArchiveObserver()
    observer.asked(pkt_line(b"argument HEAD\n") + FLUSH)
    for chunk in answered:
        observer.answered(chunk)
    assert observer.event() == event


@given(st.lists(st.binary(max_size=50)), st.lists(st.binary(max_size=50)))
def test_any_bytes_pass_by(asked: list[bytes], answered: list[bytes]) -> None:
    observer = FetchObserver("")
    for chunk in asked:
        observer.asked(chunk)
    for chunk in answered:
        observer.answered(chunk)
    assert observer.event() in [None, CLONE, FETCH, UNCLEAR]


ASKED = st.lists(
    st.sampled_from([f"want {A}", f"have {B}", "done", "deepen 1", "command=fetch", "wanted", "haves"])
    | st.text(max_size=6),
    max_size=6,
)
BEFORE_A_PACK = st.sampled_from(["NAK", f"ACK {A}", f"shallow {A}", "acknowledgments", "shallow-info"])
MARKS = st.sampled_from([b"", FLUSH, DELIMITER])
PACKS = st.sampled_from([b"", PACK, QUIET_PACK, BANDED_PACK, PACK_V2])


ANSWERS = st.builds(lambda texts, mark: lines(*texts) + mark, st.lists(BEFORE_A_PACK, max_size=3), MARKS)


@given(ASKED, MARKS, ANSWERS, PACKS, CUTS)
def test_however_an_exchange_is_cut_its_event_is_that_of_its_lines(
    asked: list[str], mark: bytes, answer: bytes, pack: bytes, cuts: list[int]
) -> None:
    body = lines(*asked[:3]) + mark + lines(*asked[3:]) + FLUSH
    plain, zipped = FetchObserver(""), FetchObserver("gzip")
    for observer, sent in [(plain, body), (zipped, gzip.compress(body, mtime=0))]:
        for piece in cut(sent, cuts):
            observer.asked(piece)
        for piece in cut(answer + pack, cuts):
            observer.answered(piece)
    assert plain.event() == zipped.event() == expected_event(asked, pack)


def expected_event(asked: list[str], pack: bytes) -> tuple[str, object] | None:
    if not pack or not any(line.startswith("want") for line in asked):
        return None
    return FETCH if any(line.startswith("have ") for line in asked) else CLONE


@pytest.mark.parametrize(
    ("body", "encoding", "may_be_use"),
    [
        (CLONE_V0, "", True),
        (lines(WANT, "deepen 1") + FLUSH, "", True),
        (FETCH_V2, "", True),
        (gzip.compress(CLONE_V2), "gzip", True),
        (LONG_AGENT_V2 + DELIMITER + lines(f"want {A}") + FLUSH, "", True),
        (LS_REFS_V2, "", False),
        (FLUSH, "", False),
        (b"", "", False),
        # What can't be read may be anything.
        (b"zzzz", "", True),
        (b"not gzip", "gzip", True),
        (gzip.compress(LS_REFS_V2) + gzip.compress(CLONE_V2), "gzip", True),
    ],
)
def test_what_may_lead_to_a_pack(body: bytes, encoding: str, may_be_use: bool) -> None:
    observer = FetchObserver(encoding)
    observer.asked(body)
    assert observer.may_be_use == may_be_use
    assert ArchiveObserver().may_be_use
