"""Tokens and accounts as JSON objects: what programs of others rely on (design, 2.3)."""

import json
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_network
from typing import Any

import pytest

from gitpat_proxy.access.model import AuditEvent
from gitpat_proxy.access.refs import ALL_VERBS, RefRule, ref_rule_of
from gitpat_proxy.access.representation import (
    account_object,
    event_object,
    time_text,
    token_object,
    version_of,
)
from tests.access.examples import NOW, a_token, an_account

HOUR = timedelta(hours=1)

EVERYTHING = {
    "id": "lusab-babad",
    "name": "Laptop",
    "account": "alice",
    "scopes": ["code:read", "work_items:read"],
    "repositories": ["team/**", "!team/secret"],
    "refs": ["refs/heads/main=update", "refs/heads/agent/**=create,update,force,delete"],
    "addresses": ["192.0.2.0/24", "2001:db8::/32"],
    "uses": 3,
    "uses_left": 2,
    "status": "revoked",
    "created_at": "2026-03-14T15:09:26Z",
    "not_before": "2026-03-14T14:09:26Z",
    "expires_at": "2026-03-14T16:09:26Z",
    "last_used_at": "2026-03-14T15:09:26Z",
    "last_used_from": "192.0.2.7",
    "revoked_at": "2026-03-14T15:09:26Z",
    "revoked_by": "ada (command line)",
    "revoked_reason": "left on a train",
    "hint": "gpat_…wxyz",
    "parent": "mafiz-tonup",
}


def test_a_token_with_everything() -> None:
    token = a_token(
        scopes=frozenset({"work_items:read", "code:read"}),
        repositories=("team/**", "!team/secret"),
        refs=(ref_rule_of("refs/heads/main=update"), RefRule("refs/heads/agent/**", ALL_VERBS)),
        uses=3,
        uses_left=2,
        parent=a_token(id="mafiz-tonup"),
        addresses=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
        not_before=NOW - HOUR,
        expires_at=NOW + HOUR,
        last_used_at=NOW,
        last_used_from="192.0.2.7",
        revoked_at=NOW,
        revoked_by="ada (command line)",
        revoked_reason="left on a train",
    )
    shown = token_object(token, NOW)
    assert json.loads(json.dumps(shown)) == EVERYTHING
    assert list(shown) == list(EVERYTHING)


def test_never_and_no_limit_are_null() -> None:
    shown = token_object(a_token(), NOW)
    always = {"id", "name", "account", "scopes", "status", "created_at", "hint"}
    assert {key for key, value in shown.items() if value is not None} == always
    assert list(shown) == list(EVERYTHING)


def test_a_token_that_no_address_may_use_does_not_look_unlimited() -> None:
    assert token_object(a_token(addresses=()), NOW)["addresses"] == []


def test_the_status_is_that_of_the_moment() -> None:
    token = a_token(not_before=NOW, expires_at=NOW + HOUR)
    moments = [NOW - HOUR, NOW, NOW + HOUR]
    assert [token_object(token, at)["status"] for at in moments] == ["pending", "active", "expired"]


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (None, None),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 999999, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=5))), "2026-01-01T22:04:05Z"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "9999-12-31T23:59:59Z"),
        (datetime(999, 1, 1, tzinfo=UTC), "0999-01-01T00:00:00Z"),
    ],
)
def test_times_are_rfc_3339_in_utc(moment: datetime | None, text: str | None) -> None:
    assert time_text(moment) == text


def test_an_account() -> None:
    assert list(account_object(an_account()).items()) == [
        ("name", "alice"),
        ("administrator", False),
        ("service", False),
        ("has_password", False),
        ("created_at", "2026-03-14T15:09:26Z"),
        ("disabled_at", None),
    ]
    assert account_object(an_account(disabled_at=NOW))["disabled_at"] == "2026-03-14T15:09:26Z"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Other"},
        {"scopes": frozenset({"code:write"})},
        {"repositories": ("**",)},
        {"refs": (ref_rule_of("**"),)},
        {"uses": 1},
        {"addresses": ()},
        {"addresses": (ip_network("192.0.2.0/24"),)},
        {"not_before": NOW},
        {"expires_at": NOW + HOUR},
        {"hint": "gpat_…abcd"},
        {"revoked_at": NOW},
    ],
)
def test_a_change_changes_the_version(changes: dict[str, Any]) -> None:
    assert version_of(a_token(**changes)) != version_of(a_token())
    assert version_of(a_token(**changes)) == version_of(a_token(**changes))


@pytest.mark.parametrize("times", [{"revoked_at": NOW}, {"expires_at": NOW}, {"not_before": NOW}])
def test_what_ends_or_begins_a_parent_changes_the_version(times: dict[str, Any]) -> None:
    parent = a_token(parent=a_token(**times))
    assert version_of(a_token(parent=parent)) != version_of(a_token(parent=a_token(parent=a_token())))


def test_a_use_does_not_change_the_version() -> None:
    used = a_token(uses=2, uses_left=1, last_used_at=NOW, last_used_from="192.0.2.1")
    assert version_of(used) == version_of(a_token(uses=2, uses_left=2))
    scopes = ["a", "b", "c"]
    assert version_of(a_token(scopes=frozenset(scopes))) == version_of(
        a_token(scopes=frozenset(reversed(scopes)))
    )


def test_an_event_of_the_audit_is_shown_as_json() -> None:
    event = AuditEvent(NOW, "push", "alice", "t-1", "team/app", "192.0.2.1", "r-1", {"updates": []})
    assert event_object(7, event) == {
        "id": 7,
        "at": "2026-03-14T15:09:26Z",
        "event": "push",
        "account": "alice",
        "token": "t-1",
        "repository": "team/app",
        "address": "192.0.2.1",
        "request": "r-1",
        "details": {"updates": []},
    }
