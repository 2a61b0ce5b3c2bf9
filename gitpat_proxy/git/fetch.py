"""Is this a clone, a fetch, or neither: what passes by in an upload-pack exchange tells.

gitprotocol-pack ("Fetching Data From a Server") for v0 and v1, gitprotocol-v2 ("fetch") for v2.
"""

from gitpat_proxy.git.body import reader_of
from gitpat_proxy.git.pktline import Packet, PktLineDecoder, PktLineError

# git takes requests up to 10 MiB, and acknowledges each commit named in one before the pack.
_LONGEST_HEAD = 16 * 1024 * 1024


class FetchRequestReader:
    """Reads what the client says: does it want objects, and has it any already.

    A clone has none. In v2 the list of refs is asked for in the same way, by another command.
    """

    def __init__(self) -> None:
        self.wants_objects = False
        self.has_objects = False
        self._decoder = PktLineDecoder()
        self._ended = False

    def feed(self, content: bytes) -> None:
        """Take the next piece of the body; what is no request is git's to refuse."""
        if self._ended:
            return
        try:
            for packet in self._decoder.feed(content):
                self.wants_objects = self.wants_objects or _begins(packet, b"want")
                if _begins(packet, b"have "):
                    self.has_objects = self._ended = True
                    return
        except PktLineError:
            self._ended = True


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
        self._request = FetchRequestReader()
        self._pack = PackReader()

    def asked(self, chunk: bytes) -> None:
        self._request.feed(self._content(chunk))

    def answered(self, chunk: bytes) -> None:
        if self._request.wants_objects:
            self._pack.feed(chunk)

    def event(self) -> tuple[str, dict[str, object]] | None:
        """Return "clone" or "fetch"; None where no pack was sent: it was but a part of one."""
        if not self._pack.found:
            return None
        return ("fetch" if self._request.has_objects else "clone"), {}


def _begins(packet: Packet, word: bytes) -> bool:
    return isinstance(packet, bytes) and packet.startswith(word)


def _opens_pack(packet: Packet) -> bool:
    """v2 says so in a line of its own; v0 and v1 begin with a side band: pack data or progress."""
    return packet == b"packfile\n" or _begins(packet, b"\x01") or _begins(packet, b"\x02")
