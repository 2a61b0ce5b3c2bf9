"""A token's state over time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.model import Status
from tests.access.examples import NOW, a_token

TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
BEFORE, AFTER = NOW - HOUR, NOW + HOUR
PENDING, ACTIVE, EXPIRED, REVOKED = Status


@pytest.mark.parametrize(
    ("not_before", "expires_at", "revoked_at", "status"),
    [
        (None, None, None, ACTIVE),
        # the end belongs to what is over
        (None, NOW + TICK, None, ACTIVE),
        (None, NOW, None, EXPIRED),
        (None, NOW - TICK, None, EXPIRED),
        (None, AFTER, None, ACTIVE),
        (None, BEFORE, None, EXPIRED),
        # the beginning belongs to what is valid
        (NOW - TICK, None, None, ACTIVE),
        (NOW, None, None, ACTIVE),
        (NOW + TICK, None, None, PENDING),
        (BEFORE, AFTER, None, ACTIVE),
        (AFTER, AFTER + HOUR, None, PENDING),
        (BEFORE, NOW, None, EXPIRED),
        # revoked outlasts everything, whatever the clocks say
        (None, None, NOW, REVOKED),
        (None, None, BEFORE, REVOKED),
        (None, None, AFTER, REVOKED),
        (None, BEFORE, BEFORE, REVOKED),
        (AFTER, None, BEFORE, REVOKED),
        # one that would end before it begins is never valid
        (AFTER, BEFORE, None, EXPIRED),
    ],
)
def test_the_status_at_the_boundaries(
    not_before: datetime | None,
    expires_at: datetime | None,
    revoked_at: datetime | None,
    status: Status,
) -> None:
    token = a_token(not_before=not_before, expires_at=expires_at, revoked_at=revoked_at)
    assert token.status(NOW) is status


MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 2), timezones=st.just(UTC))  # noqa: DTZ001
MAYBE = st.none() | MOMENTS


@given(not_before=MAYBE, expires_at=MAYBE, moments=st.lists(MOMENTS, min_size=2).map(sorted))
def test_nothing_comes_back_to_life(
    not_before: datetime | None, expires_at: datetime | None, moments: list[datetime]
) -> None:
    token = a_token(not_before=not_before, expires_at=expires_at)
    states = [list(Status).index(token.status(moment)) for moment in moments]
    assert states == sorted(states)
    revoked = a_token(not_before=not_before, expires_at=expires_at, revoked_at=moments[0])
    assert {revoked.status(moment) for moment in moments} == {REVOKED}


def test_a_token_is_named_by_name_and_id() -> None:
    assert a_token(name="My laptop", id="lusab-babad").label == '"My laptop" (lusab-babad)'
