"""A token's state over time."""

import ast
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.model import AuditEvent, Author, EventKind, Session, Status
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


SESSION = Session("s-1", "alice", NOW, NOW, NOW, "192.0.2.1", "curl", by_header=False)


@pytest.mark.parametrize(
    ("last_seen", "age", "alive"),
    [
        (timedelta(0), timedelta(0), True),
        # twelve hours without being looked at
        (timedelta(0), 12 * HOUR - TICK, True),
        (timedelta(0), 12 * HOUR, False),
        (timedelta(0), 12 * HOUR + TICK, False),
        (10 * HOUR, 22 * HOUR - TICK, True),
        (10 * HOUR, 22 * HOUR, False),
        # seven days, however often it is looked at
        (168 * HOUR - TICK, 168 * HOUR - TICK, True),
        (168 * HOUR - TICK, 168 * HOUR, False),
        (168 * HOUR, 168 * HOUR + TICK, False),
        # from the future, where the clock has been put back
        (timedelta(0), TICK - 12 * HOUR, True),
        (timedelta(0), -12 * HOUR, False),
        (168 * HOUR, 157 * HOUR, True),
        (-157 * HOUR, -168 * HOUR, False),
    ],
)
def test_a_session_lives_12_hours_idle_and_7_days_at_most(
    last_seen: timedelta, age: timedelta, alive: bool
) -> None:
    session = replace(SESSION, last_seen_at=NOW + last_seen)
    assert session.is_alive(NOW + age) is alive


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (timedelta(0), True),
        (HOUR / 2 - TICK, True),
        (HOUR / 2, False),
        (HOUR / 2 + TICK, False),
        (TICK - HOUR / 2, True),
        (-HOUR / 2, False),
    ],
)
def test_what_matters_is_done_within_half_an_hour_of_the_password(age: timedelta, fresh: bool) -> None:
    # However lately the session was looked at, or begun.
    confirmed = replace(SESSION, authenticated_at=NOW + HOUR, last_seen_at=NOW + 2 * HOUR)
    assert confirmed.is_fresh(NOW + HOUR + age) is fresh


KINDS = {
    EventKind.READ: {"clone", "fetch", "archive"},
    EventKind.PUSH: {"push"},
    EventKind.REFUSED: {"refused"},
    EventKind.SIGN_IN: {
        *("signed_in", "sign_in_failed", "signed_out", "session_ended", "password_confirmed"),
    },
    EventKind.CHANGE: {
        *("token_created", "token_derived", "token_edited", "token_rotated", "token_revoked"),
        *("account_edited", "account_added", "account_disabled", "account_enabled"),
        *("password_set", "password_changed", "password_imported"),
    },
}


@pytest.mark.parametrize(
    ("kind", "event"), [(k, e) for k, events in KINDS.items() for e in sorted(events)]
)
def test_every_event_is_of_a_kind(kind: EventKind, event: str) -> None:
    made = AuditEvent(NOW, event)
    assert made.kind is kind
    assert made.is_use == (kind in {EventKind.READ, EventKind.PUSH})


def test_no_event_of_the_services_is_forgotten_above() -> None:
    """Each is named where it is written: the text given to `did` or to a method `_audit`."""
    named = set()
    for path in (Path(__file__).parents[2] / "gitpat_proxy" / "services").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"did", "_audit"}:
                texts = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
                named |= {text for text in texts if isinstance(text, str)}
    assert {"token_created", "signed_in", "password_set"} <= named
    assert named <= {event for events in KINDS.values() for event in events}


def test_what_an_author_did_is_kept_with_address_and_request_but_not_the_token_that_asked() -> None:
    author = Author("ada", "192.0.2.1", "r-1", confined_to="alice", maker=a_token())
    did = author.did("token_edited", NOW, "alice", "t-1", {"changes": {}})
    assert did == AuditEvent(
        NOW,
        "token_edited",
        account="alice",
        token="t-1",
        address="192.0.2.1",
        request="r-1",
        details={"by": "ada", "changes": {}},
    )
    assert author.did("signed_in", NOW, "alice").details == {"by": "ada"}
