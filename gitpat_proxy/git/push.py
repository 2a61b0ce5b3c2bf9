"""What a push asks for and what became of it (gitprotocol-pack, "Pushing Data To a Server")."""

import re
from dataclasses import dataclass
from enum import StrEnum

from gitpat_proxy.git.body import reader_of
from gitpat_proxy.git.pktline import Packet, PktLineDecoder, PktLineError, Special


@dataclass(frozen=True)
class RefUpdate:
    """One command of a push: `old` and `new` are object names, all zeros for none."""

    ref: str
    old: str
    new: str


class RefOutcome(StrEnum):
    """What is known of a ref update at the end of a push."""

    OK = "ok"
    REFUSED = "ng"
    UNKNOWN = "unknown"


# git reads capital digits as well: what is written so must not pass unseen.
_OBJECT_NAME = "[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?"
_COMMAND = re.compile(rf"({_OBJECT_NAME}) ({_OBJECT_NAME}) (.+)".encode(), re.DOTALL)


class RefUpdateReader:
    """Reads the commands at the head of a receive-pack request; never reads into the pack.

    A signed push carries its commands inside a certificate, between `push-cert` and `push-cert-end`,
    a line each. git joins its packets before it looks for lines, however the client cut them.
    """

    def __init__(self) -> None:
        self.updates: list[RefUpdate] = []
        self.capabilities: frozenset[str] = frozenset()
        self._decoder = PktLineDecoder()
        self._certificate: bytearray | None = None
        self.ended = False

    def feed(self, content: bytes) -> None:
        """Take the next piece of the body; what is no command list is git's to refuse."""
        if self.ended:
            return
        try:
            for packet in self._decoder.feed(content):
                if packet is Special.FLUSH:
                    self._end_certificate()
                    self.ended = True
                    return
                self._read(packet)
        except PktLineError:
            self.ended = True

    def _read(self, packet: Packet) -> None:
        if isinstance(packet, Special):
            return
        text, nul, capabilities = packet.partition(b"\0")
        if self._certificate is not None:
            self._read_certificate(self._certificate, text)
            return
        if nul:
            self.capabilities |= frozenset(capabilities.decode("utf-8", "replace").split())
        line = text.rstrip(b"\n")
        if line == b"push-cert":
            self._certificate = bytearray()
        self._read_command(line)

    def _read_certificate(self, certificate: bytearray, text: bytes) -> None:
        if text == b"push-cert-end\n":
            self._end_certificate()
        else:
            certificate += text

    def _end_certificate(self) -> None:
        for line in bytes(self._certificate or b"").split(b"\n"):
            self._read_command(line)
        self._certificate = None

    def _read_command(self, line: bytes) -> None:
        if match := _COMMAND.fullmatch(line):
            old, new, ref = (part.decode("utf-8", "replace") for part in match.groups())
            self.updates.append(RefUpdate(ref, old.lower(), new.lower()))


class ReportReader:
    """Reads the report-status in a receive-pack answer (gitprotocol-pack, "Report Status").

    `side_band`: the report is multiplexed with what hooks print, in band 1.
    """

    def __init__(self, *, side_band: bool) -> None:
        self._refused: dict[str, str] = {}
        self._accepted: set[str] = set()
        self._outer = PktLineDecoder() if side_band else None
        self._inner = PktLineDecoder()
        self._ended = False

    def feed(self, content: bytes) -> None:
        """Take the next piece of the answer; nothing is understood after what is no report."""
        if self._ended:
            return
        try:
            if self._outer is None:
                self._read_report(content)
                return
            for packet in self._outer.feed(content):
                if isinstance(packet, bytes) and packet[:1] == b"\x01":
                    self._read_report(packet[1:])
        except PktLineError:
            self._ended = True

    def _read_report(self, content: bytes) -> None:
        for packet in self._inner.feed(content):
            if isinstance(packet, Special):
                continue
            word, _, rest = packet.decode("utf-8", "replace").rstrip("\n").partition(" ")
            ref, _, reason = rest.partition(" ")
            if word == "ok":
                self._accepted.add(ref)
            elif word == "ng":
                self._refused[ref] = reason

    def outcome_of(self, update: RefUpdate) -> tuple[RefOutcome, str]:
        """Say what became of the update, and git's reason where it was refused."""
        if update.ref in self._refused:
            return RefOutcome.REFUSED, self._refused[update.ref]
        return (RefOutcome.OK if update.ref in self._accepted else RefOutcome.UNKNOWN), ""


class PushObserver:
    """Watches a push go by, and says at its end what the audit should keep."""

    def __init__(self, content_encoding: str) -> None:
        self._content = reader_of(content_encoding)
        self._request = RefUpdateReader()
        self._report: ReportReader | None = None

    def asked(self, chunk: bytes) -> None:
        self._request.feed(self._content(chunk))

    def answered(self, chunk: bytes) -> None:
        side_band = "side-band-64k" in self._request.capabilities
        self._report = self._report or ReportReader(side_band=side_band)
        self._report.feed(chunk)

    def event(self) -> tuple[str, dict[str, object]] | None:
        """Return "push" with its ref updates; None for git's probe, which has none.

        `truncated`: the command list did not end, or is longer than what is looked at.
        """
        report = self._report or ReportReader(side_band=False)
        updates = [
            {"ref": update.ref, "old": update.old, "new": update.new, "outcome": outcome.value}
            | ({"reason": reason} if reason else {})
            for update in self._request.updates
            for outcome, reason in [report.outcome_of(update)]
        ]
        if not updates:
            return None
        return "push", {"updates": updates} | ({} if self._request.ended else {"truncated": True})
