"""`gitpat-proxy token`: what it prints, where, and as which object."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from gitpat_proxy.access.model import Author, Token
from gitpat_proxy.access.secret import hint_of, is_well_formed, make_secret
from gitpat_proxy.cli.context import Services
from gitpat_proxy.config.loader import load
from gitpat_proxy.services.tokens import TokenFacts, Tokens
from tests.cli.program import Run, run, typed
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN

LAPTOP = ["token", "create", "--account", "alice", "--name", "My Laptop", "--scope", "code:read"]
TOKEN_KEYS = [
    *["id", "name", "account", "scopes", "repositories", "refs", "addresses", "uses", "uses_left"],
    "status",
    *["created_at", "not_before", "expires_at", "last_used_at", "last_used_from", "revoked_at"],
    *["revoked_by", "revoked_reason", "hint", "parent"],
]


def created(found: Run) -> str:
    """Return the secret that a run printed, and see that nothing else stands beside it."""
    assert found.code == 0
    secret = found.out.removesuffix("\n")
    SEEN.secrets.add(secret)
    assert is_well_formed(secret)
    assert secret not in found.err
    return secret


def test_creation_prints_the_secret_alone_and_tells_the_rest_elsewhere(proxy: Proxy) -> None:
    found = run(proxy, *LAPTOP, "--scope", "work_items:read", "--expires", "2027-01-31T12:00:00Z")
    created(found)
    first, second = found.err.splitlines()
    assert first.startswith('The token "My Laptop" (')
    assert first.endswith(") of alice, for code:read, work_items:read, until 2027-01-31 12:00 UTC.")
    assert "not shown again" in second


def test_creation_as_json_has_the_token_and_its_secret(proxy: Proxy) -> None:
    found = run(proxy, *LAPTOP, "--from", "192.0.2.0/24", "--from", "2001:db8::/32", "--json")
    token: dict[str, Any] = found.json
    SEEN.secrets.add(token["token"])
    assert list(token) == [*TOKEN_KEYS, "token"]
    assert is_well_formed(token["token"])
    assert token["hint"] == hint_of(token["token"])
    assert (token["name"], token["account"], token["status"]) == ("My Laptop", "alice", "active")
    assert (token["scopes"], token["addresses"]) == (["code:read"], ["192.0.2.0/24", "2001:db8::/32"])
    lifetime = datetime.fromisoformat(token["expires_at"]) - datetime.fromisoformat(token["created_at"])
    assert lifetime == timedelta(days=90)


def test_the_life_of_a_token_as_json(proxy: Proxy) -> None:
    secret = created(run(proxy, *LAPTOP))
    [listed] = run(proxy, "token", "list", "--account", "alice", "--json").json
    assert list(listed) == TOKEN_KEYS
    token_id = listed["id"]
    assert run(proxy, "token", "show", token_id, "--json").json == listed

    edit = ["--name", "Other", "--scope", "code:write", "--expires", "180d", "--from", "192.0.2.0/24"]
    edited = run(proxy, "token", "edit", token_id, *edit, "--not-before", "2026-01-01", "--json").json
    changed = {key for key in TOKEN_KEYS if edited[key] != listed[key]}
    assert changed == {"name", "scopes", "expires_at", "addresses", "not_before"}
    assert (edited["name"], edited["scopes"]) == ("Other", ["code:write"])
    assert edited["not_before"] == "2026-01-01T00:00:00Z"
    assert run(proxy, "token", "list", "--status", "pending", "--json").json == []

    rotated = run(proxy, "token", "rotate", token_id, "--json").json
    SEEN.secrets.add(rotated["token"])
    assert list(rotated) == [*TOKEN_KEYS, "token"]
    assert rotated["token"] != secret
    assert {key for key in TOKEN_KEYS if rotated[key] != edited[key]} == {"hint"}

    [revoked] = run(proxy, "token", "revoke", token_id, "--reason", "lost", "--json").json
    assert list(revoked) == TOKEN_KEYS
    assert (revoked["status"], revoked["revoked_reason"]) == ("revoked", "lost")
    assert revoked["revoked_by"].endswith(" (command line)")
    assert run(proxy, "token", "list", "--status", "all", "--json").json == [revoked]
    sentence = f'the token "Other" ({token_id}) is revoked and stays so; create another one'
    assert run(proxy, "token", "edit", token_id, "--name", "x").refusal == sentence


def test_what_people_read(proxy: Proxy) -> None:
    nothing = run(proxy, "token", "list")
    assert (nothing.out, nothing.code) == ("", 0)
    assert "`gitpat-proxy token create` makes one" in nothing.err
    _, token = proxy.make_token("code:read", name="x" * 90)
    heading, row = run(proxy, "token", "list").out.splitlines()
    assert heading.split()[:5] == ["ID", "ACCOUNT", "NAME", "SCOPES", "STATUS"]
    assert row.split()[:5] == [token.id, "alice", "x" * 90, "code:read", "active"]
    shown = dict(line.split(": ", 1) for line in run(proxy, "token", "show", token.id).out.splitlines())
    assert [key.replace(" ", "_") for key in shown] == TOKEN_KEYS
    assert (shown["status"].strip(), shown["addresses"].strip()) == ("active", "-")
    revoked = run(proxy, "token", "revoke", token.id)
    assert (revoked.code, revoked.out) == (0, "")
    assert revoked.err == f"The token {token.label} is revoked.\n"


def test_revoking_some_that_are_not_there_revokes_the_others_and_fails(proxy: Proxy) -> None:
    _, first = proxy.make_token()
    found = run(proxy, "token", "revoke", "not-there", first.id, "--json")
    there_is_none = "there is no token not-there; the others are revoked"
    assert found.refusal == f"{there_is_none}; `token list --status all` shows them"
    [revoked] = run(proxy, "token", "list", "--status", "revoked", "--json").json
    assert revoked["id"] == first.id


def test_a_token_that_is_revoked_already_keeps_its_first_reason_and_it_is_said(proxy: Proxy) -> None:
    _, token = proxy.make_token()
    _, bare = proxy.make_token()
    run(proxy, "token", "revoke", token.id, "--reason", "lost")
    run(proxy, "token", "revoke", bare.id)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    again = run(proxy, "token", "revoke", token.id, bare.id, "--reason", "leaked")
    assert (again.code, again.out) == (0, "")
    assert again.err == (
        f"The token {token.label} was revoked before, on {today}, with its first reason: lost.\n"
        f"The token {bare.label} was revoked before, on {today}, with no reason.\n"
    )
    as_json = run(proxy, "token", "revoke", token.id, "--reason", "leaked", "--json")
    [revoked] = json.loads(as_json.out)
    assert revoked["revoked_reason"] == "lost"
    assert as_json.err.count("\n") == 1


def make_expired(proxy: Proxy) -> tuple[str, Token]:
    """Make a token of yesterday, by yesterday's clock."""
    yesterday = datetime.now(UTC) - timedelta(days=1)

    async def action(services: Services) -> tuple[str, Token]:
        past = Tokens(services.database, lambda: yesterday, load(proxy.config_file))
        return await past.create("alice", TokenFacts("Old", ["code:read"], "1h"), by=Author("test"))

    secret, token = proxy.services(action)
    SEEN.secrets.add(secret)
    return secret, token


