"""An upstream that is down, slow, hanging, cut off, or not what it says."""

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gitpat_proxy.git.pktline import pkt_line
from tests.support.certificate import make_certificate
from tests.support.faults_git import running
from tests.support.faulty_upstream import (
    Fault,
    FaultyUpstream,
    answer,
    in_large_push,
    part_of_answer,
    reset_in_body,
    trickle,
)
from tests.support.git import Git, commit, kill, make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.raw import connect, service_request
from tests.support.relay import StallingRelay
from tests.support.tools import LIBFAKETIME, require

MEBIBYTE = 1024 * 1024
BEHIND = "The Git server behind this proxy"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-%s\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The Git server behind: a proxy with the repositories."""
    with running(tmp_path_factory.mktemp("behind") / "server") as server:
        yield server


@pytest.fixture(scope="module")
def network(server: Proxy) -> Iterator[FaultyUpstream]:
    network = FaultyUpstream(server.port)
    yield network
    network.down()


@pytest.fixture(scope="module")
def before(
    tmp_path_factory: pytest.TempPathFactory, server: Proxy, network: FaultyUpstream
) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("before")
    password = folder / "password"
    password.write_text(server.make_token("code:write")[0])
    route = {
        "path": "/",
        "upstream": f"http://127.0.0.1:{network.port}",
        "upstream_username": "proxy",
        "upstream_password_file": str(password),
        "upstream_timeout_seconds": 5,
    }
    limits = {"receive_idle_seconds": 3}
    with running(folder / "proxy", routes=[route], limits=limits) as proxy:
        yield proxy


class Person:
    """Uses the proxy in front; looks at what it says of this person alone."""

    def __init__(self, proxy: Proxy, network: FaultyUpstream, server: Proxy, name: str) -> None:
        self.proxy, self.network, self.server, self.name = proxy, network, server, name
        self.repository = make_repository(server.repositories / f"{name}.git")
        self.url = f"{proxy.url}/{name}"
        secret, _ = proxy.make_token("code:write", account=name)
        self.git = Git(proxy.home(name), secret)
        self.git("clone", "--quiet", self.url, "work")
        self.work = self.git.home / "work"

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """Return the lines of the log about what this person asked for."""
        requests = {line["request"] for line in self.proxy.log_lines() if line["account"] == self.name}
        return [line for line in self.proxy.log_lines(event) if line["request"] in requests]

    def assert_recovered(self) -> None:
        self.network.recover()
        wait_until(
            lambda: not self.lines() or not self.proxy.children(), what="the end of what was asked"
        )
        commit(self.git, self.work, content=os.urandom(20))
        self.git("push", "--quiet", "--force", "origin", f"HEAD:{self.name}", cwd=self.work)
        assert f"refs/heads/{self.name}" in self.git("ls-remote", self.url)
        Git(self.proxy.home("checks"))("fsck", "--strict", cwd=self.repository)
        wait_until(lambda: not self.server.children(), what="the end of every git")
        self.network.recover()
        wait_until(lambda: not self.proxy.open_pipes_and_sockets(), what="closed connections")


@pytest.fixture
def person(
    before: Proxy, network: FaultyUpstream, server: Proxy, request: pytest.FixtureRequest
) -> Iterator[Person]:
    person = Person(before, network, server, f"person{abs(hash(request.node.name))}"[:15])
    yield person
    network.recover()


ANSWERS = {
    "a head without an end": (
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000,
        "can't be reached",
    ),
    "HTTP/0.9": (b"<html>not found</html>", "can't be reached"),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x46", "can't be reached"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-", "can't be reached"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", "answered with status 204"),
    "too busy": (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "answered with status 503"),
    "the other service's": (HEAD % b"result" + b"Content-Length: 0\r\n\r\n", "gave an answer that"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_upstream_that_answers_nonsense(person: Person, kind: str) -> None:
    data, what = ANSWERS[kind]
    person.network.behave(answer(data))
    outcome = person.git.try_("ls-remote", person.url)
    assert f"{BEHIND} {what}" in outcome.text
    assert "The requested URL returned error: 502" in outcome.text
    line = person.lines()[-1]
    assert (line["status"], line["code"]) == (502, "upstream_failed")
    assert what in line["reason"]
    assert len(person.lines("upstream_failed")) == (1 if what == "can't be reached" else 0)
    person.assert_recovered()


@pytest.mark.parametrize(
    ("data", "hang", "code", "what"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", False, "upstream_failed", "status 500"),
        (b"", False, "upstream_failed", "can't be reached (ServerDisconnectedError)"),
        (b"", True, "upstream_timeout", "did not answer in time."),
    ],
    ids=["an error", "closed", "hanging"],
)
def test_an_upstream_that_fails_where_git_shows_no_status(
    person: Person, data: bytes, hang: bool, code: str, what: str
) -> None:
    """What a POST is answered the person sees only in one of Git's packets."""
    person.network.behave(answer(data, hang=hang), "POST")
    outcome = person.git.try_("clone", person.url, "clone")
    assert not outcome.ok
    assert f"fatal: remote error: {BEHIND} " in outcome.text
    assert what in outcome.text
    assert (person.lines()[-1]["status"], person.lines()[-1]["code"]) == (200, code)
    person.assert_recovered()


