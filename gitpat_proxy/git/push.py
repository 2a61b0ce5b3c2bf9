"""What a push asks for and what became of it (gitprotocol-pack, "Pushing Data To a Server").

Whatever git understands has to be understood here as well: what passed unseen would be missing in the
audit. What can't be understood is said to be unclear.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gitpat_proxy.git.body import LONGEST_LOOK, ContentReader
from gitpat_proxy.git.pktline import Packet, PktLineDecoder, PktLineError, Special, pkt_line

MOST_UPDATES = 5000
"""So many ref updates of a push the audit keeps; of more it is said that there are more."""
MOST_COMMANDS = 100_000
"""So many are read where each has to be decided: more than fit into 8 MiB."""
_MOST_PACKETS = MOST_COMMANDS
_AT_ONCE = 64 * 1024
_BAND_BYTES = 60_000
_LONGEST_LINE = 65_000
_LONGEST_SAID = 1000


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One command of a push: `old` and `new` are object names, all zeros for none."""

    ref: bytes
    old: str
    new: str

    @property
    def name(self) -> str:
        return ref_text(self.ref)


def ref_text(ref: bytes) -> str:
    """Return a ref as text: no two good names have the same, as none has a backslash."""
    return ref.decode("utf-8", "backslashreplace")


def ref_of_text(text: str) -> bytes:
    """Return the ref that `ref_text` shows so."""
    escaped = text.encode("utf-8", "replace")
    return _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), escaped)


_ESCAPED = re.compile(rb"\\x([89a-f][0-9a-f])")


# git-check-ref-format(1), below refs/ alone.
_REF_NAME = re.compile(
    rb"refs(?:/(?!\.)(?:(?!\.\.|@\{|\.lock(?:/|$))[^\x00-\x20\x7f~^:?*\[\\/])+)+(?<!\.)", re.DOTALL
)


def is_ref_name(name: bytes) -> bool:
    """Tell whether git takes it for the full name of a ref: others may lead elsewhere on a disk."""
    return _REF_NAME.fullmatch(name) is not None


class RefOutcome(StrEnum):
    """What is known of a ref update at the end of a push."""

    OK = "ok"
    REFUSED = "ng"
    UNKNOWN = "unknown"


# git reads capital digits as well, and reports on a command whose ref has no name.
_OBJECT_NAME = "[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?"
_COMMAND = re.compile(rf"({_OBJECT_NAME}) ({_OBJECT_NAME}) (.*)".encode(), re.DOTALL)
_SHALLOW = re.compile(rf"shallow {_OBJECT_NAME}".encode())
# What changes the answer. No others are kept: a client may send half a million.
_CAPABILITIES = frozenset({b"report-status", b"report-status-v2", b"side-band-64k"})
# As git's isspace, and its gpg-interface.c.
_WORD = re.compile(rb"[^ \t\n\r]+")
_SIGNATURE = re.compile(
    rb"^-----BEGIN (?:PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE|SIGNED MESSAGE)-----", re.M
)


class RefUpdateReader:
    """Reads the commands at the head of a receive-pack request; never reads into the pack.

    A signed push carries its commands in a certificate, a line each, between `push-cert` and
    `push-cert-end`. git joins its packets, however the client cut them, and reads it after all others.

    `capabilities`: of what the client asked for, that which changes the answer.
    `ended`: the command list was read to its end. `unclear`: it has a part that is no pkt-line, or is
    longer than what is looked at, or `has_too_many` parts. `malformed`: it has a part that no client of
    git's sends; git refuses such a push, or reads it otherwise than another server may.
    """

    def __init__(self, most_updates: int = MOST_UPDATES) -> None:
        self.updates: list[RefUpdate] = []
        self.capabilities: frozenset[str] = frozenset()
        self.ended = False
        self.unclear = False
        self.has_too_many = False
        self.malformed = False
        self._most_updates = most_updates
        self._decoder = PktLineDecoder()
        self._packets = 0
        self._certificate = bytearray()
        self._in_certificate = False
        self._has_certificate = False

    def feed(self, content: bytes) -> None:
        """Take the next piece of the body; what is no command list is git's to refuse."""
        if self.ended or self.unclear:
            return
        try:
            for packet in self._decoder.feed(content):
                self._read(packet)
                if self.ended or self.unclear:
                    return
        except PktLineError:
            self.unclear = True

    def _read(self, packet: Packet) -> None:
        self._packets += 1
        if isinstance(packet, Special):
            # Any packet without a payload ends git's reading, not a flush alone.
            self.malformed |= packet is not Special.FLUSH or self._in_certificate
            if self._has_certificate:
                self._end_certificate()
            self.ended = True
            return
        if self._packets > _MOST_PACKETS:
            self.unclear = self.has_too_many = True
            return
        if self._in_certificate:
            text, nul, _ = packet.partition(b"\0")
            self.malformed |= bool(nul)
            self._read_certificate(text)
            return
        line, nul, capabilities = packet.removesuffix(b"\n").partition(b"\0")
        if line.startswith(b"shallow "):
            self.malformed |= bool(nul) or not _SHALLOW.fullmatch(line)
            return
        if nul:
            words = _WORD.findall(capabilities.partition(b"\0")[0])
            names = _CAPABILITIES.intersection(word.partition(b"=")[0] for word in words)
            self.capabilities |= {name.decode() for name in names}
        if line == b"push-cert":
            self.malformed |= self._has_certificate
            self._in_certificate = self._has_certificate = True
        else:
            self._read_command(line)

    def _read_certificate(self, text: bytes) -> None:
        if text == b"push-cert-end\n":
            self._in_certificate = False
        else:
            self._certificate += text

    def _end_certificate(self) -> None:
        """The commands stand between the first empty line and the last that begins a signature."""
        self.malformed |= bool(self.updates)
        _header, empty_line, rest = bytes(self._certificate).partition(b"\n\n")
        signatures = [match.start() for match in _SIGNATURE.finditer(self._certificate)]
        end = signatures[-1] - len(_header) - len(empty_line) if signatures else len(rest)
        self.malformed |= end <= 0 or len(signatures) > 1
        for line in rest[: max(end, 0)].removesuffix(b"\n").split(b"\n"):
            self._read_command(line)

    def _read_command(self, line: bytes) -> None:
        match = _COMMAND.fullmatch(line)
        if match is None or len(match[1]) != len(match[2]):
            self.malformed = True
        if match and len(self.updates) >= self._most_updates:
            self.unclear = self.has_too_many = True
        elif match:
            old, new = match[1].decode().lower(), match[2].decode().lower()
            self.updates.append(RefUpdate(match[3], old, new))