def inspected(proxy: Proxy, secret: str) -> tuple[int, dict[str, Any], str]:
    found = run(proxy, "token", "inspect", "--json", stdin=f"{secret}\n")
    assert secret not in found.out
    shown = json.loads(found.out)
    assert list(shown) == [*TOKEN_KEYS, "valid", "code", "reason"]
    assert found.err == (f"gitpat-proxy: {shown['reason']}\n" if shown["reason"] else "")
    return found.code, shown, shown["code"]


def test_inspect_tells_whose_a_secret_is_and_whether_it_is_valid(proxy: Proxy) -> None:
    secret, token = proxy.make_token("code:read")
    code, shown, reason = inspected(proxy, secret)
    assert (code, shown["valid"], reason, shown["id"]) == (0, True, None, token.id)
    assert "\nvalid:" in run(proxy, "token", "inspect", stdin=secret).out

    old, _ = make_expired(proxy)
    code, shown, reason = inspected(proxy, old)
    assert (code, shown["valid"], reason, shown["status"]) == (1, False, "token_expired", "expired")

    proxy.services(lambda services: services.accounts.disable("alice", by=Author("ada")))
    code, shown, reason = inspected(proxy, secret)
    assert (code, shown["valid"], reason, shown["status"]) == (1, False, "account_disabled", "active")

    proxy.services(lambda services: services.tokens.revoke([token.id], "lost", by=Author("ada")))
    code, shown, reason = inspected(proxy, secret)
    assert (code, shown["valid"], reason, shown["status"]) == (1, False, "token_revoked", "revoked")
    assert shown["reason"].endswith(": lost.")


def test_a_secret_that_is_pasted_is_not_shown(proxy: Proxy) -> None:
    secret, token = proxy.make_token("code:read")
    found, shown = typed(proxy, "token", "inspect", answers={"Paste the secret": secret})
    assert found.code == 0
    assert token.id in found.out
    assert secret not in found.out + found.err + shown


def test_inspect_of_what_is_no_token_says_the_same_for_all(proxy: Proxy) -> None:
    other = make_secret()
    SEEN.secrets.add(other)
    for text in (other, "password", ""):
        refusal = run(proxy, "token", "inspect", stdin=text).refusal
        assert refusal == "it is no token of this proxy"
