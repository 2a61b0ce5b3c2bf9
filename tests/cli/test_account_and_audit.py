"""`gitpat-proxy account` and `audit`."""

from datetime import datetime

import pytest

from gitpat_proxy.cli.output import printable, words
from gitpat_proxy.services.tokens import TokenFacts
from tests.cli.program import run
from tests.support.proxy import Proxy

ACCOUNT_KEYS = ["name", "administrator", "service", "created_at", "disabled_at"]
EVENT_KEYS = ["id", "at", "event", "account", "token", "repository", "address", "request", "details"]


def test_accounts_as_json(proxy: Proxy) -> None:
    added = run(proxy, "account", "add", "ci-bot", "--service", "--json").json
    assert list(added) == ACCOUNT_KEYS
    assert (added["name"], added["administrator"], added["service"]) == ("ci-bot", False, True)
    disabled = run(proxy, "account", "disable", "ci-bot", "--json").json
    assert list(disabled) == ACCOUNT_KEYS
    assert datetime.fromisoformat(disabled["disabled_at"]).tzinfo
    alice, listed = run(proxy, "account", "list", "--json").json
    assert (alice["name"], listed) == ("alice", disabled)
    assert run(proxy, "account", "enable", "ci-bot", "--json").json == added


def test_accounts_for_people(proxy: Proxy) -> None:
    added = run(proxy, "account", "add", "bob", "--admin")
    assert (added.code, added.out, added.err) == (0, "", "The account bob is there.\n")
    heading, alice, bob = run(proxy, "account", "list").out.splitlines()
    assert heading.split()[:3] == ["NAME", "ADMINISTRATOR", "SERVICE"]
    assert alice.split()[:3] == ["alice", "no", "no"]
    assert bob.split()[:3] == ["bob", "yes", "no"]


def test_the_audit_as_json_and_for_people(proxy: Proxy) -> None:
    _, token = proxy.make_token("code:read", account="bob")
    facts = TokenFacts(scopes=["code:write"])
    proxy.services(lambda services: services.tokens.edit(token.id, facts, by="ada"))
    proxy.services(lambda services: services.tokens.revoke([token.id], "lost", by="ada"))
    events = run(proxy, "audit", "--json").json
    assert [(event["event"], event["account"], event["token"]) for event in events] == [
        ("account_added", "alice", None),
        ("account_added", "bob", None),
        ("token_created", "bob", token.id),
        ("token_edited", "bob", token.id),
        ("token_revoked", "bob", token.id),
    ]
    assert all(list(event) == EVENT_KEYS for event in events)
    assert all(event["at"].endswith("Z") for event in events)
    assert events[3]["details"]["changes"] == {"scopes": [["code:read"], ["code:write"]]}

    assert run(proxy, "audit", "--account", "bob", "--json").json == events[1:]
    assert run(proxy, "audit", "--repository", "team/app.git", "--json").json == []
    lines = run(proxy, "audit", "--token", token.id).out.splitlines()
    assert len(lines) == 3
    assert "scopes: code:read -> code:write" in lines[1]
    assert lines[2].endswith("by=ada  reason=lost")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("refs/heads/größe 漢字 x", "refs/heads/größe 漢字 x"),
        ("a\x1b]0;owned\x07\nb\r\tc", r"a\x1b]0;owned\x07\nb\r\tc"),
        ("\x7f\x9b31m", r"\x7f\x9b31m"),
        ("main\u202eniam\u200b\u2028\u2029\ufeff", r"main\u202eniam\u200b\u2028\u2029\ufeff"),
        ("\udcff", r"\udcff"),
        ("", ""),
    ],
)
def test_what_a_terminal_would_act_on_or_hide_is_written_as_an_escape(text: str, printed: str) -> None:
    assert printable(text) == words(text) == printed
    assert words([text, "x"]) == f"{printed}, x"
