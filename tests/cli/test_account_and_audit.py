"""`gitpat-proxy account` and `audit`."""

from datetime import datetime

from gitpat_proxy.access.model import Author
from gitpat_proxy.services.tokens import TokenFacts
from tests.cli.program import run
from tests.support.proxy import Proxy

ACCOUNT_KEYS = ["name", "administrator", "service", "has_password", "created_at", "disabled_at"]
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
    sentence = "The account bob is there; `account password bob` lets it sign in to the pages.\n"
    assert (added.code, added.out, added.err) == (0, "", sentence)
    heading, alice, bob = run(proxy, "account", "list").out.splitlines()
    assert heading.split()[:3] == ["NAME", "ADMINISTRATOR", "SERVICE"]
    assert alice.split()[:3] == ["alice", "no", "no"]
    assert bob.split()[:3] == ["bob", "yes", "no"]


def test_the_audit_as_json_and_for_people(proxy: Proxy) -> None:
    _, token = proxy.make_token("code:read", account="bob")
    facts = TokenFacts(scopes=["code:write"])
    proxy.services(lambda services: services.tokens.edit(token.id, facts, by=Author("ada")))
    proxy.services(lambda services: services.tokens.revoke([token.id], "lost", by=Author("ada")))
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


def test_an_audit_with_nothing_to_show_says_so(proxy: Proxy) -> None:
    found = run(proxy, "audit", "--token", "none", "--since", "2h")
    assert (found.code, found.out) == (0, "")
    nothing = "Nothing of that in the last 2h; `--since 30d` looks back 30 days.\n"
    no_token = "Note that there is no token none; `token list --status all` shows them.\n"
    assert found.err == no_token + nothing
    assert run(proxy, "audit", "--repository", "none", "--since", "2h").err == nothing
    both = run(proxy, "audit", "--token", "none", "--account", "nobody", "--since", "2h").err
    assert both.startswith(f"{no_token}Note that there is no account nobody; ")
    assert run(proxy, "audit", "--token", "none", "--json").json == []
