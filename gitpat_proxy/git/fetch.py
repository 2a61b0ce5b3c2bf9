"""Is this a clone, a fetch, or neither: what passes by in an upload-pack exchange tells.

gitprotocol-pack ("Fetching Data From a Server") for v0 and v1, gitprotocol-v2 ("fetch") for v2.
"""

from gitpat_proxy.git.body import reader_of
from gitpat_proxy.git.pktline import Packet, PktLineDecoder, PktLineError

_LONGEST_HEAD = 1024 * 1024


class HaveReader:
    """Finds out whether the client told of any commit that it has: a clone has none."""

    def __init__(self) -> None:
        self.found = False
        self._decoder = PktLineDecoder()
        self._ended = False

    def feed(self, content: bytes) -> None:
        if self._ended:
            return
        try:
            self.found = any(_begins(packet, b"have ") for packet in self._decoder.feed(content))
        except PktLineError:
            self._ended = True
        self._ended = self._ended or self.found


class PackReader:
    """Finds out whether a pack is in the answer: a round of negotiation has none."""

    def __init__(self) -> None:
        self.found = False
        self._decoder = PktLineDecoder()
        self._left = _LONGEST_HEAD

    def feed(self, content: bytes) -> None:
        if self.found or self._left <= 0:
            return
        self._left -= len(content)
        try:
            self.found = any(_opens_pack(packet) for packet in self._decoder.feed(content))
        except PktLineError as error:
            self.found = error.rest.startswith(b"PACK")
            self._left = 0


class FetchObserver:
    """Watches an upload-pack exchange go by, and says at its end what the audit should keep."""

    def __init__(self, content_encoding: str) -> None:
        self._content = reader_of(content_encoding)
        self._haves = HaveReader()
        self._pack = PackReader()

    def asked(self, chunk: bytes) -> None:
        self._haves.feed(self._content(chunk))

    def answered(self, chunk: bytes) -> None:
        self._pack.feed(chunk)

    def event(self) -> tuple[str, dict[str, object]] | None:
        """Return "clone" or "fetch"; None where no pack was sent: it was but a part of one."""
        if not self._pack.found:
            return None
        return ("fetch" if self._haves.found else "clone"), {}


def _begins(packet: Packet, word: bytes) -> bool:
    return isinstance(packet, bytes) and packet.startswith(word)


def _opens_pack(packet: Packet) -> bool:
    """v2 says so in a line of its own; v0 and v1 begin with a side band: pack data or progress."""
    return packet == b"packfile\n" or _begins(packet, b"\x01") or _begins(packet, b"\x02")