class ReportReader:
    """Reads the report-status in a receive-pack answer (gitprotocol-pack, "Report Status").

    git reports on every command, in the commands' order. `side_band`: the report is multiplexed with
    what hooks print, in band 1.
    """

    def __init__(self, updates: list[RefUpdate], *, side_band: bool) -> None:
        self.outcomes: list[tuple[RefOutcome, str]] = []
        self.unpack = ""
        """What became of the pack: "ok", or why it could not be taken; "" if that was not said."""
        self.said = b""
        """The end of what git and hooks printed, in band 2."""
        self._updates = updates
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
                elif isinstance(packet, bytes) and packet[:1] == b"\x02":
                    self.said = (self.said + packet[1:])[-_LONGEST_SAID:]
        except PktLineError:
            self._ended = True

    def _read_report(self, content: bytes) -> None:
        for packet in self._inner.feed(content):
            if self._ended:
                return
            if isinstance(packet, bytes) and packet[:7] == b"unpack ":
                self.unpack = packet[7:].decode("utf-8", "replace").strip()
            elif isinstance(packet, bytes) and packet[:3] in {b"ok ", b"ng "}:
                self._read_line(packet.removesuffix(b"\n"))

    def _read_line(self, line: bytes) -> None:
        """Take the line for the next command; the end of a ref's name is known from the command."""
        if len(self.outcomes) == len(self._updates):
            return
        ref = self._updates[len(self.outcomes)].ref
        if line == b"ok " + ref:
            self.outcomes.append((RefOutcome.OK, ""))
        elif line.startswith(b"ng " + ref + b" "):
            reason = line.removeprefix(b"ng " + ref + b" ").decode("utf-8", "replace")
            self.outcomes.append((RefOutcome.REFUSED, reason))
        else:
            self._ended = True


def refusing_report(
    reasons: Iterable[tuple[bytes, str]], *, unpack: str = "ok", said: str = "", side_band: bool
) -> bytes:
    """Return a report-status that refuses each ref for its reason (gitprotocol-pack, "Report Status").

    `unpack` is what is said of the pack, and `said` for the person to read, where there is a side band.
    A ref whose name leaves no room for a reason is left out, which git takes for a refusal as well.
    """
    lines = [b"unpack " + unpack.encode()]
    refused = (b"ng " + ref + b" " + reason.encode() for ref, reason in reasons)
    lines += [line for line in refused if len(line) <= _LONGEST_LINE]
    report = b"".join(pkt_line(line + b"\n") for line in lines) + b"0000"
    if not side_band:
        return report
    pieces = [report[at : at + _BAND_BYTES] for at in range(0, len(report), _BAND_BYTES)]
    spoken = pkt_line(b"\x02" + said.encode() + b"\n") if said else b""
    return spoken + b"".join(pkt_line(b"\x01" + piece) for piece in pieces) + b"0000"


