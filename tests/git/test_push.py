"""What a push asks for and what became of it, as git writes both."""

import gzip
import os
import subprocess
import tempfile
import tracemalloc
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitpat_proxy.git.pktline import PktLineDecoder, PktLineError, pkt_line
from gitpat_proxy.git.push import (
    MOST_COMMANDS,
    PushObserver,
    RefOutcome,
    RefUpdate,
    RefUpdateReader,
    ReportReader,
    is_ref_name,
    refusing_report,
)
from tests.git.cuts import CUTS, cut
from tests.support.git import Git

A, B, NONE = "a1" * 20, "b2" * 20, "0" * 40
LONG_A, LONG_NONE = "a1" * 32, "0" * 64
CAPABILITIES = " report-status-v2 side-band-64k object-format=sha1 agent=git/2.39.5"


CAPABILITY_NAMES = {"report-status-v2", "side-band-64k"}


def request(*lines: str | bytes, end: bytes = b"0000", after: bytes = b"PACK\0\0\0\2") -> bytes:
    framed = [pkt_line(line.encode() if isinstance(line, str) else line) for line in lines]
    return b"".join(framed) + end + after


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


MAIN, OTHER = RefUpdate(b"refs/heads/main", A, B), RefUpdate(b"refs/heads/other", A, B)
GONE = RefUpdate(b"refs/x", A, NONE)
ENDS = [b"0000", b"0001", b"0002"]


def read(body: bytes) -> RefUpdateReader:
    """Read it whole and byte by byte: that must be the same."""
    whole, by_bytes = RefUpdateReader(), RefUpdateReader()
    whole.feed(body)
    for position in range(len(body)):
        by_bytes.feed(body[position : position + 1])
    for name in ("updates", "capabilities", "ended", "unclear", "malformed"):
        assert getattr(whole, name) == getattr(by_bytes, name), name
    return whole


@pytest.mark.parametrize(
    ("lines", "updates"),
    [
        ([f"{A} {B} refs/heads/main\0{CAPABILITIES}"], [MAIN]),
        ([f"{A} {B} refs/heads/main\0{CAPABILITIES}\n"], [MAIN]),
        ([f"{A} {B} refs/heads/main"], [MAIN]),
        ([f"{A} {B} refs/heads/main\n"], [MAIN]),
        ([f"{NONE} {B} refs/tags/v1\0"], [RefUpdate(b"refs/tags/v1", NONE, B)]),
        ([f"{A} {NONE} refs/x\0 x"], [GONE]),
        (
            [f"{LONG_NONE} {LONG_A} refs/heads/main\0{CAPABILITIES}"],
            [RefUpdate(b"refs/heads/main", LONG_NONE, LONG_A)],
        ),
        ([f"shallow {A}\n", f"shallow {B}", f"{A} {B} refs/heads/main\0 x"], [MAIN]),
        (
            [f"{A} {B} refs/heads/main\0 x", f"{A} {NONE} refs/x", f"{NONE} {B} refs/tags/v1"],
            [MAIN, GONE, RefUpdate(b"refs/tags/v1", NONE, B)],
        ),
        ([f"{A} {B} refs/heads/größe\0 x"], [RefUpdate("refs/heads/größe".encode(), A, B)]),
        (
            [f"{A} {B} ".encode() + b"refs/\xff\0 x", f"{A} {B} ".encode() + b"refs/\xfe"],
            [RefUpdate(b"refs/\xff", A, B), RefUpdate(b"refs/\xfe", A, B)],
        ),
        # one ref twice, and a name that begins another
        (
            [f"{A} {B} refs/x", f"{B} {A} refs/x"],
            [RefUpdate(b"refs/x", A, B), RefUpdate(b"refs/x", B, A)],
        ),
        (
            [f"{A} {B} refs/heads/a", f"{A} {B} refs/heads/a b"],
            [RefUpdate(b"refs/heads/a", A, B), RefUpdate(b"refs/heads/a b", A, B)],
        ),
        # git takes capital digits as well: what is written so must not escape the audit
        ([f"{A.upper()} {B.upper()} refs/heads/main\0 x"], [MAIN]),
        ([f"{LONG_A.upper()} {LONG_NONE} refs/x\0 x"], [RefUpdate(b"refs/x", LONG_A, LONG_NONE)]),
        (["push-cert\0 x", "v\n\n", f"{A.upper()} {B.upper()} refs/heads/main\n"], [MAIN]),
        # git refuses a ref without a name, and says so in its report, in its place
        ([f"{A} {B} \0 x", f"{A} {B} refs/heads/main"], [RefUpdate(b"", A, B), MAIN]),
        # git takes one line break off a packet's end; what is left belongs to the name
        ([f"{A} {B} refs/x\n\n"], [RefUpdate(b"refs/x\n", A, B)]),
        ([f"{A} {B} refs/x\n\0 x"], [RefUpdate(b"refs/x\n", A, B)]),
        ([f"{A} {B} refs/x\n{A} {B} refs/y"], [RefUpdate(f"refs/x\n{A} {B} refs/y".encode(), A, B)]),
        ([], []),
        (["0000"], []),
        ([f"{A} {B}"], []),
        ([f"{A[:-1]} {B} refs/heads/main"], []),
        ([f"{A}0 {B} refs/heads/main"], []),
        ([f"{A}  {B} refs/heads/main"], []),
        ([f"g{A[1:]} {B} refs/heads/main"], []),
    ],
)
@pytest.mark.parametrize("end", ENDS)
def test_the_commands_of_a_push(lines: list[str | bytes], updates: list[RefUpdate], end: bytes) -> None:
    """Any packet without a payload ends the list, not a flush alone."""
    reader = read(request(*lines, end=end))
    assert (reader.updates, reader.ended, reader.unclear) == (updates, True, False)