@pytest.mark.parametrize(
    "fault",
    [
        part_of_answer(5),
        part_of_answer(5, hang=True),
        answer(HEAD % b"result" + b"Content-Length: 1000\r\n\r\n0008NAK\n"),
    ],
    ids=["cut off", "hanging", "shorter than it said"],
)
def test_an_upstream_that_stops_in_the_middle_of_its_answer(person: Person, fault: Fault) -> None:
    person.network.behave(fault, "POST")
    assert not person.git.try_("clone", person.url, "clone").ok
    cut = person.lines("answer_cut")
    assert cut
    assert all(line["reason"].startswith("the upstream stopped in the middle: ") for line in cut)
    assert person.lines()[-1]["complete"] is False
    person.assert_recovered()


def test_an_upstream_that_goes_down_and_comes_back(person: Person) -> None:
    person.network.down()
    outcome = person.git.try_("ls-remote", person.url)
    assert f"{BEHIND} can't be reached (ClientConnectorError)" in outcome.text
    [line] = person.lines("upstream_failed")
    assert "Cannot connect to host" in line["reason"]
    person.network.up()
    person.assert_recovered()


def test_an_upstream_that_is_slow_is_waited_for(person: Person) -> None:
    person.network.behave(trickle)
    person.git("clone", "--quiet", person.url, "slow")
    assert (person.git.home / "slow" / "file.txt").exists()
    person.assert_recovered()


def large_push(person: Person, port: int) -> "subprocess.Popen[bytes]":
    commit(person.git, person.work, "large.bin", os.urandom(8 * MEBIBYTE))
    address = f"http://127.0.0.1:{port}/{person.name}"
    return person.git.start("push", address, f"HEAD:{person.name}-cut", cwd=person.work)


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (reset_in_body, "can't be reached (ClientOSError)"),
        (answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), "status 500"),
    ],
    ids=["reset", "an early answer"],
)
def test_an_upstream_that_fails_in_the_middle_of_a_push(person: Person, fault: Fault, what: str) -> None:
    person.network.behave(in_large_push(fault), "POST")
    push = large_push(person, person.proxy.port)
    assert b"error: RPC failed; HTTP 502" in push.communicate(timeout=60)[0]
    line = person.lines()[-1]
    assert (line["status"], line["code"]) == (502, "upstream_failed")
    person.assert_recovered()
    assert f"{person.name}-cut" not in person.git("ls-remote", person.url)


def assert_no_fault_of_the_upstream(person: Person) -> None:
    [line] = [line for line in person.lines() if line["bytes_in"] > MEBIBYTE]
    assert (line["code"], line["complete"]) == (None, False)
    assert not person.lines("upstream_failed")
    [reason] = [line["reason"] for line in person.lines("answer_cut")]
    assert reason == "the client broke off what it sent"
    audit = person.proxy.audit_of(1, "--account", person.name)
    [push] = [event["details"] for event in audit if event["event"] == "push"]
    assert push["aborted"]
    assert [update["outcome"] for update in push["updates"]] == ["unknown"]


