"""Is this a clone, a fetch, or neither: what passes by in an upload-pack exchange tells.

gitprotocol-pack ("Fetching Data From a Server") for v0 and v1, gitprotocol-v2 ("fetch") for v2.
"""

import re

from gitpat_proxy.git.body import ContentReader
from gitpat_proxy.git.pktline import Packet, PktLineDecoder, PktLineError

_MOST_REQUEST_PACKETS = 50_000
_MOST_ANSWER_PACKETS = 200_000


_LS_REFS = re.compile(rb"001[34]command=ls-refs\n?(?=0)")


def asks_for_refs(content: bytes) -> bool:
    """Tell whether a request to upload-pack is v2's for a list of refs (gitprotocol-v2, "ls-refs")."""
    return _LS_REFS.match(content) is not None


_OBJECTS = re.compile(rb"[0-9a-f]{4}(?:command=fetch\n?0|want [0-9a-f]{40})")


def asks_for_objects(content: bytes) -> bool:
    """Tell whether a request to upload-pack is one for a pack, in whatever version of the protocol."""
    return _OBJECTS.match(content) is not None


class FetchRequestReader:
    """Reads what the client says: does it want objects, and has it any already.

    A clone has none. In v2 the list of refs is asked for in the same way, by another command.
    `unclear`: it is no list of pkt-lines, or too long to be read to its end.
    """

    def __init__(self) -> None:
        self.wants_objects = False
        self.has_objects = False
        self.unclear = False
        self._decoder = PktLineDecoder()
        self._packets = 0

    def feed(self, content: bytes) -> None:
        """Take the next piece of the body; what is no request is git's to refuse."""
        if self.unclear or (self.wants_objects and self.has_objects):
            return
        try:
            for packet in self._decoder.feed(content):
                self._packets += 1
                self.wants_objects = self.wants_objects or _begins(packet, b"want")
                self.has_objects = self.has_objects or _begins(packet, b"have ")
                if self._packets > _MOST_REQUEST_PACKETS:
                    self.unclear = True
                    return
        except PktLineError:
            self.unclear = True


class PackReader:
    """Finds out whether a pack is in the answer: a round of negotiation has none.

    `unclear`: so much came before one that it was not waited for.
    """

    def __init__(self) -> None:
        self.found = False
        self.unclear = False
        self._decoder = PktLineDecoder()
        self._packets = 0

    def feed(self, content: bytes) -> None:
        """Take the next piece of the answer."""
        if self.found or self.unclear:
            return
        try:
            for packet in self._decoder.feed(content):
                self._packets += 1
                self.found = _opens_pack(packet)
                self.unclear = self._packets > _MOST_ANSWER_PACKETS
                if self.found or self.unclear:
                    return
        except PktLineError as error:
            # Without a side band the pack follows the packets as it is.
            self.found = error.rest.startswith(b"PACK")
            self.unclear = not self.found


class FetchObserver:
    """Watches an upload-pack exchange go by, and says at its end what the audit should keep."""

    def __init__(self, content_encoding: str) -> None:
        self._content = ContentReader(content_encoding)
        self._request = FetchRequestReader()
        self._pack = PackReader()

    def asked(self, chunk: bytes) -> None:
        self._request.feed(self._content.read(chunk))

    @property
    def may_be_use(self) -> bool:
        return self._request.wants_objects or self._unclear

    @property
    def is_looking(self) -> bool:
        return self.may_be_use and not (self._pack.found or self._pack.unclear)

    def answered(self, chunk: bytes) -> None:
        if self.is_looking:
            self._pack.feed(chunk)

    def event(self) -> tuple[str, dict[str, object]] | None:
        """Return "clone" or "fetch"; None where no pack was sent: it was but a part of one.

        `unclear`: whether there was a pack, or whether it was a clone, could not be read.
        """
        unclear = self._unclear or self._pack.unclear
        if not self._pack.found and not self._pack.unclear:
            return None
        event = "fetch" if self._request.has_objects or unclear else "clone"
        return event, ({"unclear": True} if unclear else {})

    @property
    def _unclear(self) -> bool:
        request = self._request
        known = request.wants_objects and request.has_objects
        return not known and (request.unclear or self._content.gave_up)


class ArchiveObserver:
    """Says that an archive was sent."""

    def __init__(self) -> None:
        self._answered = False

    @property
    def is_looking(self) -> bool:
        return not self._answered

    @property
    def may_be_use(self) -> bool:
        return True

    def asked(self, chunk: bytes) -> None:
        """What is asked for does not matter."""

    def answered(self, chunk: bytes) -> None:
        self._answered = self._answered or bool(chunk)

    def event(self) -> tuple[str, dict[str, object]] | None:
        """Return "archive" if there was an answer."""
        return ("archive", {}) if self._answered else None


def _begins(packet: Packet, word: bytes) -> bool:
    return isinstance(packet, bytes) and packet.startswith(word)


def _opens_pack(packet: Packet) -> bool:
    """v2 says so in a line of its own; v0 and v1 begin with a side band: pack data or progress."""
    return packet == b"packfile\n" or _begins(packet, b"\x01") or _begins(packet, b"\x02")
