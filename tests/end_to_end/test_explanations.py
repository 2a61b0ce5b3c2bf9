"""What git prints with a refusal leads to the rule that refused, on every face."""

import html
import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from gitpat_proxy.access.model import Author
from tests.support.git import Git
from tests.support.proxy import Proxy, wait_until
from tests.support.visitor import Page, Visitor, person, rows
from tests.web.api_client import Client, client_of

MAIN = "refs/heads/main"
PUSH = {"repository": "team/app", "service": "receive-pack", "ref": MAIN}
CLONE = {"repository": "team/app", "service": "upload-pack"}


@pytest.fixture(scope="module")
def site(shared_proxy: Proxy) -> Proxy:
    """Alice and bob, and boss, who administers."""
    for name in ("alice", "bob"):
        person(shared_proxy, name)
    person(shared_proxy, "boss", administrator=True)
    return shared_proxy


@pytest.fixture(scope="module")
def alice(site: Proxy) -> Visitor:
    return Visitor(site.port).sign_in("alice")


@pytest.fixture(scope="module")
def bob(site: Proxy) -> Visitor:
    return Visitor(site.port).sign_in("bob")


@pytest.fixture(scope="module")
def boss(site: Proxy) -> Visitor:
    return Visitor(site.port).sign_in("boss")


def refused_push(site: Proxy) -> tuple[str, str]:
    """Have the real git refused; return the token's id and the request's, as git printed it."""
    secret, token = site.make_token("code:read")
    git = Git(site.home(), secret)
    git("clone", "--quiet", f"{site.url}/team/app", token.id)
    outcome = git.try_("push", "origin", "HEAD:refs/heads/new", cwd=git.home / token.id)
    assert not outcome.ok
    [request] = set(re.findall(r"\(request ([0-9a-f]{12})\)", outcome.text))
    wait_until(lambda: rows(site, "SELECT id FROM audit WHERE request = ?", request), what="the audit")
    return token.id, request


def record_of(site: Proxy, request: str) -> int:
    [(row_id,)] = rows(site, "SELECT id FROM audit WHERE request = ?", request)
    return int(row_id)


def links(page: Page) -> list[str]:
    return list(map(html.unescape, re.findall(r'href="([^"]*)"', page.text)))


def test_what_git_printed_leads_to_the_rule(site: Proxy, alice: Visitor) -> None:
    token_id, request = refused_push(site)
    told = site.ok("explain", request)
    rule = f"token {token_id}, scopes"
    assert re.search(rf"^rule: +{rule}$", told, re.MULTILINE)
    assert re.search(r"^check: +scope code:write$", told, re.MULTILINE)
    found: dict[str, Any] = json.loads(site.ok("explain", request, "--json"))
    details = {"code": "scope_missing", "service": "git-receive-pack"}
    assert found["record"]["details"] == details | {"check": "scope code:write", "rule": rule}
    assert (found["now"]["permitted"], found["now"]["code"]) == (False, "scope_missing")

    listed = alice.get(f"/-/activity?request={request}")
    [why] = [link for link in links(listed) if re.fullmatch(r"/-/activity/[0-9]+", link)]
    assert f"Rule: {rule}" in listed.words
    explained = alice.get(why)
    assert (explained.status, request in explained.words) == (200, True)
    assert "Refused: It has the scope code:write" in explained.words
    assert rule in explained.words


def test_what_was_permitted_can_be_explained_too(site: Proxy) -> None:
    secret, token = site.make_token("code:read")
    Git(site.home(), secret)("clone", "--quiet", f"{site.url}/team/app", f"{token.id}-again")
    [*_, clone] = site.audit_of(2, "--token", token.id)
    site.services(lambda services: services.tokens.revoke([token.id], None, by=Author("test")))
    found = json.loads(site.ok("explain", clone["request"], "--json"))
    assert (found["record"]["event"], found["now"]["permitted"]) == ("clone", True)
    assert found["now"]["notes"] == ["scopes, limits and rules are those that hold now"]


def test_a_refusal_of_nobody_known_is_in_the_log_alone(site: Proxy) -> None:
    outcome = Git(site.home(), "wrong").try_("ls-remote", f"{site.url}/team/app")
    [request] = set(re.findall(r"\(request ([0-9a-f]{12})\)", outcome.text))
    told = site.cli("explain", request)
    assert told.code == 1
    assert "with a token that is known; the log tells of every request" in told.text


def told_of(visitor: Visitor, token: str, asked: dict[str, str], *, everybody: bool = False) -> Page:
    base = "/-/administration" if everybody else "/-"
    return visitor.get(f"{base}/tokens/{token}/explain?{urlencode(asked)}")