@pytest.mark.parametrize("how", ["leaves", "sends nothing more"])
def test_a_client_that_ends_in_the_middle_of_its_push(person: Person, how: str) -> None:
    relay = StallingRelay(person.proxy.port, client_bytes=4 * MEBIBYTE)
    push = large_push(person, relay.port)
    wait_until(relay.stalled.is_set, what="a push in the middle")
    if how == "leaves":
        kill(push)
    wait_until(lambda: person.lines("answer_cut"), 20, "the end of the push")
    relay.close()
    if how != "leaves":
        kill(push)
        assert person.lines()[-1]["reason"] == "the client sent too little for too long"
    assert_no_fault_of_the_upstream(person)
    person.assert_recovered()
    assert f"{person.name}-cut" not in person.git("ls-remote", person.url)


def test_a_client_that_asks_too_slowly_for_a_fetch(person: Person) -> None:
    with connect(person.proxy.port) as connection:
        body = pkt_line(b"command=fetch") + b"x" * 70_000
        request = service_request(
            "git-upload-pack",
            person.git.secret,
            body,
            "Content-Length: 100000",
            repository=person.name,
        )
        connection.sendall(request)
        with suppress(ConnectionError):
            while connection.recv(65536):
                pass
    wait_until(lambda: person.lines()[-1]["reason"], what="the line of what was cut off")
    line = person.lines()[-1]
    assert (line["code"], line["reason"]) == (None, "the client sent too little for too long")
    assert not person.lines("upstream_failed")
    person.assert_recovered()


class TlsServer:
    """Speaks TLS with a certificate, as far as the handshake; without one, no TLS at all."""

    def __init__(self, files: tuple[Path, Path] | None) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if files else None
        if self._context and files:
            self._context.load_cert_chain(*files)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                connection.settimeout(10)
                with connection, suppress(OSError):
                    if self._context:
                        with self._context.wrap_socket(connection, server_side=True) as tls:
                            tls.recv(1)
                    else:
                        connection.recv(65536)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def expired_certificate(folder: Path, patch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    require("libfaketime", found=LIBFAKETIME is not None)
    with patch.context() as past:
        past.setenv("LD_PRELOAD", str(LIBFAKETIME))
        past.setenv("FAKETIME", "2020-01-01 00:00:00")
        return make_certificate(folder)


def test_upstreams_that_can_not_show_who_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each certificate is trusted, but for what is wrong with it."""
    for name in ("expired", "other", "unknown"):
        (tmp_path / name).mkdir()
    files = {
        "expired": expired_certificate(tmp_path / "expired", monkeypatch),
        "other": make_certificate(tmp_path / "other", "git.example.org"),
        "unknown": make_certificate(tmp_path / "unknown"),
        "plain": None,
    }
    servers = {name: TlsServer(pair) for name, pair in files.items()}
    routes = [
        {"path": f"/{name}", "upstream": server.url}
        | ({"upstream_ca_file": str(pair[0])} if name != "unknown" and (pair := files[name]) else {})
        for name, server in servers.items()
    ]
    causes = {
        "expired": "certificate has expired",
        "other": "Hostname mismatch, certificate is not valid for 'localhost'",
        "unknown": "self-signed certificate",
        "plain": "wrong version number",
    }
    with running(tmp_path / "proxy", routes=routes) as proxy:
        git = proxy.git("code:read")
        check = proxy.cli("check")
        assert check.code == 1
        for name, cause in causes.items():
            outcome = git.try_("ls-remote", f"{proxy.url}/{name}/app")
            assert f"{BEHIND} can't be reached (ClientConnector" in outcome.text
            assert "The requested URL returned error: 502" in outcome.text
            assert cause in proxy.log_lines("upstream_failed")[-1]["reason"].replace("self ", "self-")
            assert cause in check.text.replace("self ", "self-").replace("\n", " ")
        assert len(proxy.log_lines("upstream_failed")) == len(causes)
        wait_until(lambda: not proxy.open_pipes_and_sockets(), what="closed connections")
    for server in servers.values():
        server.close()
