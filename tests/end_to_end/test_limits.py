"""Each limit of the configuration, from the outside: what is told, and what is left."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gitpat_proxy.git.pktline import pkt_line
from tests.support.git import Git, commit, kill, make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.raw import (
    EMPTY_PACK,
    basic,
    connect,
    exchange,
    pack_beginning,
    request_bytes,
    service_request,
    status_of,
)
from tests.support.relay import StallingRelay

MEBIBYTE = 1024 * 1024


@pytest.fixture
def limited(start_proxy: Callable[..., Proxy]) -> Callable[..., tuple[Proxy, Git]]:
    """Starts a proxy with these limits; gives it with a person who may push."""

    def start(**limits: object) -> tuple[Proxy, Git]:
        proxy = start_proxy(limits=limits)
        make_repository(proxy.repositories / "team" / "app.git")
        return proxy, proxy.git("code:write")

    return start


@pytest.fixture
def behind(start_proxy: Callable[..., Proxy], tmp_path: Path) -> Callable[..., tuple[Proxy, Git, Proxy]]:
    """Starts a proxy with these limits before another one, which has the repositories."""

    def start(**limits: object) -> tuple[Proxy, Git, Proxy]:
        server = start_proxy("server")
        make_repository(server.repositories / "team" / "app.git")
        password = tmp_path / "password"
        password.write_text(server.make_token("code:write")[0])
        route = {
            "path": "/",
            "upstream": server.url,
            "upstream_username": "proxy",
            "upstream_password_file": str(password),
        }
        proxy = start_proxy(limits=limits, routes=[route])
        return proxy, proxy.git("code:write"), server

    return start


def cloned(proxy: Proxy, git: Git) -> Path:
    git("clone", "--quiet", f"{proxy.url}/team/app", "work")
    return git.home / "work"


def ended(proxy: Proxy, code: str | None = None) -> dict[str, object]:
    """Return the last line of the log once nothing is under way."""
    wait_until(lambda: not proxy.children() and not proxy.open_pipes_and_sockets(), 15, "an end")
    line = proxy.log_lines()[-1]
    assert line["code"] == code
    return line


def refs_of(server: Proxy) -> str:
    git = Git(server.home("checks"))
    git("fsck", "--strict", cwd=server.repositories / "team" / "app.git")
    return git("for-each-ref", "--format=%(refname)", cwd=server.repositories / "team" / "app.git")


@pytest.mark.parametrize("sent", ["chunked", "with its length"])
def test_a_push_that_is_too_large_is_refused_in_words(
    limited: Callable[..., tuple[Proxy, Git]], sent: str
) -> None:
    proxy, git = limited(push_bytes="1MiB")
    work = cloned(proxy, git)
    commit(git, work, "large.bin", os.urandom(3 * MEBIBYTE // 2))
    git.config["http.postBuffer"] = str(64 * 1024 if sent == "chunked" else 16 * MEBIBYTE)
    outcome = git.try_("push", "origin", "main:large", cwd=work)
    assert not outcome.ok
    assert "The push is larger than 1 MiB, the most that is accepted here" in outcome.text
    assert "! [remote rejected] main -> large (refused)" in outcome.text
    line = ended(proxy, "push_too_large")
    assert line["status"] == 200
    assert refs_of(proxy) == "refs/heads/main\n"
    # An account, its token and the clone come before it.
    refused = proxy.audit_of(4)[-1]
    assert (refused["event"], refused["details"]["code"]) == ("refused", "push_too_large")
    git("reset", "--quiet", "--hard", "HEAD~", cwd=work)
    commit(git, work, "small.bin", os.urandom(MEBIBYTE // 2))
    git("push", "--quiet", "origin", "main:small", cwd=work)


def test_a_push_that_goes_on_and_on_is_ended(limited: Callable[..., tuple[Proxy, Git]]) -> None:
    proxy, git = limited(push_bytes="1MiB")
    with closing(connect(proxy.port)) as connection:
        head = service_request("git-receive-pack", git.secret, b"", "Transfer-Encoding: chunked")
        connection.sendall(head)
        with pytest.raises(OSError, match=r"reset|pipe"):
            connection.sendall((b"10000\r\n" + b"x" * 65536 + b"\r\n") * 512)
    ended(proxy, "push_too_large")


def test_a_push_that_git_took_before_it_became_too_large_is_told_as_it_is(
    limited: Callable[..., tuple[Proxy, Git]],
) -> None:
    """git has its whole pack and does not wait for the junk behind it: no way around the audit."""
    proxy, git = limited(push_bytes="100KiB")
    head = git("ls-remote", f"{proxy.url}/team/app", "refs/heads/main").split()[0]
    command = f"{'0' * 40} {head} refs/heads/new\0report-status".encode()
    body = pkt_line(command) + b"0000" + EMPTY_PACK + b"x" * 150 * 1024
    request = service_request("git-receive-pack", git.secret, body)
    with closing(connect(proxy.port)) as connection:
        connection.sendall(request[: 80 * 1024])
        wait_until(lambda: "refs/heads/new" in refs_of(proxy), what="the ref")
        connection.sendall(request[80 * 1024 :])
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert b"ok refs/heads/new" in answer
    assert ended(proxy)["status"] == 200
    [push] = [event for event in proxy.audit_of(4) if event["event"] == "push"]
    assert [update["outcome"] for update in push["details"]["updates"]] == ["ok"]


def test_a_push_that_is_too_large_for_the_proxy_before_an_upstream(
    behind: Callable[..., tuple[Proxy, Git, Proxy]],
) -> None:
    proxy, git, server = behind(push_bytes="1MiB")
    work = cloned(proxy, git)
    commit(git, work, "large.bin", os.urandom(3 * MEBIBYTE // 2))
    outcome = git.try_("push", "origin", "main:large", cwd=work)
    assert "The push is larger than 1 MiB" in outcome.text
    assert refs_of(server) == "refs/heads/main\n"
    assert proxy.log_lines()[-1]["code"] == "push_too_large"
    assert not proxy.log_lines("upstream_failed")


def test_a_push_that_names_too_many_refs(limited: Callable[..., tuple[Proxy, Git]]) -> None:
    proxy, git = limited(command_list_bytes="4KiB")
    work = cloned(proxy, git)
    many = "".join(f"create refs/heads/branch-{number} HEAD\n" for number in range(60))
    git("update-ref", "--stdin", cwd=work, stdin=many.encode())
    outcome = git.try_("push", "origin", "refs/heads/*", cwd=work)
    assert not outcome.ok
    assert "The push names more refs than fit into 4 KiB" in outcome.text
    ended(proxy, "too_many_refs")
    assert refs_of(proxy) == "refs/heads/main\n"
    git("push", "--quiet", "origin", "branch-1", "branch-2", cwd=work)


def test_how_much_of_a_head_is_read(limited: Callable[..., tuple[Proxy, Git]]) -> None:
    proxy, git = limited(request_line_bytes=300, header_bytes=1000, headers=10)
    credentials = f"Authorization: {basic(git.secret)}"
    target = "/team/app/info/refs?service=git-upload-pack"

    def status(target: str, *headers: str) -> int:
        return status_of(exchange(proxy.port, request_bytes("GET", target, credentials, *headers)))

    assert status(target) == 200
    assert status(target, "X-Long: " + "x" * 900) == 200
    assert status(target, "X-Long: " + "x" * 1100) == 400
    assert status(target, *[f"X-{number}: x" for number in range(6)]) == 200
    assert status(target, *[f"X-{number}: x" for number in range(20)]) == 400
    assert status("/" + "x" * 400) == 400


@pytest.fixture
def begun_push(
    limited: Callable[..., tuple[Proxy, Git]],
) -> Iterator[Callable[..., tuple[Proxy, Callable[[], None]]]]:
    """Starts a push of which so many bytes come."""
    connections = []

    def start(size: int, **limits: object) -> tuple[Proxy, Callable[[], None]]:
        proxy, git = limited(**limits)
        connection = connect(proxy.port)
        connections.append(connection)
        command = pkt_line(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/new\0report-status") + b"0000"
        body = command + pack_beginning(size)
        connection.sendall(
            service_request("git-receive-pack", git.secret, body, "Content-Length: 200000")
        )
        return proxy, lambda: connection.sendall(b"x")

    yield start
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("size", [12, 100_000])
def test_a_client_that_sends_nothing_more(
    begun_push: Callable[..., tuple[Proxy, Callable[[], None]]], size: int
) -> None:
    proxy, _ = begun_push(size, receive_idle_seconds=1)
    wait_until(proxy.log_lines, what="the end")
    assert ended(proxy)["reason"] == "the client sent too little for too long"


@pytest.mark.parametrize("size", [12, 100_000])
def test_a_client_that_sends_a_byte_at_a_time(
    begun_push: Callable[..., tuple[Proxy, Callable[[], None]]], size: int
) -> None:
    proxy, send_byte = begun_push(size, receive_idle_seconds=1, least_bytes_per_second=200_000)
    ends = time.monotonic() + 15
    while not proxy.log_lines() and time.monotonic() < ends:
        time.sleep(0.1)
        with suppress(OSError):
            send_byte()
    assert ended(proxy)["reason"] == "the client sent too little for too long"


def large_repository(proxy: Proxy, git: Git, megabytes: int) -> None:
    work = cloned(proxy, git)
    commit(git, work, "large.bin", os.urandom(megabytes * MEBIBYTE))
    git("push", "--quiet", "origin", "main", cwd=work)


def test_a_client_that_takes_nothing_more(limited: Callable[..., tuple[Proxy, Git]]) -> None:
    proxy, git = limited(send_idle_seconds=1)
    large_repository(proxy, git, 16)
    relay = StallingRelay(proxy.port, proxy_bytes=MEBIBYTE)
    clone = git.start("clone", f"http://127.0.0.1:{relay.port}/team/app", "stalled")
    wait_until(relay.stalled.is_set, what="a clone in the middle")
    assert ended(proxy)["reason"] == "the client took too little for too long"
    kill(clone)
    relay.close()


def test_a_slow_client_costs_a_file_and_no_process(limited: Callable[..., tuple[Proxy, Git]]) -> None:
    proxy, git = limited(operations=1, waiting_seconds=1)
    large_repository(proxy, git, 16)
    relay = StallingRelay(proxy.port, proxy_bytes=MEBIBYTE)
    clone = git.start("clone", f"http://127.0.0.1:{relay.port}/team/app", "stalled")
    wait_until(relay.stalled.is_set, what="a clone in the middle")
    wait_until(lambda: not proxy.children(), what="the end of git")
    files = [
        str(link.readlink()) for link in Path(f"/proc/{proxy.pid}/fd").iterdir() if link.is_symlink()
    ]
    assert [name for name in files if name.startswith("/var/tmp/") and name.endswith(" (deleted)")]
    git("ls-remote", f"{proxy.url}/team/app")  # the one place is free again
    kill(clone)
    relay.close()
    wait_until(lambda: not proxy.open_pipes_and_sockets(), what="closed connections")


def test_without_space_for_it_git_waits(limited: Callable[..., tuple[Proxy, Git]]) -> None:
    proxy, git = limited(spool_bytes="1MiB", operations=1, waiting_seconds=1)
    large_repository(proxy, git, 16)
    relay = StallingRelay(proxy.port, proxy_bytes=MEBIBYTE)
    clone = git.start("clone", f"http://127.0.0.1:{relay.port}/team/app", "stalled")
    wait_until(relay.stalled.is_set, what="a clone in the middle")
    outcome = git.try_("clone", "--depth", "1", f"{proxy.url}/team/app", "another")
    assert "Too many operations are under way" in outcome.text
    assert proxy.children()
    kill(clone)
    relay.close()
    ended(proxy)


def test_who_has_to_wait_is_told_for_whose_sake(limited: Callable[..., tuple[Proxy, Git]]) -> None:
    proxy, git = limited(operations_per_token=1, waiting_seconds=1)
    relay = StallingRelay(proxy.port, client_bytes=MEBIBYTE)
    work = cloned(proxy, git)
    commit(git, work, "large.bin", os.urandom(4 * MEBIBYTE))
    push = git.start("push", f"http://127.0.0.1:{relay.port}/team/app", "main:x", cwd=work)
    wait_until(relay.stalled.is_set, what="a push in the middle")
    wait_until(proxy.children, what="a git that reads")
    status, text = proxy.get(
        "/team/app/info/refs?service=git-upload-pack", {"Authorization": basic(git.secret)}
    )
    assert (status, "Too many operations are under way with the token" in text) == (503, True)
    proxy.git("code:read", home="other")("ls-remote", f"{proxy.url}/team/app")
    kill(push)
    relay.close()
    wait_until(lambda: not proxy.children(), what="the end of the push")
    git("ls-remote", f"{proxy.url}/team/app")