@pytest.mark.parametrize("cut", [1, 50, 100_000])
def test_the_commands_of_a_signed_push(cut: int) -> None:
    """git joins the certificate's packets before it looks for lines in them."""
    text = "".join(CERTIFICATE)
    pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
    for certificate in (CERTIFICATE, pieces):
        for end in (["push-cert-end\n"], []):
            reader = read(request(f"push-cert\0{CAPABILITIES}", *certificate, *end))
            assert (reader.updates, reader.ended, reader.unclear) == ([MAIN, GONE], True, False)
            assert reader.capabilities == CAPABILITY_NAMES


HEAD, END = "certificate version 0.1\n\n", "push-cert-end\n"
SIGNATURE = "-----BEGIN SSH SIGNATURE-----\n"
MAIN_LINE, GONE_LINE = f"{A} {B} refs/heads/main\n", f"{A} {NONE} refs/x\n"


@pytest.mark.parametrize(
    ("lines", "updates"),
    [
        ([HEAD, MAIN_LINE, GONE_LINE, END], [MAIN, GONE]),
        ([HEAD, MAIN_LINE[:50], MAIN_LINE[50:], GONE_LINE, END], [MAIN, GONE]),
        ([HEAD, MAIN_LINE + GONE_LINE, END], [MAIN, GONE]),
        ([HEAD + MAIN_LINE + GONE_LINE], [MAIN, GONE]),
        ([HEAD, MAIN_LINE + GONE_LINE.rstrip("\n"), END], [MAIN, GONE]),
        (
            [HEAD, MAIN_LINE.rstrip("\n") + "\0junk\n", "\n", GONE_LINE, "push-cert-end\n\0x"],
            [MAIN, GONE],
        ),
        ([HEAD, MAIN_LINE, "push-cert-end", "\n", END], [MAIN]),
        # only what stands between the first empty line and the signature are commands
        ([f"v\n{A} {B} refs/heads/fake\n\n", MAIN_LINE, END], [MAIN]),
        ([f"{B} {A} refs/heads/main\n", "\n", MAIN_LINE, END], [MAIN]),
        ([HEAD, MAIN_LINE, "-----BEGIN PGP SIGNATURE-----\n", GONE_LINE, END], [MAIN]),
        ([HEAD, MAIN_LINE, "-----BEGIN PGP MESSAGE-----x\n", GONE_LINE, END], [MAIN]),
        ([HEAD, MAIN_LINE, "-----BEGIN SSH SIGNATURE-----\n" + GONE_LINE], [MAIN]),
        ([HEAD, MAIN_LINE, "-----BEGIN SIGNED MESSAGE-----\n" + GONE_LINE], [MAIN]),
        # of several lines that begin one, the last does: no way around the audit
        (["-----BEGIN SSH SIGNATURE-----\n\n", MAIN_LINE, SIGNATURE, END], [MAIN]),
        ([HEAD, MAIN_LINE, SIGNATURE, GONE_LINE, SIGNATURE, END], [MAIN, GONE]),
        (["-----BEGIN SSH SIGNATURE-----\n\n", MAIN_LINE, END, GONE_LINE], [GONE]),
        # git reads the certificate last, wherever it stands, and two as one
        ([HEAD, MAIN_LINE, END, f"{A} {B} refs/heads/other"], [OTHER, MAIN]),
        (
            [HEAD, MAIN_LINE, END, "push-cert", GONE_LINE, END, f"{A} {B} refs/heads/other"],
            [OTHER, MAIN, GONE],
        ),
    ],
)
@pytest.mark.parametrize("end", ENDS)
def test_what_git_takes_for_a_command_in_a_certificate(
    lines: list[str], updates: list[RefUpdate], end: bytes
) -> None:
    reader = read(request("push-cert\0 report-status", *lines, end=end))
    assert (reader.updates, reader.ended, reader.unclear) == (updates, True, False)


@pytest.mark.parametrize(
    ("size", "updates", "unclear"),
    [
        *[(size, [MAIN, OTHER], False) for size in (65520, 65521, 65522, 65523)],
        *[(size, [], True) for size in (65524, 65535)],
    ],
)
def test_the_longest_first_packet_is_the_one_that_git_reads(
    size: int, updates: list[RefUpdate], unclear: bool
) -> None:
    line = f"{A} {B} refs/heads/main\0 side-band-64k agent=".ljust(size - 4, "x")
    reader = read(request(line, f"{A} {B} refs/heads/other"))
    assert (reader.updates, reader.ended, reader.unclear) == (updates, not unclear, unclear)
    assert ("side-band-64k" in reader.capabilities) is not unclear


