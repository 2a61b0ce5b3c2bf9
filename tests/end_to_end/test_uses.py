"""A token for N uses: each clone, fetch and push counts once, what does not come about not at all."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gitpat_proxy.access.model import Status, Token
from gitpat_proxy.services.clock import utc_now
from tests.support.git import Git, commit, make_repository
from tests.support.proxy import Proxy, free_port, wait_until
from tests.support.raw import basic

USED_UP = "has been used as often as it may: once."


def now(proxy: Proxy, token: Token) -> Token:
    return proxy.services(lambda services: services.tokens.get(token.id))


def left(proxy: Proxy, token: Token) -> int | None:
    return now(proxy, token).uses_left


def posts(proxy: Proxy, token: Token) -> int:
    return sum(line["kind"] == "rpc" for line in proxy.log_lines() if line["token"] == token.id)


def version(number: int) -> dict[str, str]:
    return {"protocol.version": str(number)}


@pytest.mark.parametrize("workers", [1, 2])
def test_of_fifty_clones_at_once_one_succeeds(start_proxy: Callable[..., Proxy], workers: int) -> None:
    proxy = start_proxy(workers=workers)
    make_repository(proxy.repositories / "team" / "app.git")
    secret, token = proxy.make_token("code:read", uses=1)

    def clone(number: int) -> bool:
        git = Git(proxy.home(f"home-{number}"), secret, config=version((0, 2)[number % 2]))
        # Over the oldest protocol a shallow clone takes two requests for objects.
        depth = ["--depth=1"] if number % 4 == 0 else []
        return git.try_("clone", "--quiet", *depth, f"{proxy.url}/team/app", "work").ok

    with ThreadPoolExecutor(50) as pool:
        assert sum(pool.map(clone, range(50))) == 1
    assert left(proxy, token) == 0
    assert now(proxy, token).status(utc_now()) is Status.EXPIRED

    def clones() -> list[str]:
        events = proxy.audit_of(1, "--token", token.id)
        return [event["event"] for event in events if event["event"] == "clone"]

    # The refusals may have been written before.
    wait_until(clones, what="the clone in the audit")
    assert len(clones()) == 1


@pytest.mark.parametrize("protocol", [0, 1, 2])
@pytest.mark.parametrize("options", [(), ("--depth=1",), ("--filter=blob:none", "--no-checkout")])
def test_a_clone_counts_once(shared_proxy: Proxy, protocol: int, options: tuple[str, ...]) -> None:
    proxy = shared_proxy
    secret, token = proxy.make_token("code:read", uses=2)
    git = Git(proxy.home(token.id), secret, config=version(protocol))
    git("clone", "--quiet", *options, f"{proxy.url}/team/app", "first")
    assert left(proxy, token) == 1
    git("clone", "--quiet", *options, f"{proxy.url}/team/app", "second")
    outcome = git.try_("clone", "--quiet", f"{proxy.url}/team/app", "third")
    assert f"The token {token.label} has been used as often as it may: 2 times." in outcome.text
    assert f"{proxy.url}/-/tokens/add" in outcome.text


@pytest.mark.parametrize("protocol", [0, 2])
def test_a_fetch_that_takes_many_rounds_counts_once(shared_proxy: Proxy, protocol: int) -> None:
    proxy = shared_proxy
    bare = make_repository(proxy.repositories / f"rounds-{protocol}.git")
    secret, token = proxy.make_token("code:read", uses=1)
    git = Git(proxy.home(token.id), secret, config=version(protocol))
    git("clone", "--quiet", str(bare), "work")
    work = git.home / "work"
    # What the server does not know, and all of it newer than what it does.
    history = [
        f"commit refs/heads/own\ncommitter Ada <ada@example.org> {1800000000 + n} +0000\ndata 1\nx\n"
        for n in range(300)
    ]
    git("fast-import", "--quiet", cwd=work, stdin="".join(history).encode())
    git("clone", "--quiet", str(bare), "other")
    commit(git, git.home / "other")
    git("push", "--quiet", "origin", "main", cwd=git.home / "other")
    git("fetch", "--quiet", f"{proxy.url}/rounds-{protocol}", "main", cwd=work)
    assert posts(proxy, token) > (3 if protocol == 2 else 2)
    assert left(proxy, token) == 0
    assert [event["event"] for event in proxy.audit_of(2, "--token", token.id)][-1] == "fetch"


@pytest.mark.parametrize("buffer", ["1m", "64k"])
def test_a_push_counts_once_also_after_a_probe(shared_proxy: Proxy, buffer: str) -> None:
    proxy = shared_proxy
    secret, token = proxy.make_token("code:write", uses=2)
    git = Git(proxy.home(token.id), secret, config={"http.postBuffer": buffer})
    git("clone", "--quiet", f"{proxy.url}/team/app", "work")
    work = git.home / "work"
    commit(git, work, "large.bin", random.Random(1).randbytes(200_000))
    git("push", "--quiet", "origin", f"main:{token.id}", cwd=work)
    assert left(proxy, token) == 0
    outcome = git.try_("push", "--quiet", "origin", f"main:other-{token.id}", cwd=work)
    assert "has been used as often as it may: 2 times." in outcome.text


def test_what_only_looks_does_not_count(shared_proxy: Proxy) -> None:
    proxy = shared_proxy
    secret, token = proxy.make_token("code:write", uses=2)
    git = Git(proxy.home(token.id), secret)
    git("clone", "--quiet", f"{proxy.url}/team/app", "work")
    for _ in range(2):
        git("ls-remote", f"{proxy.url}/team/app")
        git("fetch", "--quiet", cwd=git.home / "work")
        git("push", "--quiet", "origin", "main", cwd=git.home / "work")
    assert left(proxy, token) == 1


def test_a_failed_try_does_not_count(shared_proxy: Proxy) -> None:
    proxy = shared_proxy
    secret, token = proxy.make_token("code:read", uses=1, repositories=["team/*"])
    git = Git(proxy.home(token.id), secret)
    for name in ("team/none", "elsewhere"):
        assert not git.try_("clone", f"{proxy.url}/{name}").ok
    git("init", "--quiet", "own")
    commit(git, git.home / "own")
    refused = git.try_("push", f"{proxy.url}/team/app", "HEAD:x", cwd=git.home / "own")
    assert "git-receive-pack needs code:write" in refused.text
    git("clone", "--quiet", f"{proxy.url}/team/app", "work")
    assert left(proxy, token) == 0


def test_what_a_server_behind_fails_to_answer_does_not_count(start_proxy: Callable[..., Proxy]) -> None:
    port = free_port()
    proxy = start_proxy(routes=[{"path": "/", "upstream": f"http://127.0.0.1:{port}/"}])
    secret, token = proxy.make_token("code:write", uses=1)
    head = {"Authorization": basic(secret)}
    assert proxy.get("/app/info/refs?service=git-upload-pack", head)[0] == 502
    for service in ("git-upload-pack", "git-receive-pack"):
        request = head | {"Content-Type": f"application/x-{service}-request"}
        status, text = proxy.post(f"/app/{service}", request, WANT)
        assert status in {200, 502}, text
    assert left(proxy, token) == 1


WANT = b"0032want 0123456789012345678901234567890123456789\n00000009done\n"


def test_a_refused_want_does_not_count(shared_proxy: Proxy) -> None:
    proxy = shared_proxy
    secret, token = proxy.make_token("code:read", uses=1)
    request = {
        "Authorization": basic(secret),
        "Content-Type": "application/x-git-upload-pack-request",
    }
    assert "not our ref" in proxy.post("/team/app/git-upload-pack", request, WANT)[1]
    assert left(proxy, token) == 1


def test_the_dumb_protocol_is_not_for_tokens_that_count(start_proxy: Callable[..., Proxy]) -> None:
    """A clone is many requests there, which have nothing in common."""
    routes = [{"path": "/", "repositories": "repositories", "dumb_protocol": True}]
    proxy = start_proxy(routes=routes)
    make_repository(proxy.repositories / "app.git")
    for uses, status in ((1, 404), (None, 200)):
        secret, _ = proxy.make_token("code:read", uses=uses)
        assert proxy.get("/app/HEAD", {"Authorization": basic(secret)})[0] == status


def test_a_new_number_counts_from_then_on(shared_proxy: Proxy) -> None:
    proxy = shared_proxy
    secret, token = proxy.make_token("code:read", uses=1)
    proxy.ok("token", "edit", token.id, "--uses", "any")
    git = Git(proxy.home(token.id), secret)
    git("clone", "--quiet", f"{proxy.url}/team/app", "first")
    proxy.ok("token", "edit", token.id, "--uses", "1")
    git("clone", "--quiet", f"{proxy.url}/team/app", "second")
    assert USED_UP in git.try_("ls-remote", f"{proxy.url}/team/app").text
    # Once it has ended nothing brings it back.
    assert "has no use left at the moment" in proxy.cli("token", "edit", token.id, "--uses", "5").text
