"""What a push asks for and what became of it, as git writes both."""

import gzip
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.git.pktline import pkt_line
from gitpat_proxy.git.push import PushObserver, RefOutcome, RefUpdate, RefUpdateReader, ReportReader

A, B, NONE = "a1" * 20, "b2" * 20, "0" * 40
LONG_A, LONG_NONE = "a1" * 32, "0" * 64
CAPABILITIES = " report-status-v2 side-band-64k object-format=sha1 agent=git/2.39.5"


def request(*lines: str | bytes, after: bytes = b"PACK\0\0\0\2") -> bytes:
    framed = [pkt_line(line.encode() if isinstance(line, str) else line) for line in lines]
    return b"".join(framed) + b"0000" + after


def banded(report: bytes, size: int = 65515) -> bytes:
    """Put a report into side band 1, with some progress in band 2, as receive-pack does."""
    pieces = [report[start : start + size] for start in range(0, len(report), size)]
    return pkt_line(b"\2Resolving deltas\n") + b"".join(pkt_line(b"\1" + p) for p in pieces) + b"0000"


def report(*lines: str) -> bytes:
    return b"".join(pkt_line(f"{line}\n".encode()) for line in lines) + b"0000"


CERTIFICATE = [
    "certificate version 0.1\n",
    "pusher Ada <ada@example.org> 1700000000 +0000\n",
    "pushee http://127.0.0.1/app\n",
    "nonce 1700000000-abcdef\n",
    "\n",
    f"{A} {B} refs/heads/main\n",
    f"{A} {NONE} refs/x\n",
    "-----BEGIN PGP SIGNATURE-----\n",
]


@pytest.mark.parametrize(
    ("lines", "updates"),
    [
        ([f"{A} {B} refs/heads/main\0{CAPABILITIES}"], [RefUpdate("refs/heads/main", A, B)]),
        ([f"{A} {B} refs/heads/main\0{CAPABILITIES}\n"], [RefUpdate("refs/heads/main", A, B)]),
        ([f"{A} {B} refs/heads/main"], [RefUpdate("refs/heads/main", A, B)]),
        ([f"{A} {B} refs/heads/main\n"], [RefUpdate("refs/heads/main", A, B)]),
        ([f"{NONE} {B} refs/tags/v1\0"], [RefUpdate("refs/tags/v1", NONE, B)]),
        ([f"{A} {NONE} refs/heads/old\0 x"], [RefUpdate("refs/heads/old", A, NONE)]),
        (
            [f"{LONG_NONE} {LONG_A} refs/heads/main\0{CAPABILITIES}"],
            [RefUpdate("refs/heads/main", LONG_NONE, LONG_A)],
        ),
        (
            [f"shallow {A}\n", f"shallow {B}", f"{A} {B} refs/heads/main\0 x"],
            [RefUpdate("refs/heads/main", A, B)],
        ),
        (
            [f"{A} {B} refs/heads/main\0 x", f"{A} {NONE} refs/heads/old", f"{NONE} {B} refs/x"],
            [
                RefUpdate("refs/heads/main", A, B),
                RefUpdate("refs/heads/old", A, NONE),
                RefUpdate("refs/x", NONE, B),
            ],
        ),
        ([f"{A} {B} refs/heads/größe\0 x"], [RefUpdate("refs/heads/größe", A, B)]),
        ([f"{A} {B} ".encode() + b"refs/heads/\xff\0 x"], [RefUpdate("refs/heads/\ufffd", A, B)]),
        ([f"{A} {B} refs/heads/a b\0 x"], [RefUpdate("refs/heads/a b", A, B)]),
        # git takes capital digits as well: what is written so must not escape the audit
        ([f"{A.upper()} {B.upper()} refs/heads/main\0 x"], [RefUpdate("refs/heads/main", A, B)]),
        ([], []),
        (["0000"], []),
        ([f"{A} {B}"], []),
        ([f"{A[:-1]} {B} refs/heads/main"], []),
        ([f"{A}0 {B} refs/heads/main"], []),
        ([f"{A}  {B} refs/heads/main"], []),
        ([f"g{A[1:]} {B} refs/heads/main"], []),
    ],
)
def test_the_commands_of_a_push(lines: list[str], updates: list[RefUpdate]) -> None:
    whole, by_bytes = RefUpdateReader(), RefUpdateReader()
    body = request(*lines)
    whole.feed(body)
    for position in range(len(body)):
        by_bytes.feed(body[position : position + 1])
    assert whole.updates == by_bytes.updates == updates
    assert whole.capabilities == by_bytes.capabilities


