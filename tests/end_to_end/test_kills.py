"""Clients and the proxy killed in the middle: nothing half done, nothing left running."""

import json
import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gitpat_proxy.git.pktline import pkt_line
from tests.support.git import Git, commit, kill, make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.raw import connect, pack_beginning, service_request
from tests.support.relay import StallingRelay

CLEANUP_SECONDS = 5
"""git gets 4 s to undo what a client began."""


def repository_of(proxy: Proxy) -> Path:
    return proxy.repositories / "team" / "app.git"


def fill(git: Git, work: Path, megabytes: int) -> None:
    commit(git, work, "large.bin", os.urandom(megabytes * 1024 * 1024))


def cloned(proxy: Proxy, git: Git) -> Path:
    git("clone", "--quiet", f"{proxy.url}/team/app", "work")
    return git.home / "work"


def assert_nothing_left(proxy: Proxy) -> None:
    wait_until(lambda: not proxy.children(), CLEANUP_SECONDS, "the end of every git")
    if proxy.process:
        wait_until(lambda: not proxy.open_pipes_and_sockets(), 5, "closed pipes and connections")
    assert_intact(proxy)
    assert not list(repository_of(proxy).glob("objects/tmp_objdir*"))


def assert_intact(proxy: Proxy) -> None:
    Git(proxy.home("checks"))("fsck", "--strict", cwd=repository_of(proxy))


@pytest.fixture
def stalled_push(proxy: Proxy) -> Iterator[tuple[Git, "subprocess.Popen[bytes]"]]:
    """A push of which 4 MiB have arrived and nothing more comes."""
    git = proxy.git("code:write")
    work = cloned(proxy, git)
    fill(git, work, 16)
    relay = StallingRelay(proxy.port, client_bytes=4 * 1024 * 1024)
    push = git.start("push", f"http://127.0.0.1:{relay.port}/team/app", "main:killed", cwd=work)
    wait_until(relay.stalled.is_set, what="a push in the middle")
    wait_until(lambda: any(repository_of(proxy).glob("objects/tmp_objdir*")), what="objects")
    yield git, push
    relay.close()


@pytest.fixture
def unspooled(start_proxy: Callable[..., Proxy]) -> Proxy:
    """A proxy whose gits wait for slow clients."""
    proxy = start_proxy(limits={"spool_bytes": 1024}, drain_seconds=1)
    make_repository(repository_of(proxy))
    return proxy


def test_a_client_killed_in_a_clone(unspooled: Proxy) -> None:
    proxy = unspooled
    git = proxy.git("code:write")
    work = cloned(proxy, git)
    fill(git, work, 40)
    git("push", "--quiet", "origin", "main", cwd=work)
    relay = StallingRelay(proxy.port, proxy_bytes=1024 * 1024)
    for number in range(3):
        relay.stalled.clear()
        clone = git.start("clone", f"http://127.0.0.1:{relay.port}/team/app", f"killed-{number}")
        wait_until(relay.stalled.is_set, what="a clone in the middle")
        assert proxy.children()
        kill(clone)
    relay.close()
    assert_nothing_left(proxy)
    events = proxy.audit_of(7)
    assert [e["details"] for e in events if e["event"] == "clone"][1:] == [{"aborted": True}] * 3
    git("clone", "--quiet", f"{proxy.url}/team/app", "again")


def test_a_client_killed_in_a_push(
    proxy: Proxy, stalled_push: tuple[Git, "subprocess.Popen[bytes]"]
) -> None:
    git, push = stalled_push
    kill(push)
    assert_nothing_left(proxy)
    assert "killed" not in git("ls-remote", f"{proxy.url}/team/app")
    [event] = [e for e in proxy.audit_of(2) if e["event"] == "push"]
    assert event["details"]["updates"][0]["ref"] == "refs/heads/killed"
    assert event["details"]["updates"][0]["outcome"] != "ok"


