"""What came of each operation: done, refused as it should be, or not as it should be."""

import re
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

_MOST_KEPT = 5

CONNECTION = "connection"
"""The cause of all that a connection which ended, or could not be made, looks like."""

# git shows the sentence of a refusal (gitpat_proxy/access/refusal.py), not its code.
_CAUSES = [
    ("token_revoked", r"was revoked on"),
    ("token_expired", r" expired on "),
    ("token_unknown", r"is not a valid personal access token"),
    ("scope_missing", r"needs (code|the scope)"),
    ("repository_not_found", r"There is no repository .* that this token reaches"),
    ("throttled", r"Too many unknown tokens"),
    ("busy", r"Too many operations are under way"),
    ("upstream_failed", r"The Git server behind this proxy (?!did not answer)"),
    ("upstream_timeout", r"did not answer in time"),
    ("unavailable", r"can't look up tokens"),
    ("internal", r"failed in a way that it should not"),
    ("git_failed", r"unpack failed|unpacker error|abnormal exit|expected 'packfile'"),
    (
        CONNECTION,
        r"(?i)curl (7|18|28|52|55|56)\b|connection (refused|reset|closed)|failed to connect|"
        r"couldn't connect|empty reply|recv failure|send failure|broken pipe|early eof|hung up|"
        r"unexpected disconnect|transfer closed|remote end closed|invalid index-pack|expected flush|"
        r"expected 'acknowledgments'|could not read from remote repository|bad pack header|"
        r"unexpected end of file",
    ),
]


def cause_of(text: str) -> str:
    """Return the code of a refusal, or another word, from what a client printed."""
    return next((cause for cause, pattern in _CAUSES if re.search(pattern, text)), "unknown")


class UnexpectedError(Exception):
    """Something did not come about as it should."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass
class Tally:
    """The outcomes of one kind of operation."""

    done: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    longest_seconds: float = 0.0

    @property
    def total(self) -> int:
        return self.done + self.refused.total() + self.unexpected.total()


class Ledger:
    """Counts outcomes by kind of operation; says at once what was not to be."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = defaultdict(Tally)
        self.messages: list[str] = []
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def done(self, kind: str, seconds: float = 0.0) -> None:
        with self._lock:
            tally = self.tallies[kind]
            tally.done += 1
            tally.longest_seconds = max(tally.longest_seconds, seconds)

    def refused(self, kind: str, cause: str) -> None:
        """Count what was to be refused, or was ended by ourselves."""
        with self._lock:
            self.tallies[kind].refused[cause] += 1

    def unexpected(self, kind: str, cause: str, text: str) -> None:
        with self._lock:
            causes = self.tallies[kind].unexpected
            causes[cause] += 1
            if causes[cause] > _MOST_KEPT:
                return
            message = f"{time.monotonic() - self._began:.0f} s: {kind}: {cause}: {text.strip()[-1500:]}"
            self.messages.append(message)
        print(f"UNEXPECTED after {message}", file=sys.stderr, flush=True)

    @property
    def operations(self) -> int:
        with self._lock:
            return sum(tally.total for tally in self.tallies.values())

    @property
    def failures(self) -> int:
        with self._lock:
            return sum(tally.unexpected.total() for tally in self.tallies.values())
