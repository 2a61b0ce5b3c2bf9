"""Attacks that once worked, step by step, each from the outside."""

import gzip
import os
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from gitpat_proxy.access.model import Author
from gitpat_proxy.git.pktline import pkt_line
from tests.support.git import Git, commit, make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.raw import basic, connect, exchange, request_bytes, service_request, status_of


class RecordingUpstream:
    """Answers every request before it reads its body, as some servers do, and keeps all bytes."""

    ANSWER = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n"
        b"Content-Length: 4\r\n\r\n0000"
    )

    def __init__(self) -> None:
        self.received = b""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(65536):
                self.received += data
                if b"\r\n\r\n" in data:
                    connection.sendall(self.ANSWER)


@pytest.fixture
def upstream() -> Iterator[RecordingUpstream]:
    upstream = RecordingUpstream()
    yield upstream
    upstream.close()


def test_a_get_with_a_body_smuggles_nothing_into_an_upstream(
    start_proxy: Callable[..., Proxy], upstream: RecordingUpstream
) -> None:
    """Forwarded with its Content-Length and without its body, it would swallow the next request."""
    proxy = start_proxy(routes=[{"path": "/", "upstream": upstream.url}])
    secret, _ = proxy.make_token("code:read")
    target, authorization = "/app/info/refs?service=git-upload-pack", f"Authorization: {basic(secret)}"
    for headers, body in [
        ((authorization, "Content-Length: 5"), b"GET /"),
        ((authorization, "Transfer-Encoding: chunked"), b"5\r\nGET /\r\n0\r\n\r\n"),
    ]:
        answer = exchange(proxy.port, request_bytes("GET", target, *headers, body=body))
        assert status_of(answer) == 400
    assert upstream.received == b""
    answer = exchange(proxy.port, request_bytes("GET", target, authorization, "Content-Type: text/x"))
    assert status_of(answer) == 200
    assert b"content-" not in upstream.received.lower()


