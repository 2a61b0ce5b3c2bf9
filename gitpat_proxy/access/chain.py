"""The chain of the audit: each record carries a digest of itself and of the one before."""

import hashlib
import json

from gitpat_proxy.access.model import AuditEvent
from gitpat_proxy.access.moment import microseconds_of

BEGINNING = bytes(32)
"""What stands before the first record."""


def link_of(previous: bytes, row_id: int, event: AuditEvent) -> bytes:
    """Return the SHA-256 digest (32 bytes) of a record that follows the one with the digest `previous`.

    Whoever changes, removes or adds a record would have to make all later digests anew; that the last
    ones are still those that somebody has noted elsewhere shows that nobody has.
    """
    facts = [
        row_id,
        microseconds_of(event.at),
        event.event,
        event.account,
        event.token,
        event.repository,
        event.address,
        event.request,
        dict(event.details),
    ]
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(previous + text.encode()).digest()