@pytest.mark.parametrize(
    ("lines", "capabilities"),
    [
        ([f"{MAIN_LINE}\0{CAPABILITIES}", f"{A} {B} refs/heads/x"], CAPABILITY_NAMES),
        (
            [f"{MAIN_LINE}\0 side-band-64k", f"{A} {B} refs/heads/x\0 report-status"],
            {"side-band-64k", "report-status"},
        ),
        ([f"{MAIN_LINE}\0", f"{A} {B} refs/heads/x\0side-band-64k"], {"side-band-64k"}),
        ([f"{MAIN_LINE}\0side-band-64k=1 x=report-status y=\n"], {"side-band-64k"}),
        ([f"{MAIN_LINE}\0a\tside-band-64k\rreport-status\nb"], {"side-band-64k", "report-status"}),
        ([f"{MAIN_LINE}\0side-band-64kx xside-band-64k"], set()),
        # what is no blank to git joins two words
        ([f"{MAIN_LINE}\0a\x0bside-band-64k"], set()),
        ([f"{MAIN_LINE}\0a\x1cside-band-64k"], set()),
        ([f"{MAIN_LINE}\0a\u00a0side-band-64k"], set()),
        # to git the list is a string in C, and a line `shallow` has none
        ([f"{MAIN_LINE}\0report-status \0 side-band-64k"], {"report-status"}),
        ([f"shallow {A}\0 side-band-64k", f"{MAIN_LINE}\0 report-status"], {"report-status"}),
        (["push-cert\0 report-status", HEAD, f"{MAIN_LINE}\0 side-band-64k", END], {"report-status"}),
        ([f"{MAIN_LINE}"], set()),
    ],
)
def test_the_capabilities_are_those_that_git_sees_and_that_matter(
    lines: list[str], capabilities: set[str]
) -> None:
    assert read(request(*lines)).capabilities == capabilities


def test_however_many_capabilities_a_client_sends_few_are_kept() -> None:
    """To keep each of half a million took more than half an hour, in which nobody else was served."""
    lines = [
        f"{MAIN_LINE}\0" + " ".join(f"{line}-{number}" for number in range(7000)) + " side-band-64k"
        for line in range(20)
    ]
    reader = RefUpdateReader()
    reader.feed(request(*lines))
    assert reader.ended
    assert reader.capabilities == {"side-band-64k"}


@pytest.mark.parametrize("after", [b"PACK", b"", pkt_line(f"{A} {B} refs/heads/x".encode()) + b"0000"])
def test_nothing_after_the_flush_is_read(after: bytes) -> None:
    """Push options and the pack may look like commands."""
    reader = RefUpdateReader()
    reader.feed(request(f"{A} {B} refs/heads/main\0 push-options", after=after))
    reader.feed(request(f"{A} {B} refs/heads/y"))
    assert (reader.updates, reader.ended, reader.unclear) == ([MAIN], True, False)


@pytest.mark.parametrize(
    "garbage", [b"garbage", b"\x1f\x8b\x08\0", b"0003", b"GET / HTTP/1.1\r\n", b"\0" * 9]
)
def test_garbage_has_no_commands_and_ends_the_reading(garbage: bytes) -> None:
    reader = RefUpdateReader()
    reader.feed(garbage)
    reader.feed(request(f"{A} {B} refs/heads/main"))
    assert (reader.updates, reader.ended, reader.unclear) == ([], False, True)


@pytest.mark.parametrize(
    ("packets", "updates", "unclear"),
    [(99_999, [MAIN], False), (100_000, [], True), (200_000, [], True)],
)
def test_how_many_packets_are_read(packets: int, updates: list[RefUpdate], unclear: bool) -> None:
    reader = RefUpdateReader()
    reader.feed(b"0004" * packets + request(f"{A} {B} refs/heads/main"))
    assert (reader.updates, reader.ended, reader.unclear) == (updates, not unclear, unclear)


OK, REFUSED = RefOutcome.OK, RefOutcome.REFUSED


def outcomes_of(
    updates: list[RefUpdate], answer: bytes, *, side_band: bool
) -> list[tuple[RefOutcome, str]]:
    """Read it whole and byte by byte: that must be the same."""
    whole = ReportReader(updates, side_band=side_band)
    by_bytes = ReportReader(updates, side_band=side_band)
    whole.feed(answer)
    for position in range(len(answer)):
        by_bytes.feed(answer[position : position + 1])
    assert whole.outcomes == by_bytes.outcomes
    return whole.outcomes


@pytest.mark.parametrize("side_band", [False, True])
@pytest.mark.parametrize(
    ("lines", "outcomes"),
    [
        (["unpack ok", "ok refs/heads/main"], [(OK, "")]),
        (["unpack ok", "ok refs/heads/main", "ok refs/heads/other"], [(OK, ""), (OK, "")]),
        (
            ["unpack ok", "ok refs/heads/main", "ng refs/heads/other non-fast-forward"],
            [(OK, ""), (REFUSED, "non-fast-forward")],
        ),
        (
            ["unpack ok", "ng refs/heads/main pre-receive hook declined", "ok refs/heads/other"],
            [(REFUSED, "pre-receive hook declined"), (OK, "")],
        ),
        (
            ["unpack index-pack abnormal exit", "ng refs/heads/main unpacker error"],
            [(REFUSED, "unpacker error")],
        ),
        (
            [
                "unpack ok",
                "ok refs/heads/main",
                "option refname refs/x",
                "ok refs/heads/other",
                "option x",
            ],
            [(OK, ""), (OK, "")],
        ),
        # git has one line for each command, in the commands' order; what is different is no report
        (["unpack ok", "ok refs/heads/other", "ok refs/heads/main"], []),
        (["unpack ok", "ok refs/heads/other", "ng refs/heads/main non-fast-forward"], []),
        (["unpack ok", "ok refs/heads/main", "ok refs/heads/x", "ok refs/heads/other"], [(OK, "")]),
        (["unpack ok", "ok refs/heads/main x"], []),
        (["unpack ok", "ok refs/heads/mai"], []),
        (["unpack ok", "ng refs/heads/mainx y"], []),
        (["unpack ok", "ng refs/heads/main"], []),
        (
            ["ok refs/heads/main", "ok refs/heads/other", "ng refs/heads/main x"],
            [(OK, ""), (OK, "")],
        ),
        (["unpack ok"], []),
        ([], []),
    ],
)
def test_the_report(lines: list[str], outcomes: list[tuple[RefOutcome, str]], side_band: bool) -> None:
    answer = banded(report(*lines), size=7) if side_band else report(*lines)
    assert outcomes_of([MAIN, OTHER], answer, side_band=side_band) == outcomes


