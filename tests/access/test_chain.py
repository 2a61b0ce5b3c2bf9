"""The digest of a record covers all of it, and all before it."""

from dataclasses import fields, replace
from datetime import timedelta

from gitpat_proxy.access.chain import BEGINNING, link_of
from gitpat_proxy.access.model import AuditEvent
from tests.access.examples import NOW

EVENT = AuditEvent(
    NOW, "push", "alice", "t-1", "team/app", "192.0.2.1", "r-1", {"updates": [{"ref": "é"}], "a": None}
)
CHANGED = {
    "at": NOW + timedelta(microseconds=1),
    "event": "clone",
    "account": "bob",
    "token": None,
    "repository": "team/lib",
    "address": "192.0.2.2",
    "request": "r-2",
    "details": {"updates": [{"ref": "e"}], "a": None},
}


def test_the_digest_is_always_the_same() -> None:
    """It is in people's databases: another would break the chains that are there."""
    assert link_of(BEGINNING, 1, EVENT).hex() == (
        "a636ecd2c2a16c2e264d6a95722fcf0b5a84c3308322b80c9fa1730452038769"
    )


def test_the_order_of_the_details_does_not_matter() -> None:
    turned = replace(EVENT, details=dict(reversed(EVENT.details.items())))
    assert link_of(BEGINNING, 1, turned) == link_of(BEGINNING, 1, EVENT)


def test_every_fact_counts() -> None:
    assert CHANGED.keys() == {field.name for field in fields(AuditEvent)}
    digests = {link_of(BEGINNING, 1, replace(EVENT, **{name: value})) for name, value in CHANGED.items()}
    digests |= {
        link_of(BEGINNING, 1, EVENT),
        link_of(BEGINNING, 2, EVENT),
        link_of(b"\1" * 32, 1, EVENT),
    }
    assert len(digests) == len(CHANGED) + 3