@pytest.mark.parametrize("framing", ["Content-Length: 200000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("size", [12, 100_000])
def test_a_body_cut_off_in_the_middle(proxy: Proxy, framing: str, size: int) -> None:
    """Also where the length was announced: git must not wait for what will never come.

    Of less than 64 KiB it never hears.
    """
    secret, _ = proxy.make_token("code:write")
    head = Git(proxy.home("checks"))("rev-parse", "main", cwd=repository_of(proxy)).strip()
    command = f"{'0' * 40} {head} refs/heads/cut\0report-status side-band-64k".encode()
    body = pkt_line(command) + b"0000" + pack_beginning(size)
    if "chunked" in framing:
        body = b"%x\r\n" % len(body) + body + b"\r\n"
    with connect(proxy.port) as connection:
        connection.sendall(service_request("git-receive-pack", secret, body, framing))
        if size > 64 * 1024:
            wait_until(proxy.children, what="a git that receives")
    assert_nothing_left(proxy)
    assert "cut" not in Git(proxy.home("checks"))("for-each-ref", cwd=repository_of(proxy))
    pushes = [e for e in proxy.audit_of(3) if e["event"] == "push"]
    assert len(pushes) == 1 or size < 64 * 1024
    assert all(push["details"]["updates"][0]["outcome"] != "ok" for push in pushes)


def test_the_proxy_killed_in_a_push(
    proxy: Proxy, stalled_push: tuple[Git, "subprocess.Popen[bytes]"]
) -> None:
    git, push = stalled_push
    proxy.stop(signal.SIGKILL)
    assert push.wait(20) != 0
    kill(push)
    wait_until(lambda: not proxy.children(), CLEANUP_SECONDS, "the end of every git")
    assert_intact(proxy)
    # git, which nobody reads from any more, may leave its quarantine behind; gc removes it.
    Git(proxy.home("checks"))("prune", "--expire=now", cwd=repository_of(proxy))
    with sqlite3.connect(proxy.folder / "gitpat.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    proxy.start()
    git("push", "--quiet", "origin", "main:after", cwd=git.home / "work")
    assert_nothing_left(proxy)


def hold_in_hook(proxy: Proxy) -> Path:
    """Make pushes wait in a hook until a file is there; return the file."""
    go = proxy.folder / "go"
    hook = repository_of(proxy) / "hooks" / "pre-receive"
    hook.write_text(
        f"#!/bin/sh\ntouch '{proxy.folder}/in-hook'\nwhile ! [ -e '{go}' ]; do sleep 0.1; done\n"
    )
    hook.chmod(0o755)
    return go


def push_into_hook(proxy: Proxy, git: Git) -> "subprocess.Popen[bytes]":
    work = cloned(proxy, git)
    commit(git, work)
    push = git.start("push", "origin", "main:received", cwd=work)
    wait_until((proxy.folder / "in-hook").exists, what="the hook")
    return push


def test_a_push_that_has_arrived_outlives_its_client(proxy: Proxy) -> None:
    go = hold_in_hook(proxy)
    git = proxy.git("code:write")
    kill(push_into_hook(proxy, git))
    go.touch()
    assert_nothing_left(proxy)
    assert "refs/heads/received" in git("ls-remote", f"{proxy.url}/team/app")
    [push] = [e for e in proxy.audit_of(2) if e["event"] == "push"]
    assert push["details"]["updates"][0]["outcome"] == "ok"


def test_a_push_that_has_arrived_outlives_the_order_to_stop(unspooled: Proxy) -> None:
    proxy = unspooled
    go = hold_in_hook(proxy)
    git = proxy.git("code:write")
    push = push_into_hook(proxy, git)
    assert proxy.process
    proxy.process.send_signal(signal.SIGTERM)
    # Longer than the proxy waits for anything else.
    timer = threading.Timer(7, go.touch)
    timer.start()
    assert proxy.process.wait(30) == 0
    timer.join()
    proxy.process = None
    kill(push)
    assert "received" in Git(proxy.home("checks"))("for-each-ref", cwd=repository_of(proxy))
    assert_nothing_left(proxy)
    events = [e for e in proxy.audit_of(2) if e["event"] == "push"]
    assert events[0]["details"]["updates"][0]["outcome"] == "ok"


def test_the_order_to_stop_ends_a_clone(unspooled: Proxy) -> None:
    proxy = unspooled
    git = proxy.git("code:write")
    work = cloned(proxy, git)
    fill(git, work, 40)
    git("push", "--quiet", "origin", "main", cwd=work)
    # A client that takes nothing: the clone can't end by itself.
    with connect(proxy.port) as connection:
        body = (
            pkt_line(b"command=fetch")
            + b"0001"
            + pkt_line(b"done")
            + pkt_line(b"want " + git("rev-parse", "HEAD", cwd=work).strip().encode())
            + b"0000"
        )
        connection.sendall(
            service_request("git-upload-pack", git.secret, body, "Git-Protocol: version=2")
        )
        wait_until(proxy.children, what="a git that serves")
        assert proxy.stop() == 0
    assert_nothing_left(proxy)


def expire(proxy: Proxy, token_id: str) -> None:
    with closing(sqlite3.connect(proxy.folder / "gitpat.db")) as connection, connection:
        connection.execute("UPDATE tokens SET expires_at = 1 WHERE id = ?", (token_id,))


ENDS: dict[str, Callable[[Proxy, str], object]] = {
    "token_revoked": lambda proxy, token_id: proxy.ok("token", "revoke", token_id),
    "token_expired": expire,
    "account_disabled": lambda proxy, _: proxy.ok("account", "disable", "alice"),
}


def token_of(proxy: Proxy) -> str:
    """Return the id of the token that is alive."""
    [token] = json.loads(proxy.ok("token", "list", "--json"))
    return str(token["id"])


def test_a_clone_ends_when_its_token_does(proxy: Proxy) -> None:
    git = proxy.git("code:write")
    work = cloned(proxy, git)
    fill(git, work, 40)
    git("push", "--quiet", "origin", "main", cwd=work)
    proxy.ok("token", "revoke", token_of(proxy))
    relay = StallingRelay(proxy.port, proxy_bytes=1024 * 1024)

    def cut_off_for(code: str) -> list[dict[str, Any]]:
        return [line for line in proxy.log_lines() if line["code"] == code]

    for code, end in ENDS.items():
        relay.stalled.clear()
        git = proxy.git("code:read", home=code)
        clone = git.start("clone", f"http://127.0.0.1:{relay.port}/team/app", "cut")
        wait_until(relay.stalled.is_set, what="a clone in the middle")
        end(proxy, token_of(proxy))
        wait_until(partial(cut_off_for, code), 5, "the end of the clone")
        kill(clone)
        [line] = cut_off_for(code)
        assert line["complete"] is False
    relay.close()

    def cut_off() -> list[tuple[str, str]]:
        found = [e for e in proxy.audit_of(1) if e["details"].get("aborted")]
        return [(e["event"], e["details"].get("code")) for e in found]

    wait_until(lambda: len(cut_off()) == len(ENDS), what="the clones in the audit")
    assert cut_off() == [("clone", code) for code in ENDS]
    assert_nothing_left(proxy)


@pytest.mark.parametrize("order", ["revoke", "rotate"])
def test_a_push_on_its_way_ends_when_its_token_does(
    proxy: Proxy, stalled_push: tuple[Git, "subprocess.Popen[bytes]"], order: str
) -> None:
    """With a new secret the old one is as good as revoked."""
    _, push = stalled_push
    proxy.ok("token", order, token_of(proxy))
    wait_until(lambda: not proxy.children(), CLEANUP_SECONDS, "the end of the push's git")
    kill(push)
    assert_nothing_left(proxy)
    assert "killed" not in Git(proxy.home("checks"))("for-each-ref", cwd=repository_of(proxy))


def test_a_push_that_has_arrived_outlives_its_token(proxy: Proxy) -> None:
    go = hold_in_hook(proxy)
    git = proxy.git("code:write")
    push = push_into_hook(proxy, git)
    proxy.ok("token", "revoke", token_of(proxy))
    # Longer than the watch takes to look.
    threading.Timer(2, go.touch).start()
    push.communicate(timeout=20)
    assert push.returncode == 0
    assert "received" in Git(proxy.home("checks"))("for-each-ref", cwd=repository_of(proxy))
    [event] = [e for e in proxy.audit_of(3) if e["event"] == "push"]
    assert event["details"]["updates"][0]["outcome"] == "ok"
    assert_nothing_left(proxy)