@pytest.mark.parametrize(
    ("refs", "lines", "outcomes"),
    [
        (
            [b"refs/heads/real", b"refs/heads/real x"],
            [b"ok refs/heads/real", b"ng refs/heads/real x funny refname"],
            [(OK, ""), (REFUSED, "funny refname")],
        ),
        (
            [b"refs/heads/real x", b"refs/heads/real"],
            [b"ng refs/heads/real x funny refname", b"ok refs/heads/real"],
            [(REFUSED, "funny refname"), (OK, "")],
        ),
        (
            [b"refs/x", b"refs/x"],
            [b"ok refs/x", b"ng refs/x failed to update ref"],
            [(OK, ""), (REFUSED, "failed to update ref")],
        ),
        (
            [b"refs/x", b"refs/x"],
            [b"ng refs/x failed to update ref", b"ok refs/x"],
            [(REFUSED, "failed to update ref"), (OK, "")],
        ),
        (
            [b"refs/\xff", b"refs/\xfe"],
            [b"ok refs/\xff", b"ng refs/\xfe hook declined"],
            [(OK, ""), (REFUSED, "hook declined")],
        ),
        ([b"refs/\xff", b"refs/\xfe"], [b"ok refs/\xfe", b"ok refs/\xff"], []),
        (
            [b"refs/x\n", b"refs/y"],
            [b"ng refs/x\n funny refname", b"ok refs/y"],
            [(REFUSED, "funny refname"), (OK, "")],
        ),
        ([b"refs/x"], [b"ng refs/x \xff!"], [(REFUSED, "\ufffd!")]),
    ],
)
def test_the_report_on_names_that_are_hard_to_tell_apart(
    refs: list[bytes], lines: list[bytes], outcomes: list[tuple[RefOutcome, str]]
) -> None:
    answer = b"".join(pkt_line(line + b"\n") for line in [b"unpack ok", *lines]) + b"0000"
    updates = [RefUpdate(ref, A, B) for ref in refs]
    assert outcomes_of(updates, answer, side_band=False) == outcomes


def test_what_a_hook_prints_is_no_report() -> None:
    said = pkt_line(b"\2" + report("unpack ok", "ok refs/heads/main"))
    assert outcomes_of([MAIN], said + banded(report("unpack ok")), side_band=True) == []


@pytest.mark.parametrize("side_band", [False, True])
def test_an_answer_that_is_no_report_is_not_kept(side_band: bool) -> None:
    reader = ReportReader([MAIN], side_band=side_band)
    tracemalloc.start()
    for _ in range(200):
        reader.feed(b"<html>" * 10_000)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    reader.feed(report("unpack ok", "ok refs/heads/main"))
    assert reader.outcomes == []
    assert size < 1024 * 1024


def asked(observer: PushObserver, chunk: bytes) -> int:
    """Give a chunk, and have all of it read; return in how many steps."""
    observer.asked(chunk)
    steps = 1
    while observer.is_behind:
        observer.asked(b"")
        steps += 1
    return steps


def observed(body: bytes, answer: bytes, encoding: str = "", cut: int = 100) -> object:
    observer = PushObserver(encoding)
    for start in range(0, len(body), cut):
        asked(observer, body[start : start + cut])
    for start in range(0, len(answer), cut):
        observer.answered(answer[start : start + cut])
    return observer.event()


@pytest.mark.parametrize("cut", [1, 3, 1000])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_push_is_kept_with_its_refs_and_their_outcome(encoding: str, cut: int) -> None:
    body = request(
        f"{A} {B} refs/heads/main\0{CAPABILITIES}", f"{A} {NONE} refs/x", f"{NONE} {B} refs/tags/v1"
    )
    answer = banded(report("unpack ok", "ok refs/heads/main", "ng refs/x deletion prohibited"))
    event = observed(gzip.compress(body) if encoding else body, answer, encoding, cut)
    assert event == (
        "push",
        {
            "updates": [
                {"ref": "refs/heads/main", "old": A, "new": B, "outcome": "ok"},
                {
                    "ref": "refs/x",
                    "old": A,
                    "new": NONE,
                    "outcome": "ng",
                    "reason": "deletion prohibited",
                },
                {"ref": "refs/tags/v1", "old": NONE, "new": B, "outcome": "unknown"},
            ]
        },
    )


