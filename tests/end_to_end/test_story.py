"""The product's main job, as a person and an operator live it."""

import json

import pytest

from tests.support.git import Git, commit
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN


def test_a_token_from_its_creation_to_its_end(proxy: Proxy) -> None:
    proxy.ok("account", "add", "alice")
    secret = proxy.ok(
        "token", "create", "--account", "alice", "--name", "Work Items", "--scope", "work_items:read"
    ).strip()
    SEEN.secrets.add(secret)
    token_id = json.loads(proxy.ok("token", "list", "--json"))[0]["id"]
    git = Git(proxy.folder.parent / "home", secret, username="q7ßx random")
    address = f"{proxy.url}/team/app"

    refused = git.try_("clone", address, "work")
    assert not refused.ok
    assert 'The token "Work Items"' in refused.text
    assert "has the scope work_items:read, but git-upload-pack needs code:read" in refused.text
    assert "Authentication failed" in refused.text

    proxy.ok("token", "edit", token_id, "--scope", "code:write")
    git("clone", address, "work")
    work = git.home / "work"
    head = commit(git, work)
    git("push", "origin", "main", cwd=work)
    assert git("ls-remote", address, "main").split()[0] == head

    proxy.ok("token", "revoke", token_id, "--reason", "left on a train")
    refused = git.try_("ls-remote", address)
    assert not refused.ok
    assert "was revoked on" in refused.text
    assert "left on a train" in refused.text

    [listed] = json.loads(proxy.ok("token", "list", "--status", "all", "--json"))
    assert listed["status"] == "revoked"
    assert listed["revoked_reason"] == "left on a train"
    assert listed["revoked_by"].endswith("(command line)")
    assert listed["last_used_from"] == "127.0.0.1"
    assert json.loads(proxy.ok("token", "list", "--json")) == []

    expected = [
        "account_added",
        "token_created",
        "refused",
        "token_edited",
        "clone",
        "push",
        "token_revoked",
        "refused",
    ]
    assert [event["event"] for event in proxy.audit_of(len(expected))] == expected


@pytest.mark.parametrize("dot_git", ["", ".git"])
def test_the_username_does_not_matter(proxy: Proxy, dot_git: str) -> None:
    secret, _ = proxy.make_token("code:read")
    for username in ["alice", "x-token-auth", "Müller", "a%b", "-"]:
        git = Git(proxy.folder.parent / "home", secret, username=username)
        assert "refs/heads/main" in git("ls-remote", f"{proxy.url}/team/app{dot_git}")


def test_a_rotated_secret_is_dead_at_once(proxy: Proxy) -> None:
    secret, token = proxy.make_token("code:read")
    git = Git(proxy.folder.parent / "home", secret)
    git("ls-remote", f"{proxy.url}/team/app")
    other = proxy.ok("token", "rotate", token.id).strip()
    SEEN.secrets.add(other)
    refused = git.try_("ls-remote", f"{proxy.url}/team/app")
    assert "not a valid personal access token" in refused.text
    git.use(other)
    git("ls-remote", f"{proxy.url}/team/app")


def test_a_disabled_account_opens_nothing_until_it_is_enabled(proxy: Proxy) -> None:
    git = proxy.git("code:read")
    proxy.ok("account", "disable", "alice")
    refused = git.try_("ls-remote", f"{proxy.url}/team/app")
    assert "The account alice, which owns the token" in refused.text
    assert "is disabled" in refused.text
    proxy.ok("account", "enable", "alice")
    git("ls-remote", f"{proxy.url}/team/app")


def test_the_audit_tells_clones_fetches_and_pushes_with_their_refs(proxy: Proxy) -> None:
    git = proxy.git("code:write")
    git("clone", f"{proxy.url}/team/app.git", "work")
    work = git.home / "work"
    old = git("rev-parse", "HEAD", cwd=work).strip()
    new = commit(git, work)
    git("push", "origin", "main", "main:refs/tags/v1", cwd=work)
    git("clone", f"{proxy.url}/team/app.git", "other")
    commit(git, work, "second.txt")
    git("push", "origin", "main", cwd=work)
    git("fetch", cwd=git.home / "other")

    expected = ["clone", "push", "clone", "push", "fetch"]
    events = proxy.audit_of(len(expected), "--repository", "team/app.git")
    assert [event["event"] for event in events] == expected
    updates = events[1]["details"]["updates"]
    assert {"ref": "refs/heads/main", "old": old, "new": new, "outcome": "ok"} in updates
    assert {"ref": "refs/tags/v1", "old": "0" * 40, "new": new, "outcome": "ok"} in updates
    assert {event["account"] for event in events} == {"alice"}
    assert {event["address"] for event in events} == {"127.0.0.1"}