@pytest.mark.parametrize("cut", [1, 50, 100_000])
def test_the_commands_of_a_signed_push(cut: int) -> None:
    """git joins the certificate's packets before it looks for lines in them."""
    text = "".join(CERTIFICATE)
    pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
    expected = [RefUpdate("refs/heads/main", A, B), RefUpdate("refs/x", A, NONE)]
    for certificate in (CERTIFICATE, pieces):
        for end in (["push-cert-end\n"], []):
            reader = RefUpdateReader()
            reader.feed(request(f"push-cert\0{CAPABILITIES}", *certificate, *end))
            assert reader.updates == expected
            assert reader.capabilities == frozenset(CAPABILITIES.split())


def test_capabilities_follow_the_first_nul() -> None:
    reader = RefUpdateReader()
    reader.feed(request(f"{A} {B} refs/heads/main\0{CAPABILITIES}", f"{A} {B} refs/heads/x"))
    assert reader.capabilities == frozenset(CAPABILITIES.split())


def test_capabilities_of_several_lines_add_up_as_they_do_for_git() -> None:
    reader = RefUpdateReader()
    reader.feed(request(f"{A} {B} refs/heads/main\0 side-band-64k", f"{A} {B} refs/heads/x\0 atomic"))
    assert reader.capabilities == {"side-band-64k", "atomic"}


@pytest.mark.parametrize("after", [b"PACK", b"", pkt_line(f"{A} {B} refs/heads/x".encode()) + b"0000"])
def test_nothing_after_the_flush_is_read(after: bytes) -> None:
    """Push options and the pack may look like commands."""
    reader = RefUpdateReader()
    reader.feed(request(f"{A} {B} refs/heads/main\0 push-options", after=after))
    reader.feed(request(f"{A} {B} refs/heads/y"))
    assert reader.updates == [RefUpdate("refs/heads/main", A, B)]


@pytest.mark.parametrize(
    "garbage", [b"garbage", b"\x1f\x8b\x08\0", b"0003", b"GET / HTTP/1.1\r\n", b"\0" * 9]
)
def test_garbage_has_no_commands_and_ends_the_reading(garbage: bytes) -> None:
    reader = RefUpdateReader()
    reader.feed(garbage)
    reader.feed(request(f"{A} {B} refs/heads/main"))
    assert reader.updates == []


UPDATE = RefUpdate("refs/heads/main", A, B)
OTHER = RefUpdate("refs/heads/other", A, B)


@pytest.mark.parametrize("side_band", [False, True])
@pytest.mark.parametrize(
    ("lines", "main", "other"),
    [
        (["unpack ok", "ok refs/heads/main"], (RefOutcome.OK, ""), (RefOutcome.UNKNOWN, "")),
        (
            ["unpack ok", "ok refs/heads/other", "ng refs/heads/main non-fast-forward"],
            (RefOutcome.REFUSED, "non-fast-forward"),
            (RefOutcome.OK, ""),
        ),
        (
            ["unpack ok", "ng refs/heads/main pre-receive hook declined", "ng refs/heads/other"],
            (RefOutcome.REFUSED, "pre-receive hook declined"),
            (RefOutcome.REFUSED, ""),
        ),
        (
            ["unpack index-pack abnormal exit", "ng refs/heads/main unpacker error"],
            (RefOutcome.REFUSED, "unpacker error"),
            (RefOutcome.UNKNOWN, ""),
        ),
        (
            ["unpack ok", "ok refs/heads/main", "option refname refs/heads/other", "option new-oid x"],
            (RefOutcome.OK, ""),
            (RefOutcome.UNKNOWN, ""),
        ),
        ([], (RefOutcome.UNKNOWN, ""), (RefOutcome.UNKNOWN, "")),
    ],
)
def test_the_report(
    lines: list[str],
    main: tuple[RefOutcome, str],
    other: tuple[RefOutcome, str],
    side_band: bool,
) -> None:
    answer = banded(report(*lines), size=7) if side_band else report(*lines)
    whole, by_bytes = ReportReader(side_band=side_band), ReportReader(side_band=side_band)
    whole.feed(answer)
    for position in range(len(answer)):
        by_bytes.feed(answer[position : position + 1])
    for reader in (whole, by_bytes):
        assert (reader.outcome_of(UPDATE), reader.outcome_of(OTHER)) == (main, other)