def kept(ref: str, outcome: str, old: str = A, new: str = B, **reason: str) -> dict[str, str]:
    return {"ref": ref, "old": old, "new": new, "outcome": outcome, **reason}


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize("number", [4999, 5000])
def test_many_refs_are_all_kept(number: int, encoding: str) -> None:
    names = [f"refs/heads/topic-{number:04}" for number in range(number)]
    body = request(f"{A} {B} {names[0]}\0{CAPABILITIES}", *(f"{A} {B} {name}" for name in names[1:]))
    body = gzip.compress(body) if encoding else body
    event = observed(
        body, banded(report("unpack ok", *(f"ok {name}" for name in names))), encoding, 65536
    )
    assert event == ("push", {"updates": [kept(name, "ok") for name in names]})


def test_many_commands_in_few_bytes_are_read_in_steps() -> None:
    lines = [f"{A} {B} refs/heads/topic-{number:04}" for number in range(4000)]
    body = request(*lines)
    observer = PushObserver("gzip")
    assert asked(observer, gzip.compress(body)) == len(body) // 65_536 + 1
    assert observer.is_list_clear
    assert len(observer.updates) == 4000


def test_a_pack_behind_the_commands_is_not_kept() -> None:
    pack = os.urandom(200_000)
    observer = PushObserver("gzip")
    tracemalloc.start()
    chunks = zlib.compressobj(wbits=31)
    asked(
        observer, chunks.compress(request(f"{A} {B} refs/heads/main")) + chunks.flush(zlib.Z_FULL_FLUSH)
    )
    for _ in range(50):
        asked(observer, chunks.compress(pack))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert observer.is_list_clear
    assert size < 1024 * 1024


@pytest.mark.parametrize("most", [10, 11])
def test_more_commands_than_are_read_are_said_to_be_too_many(most: int) -> None:
    observer = PushObserver("", most_updates=most)
    observer.asked(request(*(f"{A} {B} refs/heads/{number}" for number in range(11))))
    assert (observer.has_too_many, observer.is_list_clear) == (most == 10, most == 11)


@pytest.mark.parametrize("number", [5001, 12_000])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("cut", [1000, 10**7])
def test_of_more_refs_it_is_said_that_there_are_more(number: int, signed: bool, cut: int) -> None:
    names = [f"refs/heads/topic-{number:05}" for number in range(number)]
    lines = [f"{A} {B} {name}" for name in names]
    if signed:
        body = request(f"push-cert\0{CAPABILITIES}", HEAD, *(f"{line}\n" for line in lines), END)
    else:
        body = request(f"{lines[0]}\0{CAPABILITIES}", *lines[1:])
    event = observed(body, banded(report("unpack ok", *(f"ok {name}" for name in names))), cut=cut)
    assert event == ("push", {"updates": [kept(name, "ok") for name in names[:5000]], "unclear": True})


@pytest.mark.parametrize(
    ("lines", "said", "updates"),
    [
        (
            [f"{NONE} {B.upper()} refs/heads/capital\0 report-status"],
            ["ok refs/heads/capital"],
            [kept("refs/heads/capital", "ok", NONE)],
        ),
        (
            [f"{A} {B} refs/x\0 report-status", f"{B} {A} refs/x"],
            ["ok refs/x", "ng refs/x failed to update ref"],
            [kept("refs/x", "ok"), kept("refs/x", "ng", B, A, reason="failed to update ref")],
        ),
        (
            [f"{A} {B} refs/heads/real\0 report-status", f"{A} {B} refs/heads/real x"],
            ["ok refs/heads/real", "ng refs/heads/real x funny refname"],
            [kept("refs/heads/real", "ok"), kept("refs/heads/real x", "ng", reason="funny refname")],
        ),
        (
            ["push-cert\0 report-status", HEAD, f"{A} {B} refs/x\n", END, f"{A} {NONE} refs/x"],
            ["ok refs/x", "ng refs/x failed to update ref"],
            [kept("refs/x", "ok", A, NONE), kept("refs/x", "ng", reason="failed to update ref")],
        ),
        (
            [f"{A} {B} refs/x\n\0 report-status", f"{A} {B} refs/y"],
            ["ng refs/x\n funny refname", "ok refs/y"],
            [kept("refs/x\n", "ng", reason="funny refname"), kept("refs/y", "ok")],
        ),
        (
            [f"shallow {A}\0 side-band-64k", f"{A} {B} refs/x\0 report-status"],
            ["ok refs/x"],
            [kept("refs/x", "ok")],
        ),
        (
            [f"{A} {B} refs/x\0 report-status \0 side-band-64k"],
            ["ok refs/x"],
            [kept("refs/x", "ok")],
        ),
    ],
)
@pytest.mark.parametrize("cut", [1, 10_000])
def test_what_git_accepts_is_kept_as_git_did_it(
    lines: list[str], said: list[str], updates: list[dict[str, str]], cut: int
) -> None:
    """Each of these was sent to a git of version 2.39.5, which answered so."""
    event = observed(request(*lines), report("unpack ok", *said), cut=cut)
    assert event == ("push", {"updates": updates})


def test_names_that_differ_in_one_byte_that_is_no_utf_8_stay_apart() -> None:
    command = f"{A} {B} ".encode()
    body = request(command + b"refs/\xff\0 report-status", command + b"refs/\xfe")
    answer = pkt_line(b"unpack ok\n") + pkt_line(b"ok refs/\xff\n") + pkt_line(b"ng refs/\xfe no\n")
    assert observed(body, answer) == (
        "push",
        {"updates": [kept(r"refs/\xff", "ok"), kept(r"refs/\xfe", "ng", reason="no")]},
    )