def test_a_pushed_repository_inside_a_work_tree_is_not_served(proxy: Proxy) -> None:
    """Its hooks would run as the proxy's user, and its links lead out of the folder."""
    site = proxy.repositories / "site"
    git = proxy.git("code:write")
    git("init", "--quiet", str(site))
    commit(git, site)
    git("config", "receive.denyCurrentBranch", "updateInstead", cwd=site)
    git("clone", "--quiet", f"{proxy.url}/site", "work")
    evil = git.home / "work" / "evil"
    for folder in ["objects", "refs/heads", "hooks"]:
        (evil / folder).mkdir(parents=True)
        (evil / folder / "keep").touch()
    (evil / "HEAD").write_text("ref: refs/heads/main\n")
    (evil / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
    (evil / "hooks" / "pre-receive").write_text(f"#!/bin/sh\ntouch '{proxy.folder}/owned'\n")
    (evil / "hooks" / "pre-receive").chmod(0o755)
    commit(git, git.home / "work")
    git("push", "--quiet", "origin", "main", cwd=git.home / "work")
    assert (site / "evil" / "HEAD").exists()
    outcome = git.try_("push", f"{proxy.url}/site/evil", "main:x", cwd=git.home / "work")
    assert "There is no repository site/evil that this token reaches." in outcome.text
    assert not (proxy.folder / "owned").exists()


def test_links_inside_a_repository_lead_nowhere_outside(proxy: Proxy, tmp_path: Path) -> None:
    outside = make_repository(tmp_path / "outside.git")
    leak = proxy.repositories / "leak.git"
    leak.mkdir()
    (leak / "HEAD").write_text("ref: refs/heads/main\n")
    for part in ["objects", "refs"]:
        (leak / part).symlink_to(outside / part)
    (proxy.repositories / "link.git").symlink_to(outside)
    git = proxy.git("code:read")
    for name in ["leak", "link"]:
        assert f"There is no repository {name}" in git.try_("ls-remote", f"{proxy.url}/{name}").text


@pytest.mark.parametrize(
    "broken",
    [
        "Authorization: {value}\x01",
        "Authorization : {value}",
        "Authorization {value}",
        "Authorization: {value}\nX: y",
        "X-Long: {value}" + "x" * 9000,
    ],
)
def test_what_is_no_http_is_not_logged_with_its_credentials(proxy: Proxy, broken: str) -> None:
    secret, _ = proxy.make_token("code:read")
    value = basic(secret)
    exchange(proxy.port, request_bytes("GET", "/team/app/HEAD", broken.format(value=value)))
    exchange(proxy.port, request_bytes("GET", "/-/health"))
    wait_until(lambda: proxy.log_lines("not_http"), what="a line in the log")
    assert value.split()[1][:20] not in proxy.log
    assert "Traceback" not in proxy.log


def gzipped_packets(packet: bytes) -> bytes:
    return gzip.compress(packet * (8 * 1024 * 1024 // len(packet)))


@pytest.mark.parametrize(
    "body",
    [
        gzipped_packets(b"0004"),
        gzipped_packets(pkt_line(b"have " + b"1" * 40 + b"\n")),
        gzip.compress(b"0000") + os.urandom(32 * 1024 * 1024),
    ],
    ids=["empty packets", "haves", "junk behind"],
)
def test_bodies_that_would_cost_much_to_read(proxy: Proxy, body: bytes) -> None:
    """What is looked at is bounded, in bytes and in packets."""
    secret, _ = proxy.make_token("code:read")
    exchange(proxy.port, request_bytes("GET", "/-/health"))
    process = psutil.Process(proxy.pid)
    memory, cpu = process.memory_info().rss, sum(process.cpu_times()[:2])
    request = service_request("git-upload-pack", secret, body, "Content-Encoding: gzip")
    with connect(proxy.port) as connection, suppress(OSError):
        connection.sendall(request)
        connection.recv(65536)
    assert process.memory_info().rss - memory < 16 * 1024 * 1024
    assert sum(process.cpu_times()[:2]) - cpu < 1.5


def push_of(commands: list[str], repository: Path, objects: str = "") -> bytes:
    """Return a push of what is there already: the commands, and a pack with these objects."""
    pack = subprocess.run(
        ["git", "pack-objects", "--stdout", "--quiet"],
        input=objects.encode(),
        cwd=repository,
        capture_output=True,
        check=True,
    ).stdout
    return b"".join(pkt_line(command.encode()) for command in commands) + b"0000" + pack


def test_every_update_of_a_push_is_in_the_audit_as_git_did_it(proxy: Proxy) -> None:
    """Capital digits, one ref twice, and a name that begins another: git takes them all."""
    secret, token = proxy.make_token("code:write")
    repository = proxy.repositories / "team" / "app.git"
    head = Git(proxy.home("checks"))("rev-parse", "main", cwd=repository).strip()
    zero = "0" * 40
    commands = [
        f"{zero} {head.upper()} refs/heads/capital\0 report-status",
        f"{zero} {head} refs/heads/real",
        f"{zero} {head} refs/heads/real x",
    ]
    body = push_of(commands, repository)
    answer = exchange(proxy.port, service_request("git-receive-pack", secret, body))
    assert status_of(answer) == 200
    [push] = [e for e in proxy.audit_of(2, "--token", token.id) if e["event"] == "push"]
    assert [(u["ref"], u["new"], u["outcome"]) for u in push["details"]["updates"]] == [
        ("refs/heads/capital", head, "ok"),
        ("refs/heads/real", head, "ok"),
        ("refs/heads/real x", head, "ng"),
    ]


def test_names_in_the_audit_move_no_cursor(proxy: Proxy) -> None:
    secret, _ = proxy.make_token("code:write")
    ref = "refs/heads/\x1b]0;owned\x07\n2026-01-01 00:00:00  push  root  forged"
    body = pkt_line(f"{'0' * 40} {'1' * 40} {ref}\0 report-status".encode()) + b"0000"
    exchange(proxy.port, service_request("git-receive-pack", secret, body))
    wait_until(lambda: "owned" in proxy.ok("audit"), what="the push in the audit")
    printed = proxy.ok("audit")
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert not [line for line in printed.splitlines() if line.endswith("forged")] or "\\n2026" in printed


def test_a_whole_pack_without_the_end_of_its_body_is_not_applied_by_half(proxy: Proxy) -> None:
    repository = proxy.repositories / "team" / "app.git"
    hook = repository / "hooks" / "update"
    hook.write_text("#!/bin/sh\nsleep 1\n")
    hook.chmod(0o755)
    secret, token = proxy.make_token("code:write")
    checks = Git(proxy.home("checks"))
    head = checks("rev-parse", "main", cwd=repository).strip()
    names = [f"refs/heads/half-{number}" for number in range(6)]
    lines = [f"{'0' * 40} {head} {name}" for name in names]
    lines[0] += "\0 report-status"
    # Of less than 64 KiB git would not hear before the end.
    blob = checks("hash-object", "-w", "--stdin", cwd=repository, stdin=os.urandom(100_000))
    body = push_of(lines, repository, blob)
    chunk = b"%x\r\n%s\r\n" % (len(body), body)
    with connect(proxy.port) as connection:
        connection.sendall(
            service_request("git-receive-pack", secret, chunk, "Transfer-Encoding: chunked")
        )
        wait_until(proxy.children, what="git")
    wait_until(lambda: not proxy.children(), 20, "the end of git")
    there = checks("for-each-ref", "--format=%(refname)", "refs/heads/half-*", cwd=repository).split()
    assert there in ([], names)
    [push] = [e for e in proxy.audit_of(2, "--token", token.id) if e["event"] == "push"]
    expected = "ok" if there else "unknown"
    assert {update["outcome"] for update in push["details"]["updates"]} == {expected}


def test_a_replaced_database_is_noticed_by_the_next_request(proxy: Proxy) -> None:
    """A connection to the file that was there before would know of no revocation."""
    git = proxy.git("code:read")
    token = proxy.services(lambda s: s.tokens.find(git.secret))[0]
    git("ls-remote", f"{proxy.url}/team/app")
    database = proxy.folder / "gitpat.db"
    copy = proxy.folder / "copy.db"
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    for end in ["-wal", "-shm"]:
        (proxy.folder / f"gitpat.db{end}").unlink(missing_ok=True)
    copy.rename(database)
    proxy.services(lambda s: s.tokens.revoke([token.id], None, by=Author("test")))
    for _ in range(4):
        assert "was revoked on" in git.try_("ls-remote", f"{proxy.url}/team/app").text