@pytest.mark.parametrize("side_band", [False, True])
def test_an_answer_that_is_no_report_is_not_kept(side_band: bool) -> None:
    reader = ReportReader(side_band=side_band)
    tracemalloc.start()
    for _ in range(200):
        reader.feed(b"<html>" * 10_000)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reader.outcome_of(UPDATE) == (RefOutcome.UNKNOWN, "")
    assert size < 1024 * 1024


def observed(body: bytes, answer: bytes, encoding: str = "", cut: int = 100) -> object:
    observer = PushObserver(encoding)
    for start in range(0, len(body), cut):
        observer.asked(body[start : start + cut])
    for start in range(0, len(answer), cut):
        observer.answered(answer[start : start + cut])
    return observer.event()


@pytest.mark.parametrize("cut", [1, 3, 1000])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_push_is_kept_with_its_refs_and_their_outcome(encoding: str, cut: int) -> None:
    body = request(
        f"{A} {B} refs/heads/main\0{CAPABILITIES}", f"{NONE} {B} refs/tags/v1", f"{A} {NONE} refs/x"
    )
    answer = banded(report("unpack ok", "ok refs/heads/main", "ng refs/x deletion prohibited"))
    event = observed(gzip.compress(body) if encoding else body, answer, encoding, cut)
    assert event == (
        "push",
        {
            "updates": [
                {"ref": "refs/heads/main", "old": A, "new": B, "outcome": "ok"},
                {"ref": "refs/tags/v1", "old": NONE, "new": B, "outcome": "unknown"},
                {
                    "ref": "refs/x",
                    "old": A,
                    "new": NONE,
                    "outcome": "ng",
                    "reason": "deletion prohibited",
                },
            ]
        },
    )


def test_many_refs_are_all_kept() -> None:
    names = [f"refs/heads/topic-{number:04}" for number in range(5000)]
    body = request(f"{A} {B} {names[0]}\0{CAPABILITIES}", *(f"{A} {B} {name}" for name in names[1:]))
    event = observed(body, banded(report("unpack ok", *(f"ok {name}" for name in names))), cut=65536)
    assert event == (
        "push",
        {"updates": [{"ref": name, "old": A, "new": B, "outcome": "ok"} for name in names]},
    )


@pytest.mark.parametrize("cut_off", [1, 4, 30])
def test_a_list_that_did_not_end_is_told_as_truncated(cut_off: int) -> None:
    """Whoever reads the audit must not take it for the whole push."""
    body = request(f"{A} {B} refs/heads/main\0{CAPABILITIES}", f"{A} {B} refs/heads/x", after=b"")
    event = observed(body[:-cut_off], b"")
    assert isinstance(event, tuple)
    assert event[1]["truncated"] is True
    assert event[1]["updates"][0]["ref"] == "refs/heads/main"


@pytest.mark.parametrize("body", [b"0000", b"", b"garbage", b"0000" + b"PACK"])
def test_a_probe_is_no_event(body: bytes) -> None:
    assert observed(body, b"") is None
    assert observed(body, b"0000") is None


@given(st.lists(st.binary(max_size=50)), st.lists(st.binary(max_size=50)), st.booleans())
def test_any_bytes_pass_by(body: list[bytes], answer: list[bytes], side_band: bool) -> None:
    reader = ReportReader(side_band=side_band)
    observer = PushObserver("")
    for chunk in body:
        observer.asked(chunk)
    for chunk in answer:
        observer.answered(chunk)
        reader.feed(chunk)
    observer.event()


@given(st.lists(st.integers(0, 10**4), max_size=8).map(sorted))
def test_however_a_push_is_cut_its_event_is_the_same(cuts: list[int]) -> None:
    body = request(f"shallow {A}", f"{A} {B} refs/heads/main\0{CAPABILITIES}")
    observer = PushObserver("")
    for start, end in pairwise([0, *cuts, 10**5]):
        observer.asked(body[start:end])
    [update] = observer.event()[1]["updates"]
    assert update["ref"] == "refs/heads/main"