def test_a_side_band_with_a_value_is_one() -> None:
    body = request(f"{A} {B} refs/heads/main\0 report-status side-band-64k=1")
    event = observed(body, banded(report("unpack ok", "ok refs/heads/main")))
    assert event == ("push", {"updates": [kept("refs/heads/main", "ok")]})


@pytest.mark.parametrize(
    ("cut_off", "names"),
    [
        (1, ["refs/heads/main", "refs/heads/x"]),
        (4, ["refs/heads/main", "refs/heads/x"]),
        (5, ["refs/heads/main"]),
        (30, ["refs/heads/main"]),
    ],
)
def test_of_a_list_that_did_not_end_no_more_is_known(cut_off: int, names: list[str]) -> None:
    """git does nothing then."""
    body = request(f"{A} {B} refs/heads/main\0{CAPABILITIES}", f"{A} {B} refs/heads/x", after=b"")
    event = observed(body[:-cut_off], b"")
    assert event == ("push", {"updates": [kept(name, "unknown") for name in names]})


COMMANDS = request(f"{A} {B} refs/heads/main\0 report-status", after=b"")
KEPT = {"updates": [kept("refs/heads/main", "ok")]}


@pytest.mark.parametrize(
    ("body", "details"),
    [
        (gzip.compress(COMMANDS), KEPT),
        # the list was read to its end: whatever follows it, git ignores
        (gzip.compress(COMMANDS) + b"junk", KEPT),
        (gzip.compress(COMMANDS) + gzip.compress(COMMANDS), KEPT),
        (gzip.compress(COMMANDS + bytes(16 * 1024 * 1024)), KEPT),
        (gzip.compress(COMMANDS[:-4]) + b"junk", KEPT | {"unclear": True}),
        (gzip.compress(COMMANDS[:-4]) + gzip.compress(b"0000"), KEPT | {"unclear": True}),
        (gzip.compress(b"") + gzip.compress(COMMANDS), {"updates": [], "unclear": True}),
        (gzip.compress(bytes(64 * 1024 * 1024)), {"updates": [], "unclear": True}),
        (COMMANDS, {"updates": [], "unclear": True}),
    ],
)
@pytest.mark.parametrize("cut", [7, 10**6])
def test_what_can_not_be_inflated_is_unclear(body: bytes, details: object, cut: int) -> None:
    assert observed(body, report("unpack ok", "ok refs/heads/main"), "gzip", cut) == ("push", details)


def test_a_certificate_that_is_longer_than_what_is_looked_at_is_unclear() -> None:
    """What is kept of it is bounded."""
    lines = ["push-cert\0 report-status", HEAD, *["x" * 65_000] * 600, MAIN_LINE, END]
    body = request(*lines)
    observer = PushObserver("")
    tracemalloc.start()
    for start in range(0, len(body), 65_536):
        observer.asked(body[start : start + 65_536])
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert observer.event() == ("push", {"updates": [], "unclear": True})
    assert size < 5 * 1024 * 1024


@pytest.mark.parametrize("body", [b"0000", b"", b"0001", b"0000" + b"PACK", b"00"])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_probe_is_no_event(body: bytes, encoding: str) -> None:
    body = gzip.compress(body) if encoding else body
    assert observed(body, b"", encoding) is None
    assert observed(body, b"0000", encoding) is None


@pytest.mark.parametrize("body", [b"garbage", b"0003", b"fff4"])
def test_what_is_no_command_list_may_have_been_a_push(body: bytes) -> None:
    for answer in (b"", b"0000"):
        assert observed(body, answer) == ("push", {"updates": [], "unclear": True})


@given(st.lists(st.binary(max_size=50)), st.lists(st.binary(max_size=50)), st.booleans())
def test_any_bytes_pass_by(body: list[bytes], answer: list[bytes], side_band: bool) -> None:
    reader = ReportReader([MAIN], side_band=side_band)
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


OBJECT = st.sampled_from([A, B, NONE, A.upper(), LONG_A, A[:-1], "g" * 40]).map(str.encode)
REF = st.sampled_from([b"refs/heads/main", b"refs/heads/x", b"HEAD", b"refs/heads/a b", b"refs/\xff"])
TAIL = st.sampled_from([b"", b"\n", b"\n\n", b"\0", b"\0 report-status", b"\0 atomic\0 report-status"])
COMMAND = st.tuples(OBJECT, OBJECT, REF | st.binary(max_size=4), TAIL).map(
    lambda parts: b" ".join(parts[:3]) + parts[3]
)
GOOD = st.sampled_from([f"{A} {NONE} refs/heads/x", f"{NONE} {B} refs/heads/y", f"{A} {B} refs/z"])
CERTIFIED = st.lists(COMMAND | st.sampled_from([b"", b"-----BEGIN SSH SIGNATURE-----"]), max_size=3).map(
    lambda lines: (
        [b"push-cert\0 report-status", b"version 0.1\n", b"\n"]
        + [line.partition(b"\0")[0] + b"\n" for line in lines]
        + [b"push-cert-end\n"]
    )
)
PACKET = (
    GOOD.map(str.encode) | COMMAND | st.sampled_from([f"shallow {A}", "push-cert", ""]).map(str.encode)
)
PACKETS = st.lists(PACKET.map(lambda packet: [packet]) | CERTIFIED, max_size=4).map(
    lambda parts: [packet for part in parts for packet in part]
)
BODY = st.builds(
    lambda packets, end, after: request(*packets, end=end, after=after),
    PACKETS,
    st.sampled_from([*ENDS, b"", b"0004", b"0003"]),
    st.sampled_from([b"", b"PACK\0\0\0\2", b"0000", b"garbage"]) | st.binary(max_size=8),
)