def test_the_tester_of_a_token(alice: Visitor) -> None:
    _, token = alice.make_token("Tried", "code:read")
    assert f"/-/tokens/{token}/explain" in links(alice.get(f"/-/tokens/{token}"))
    form = told_of(alice, token, {})
    assert (form.status, "Permitted" in form.words) == (200, False)
    may = told_of(alice, token, CLONE)
    assert "Permitted." in may.words
    assert "Permitted: It has the scope code:read" in may.words
    may_not = told_of(alice, token, PUSH)
    assert 'Refused: The token "Tried"' in may_not.words
    assert f"token {token}, scopes" in may_not.words
    assert told_of(alice, token, CLONE | {"at": "2099-01-01"}).words.count("expired on") == 2
    wrong = told_of(alice, token, CLONE | {"ref": "main", "address": "here"})
    assert wrong.status == 422
    assert "'here' is no address" in wrong.words


def test_the_tester_tells_each_way_to_change_a_ref(alice: Visitor) -> None:
    _, token = alice.make_token("Writes", "code:write")
    found = told_of(alice, token, PUSH)
    assert f"Permitted: it may create or update or force or delete {MAIN}." in found.words


@pytest.mark.parametrize("name", ["team/app", "team/nowhere", "secret"])
def test_nothing_is_told_of_what_is_on_disk(site: Proxy, alice: Visitor, name: str) -> None:
    _, token = alice.make_token("Curious", "code:read")
    page = told_of(alice, token, CLONE | {"repository": name})
    assert re.sub(rf"{name}|{token}", "…", page.words) == re.sub(
        f"team/app|{token}", "…", told_of(alice, token, CLONE).words
    )
    over_api = client_of(site, "alice").get(f"/tokens/{token}/explain", **CLONE | {"repository": name})
    assert over_api.json["permitted"]


def test_tokens_and_records_of_others(site: Proxy, bob: Visitor, boss: Visitor) -> None:
    token, request = refused_push(site)
    record = record_of(site, request)
    assert told_of(bob, token, CLONE).status == 404
    assert bob.get(f"/-/activity/{record}").status == 404
    assert told_of(bob, token, CLONE, everybody=True).status == 404
    assert bob.get(f"/-/administration/activity/{record}").status == 404
    assert "Permitted." in told_of(boss, token, CLONE, everybody=True).words
    assert f"token {token}, scopes" in boss.get(f"/-/administration/activity/{record}").words
    activity = boss.get(f"/-/administration/activity?token={token}")
    assert f"/-/administration/tokens/{token}/explain" in links(activity)
    assert f"/-/administration/activity/{record}" in links(activity)


@pytest.mark.parametrize("record", ["0", "999999999", "-1", "x", "1" * 40, "%C2%B2", "1.0"])
def test_records_that_are_none(alice: Visitor, record: str) -> None:
    assert alice.get(f"/-/activity/{record}").status == 404


def test_over_the_api(site: Proxy) -> None:
    alice = client_of(site, "alice", "tokens:read", "code:read")
    _, token = site.make_token("code:read")
    path = f"/tokens/{token.id}/explain"
    may, may_not = alice.get(path, **CLONE), alice.get(path, **PUSH)
    assert (may.status, may.json["permitted"], may.json["refs"]) == (200, True, [])
    assert (may_not.status, may_not.json["code"]) == (200, "scope_missing")
    assert may_not.json["asked"]["token"] == token.id
    cli = site.cli("explain", "--json", "--token", token.id, "--repository", "team/app", *_SERVICE)
    told = json.JSONDecoder().raw_decode(cli.text)[0]
    assert told["checks"] == may_not.json["checks"]
    assert set(told) == set(may_not.json)
    wrong = alice.get(path, **CLONE | {"ref": "main", "at": "soon"})
    assert (wrong.status, wrong.code) == (400, "invalid")
    assert {error["field"] for error in wrong.json["errors"]} == {"ref", "at"}
    assert alice.get(path, service="push", repository="app").status == 400
    assert alice.get(path, service="upload-pack").status == 400


_SERVICE = ("--service", "receive-pack")


def test_who_may_ask_over_the_api(site: Proxy) -> None:
    _, token = site.make_token("code:read")
    path = f"/tokens/{token.id}/explain"
    without_scope = client_of(site, "alice", "code:write").get(path, **CLONE)
    assert (without_scope.status, without_scope.code) == (403, "scope_missing")
    assert client_of(site, "bob", "tokens:read").get(path, **CLONE).status == 404
    assert client_of(site, "boss", "admin").get(path, **CLONE).json["permitted"]
    assert Client(site).get(path, **CLONE).status == 401
