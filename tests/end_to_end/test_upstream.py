"""In front of Git servers that exist already."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

import pytest
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import WSGIRequestHandlerLogger, make_wsgi_chain

from tests.support.apache import MODULES, PASSWORD, Apache
from tests.support.certificate import make_certificate
from tests.support.git import Git, commit, kill, make_repository
from tests.support.proxy import Proxy, free_port, wait_until
from tests.support.raw import basic
from tests.support.relay import StallingRelay
from tests.support.tools import require


@pytest.fixture
def apache(tmp_path: Path) -> Iterator[Apache]:
    require("apache2", found=MODULES.exists())
    # Apache's CGI programs run as its own user, who must own the repositories, and reach them.
    make_repository(tmp_path / "upstream" / "team" / "app.git")
    subprocess.run(["chown", "-R", "www-data", tmp_path / "upstream"], check=False)
    for folder in [tmp_path, *tmp_path.parents][:-2]:
        folder.chmod(0o755)
    apache = Apache(tmp_path / "apache", tmp_path / "upstream")
    yield apache
    apache.stop()


def route_to(url: str, folder: Path, **keys: Any) -> dict[str, Any]:
    password = folder / "upstream-password"
    password.write_text(PASSWORD + "\n")
    return {
        "path": "/legacy",
        "upstream": url,
        "upstream_username": "proxy",
        "upstream_password_file": str(password),
        **keys,
    }


def test_apache_with_its_own_passwords(
    start_proxy: Callable[..., Proxy], apache: Apache, tmp_path: Path
) -> None:
    proxy = start_proxy(
        routes=[
            {"path": "/", "repositories": "repositories"},
            route_to(apache.url, tmp_path),
        ]
    )
    git = proxy.git("code:write", config={"http.extraHeader": "Cookie: session=secret"})
    git("clone", "--quiet", f"{proxy.url}/legacy/team/app", "work")
    head = commit(git, git.home / "work")
    git("push", "--quiet", "origin", "main", "main:topic", cwd=git.home / "work")
    git("push", "--quiet", "origin", ":topic", cwd=git.home / "work")
    assert git("ls-remote", f"{proxy.url}/legacy/team/app.git", "main").split()[0] == head
    seen = apache.access_log.read_text()
    assert basic(PASSWORD, "proxy") in seen
    assert git.secret not in seen
    assert basic(git.secret) not in seen
    assert "session" not in seen
    events = [e["event"] for e in proxy.audit_of(3, "--repository", "legacy/team/app")]
    assert events == ["clone", "push", "push"]
    missing = git.try_("ls-remote", f"{proxy.url}/legacy/team/nothing")
    assert "There is no repository legacy/team/nothing that this token reaches." in missing.text
    reader = proxy.git("work_items:read", home="reader")
    assert "needs code:read" in reader.try_("ls-remote", f"{proxy.url}/legacy/team/app").text


@pytest.mark.parametrize("post_buffer", ["1048576", "1073741824"], ids=["chunked", "content-length"])
def test_a_large_push_to_apache(
    start_proxy: Callable[..., Proxy], apache: Apache, tmp_path: Path, post_buffer: str
) -> None:
    proxy = start_proxy(routes=[route_to(apache.url, tmp_path)])
    git = proxy.git("code:write", config={"http.postBuffer": post_buffer})
    git("clone", "--quiet", f"{proxy.url}/legacy/team/app", "work")
    head = commit(git, git.home / "work", "large.bin", content=bytes(range(256)) * 16 * 1024 * 5)
    git("push", "--quiet", "origin", "main", cwd=git.home / "work")
    assert git("ls-remote", f"{proxy.url}/legacy/team/app", "main").split()[0] == head


def test_a_client_killed_in_a_push_to_apache(
    start_proxy: Callable[..., Proxy], apache: Apache, tmp_path: Path
) -> None:
    proxy = start_proxy(routes=[route_to(apache.url, tmp_path)])
    git = proxy.git("code:write")
    git("clone", "--quiet", f"{proxy.url}/legacy/team/app", "work")
    commit(git, git.home / "work", "large.bin", os.urandom(16 * 1024 * 1024))
    relay = StallingRelay(proxy.port, client_bytes=4 * 1024 * 1024)
    push = git.start(
        "push", f"http://127.0.0.1:{relay.port}/legacy/team/app", "main:killed", cwd=git.home / "work"
    )
    wait_until(relay.stalled.is_set, what="a push in the middle")
    kill(push)
    relay.close()
    wait_until(lambda: not proxy.open_pipes_and_sockets(), 5, "closed connections")
    assert "killed" not in git("ls-remote", f"{proxy.url}/legacy/team/app")


def test_wrong_credentials_of_the_proxy_do_not_cost_the_person_theirs(
    start_proxy: Callable[..., Proxy], apache: Apache, tmp_path: Path
) -> None:
    proxy = start_proxy(routes=[route_to(apache.url, tmp_path, upstream_username="wrong")])
    git = proxy.git("code:write")
    outcome = git.try_("ls-remote", f"{proxy.url}/legacy/team/app")
    assert "The Git server behind this proxy refused the proxy itself (status 401)" in outcome.text
    assert "The requested URL returned error: 502" in outcome.text
    assert proxy.log_lines()[-1]["code"] == "upstream_failed"
    check = proxy.cli("check")
    assert not check.ok


def test_a_redirect_is_neither_followed_nor_passed_on(
    start_proxy: Callable[..., Proxy], apache: Apache, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{apache.port}/moved"
    proxy = start_proxy(routes=[route_to(url, tmp_path)])
    outcome = proxy.git("code:read").try_("ls-remote", f"{proxy.url}/legacy/team/app")
    assert "answered with a redirect, which is not followed" in outcome.text
    assert "Location" not in outcome.text


@pytest.fixture
def dulwich_server(tmp_path: Path) -> Iterator[str]:
    """A Git server that shares no code with git."""
    path = make_repository(tmp_path / "dulwich.git")
    with Repo(str(path)) as repository:
        app = make_wsgi_chain(DictBackend({"/app": repository}))
        server: WSGIServer = make_server("127.0.0.1", 0, app, handler_class=WSGIRequestHandlerLogger)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
        server.server_close()


def test_dulwichs_server(start_proxy: Callable[..., Proxy], dulwich_server: str) -> None:
    proxy = start_proxy(routes=[{"path": "/python", "upstream": dulwich_server}])
    git = proxy.git("code:write")
    git("clone", "--quiet", f"{proxy.url}/python/app", "work")
    head = commit(git, git.home / "work")
    git("push", "--quiet", "origin", "main", cwd=git.home / "work")
    assert head in git("ls-remote", f"{proxy.url}/python/app")
    events = proxy.audit_of(2, "--repository", "python/app")
    assert [event["event"] for event in events] == ["clone", "push"]
    assert events[1]["details"]["updates"][0]["outcome"] == "ok"


class Misbehaving:
    """Answers every connection with the same bytes, whatever is asked, then waits or closes."""

    def __init__(self, answer: bytes, *, hang: bool = False) -> None:
        self._answer = answer
        self._hang = hang
        self._held: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.recv(65536)
            connection.sendall(self._answer)
            if self._hang:
                self._held.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        self._socket.close()
        for connection in self._held:
            connection.close()


ADVERTISEMENT = b"application/x-git-upload-pack-advertisement"


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "answered with status 500"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "refused the proxy itself (status 403)"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nLogin",
            "gave an answer that is not Git's",
        ),
        (b"garbage\r\n\r\n", "can't be reached"),
        (b"", "can't be reached"),
    ],
)
def test_upstreams_that_misbehave(start_proxy: Callable[..., Proxy], answer: bytes, what: str) -> None:
    upstream = Misbehaving(answer)
    proxy = start_proxy(routes=[{"path": "/", "upstream": upstream.url}])
    outcome = proxy.git("code:read").try_("ls-remote", f"{proxy.url}/app")
    upstream.close()
    assert f"The Git server behind this proxy {what}" in outcome.text
    assert (proxy.log_lines()[-1]["status"], proxy.log_lines()[-1]["code"]) == (
        502,
        "upstream_failed",
    )


def test_an_upstream_that_is_down(start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(routes=[{"path": "/", "upstream": f"http://127.0.0.1:{free_port()}"}])
    outcome = proxy.git("code:read").try_("ls-remote", f"{proxy.url}/app")
    assert "The Git server behind this proxy can't be reached" in outcome.text
    assert not proxy.cli("check").ok


def test_an_upstream_that_does_not_answer(start_proxy: Callable[..., Proxy]) -> None:
    upstream = Misbehaving(b"", hang=True)
    proxy = start_proxy(routes=[{"path": "/", "upstream": upstream.url, "upstream_timeout_seconds": 1}])
    outcome = proxy.git("code:read").try_("ls-remote", f"{proxy.url}/app")
    upstream.close()
    assert "The Git server behind this proxy did not answer in time." in outcome.text
    assert proxy.log_lines()[-1]["status"] == 504


def test_an_upstream_that_stops_in_the_middle(start_proxy: Callable[..., Proxy]) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + ADVERTISEMENT + b"\r\n"
    upstream = Misbehaving(head + b"Transfer-Encoding: chunked\r\n\r\n4\r\n001e\r\n")
    proxy = start_proxy(routes=[{"path": "/", "upstream": upstream.url}])
    outcome = proxy.git("code:read").try_("ls-remote", f"{proxy.url}/app")
    upstream.close()
    assert not outcome.ok
    assert proxy.log_lines("answer_cut")
    assert proxy.log_lines()[-1]["complete"] is False


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path)


def test_tls_in_front_and_behind(
    start_proxy: Callable[..., Proxy], certificate: tuple[Path, Path]
) -> None:
    """One proxy with a certificate of its own is the upstream of two others."""
    file, key = certificate
    inner = start_proxy("inner", tls={"certificate": str(file), "key": str(key)})
    make_repository(inner.repositories / "app.git")
    secret, _ = inner.make_token("code:write")
    direct = Git(inner.home(), secret, config={"http.sslCAInfo": str(file)})
    assert "refs/heads/main" in direct("ls-remote", f"{inner.url}/app")
    check = inner.ok("check")
    assert "fits its key, valid until " in check

    password = inner.home() / "password"
    password.write_text(secret)
    route = {
        "path": "/",
        "upstream": inner.url,
        "upstream_username": "proxy",
        "upstream_password_file": str(password),
    }
    trusting = start_proxy("trusting", routes=[route | {"upstream_ca_file": str(file)}])
    assert "refs/heads/main" in trusting.git("code:read")("ls-remote", f"{trusting.url}/app")
    wary = start_proxy("wary", routes=[route])
    outcome = wary.git("code:read").try_("ls-remote", f"{wary.url}/app")
    assert "can't be reached (ClientConnectorCertificateError)" in outcome.text