@given(BODY, CUTS)
def test_however_any_command_list_is_cut_it_is_read_alike(body: bytes, cuts: list[int]) -> None:
    whole, in_pieces = read(body), RefUpdateReader()
    for piece in cut(body, cuts):
        in_pieces.feed(piece)
    for name in ("updates", "capabilities", "ended", "unclear", "malformed"):
        assert getattr(whole, name) == getattr(in_pieces, name), name


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([f"{A} {NONE} refs/heads/x", f"{NONE} {B} refs/y"]),
    PACKETS,
    st.sampled_from(ENDS),
    st.sampled_from(["", " side-band-64k", " report-status-v2"]),
)
def test_git_itself_reports_on_the_commands_that_are_read(
    first: str, packets: list[bytes], end: bytes, more: str
) -> None:
    """Whatever git understood has been understood here as well, in the same order."""
    body = request(f"{first}\0 report-status{more}", *packets, end=end)
    with tempfile.TemporaryDirectory() as folder:
        answer = answer_of_git(Path(folder), body)
    reader = read(body)
    side_band = "side-band-64k" in reader.capabilities
    reported = commands_in(answer, side_band=side_band)
    if reported:
        outcomes = ReportReader(reader.updates, side_band=side_band)
        outcomes.feed(answer)
        assert len(outcomes.outcomes) == len(reader.updates) == reported


def answer_of_git(folder: Path, body: bytes) -> bytes:
    """Return what receive-pack answers in an empty repository."""
    for name in ("objects", "refs"):
        (folder / name).mkdir()
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    git = Git(folder / "home")
    return subprocess.run(
        git.command("receive-pack", "--stateless-rpc", str(folder)),
        env=git.environment,
        input=body,
        capture_output=True,
        check=False,
        timeout=60,
    ).stdout


def commands_in(answer: bytes, *, side_band: bool) -> int:
    """Count the commands that git reports on."""
    try:
        if side_band:
            packets = list(PktLineDecoder().feed(answer))
            answer = b"".join(p[1:] for p in packets if isinstance(p, bytes) and p[:1] == b"\1")
        report = list(PktLineDecoder().feed(answer))
    except PktLineError:
        return 0
    return sum(isinstance(packet, bytes) and packet[:3] in {b"ok ", b"ng "} for packet in report)


REFS = st.binary(min_size=1, max_size=9).filter(lambda ref: b"\0" not in ref and ref[-1:] != b"\n")
REPORTED = st.lists(st.tuples(REFS, st.none() | st.text("abc :é", max_size=9)), max_size=6)


@given(REPORTED, st.booleans(), st.integers(1, 50), CUTS)
def test_of_any_report_the_outcome_of_each_command_is_known(
    commands: list[tuple[bytes, str | None]], side_band: bool, size: int, cuts: list[int]
) -> None:
    lines = [
        b"ok " + ref if reason is None else b"ng " + ref + b" " + reason.encode()
        for ref, reason in commands
    ]
    answer = b"".join(pkt_line(line + b"\n") for line in [b"unpack ok", *lines]) + b"0000"
    reader = ReportReader([RefUpdate(ref, A, B) for ref, _ in commands], side_band=side_band)
    for piece in cut(banded(answer, size) if side_band else answer, cuts):
        reader.feed(piece)
    assert reader.outcomes == [
        (RefOutcome.OK, "") if reason is None else (RefOutcome.REFUSED, reason) for _, reason in commands
    ]


@given(st.lists(st.tuples(REFS, st.text(max_size=30)), max_size=6), st.booleans())
def test_a_refusal_is_read_as_one_of_every_command(
    refused: list[tuple[bytes, str]], side_band: bool
) -> None:
    reader = ReportReader([RefUpdate(ref, A, B) for ref, _ in refused], side_band=side_band)
    reader.feed(refusing_report(refused, said="Nothing was pushed", side_band=side_band))
    assert reader.unpack == "ok"
    assert reader.outcomes == [(RefOutcome.REFUSED, reason) for _, reason in refused]


def test_a_name_that_leaves_no_room_for_a_reason_is_left_out() -> None:
    long, short = b"refs/heads/" + b"x" * 64_990, b"refs/heads/x"
    answer = refusing_report([(long, "no"), (short, "no")], side_band=False)
    assert answer == report("unpack ok", "ng refs/heads/x no")