class PushObserver:
    """Watches a push go by, and says at its end what the audit should keep.

    `longest_list`: so many bytes of its command list are looked at, and `most_updates` commands.
    """

    def __init__(
        self,
        content_encoding: str,
        longest_list: int = LONGEST_LOOK,
        most_updates: int = MOST_UPDATES,
    ) -> None:
        self._content = ContentReader(content_encoding, longest_list, _AT_ONCE)
        self._request = RefUpdateReader(most_updates)
        self._report: ReportReader | None = None
        self._reasons: list[str] = []

    def asked(self, chunk: bytes) -> None:
        if not self._request.ended:
            self._request.feed(self._content.read(chunk))

    @property
    def may_be_use(self) -> bool:
        request = self._request
        return bool(request.updates) or request.unclear or not request.ended

    @property
    def is_looking(self) -> bool:
        return not self.is_reported

    @property
    def is_reported(self) -> bool:
        """Tell whether git has said what became of every command; it does when all is done."""
        return self._report is not None and 0 < len(self._request.updates) <= len(self._report.outcomes)

    @property
    def is_applied(self) -> bool:
        """Tell whether git has said of any command that it is done."""
        return self._report is not None and any(
            outcome is RefOutcome.OK for outcome, _ in self._report.outcomes
        )

    @property
    def failure(self) -> str | None:
        """Return, in git's words, why the pack could not be taken; None if it was, or nobody knows."""
        if self._report is None or self._report.unpack in {"", "ok"}:
            return None
        said = self._report.said.decode("utf-8", "replace").split("\n")
        return "; ".join(filter(None, [self._report.unpack, *(line.strip() for line in said)]))

    @property
    def updates(self) -> list[RefUpdate]:
        return self._request.updates

    @property
    def is_behind(self) -> bool:
        """Tell whether more can be read of what was given, in further steps: `asked` with nothing."""
        return self._content.is_behind and not self._request.ended

    @property
    def has_too_many(self) -> bool:
        """Tell whether there are more commands than are read."""
        return self._request.has_too_many

    @property
    def is_list_over(self) -> bool:
        """Tell whether the command list has ended, or can't be read on."""
        return self._request.ended or self._request.unclear or self._content.gave_up

    @property
    def is_list_clear(self) -> bool:
        """Tell whether the whole command list was read, and has nothing that may be read otherwise."""
        return self._request.ended and not (self._request.unclear or self._request.malformed)

    @property
    def is_refused(self) -> bool:
        """Tell whether any of the updates is refused, and with it all of them."""
        return bool(self._reasons)

    @property
    def is_list_too_long(self) -> bool:
        """Tell whether the command list goes on after what is looked at."""
        return self._content.is_used_up and not self._request.ended

    def decide(self, reasons: list[str]) -> None:
        """Take why each of the updates is refused; none: they are permitted."""
        self._reasons = reasons
        if not reasons and len(self.updates) > MOST_UPDATES:
            # Nobody needs the others any more.
            del self.updates[MOST_UPDATES:]
            self._request.unclear = True

    def refusal(self, sentence: str, said: str) -> bytes | None:
        """Return an answer that refuses all; None if the client asked for no report.

        `sentence` is why, where it is not the refs that are refused, and else `said` for all of them.
        """
        request = self._request
        if request.capabilities.isdisjoint({"report-status", "report-status-v2"}):
            return None
        side_band = "side-band-64k" in request.capabilities
        refs = [update.ref for update in request.updates]
        if not self.is_refused:
            refused = [(ref, "refused") for ref in refs]
            return refusing_report(refused, unpack=sentence, side_band=side_band)
        return refusing_report(zip(refs, self._reasons, strict=True), said=said, side_band=side_band)

    def answered(self, chunk: bytes) -> None:
        if self._report is None:
            side_band = "side-band-64k" in self._request.capabilities
            self._report = ReportReader(self._request.updates, side_band=side_band)
        self._report.feed(chunk)

    def event(self) -> tuple[str, dict[str, object]] | None:
        """Return "push" with its ref updates; None for git's probe, which has none.

        `unclear`: there may be more than could be read.
        """
        request = self._request
        unclear = request.unclear or (not request.ended and self._content.gave_up)
        if not request.updates and not unclear:
            return None
        outcomes = self._report.outcomes if self._report else []
        if self.is_refused:
            outcomes = [(RefOutcome.REFUSED, reason) for reason in self._reasons]
        kept = request.updates[:MOST_UPDATES]
        unclear |= len(kept) < len(request.updates)
        known = outcomes[: len(kept)]
        unknown = [(RefOutcome.UNKNOWN, "")] * (len(kept) - len(known))
        updates = [
            {"ref": update.name, "old": update.old, "new": update.new, "outcome": outcome.value}
            | ({"reason": reason} if reason else {})
            for update, (outcome, reason) in zip(kept, [*known, *unknown], strict=True)
        ]
        return "push", {"updates": updates} | ({"unclear": True} if unclear else {})
