"""Once expired, always expired."""

from dataclasses import replace
from datetime import timedelta

from gitpat_proxy.access.model import Status, Token
from gitpat_proxy.services.expiry import Expiry
from tests.access.examples import NOW, a_token
from tests.services.conftest import FakeClock

HOUR = timedelta(hours=1)


def status(expiry: Expiry, clock: FakeClock, token: Token) -> Status:
    return expiry.judged(token).status(clock())


def test_what_was_seen_expired_stays_so(clock: FakeClock) -> None:
    expiry = Expiry(clock)
    token, other = a_token(expires_at=NOW + HOUR), a_token(id="other", expires_at=NOW + HOUR)
    assert status(expiry, clock, token) is Status.ACTIVE
    clock.now = NOW + HOUR
    assert status(expiry, clock, token) is Status.EXPIRED
    for moment in (NOW, NOW - 1000 * HOUR, NOW + HOUR, NOW):
        clock.now = moment
        assert status(expiry, clock, token) is Status.EXPIRED
    assert status(expiry, clock, other) is Status.ACTIVE
    assert status(Expiry(clock), clock, token) is Status.ACTIVE


def test_a_later_end_is_a_new_one(clock: FakeClock) -> None:
    expiry = Expiry(clock)
    token = a_token(expires_at=NOW + HOUR)
    clock.now = NOW + 2 * HOUR
    assert status(expiry, clock, token) is Status.EXPIRED
    clock.now = NOW
    longer = replace(token, expires_at=NOW + 3 * HOUR)
    assert status(expiry, clock, longer) is Status.ACTIVE


def test_revoked_outlasts_expired(clock: FakeClock) -> None:
    token = a_token(expires_at=NOW - HOUR, revoked_at=NOW - HOUR)
    assert status(Expiry(clock), clock, token) is Status.REVOKED


def test_a_token_without_end_does_not_expire(clock: FakeClock) -> None:
    expiry = Expiry(clock)
    clock.now = NOW + 9999 * HOUR
    assert status(expiry, clock, a_token(expires_at=None)) is Status.ACTIVE


def test_what_is_not_marked_is_the_very_same(clock: FakeClock) -> None:
    """Who compares may do so without looking at all of it."""
    expiry = Expiry(clock)
    parent = a_token(id="parent", expires_at=NOW + HOUR)
    child = a_token(parent=parent, expires_at=NOW + HOUR)
    assert expiry.judged(child) is child
    clock.now = NOW + HOUR
    marked = expiry.judged(child)
    clock.now = NOW
    assert expiry.judged(child) == marked != child
    assert marked.parent
    assert marked.parent.was_expired