SIGNED = [HEAD, MAIN_LINE, "-----BEGIN SSH SIGNATURE-----\nx\n", END]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [f"{A} {B} refs/heads/main\0 x"],
        [f"shallow {A}\n", f"{A} {NONE} refs/heads/main\0 x\n", f"{NONE} {B} refs/x"],
        [f"{LONG_A} {LONG_NONE} refs/heads/main\0 x"],
        ["push-cert\0 x", *SIGNED],
        [f"shallow {A}", "push-cert\0 x", *SIGNED],
    ],
)
def test_what_clients_of_gits_send_is_well_formed(lines: list[str]) -> None:
    assert not read(request(*lines)).malformed


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        *[([f"{A} {B} refs/heads/main\0 x"], end) for end in ENDS[1:]],
        ([""], b"0000"),
        (["hello"], b"0000"),
        ([f"{A} {B}"], b"0000"),
        ([f"{A} {LONG_A} refs/heads/main\0 x"], b"0000"),
        ([f"{A} {B} refs/heads/main\0 x", f"{A}  {B} refs/x"], b"0000"),
        (["shallow x", f"{A} {B} refs/heads/main\0 x"], b"0000"),
        ([f"shallow {A}\0 x", f"{A} {B} refs/heads/main\0 x"], b"0000"),
        (["push-cert\0 x"], b"0000"),
        (["push-cert\0 x", HEAD, END], b"0000"),
        (["push-cert\0 x", HEAD, MAIN_LINE], b"0000"),
        (["push-cert\0 x", HEAD, MAIN_LINE, "x\n", END], b"0000"),
        (["push-cert\0 x", HEAD, MAIN_LINE + "\n", END], b"0000"),
        (["push-cert\0 x", HEAD, MAIN_LINE.rstrip() + "\0\n", END], b"0000"),
        (["push-cert\0 x", MAIN_LINE, END], b"0000"),
        (["push-cert\0 x", *SIGNED, "push-cert", *SIGNED], b"0000"),
        (["push-cert\0 x", *SIGNED, f"{A} {B} refs/heads/other"], b"0000"),
        (["push-cert\0 x", "-----BEGIN SSH SIGNATURE-----\n", *SIGNED], b"0000"),
    ],
)
def test_what_no_client_of_gits_sends_is_malformed(lines: list[str], end: bytes) -> None:
    assert read(request(*lines, end=end)).malformed


@pytest.mark.parametrize(
    "name",
    [
        *[b"refs/heads/main", b"refs/heads/a/b.c", b"refs/tags/v1.0", b"refs/notes/commits", b"refs/x"],
        *[b"refs/heads/-", b"refs/heads/@", b"refs/heads/a=b", b"refs/heads/a{b}", b"refs/heads/lock"],
        *["refs/heads/größe".encode(), b"refs/heads/\xff", b"refs/heads/a.lockx"],
        *[b"HEAD", b"", b"refs", b"refs/", b"/refs/heads/x", b"heads/x", b"refs//x", b"refs/heads/"],
        *[b"refs/heads/../x", b"refs/heads/./x", b"refs/heads/.x", b"refs/heads/x.", b"refs/heads/a..b"],
        *[b"refs/heads/x.lock", b"refs/heads/x.lock/y", b"refs/heads/a b", b"refs/heads/a\nb"],
        *[b"refs/heads/a\x7f", b"refs/heads/a~1", b"refs/heads/a^", b"refs/heads/a:b", b"refs/heads/a?"],
        *[b"refs/heads/*", b"refs/heads/[a]", b"refs/heads/a\\b", b"refs/heads/a@{1}"],
    ],
)
def test_the_names_of_refs_are_those_that_git_takes(name: bytes) -> None:
    git = subprocess.run(["git", "check-ref-format", name], check=False).returncode == 0
    assert is_ref_name(name) is (git and name.startswith(b"refs/"))


@given(
    st.lists(st.sampled_from([b"a", b".", b"/", b"@", b"{", b"~", b".lock", b"-", b"\xc3"]), max_size=9)
)
@settings(max_examples=50)
def test_any_name_of_a_ref_is_one_that_git_takes(parts: list[bytes]) -> None:
    name = b"refs/heads/" + b"".join(parts)
    git = subprocess.run(["git", "check-ref-format", name], check=False).returncode == 0
    assert is_ref_name(name) is git


def test_a_push_that_is_refused_is_kept_with_the_reasons() -> None:
    observer = PushObserver("")
    observer.asked(request(f"{A} {B} refs/heads/main\0 report-status", f"{A} {NONE} refs/x"))
    observer.decide(["no", "not pushed because of refs/heads/main"])
    updates = [
        kept("refs/heads/main", "ng", reason="no"),
        kept("refs/x", "ng", A, NONE, reason="not pushed because of refs/heads/main"),
    ]
    assert observer.event() == ("push", {"updates": updates})
    assert observer.refusal("", "") == report(
        "unpack ok", "ng refs/heads/main no", "ng refs/x not pushed because of refs/heads/main"
    )


@pytest.mark.parametrize(
    ("body", "may_be_use"),
    [
        (request(f"{A} {B} refs/heads/main"), True),
        (b"0000", False),
        # What is not at its end, or can't be read, may have more.
        (b"", True),
        (b"zzzz", True),
    ],
)
def test_what_may_change_something(body: bytes, may_be_use: bool) -> None:
    observer = PushObserver("")
    observer.asked(body)
    assert observer.may_be_use == may_be_use


def test_of_many_updates_that_are_decided_no_more_are_kept_than_of_others() -> None:
    observer = PushObserver("", 8 * 1024 * 1024, MOST_COMMANDS)
    lines = [f"{A} {B} refs/heads/{number}" for number in range(5001)]
    observer.asked(request(f"{lines[0]}\0 report-status", *lines[1:]))
    assert len(observer.updates) == 5001
    observer.decide([])
    details = observer.event()[1]
    assert (len(details["updates"]), details["unclear"]) == (5000, True)
    assert len(observer.updates) == 5000
