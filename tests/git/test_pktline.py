"""pkt-line, byte by byte."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.git.pktline import LONGEST, Packet, PktLineDecoder, PktLineError, Special, pkt_line
from tests.git.cuts import CUTS, cut

FLUSH, DELIMITER, RESPONSE_END = Special.FLUSH, Special.DELIMITER, Special.RESPONSE_END
MARKS = {FLUSH: b"0000", DELIMITER: b"0001", RESPONSE_END: b"0002"}


def encoded(packets: list[Packet]) -> bytes:
    return b"".join(MARKS[p] if isinstance(p, Special) else pkt_line(p) for p in packets)


@pytest.mark.parametrize(
    ("stream", "packets"),
    [
        (b"", []),
        (b"0000", [FLUSH]),
        (b"0001", [DELIMITER]),
        (b"0002", [RESPONSE_END]),
        (b"0004", [b""]),
        (b"0005a", [b"a"]),
        (b"0006a\n", [b"a\n"]),
        (b"000ahello\n0000", [b"hello\n", FLUSH]),
        (b"000Ahello\n", [b"hello\n"]),
        (b"00050", [b"0"]),
        (b"0005\x000000", [b"\0", FLUSH]),
        (b"0008NAK\n0008", [b"NAK\n"]),
        (b"000", []),
        (b"0006a", []),
        (b"fff0" + b"x" * 65516, [b"x" * 65516]),
        (b"FFF0" + b"x" * 65515, []),
        # git writes no more than that, and reads three bytes more
        (b"fff1" + b"x" * 65517, [b"x" * 65517]),
        (b"fff2" + b"x" * 65518, [b"x" * 65518]),
        (b"fff3" + b"x" * 65519, [b"x" * 65519]),
        (b"fff3" + b"x" * 65518, []),
    ],
)
def test_what_bytes_mean(stream: bytes, packets: list[Packet]) -> None:
    assert list(PktLineDecoder().feed(stream)) == packets


BAD_LENGTHS = [
    *rb"0003 fff4 ffff zzzz PACK 000g 0x05 0X05 0x1f 0o11 +001 -001 +00a 0_05 00_5 HTTP".split(),
    *[b"000 ", b" 004", b"0\n05", b"\n004", b"ERR ", b"\0\0\0\x04", b"\xd9\xa0\xd9\xa0"],
]


@pytest.mark.parametrize("bad", BAD_LENGTHS)
def test_what_is_no_length_is_an_error_that_keeps_the_rest(bad: bytes) -> None:
    decoder = PktLineDecoder()
    packets = decoder.feed(b"0005a" + bad + b"more")
    assert next(packets) == b"a"
    with pytest.raises(PktLineError) as caught:
        next(packets)
    assert caught.value.rest == bad + b"more"


@pytest.mark.parametrize("number", [*range(0, 0x10000, 257), *range(65519, 65526)])
def test_every_length_that_fits_is_accepted_and_no_other(number: int) -> None:
    decoder = PktLineDecoder()
    if number in (0, 1, 2) or 4 <= number <= LONGEST:
        assert len(list(decoder.feed(b"%04x" % number))) == (number < 5)
    else:
        with pytest.raises(PktLineError):
            list(decoder.feed(b"%04x" % number))


def test_the_longest_packet_is_the_one_that_git_reads() -> None:
    assert LONGEST == 65523


def test_a_reader_may_stop_in_the_middle_and_go_on_later() -> None:
    decoder = PktLineDecoder()
    for packet in decoder.feed(b"0005a00000005b0005"):
        if packet is FLUSH:
            break
    assert list(decoder.feed(b"c")) == [b"b", b"c"]


def test_no_more_is_held_than_one_unfinished_packet() -> None:
    decoder = PktLineDecoder()
    tracemalloc.start()
    for _ in range(1000):
        list(decoder.feed(pkt_line(b"x" * 10_000) + b"0000"))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 100_000


@pytest.mark.parametrize("payload", [b"", b"a", b"a\n", b"\0" * 65516])
def test_a_frame_around_a_payload(payload: bytes) -> None:
    line = pkt_line(payload)
    assert int(line[:4], 16) == len(line) == len(payload) + 4
    assert list(PktLineDecoder().feed(line)) == [payload]


PACKETS = st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(Special)), max_size=8)


@given(packets=PACKETS, cuts=CUTS)
def test_however_a_stream_is_cut_its_packets_are_the_same(
    packets: list[Packet], cuts: list[int]
) -> None:
    decoder = PktLineDecoder()
    pieces = cut(encoded(packets), cuts)
    assert [packet for piece in pieces for packet in decoder.feed(piece)] == packets


@given(packets=PACKETS)
def test_cut_at_every_byte_the_packets_are_the_same(packets: list[Packet]) -> None:
    decoder = PktLineDecoder()
    assert [p for byte in encoded(packets) for p in decoder.feed(bytes([byte]))] == packets


@given(st.lists(st.binary(max_size=20)))
def test_any_bytes_are_packets_or_the_one_error_and_nothing_is_lost(chunks: list[bytes]) -> None:
    decoder = PktLineDecoder()
    packets: list[Packet] = []
    rest = b""
    try:
        for chunk in chunks:
            packets.extend(decoder.feed(chunk))
    except PktLineError as error:
        rest = error.rest
    assert b"".join(chunks).lower().startswith((encoded(packets) + rest).lower())


LIKE_A_STREAM = st.lists(
    st.binary(max_size=5)
    | st.text("0123456789abcdefABCDEF", min_size=4, max_size=4).map(str.encode)
    | st.binary(max_size=40).map(pkt_line)
    | st.sampled_from([*MARKS.values(), b"0004", b"0003", b"fff3", b"fff4", b"000a"]),
    max_size=8,
).map(b"".join)


def decoded(stream: bytes) -> tuple[list[Packet], bytes | None]:
    """Decode as the manual has it; return the packets, and what is left where one is none."""
    packets: list[Packet] = []
    while len(stream) >= 4:
        if not set(stream[:4]) <= set(b"0123456789abcdefABCDEF"):
            return packets, stream
        length = int(stream[:4], 16)
        if length == 3 or length > LONGEST:
            return packets, stream
        if length > len(stream):
            break
        packets.append(stream[4:length] if length > 3 else Special(length))
        stream = stream[max(length, 4) :]
    return packets, None


@given(stream=LIKE_A_STREAM, cuts=CUTS)
def test_any_stream_is_decoded_as_a_simpler_reader_does(stream: bytes, cuts: list[int]) -> None:
    decoder = PktLineDecoder()
    packets: list[Packet] = []
    rest = None
    try:
        for piece in cut(stream, cuts):
            for packet in decoder.feed(piece):
                packets.append(packet)  # noqa: PERF402 - an error keeps those before it
    except PktLineError as error:
        rest = error.rest
    expected_packets, expected_rest = decoded(stream)
    assert packets == expected_packets
    assert (rest is None) == (expected_rest is None)
    assert (expected_rest or b"").startswith(rest or b"")
