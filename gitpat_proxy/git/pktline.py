"""pkt-line, the framing of Git's wire protocol (gitprotocol-common, "pkt-line Format")."""

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import TypeAlias

LONGEST = 65523
"""The longest packet that git reads, its length included; it writes 65,520 at most."""
_LENGTH = re.compile(b"[0-9a-fA-F]{4}")


class Special(IntEnum):
    """The packets without a payload, by the number where the others have their length."""

    FLUSH = 0
    DELIMITER = 1
    RESPONSE_END = 2


_SPECIAL = frozenset(int(special) for special in Special)

Packet: TypeAlias = bytes | Special


class PktLineError(ValueError):
    """What stands where a packet should begin is none; `rest` is what was not decoded."""

    def __init__(self, rest: bytes) -> None:
        super().__init__("not a pkt-line")
        self.rest = rest


class PktLineDecoder:
    """Decodes a stream as it arrives, however it is cut; holds one unfinished packet at most."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Packet]:
        """Yield the packets that `chunk` completes; raise PktLineError at the first that is none."""
        self._buffer += chunk
        position = 0
        try:
            while len(self._buffer) - position >= 4:
                length = self._length_at(position)
                if length < 4:
                    position += 4
                    yield Special(length)
                elif len(self._buffer) - position >= length:
                    payload = bytes(self._buffer[position + 4 : position + length])
                    position += length
                    yield payload
                else:
                    break
        finally:
            del self._buffer[:position]

    def _length_at(self, position: int) -> int:
        digits = _LENGTH.match(self._buffer, position)
        length = int(digits[0], 16) if digits else -1
        if length in _SPECIAL or 4 <= length <= LONGEST:
            return length
        raise PktLineError(bytes(self._buffer[position:]))


def pkt_line(payload: bytes) -> bytes:
    """Frame a payload of at most 65,516 bytes."""
    return b"%04x" % (len(payload) + 4) + payload
