"""Times, browsers and events in English."""

from datetime import timedelta

import pytest

from gitpat_proxy.access.model import AuditEvent
from gitpat_proxy.web.pages.words import (
    browser_text,
    check_title,
    event_sentence,
    event_title,
    fact_text,
    outcome_text,
    relative_text,
)
from tests.access.examples import NOW

NONE, ONE, OTHER = "0" * 40, "1" * 40, "2" * 64


@pytest.mark.parametrize(
    ("away", "past", "future"),
    [
        ({"seconds": 5}, "just now", "in a minute"),
        ({"seconds": 119}, "just now", "in a minute"),
        ({"minutes": 2}, "2 minutes ago", "in 2 minutes"),
        ({"minutes": 89}, "89 minutes ago", "in 89 minutes"),
        ({"minutes": 100}, "2 hours ago", "in 2 hours"),
        ({"hours": 47}, "47 hours ago", "in 47 hours"),
        ({"days": 2}, "2 days ago", "in 2 days"),
        ({"days": 59}, "59 days ago", "in 59 days"),
        ({"days": 90}, "3 months ago", "in 3 months"),
        ({"days": 800}, "2 years ago", "in 2 years"),
    ],
)
def test_how_far_a_moment_is_away(away: dict[str, int], past: str, future: str) -> None:
    assert relative_text(NOW - timedelta(**away), NOW) == past
    assert relative_text(NOW + timedelta(**away), NOW) == future


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140 Safari/537.36 Edg/140", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15) Chrome/140 Safari/537.36", "Chrome on macOS"),
        ("curl/8", "A browser"),
        ("", "A browser"),
    ],
)
def test_a_browser_as_people_know_it(user_agent: str, words: str) -> None:
    assert browser_text(user_agent) == words


@pytest.mark.parametrize(
    ("event", "details", "title", "sentence"),
    [
        ("clone", {}, "Cloned", None),
        (
            "events_lost",
            {"events": 3},
            "Events lost",
            "Not written when a process of the proxy ended: 3",
        ),
        ("fetch", {"aborted": True}, "Fetched (broken off)", None),
        ("push", {"updates": [{}]}, "Pushed 1 ref", None),
        ("push", {"updates": [{}, {}], "updates_more": 40}, "Pushed 42 refs", None),
        (
            "refused",
            {"code": "scope_missing", "service": "git-receive-pack"},
            "Refused: a scope is missing",
            "Push",
        ),
        (
            "refused",
            {"code": "ref_denied", "check": "create refs/tags/v1", "rule": "access.yaml:3, refs"},
            "Refused: the ref may not be changed so",
            "Rule: access.yaml:3, refs",
        ),
        ("refused", {"code": "of_later", "service": None}, "Refused: of later", None),
        ("token_revoked", {"by": "ada", "reason": "lost"}, "Token revoked", "Reason: lost. By ada"),
        ("token_revoked", {"by": "alice", "reason": None}, "Token revoked", None),
        ("account_added", {"by": "ada", "service": True}, "Account added", "By ada"),
        ("of_a_later_version", {}, "Of a later version", None),
    ],
)
def test_an_event(event: str, details: dict[str, object], title: str, sentence: str | None) -> None:
    happened = AuditEvent(NOW, event, account="alice", details=details)
    assert (event_title(happened), event_sentence(happened)) == (title, sentence)


@pytest.mark.parametrize(
    ("what", "title"),
    [
        ("life", "It is valid at that time"),
        ("account", "Its account is enabled"),
        ("address", "It may be used from that address"),
        ("scope code:write", "It has the scope code:write"),
        ("repository a {} b", "It reaches a {} b"),
        ("repository team/app for the account", "Its account reaches team/app"),
        ("code:write for the account", "Its account has code:write"),
        ("force refs/heads/a {what}", "It may force refs/heads/a {what}"),
    ],
)
def test_a_check_as_a_sentence(what: str, title: str) -> None:
    assert check_title(what) == title


@pytest.mark.parametrize(
    ("old", "new", "outcome", "words"),
    [
        (NONE, ONE, "ok", "created"),
        (ONE, OTHER, "ok", "updated"),
        (ONE, NONE, "ok", "deleted"),
        (ONE, OTHER, "ng", "refused"),
        (NONE, ONE, "unknown", "unknown"),
    ],
)
def test_what_became_of_a_ref(old: str, new: str, outcome: str, words: str) -> None:
    assert outcome_text(old, new, outcome) == words


@pytest.mark.parametrize(
    ("fact", "value", "words"),
    [
        ("expires_at", "2027-02-20T23:55:21Z", "2027-02-20 23:55 UTC"),
        ("expires_at", None, "never"),
        ("not_before", None, "at once"),
        ("addresses", None, "any"),
        ("scopes", ["code:read", "x"], "code:read, x"),
        ("name", "=1+1", "=1+1"),
    ],
)
def test_a_fact_that_was_changed(fact: str, value: object, words: str) -> None:
    assert fact_text(fact, value) == words
