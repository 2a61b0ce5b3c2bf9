"""Tokens that are derived from another one: what a job or an agent gets."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from gitpat_proxy.access.model import Author
from tests.support.git import Git, commit, kill, make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.relay import StallingRelay
from tests.support.secrets_seen import SEEN
from tests.web.api_client import Client

AGENT = ("code:write", "tokens:delegate")
JOB = {"name": "job 4711", "scopes": ["code:write"]}


def derive(proxy: Proxy, secret: str, *options: str) -> str:
    """Derive a token at the command line; return its secret."""
    derived = proxy.ok("token", "derive", *options, stdin=secret).strip()
    SEEN.secrets.add(derived)
    return derived


def test_a_job_gets_a_token_for_one_repository_and_one_branch(shared_proxy: Proxy) -> None:
    proxy = shared_proxy
    make_repository(proxy.repositories / "team" / "other.git")
    agent, token = proxy.make_token(*AGENT)
    client = Client(proxy, agent)
    answer = client.ask(
        "POST",
        "/tokens/derive",
        JOB | {"repositories": ["team/app"], "refs": ["refs/heads/agent/4711"]},
    )
    assert answer.status == 201, answer
    derived = answer.json
    assert derived["parent"] == token.id
    assert derived["repositories"] == ["team/app"]
    assert derived["refs"] == ["refs/heads/agent/4711=create,update"]
    lifetime = datetime.fromisoformat(derived["expires_at"]) - datetime.fromisoformat(
        derived["created_at"]
    )
    assert lifetime == timedelta(minutes=15)
    git = Git(proxy.home(derived["id"]), derived["token"])
    git("clone", "--quiet", f"{proxy.url}/team/app", "work")
    commit(git, git.home / "work")
    git("push", "--quiet", "origin", "HEAD:refs/heads/agent/4711", cwd=git.home / "work")
    outcome = git.try_("ls-remote", f"{proxy.url}/team/other")
    assert f"repository '{proxy.url}/team/other/' not found" in outcome.text
    [event] = [e for e in client_events(proxy, derived["id"]) if e["event"] == "token_derived"]
    assert event["details"]["by"] == f"alice (token {token.id})"
    assert event["details"]["parent"] == token.id


def client_events(proxy: Proxy, token_id: str) -> list[dict[str, object]]:
    secret, _ = proxy.make_token("tokens:read")
    items: list[dict[str, object]] = Client(proxy, secret).get("/activity", token=token_id).json["items"]
    return items


def test_the_end_of_the_parent_ends_its_children(shared_proxy: Proxy) -> None:
    proxy = shared_proxy
    agent, token = proxy.make_token(*AGENT)
    job = derive(proxy, agent, "--name", "job", "--scope", "code:read", "--scope", "tokens:delegate")
    step = derive(proxy, job, "--name", "step", "--scope", "code:read")
    git = Git(proxy.home(token.id), step)
    git("ls-remote", f"{proxy.url}/team/app")
    # What is taken from the parent is taken from them: the repository is no longer there.
    proxy.ok("token", "edit", token.id, "--repository", "elsewhere/**")
    assert "not found" in git.try_("ls-remote", f"{proxy.url}/team/app").text
    proxy.ok("token", "edit", token.id, "--repository", "any", "--from", "192.0.2.0/24")
    assert "may not be used from the address" in git.try_("ls-remote", f"{proxy.url}/team/app").text
    proxy.ok("token", "edit", token.id, "--from", "any", "--scope", "tokens:delegate")
    assert "code:read" in git.try_("ls-remote", f"{proxy.url}/team/app").text
    proxy.ok("token", "revoke", token.id, "--reason", "over")
    outcome = git.try_("ls-remote", f"{proxy.url}/team/app")
    assert f"The token {token.label} was revoked on" in outcome.text
    assert ": over." in outcome.text


def test_the_uses_of_children_are_their_parents(shared_proxy: Proxy) -> None:
    proxy = shared_proxy
    agent, token = proxy.make_token(*AGENT, uses=2)
    jobs = [derive(proxy, agent, "--name", "job", "--scope", "code:read") for _ in range(3)]
    gits = [Git(proxy.home(f"{token.id}-{n}"), secret) for n, secret in enumerate(jobs)]
    outcomes = [git.try_("clone", "--quiet", f"{proxy.url}/team/app", "work") for git in gits]
    assert [outcome.ok for outcome in outcomes] == [True, True, False]
    assert f"The token {token.label} has been used as often as it may: 2 times." in outcomes[2].text


@pytest.mark.parametrize("workers", [1, 2])
def test_a_push_ends_when_what_its_token_comes_from_is_revoked(
    start_proxy: Callable[..., Proxy], workers: int
) -> None:
    proxy = start_proxy(workers=workers)
    bare = make_repository(proxy.repositories / "team" / "app.git")
    agent, token = proxy.make_token(*AGENT)
    job = derive(proxy, agent, "--name", "job", "--scope", "code:write")
    git = Git(proxy.home(), job)
    git("clone", "--quiet", f"{proxy.url}/team/app", "work")
    commit(git, git.home / "work", "large.bin", random.Random(1).randbytes(8 * 1024 * 1024))
    relay = StallingRelay(proxy.port, client_bytes=2 * 1024 * 1024)
    url = f"http://127.0.0.1:{relay.port}/team/app"
    push = git.start("push", url, "main:cut", cwd=git.home / "work")
    try:
        wait_until(relay.stalled.is_set, what="a push in the middle")
        proxy.services(lambda services: services.tokens.revoke([token.id], None, by=Author("test")))
        wait_until(lambda: push.poll() is not None, what="the end of the push")
    finally:
        kill(push)
        relay.close()
    assert "cut" not in Git(proxy.home("checks"))("for-each-ref", cwd=bare)
    [event] = [e for e in proxy.audit_of(4) if e["event"] == "push"]
    assert event["details"]["code"] == "token_revoked"
    assert event["details"]["aborted"]


def test_a_push_that_has_arrived_outlives_what_its_token_comes_from(proxy: Proxy) -> None:
    agent, token = proxy.make_token(*AGENT)
    job = derive(proxy, agent, "--name", "job", "--scope", "code:write")
    go, hook = proxy.folder / "go", proxy.repositories / "team/app.git/hooks/pre-receive"
    hook.write_text(
        f"#!/bin/sh\ntouch '{proxy.folder}/in-hook'\nwhile ! [ -e '{go}' ]; do sleep 0.1; done\n"
    )
    hook.chmod(0o755)
    git = Git(proxy.home(), job)
    git("clone", "--quiet", f"{proxy.url}/team/app", "work")
    commit(git, git.home / "work")
    push = git.start("push", "origin", "main:received", cwd=git.home / "work")
    wait_until((proxy.folder / "in-hook").exists, what="the hook")
    proxy.ok("token", "revoke", token.id)
    go.touch()
    assert push.wait(20) == 0
    kill(push)
    pushed = [e for e in proxy.audit_of(5) if e["event"] == "push"]
    assert [e["details"]["updates"][0]["outcome"] for e in pushed] == ["ok"]


# The API


def test_what_may_not_derive_and_what_may_not_be_derived(shared_proxy: Proxy) -> None:
    proxy = shared_proxy
    plain = Client(proxy, proxy.make_token("code:write", "tokens:write")[0])
    refused = plain.ask("POST", "/tokens/derive", JOB)
    assert (refused.status, refused.code) == (403, "scope_missing")
    assert 'scope="tokens:delegate"' in refused.headers["WWW-Authenticate"]
    agent = Client(proxy, proxy.make_token(*AGENT, repositories=["team/*"], uses=5)[0])
    for more in ({"scopes": ["tokens:read"]}, {"repositories": ["**"]}, {"uses": 6}, {"uses": "any"}):
        refused = agent.ask("POST", "/tokens/derive", JOB | more)
        assert (refused.status, refused.code) == (403, "forbidden"), more
        assert "The token that asks" in refused.json["detail"]
    invalid = agent.ask("POST", "/tokens/derive", JOB | {"refs": ["main"], "uses": 0})
    assert (invalid.status, invalid.code) == (422, "invalid")


def test_a_childs_scopes_count_as_far_as_its_parents_do(shared_proxy: Proxy) -> None:
    proxy = shared_proxy
    agent, token = proxy.make_token("tokens:read", "tokens:delegate")
    answer = Client(proxy, agent).ask("POST", "/tokens/derive", {"name": "x", "scopes": ["tokens:read"]})
    child = Client(proxy, answer.json["token"])
    assert child.get("/tokens").status == 200
    proxy.ok("token", "edit", token.id, "--scope", "code:read")
    assert child.get("/tokens").code == "scope_missing"
    assert child.get("/self").json["grants"] == []


def test_the_limits_of_a_token_over_the_api(shared_proxy: Proxy) -> None:
    proxy = shared_proxy
    client = Client(proxy, proxy.make_token("tokens:write", "code:write")[0])
    limits = {
        "repositories": ["team/**", "!team/secret"],
        "refs": ["refs/heads/main=update", "refs/heads/agent/**=create,update,force,delete"],
        "addresses": ["127.0.0.0/8"],
        "uses": 3,
    }
    made = client.make("code:write", **limits)
    assert {key: made[key] for key in limits} == limits
    assert (made["uses_left"], made["parent"]) == (3, None)
    place = f"/tokens/{made['id']}"
    edited = client.ask("PATCH", place, {"uses": "any", "repositories": ["any"], "refs": None}).json
    assert (edited["uses"], edited["uses_left"], edited["repositories"]) == (None, None, None)
    assert edited["refs"] == limits["refs"]
    invalid = client.ask("PATCH", place, {"repositories": ["!x"], "refs": ["main"]})
    assert {error["field"] for error in invalid.json["errors"]} == {"repositories", "refs"}


def test_what_a_limited_token_makes_is_limited(shared_proxy: Proxy) -> None:
    proxy = shared_proxy
    facts = {"repositories": ["team/**"], "refs": ["refs/heads/agent/**"]}
    maker = Client(proxy, proxy.make_token("tokens:write", "code:write", **facts)[0])
    made = maker.make("code:write", repositories=["team/app"], refs=["refs/heads/agent/7"])
    for wider in ({"repositories": ["any"]}, {"refs": ["any"]}, {"repositories": ["other"]}):
        refused = maker.ask("PATCH", f"/tokens/{made['id']}", wider)
        assert (refused.status, refused.code) == (403, "forbidden"), wider
    counted = Client(proxy, proxy.make_token("tokens:write", "code:write", uses=5)[0])
    refused = counted.ask("POST", "/tokens", {"name": "x", "scopes": ["code:read"], "uses": 1})
    assert (refused.status, refused.code) == (403, "forbidden")
