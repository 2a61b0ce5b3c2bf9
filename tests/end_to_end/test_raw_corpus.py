"""Some hundred requests that no client sends, byte by byte: tests/end_to_end/corpus."""

import asyncio
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gitpat_proxy.access.model import Author
from tests.end_to_end.corpus import FAMILIES, Case, cases
from tests.support.git import commit, make_repository
from tests.support.nginx import Nginx
from tests.support.proxy import Proxy, free_port, wait_until
from tests.support.raw import answers_in, basic, exchange
from tests.support.secrets_seen import SEEN
from tests.support.tools import require

_AT_ONCE = 40
_PAUSE = 0.05
_QUIET = 0.2
"""How long nothing must come where nothing more is due."""
_SECONDS = 15.0
"""How long an answer, or the end of a connection, may take on a machine that is busy."""

_REPOSITORY = rb"(/(?!\.\.?/)([A-Za-z0-9._~-]|%[0-9A-F]{2})+)+"
_FORWARDED = re.compile(
    rb"(GET %b/info/refs\?service=git-upload-pack|POST /app/git-(upload|receive)-pack) HTTP/1\.1"
    % _REPOSITORY
)
_FORWARDED_HEADERS = {
    b"accept",
    b"accept-encoding",
    b"accept-language",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"git-protocol",
    b"host",
    b"transfer-encoding",
    b"user-agent",
}
_METHOD = re.compile(rb"(?m)^([A-Z]+) [^ ]+ HTTP/1\.[01]\r$")


@dataclass
class Upstream:
    """Answers as a Git server does, and keeps all that it is sent."""

    port: int
    heads: list[bytes] = field(default_factory=list)
    serving: dict[asyncio.StreamWriter, Any] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving[writer] = asyncio.current_task()
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                await _read_body(reader, head)
                if not re.match(rb"\S+ /app/(info/refs|git-)", head):
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    continue
                service = re.findall(rb"git-(?:upload|receive)-pack", head)[0]
                kind = b"advertisement" if head.startswith(b"GET") else b"result"
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-%s-%s\r\n"
                    b"Content-Length: 4\r\n\r\n0000" % (service, kind)
                )
        writer.close()


async def _read_body(reader: asyncio.StreamReader, head: bytes) -> None:
    if found := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head):
        await reader.readexactly(int(found[1]))
    elif re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")


@asynccontextmanager
async def upstream_at(port: int) -> AsyncIterator[Upstream]:
    """Serve there; in the end nothing is left open by this side."""
    upstream = Upstream(port)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", port)
    try:
        yield upstream
    finally:
        server.close()
        for writer in upstream.serving:
            writer.close()
        await asyncio.gather(*upstream.serving.values())


@dataclass(frozen=True)
class Place:
    """A proxy with a folder at / and an upstream at /legacy, and nginx in front."""

    proxy: Proxy
    nginx: Nginx
    upstream_port: int
    names: Mapping[str, str]

    def port(self, front: str) -> int:
        return self.nginx.port if front == "nginx" else self.proxy.port


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    require("nginx")
    folder = tmp_path_factory.mktemp("corpus")
    upstream_port = free_port()
    upstream = f"http://127.0.0.1:{upstream_port}"
    proxy = Proxy(
        folder / "proxy",
        trusted_proxies=["127.0.0.1/32"],
        routes=[
            {"path": "/", "repositories": "repositories"},
            {"path": "/legacy", "upstream": upstream},
        ],
    )
    make_repository(proxy.repositories / "app.git")
    proxy.start()
    good, _ = proxy.make_token("code:write")
    reader, _ = proxy.make_token("code:read")
    api, _ = proxy.make_token("tokens:write")
    unknown = good[:-1] + ("A" if good[-1] != "A" else "B")
    SEEN.secrets.add(unknown)
    names = {
        "good": basic(good),
        "reader": basic(reader),
        "api token": f"Bearer {api}",
        "unknown": basic(unknown),
        "secret": good,
        "upstream": upstream,
    }
    nginx = Nginx(folder / "nginx", proxy.port)
    yield Place(proxy, nginx, upstream_port, names)
    nginx.stop()
    proxy.stop()


@dataclass(frozen=True)
class Sending:
    """A case on one of its ways."""

    case: Case
    route: str
    front: str

    @property
    def expected(self) -> str:
        return self.case.expectation(upstream=bool(self.route), nginx=self.front == "nginx")

    @property
    def is_refused(self) -> bool:
        return not re.search(r"[1235]\d\d|waits|0\.9|missing", self.expected)

    async def problem(self, place: Place) -> str | None:
        """Return what came instead of what was to come."""
        statuses, ended, data = await self._outcome(place)
        if ended and self._is_as_expected(statuses):
            return None
        came = " ".join(statuses) or "nothing"
        where = f"{self.front}{self.route}: {self.case.name}"
        return f"{where}: {self.expected} was expected, {came} came, ended={ended}: {data[:100]!r}"

    def _is_as_expected(self, statuses: list[str]) -> bool:
        if self.expected == "refused":
            return len(statuses) <= len(self.case.expected.split()) and all(
                status.startswith("4") for status in statuses
            )
        due = self.expected.replace("missing", "404").split()
        if due[-1] == "waits":
            rest = statuses[len(due) - 1 :]
            return statuses[: len(due) - 1] == due[:-1] and rest in ([], ["400"], ["408"])
        return statuses == due

    async def _outcome(self, place: Place) -> tuple[list[str], bool, bytes]:
        """Return the statuses, whether the connection came to its end, and what was read."""
        pieces = self.case.pieces({"R": self.route, **place.names})
        methods = [method.decode() for method in _METHOD.findall(b"".join(pieces))]
        due = 1 if self.expected == "refused" else len(re.findall(r"\d\S+|missing", self.expected))
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port(self.front))
        sending = asyncio.create_task(_send(writer, pieces))
        data, ended = bytearray(), False
        try:
            async with asyncio.timeout(_SECONDS):
                while not ended:
                    chunk = await _read(reader)
                    statuses, whole = answers_in(bytes(data), methods)
                    if chunk is None and whole and sending.done() and len(statuses) >= due:
                        writer.write_eof()
                    ended = chunk == b""
                    data += chunk or b""
        except ConnectionError:
            ended = True
        except TimeoutError:
            pass
        finally:
            await sending
            writer.close()
        return answers_in(bytes(data), methods)[0], ended, bytes(data)


async def _read(reader: asyncio.StreamReader) -> bytes | None:
    """Return what comes; None if nothing comes for a while."""
    try:
        async with asyncio.timeout(_QUIET):
            return await reader.read(65536)
    except TimeoutError:
        return None


async def _send(writer: asyncio.StreamWriter, pieces: list[bytes]) -> None:
    with suppress(OSError):
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(_PAUSE)
            writer.write(piece)
            await writer.drain()


async def _problems(place: Place, sendings: list[Sending]) -> list[str]:
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def problem(sending: Sending) -> str | None:
        async with at_once:
            return await sending.problem(place)

    return [found for found in await asyncio.gather(*map(problem, sendings)) if found]


def _answered(log: str) -> list[int]:
    """Return the statuses of all requests in a piece of the log."""
    lines = [json.loads(line) for line in log.split("\n") if line.startswith("{")]
    return [line["status"] for line in lines if line["event"] in {"request", "page"}]


def is_idle(proxy: Proxy) -> bool:
    """Tell whether nothing is under way: every request then has its line in the log."""
    return not proxy.open_pipes_and_sockets() and not proxy.children()


@pytest.mark.parametrize("front", ["proxy", "nginx"])
@pytest.mark.parametrize("family", FAMILIES)
async def test_raw_requests(place: Place, family: str, front: str) -> None:
    """Each is answered as its file says; what is refused is not forwarded, nor what hides in it."""
    sendings = [
        Sending(case, route, front)
        for case in cases(family)
        for route in (["", "/legacy"] if case.is_routed else [""])
    ]
    refused = [sending for sending in sendings if sending.is_refused]
    wait_until(lambda: is_idle(place.proxy), what="the end of what another family left")
    before = len(place.proxy.log)
    async with upstream_at(place.upstream_port) as upstream:
        problems = await _problems(place, refused)
        forwarded, answered = list(upstream.heads), _answered(place.proxy.log[before:])
        problems += await _problems(place, [sending for sending in sendings if not sending.is_refused])
    assert not problems, "\n".join(problems)
    assert not forwarded
    assert not [status for status in answered if not 400 <= status < 500]
    assert len(answered) <= sum(len(sending.case.expected.split()) for sending in refused)
    for head in upstream.heads:
        line, *headers = head.rstrip().split(b"\r\n")
        assert _FORWARDED.fullmatch(line), head
        assert {header.split(b":")[0].lower() for header in headers} <= _FORWARDED_HEADERS, head


def test_nothing_is_left_behind_the_corpus(place: Place) -> None:
    """Comes after it: clones go on as before, and no git, pipe or socket is left."""
    proxy = place.proxy
    wait_until(lambda: is_idle(proxy), what="the end of every git, and of every connection")
    failed = [line for line in proxy.log_lines() if (line["status"] or 0) >= 500]
    # A push to an upstream whose client left is logged so; nobody was there to be told.
    assert {(line["code"], line["service"]) for line in failed} <= {
        ("upstream_failed", "git-receive-pack")
    }
    assert not proxy.log_lines("failed")
    assert "Traceback" not in proxy.log
    assert "smuggled" not in proxy.log
    git = proxy.git("code:read")
    for number, url in enumerate([proxy.url, place.nginx.url]):
        git("clone", "--quiet", f"{url}/app", f"work-{number}")


def test_the_corpus_is_large_and_its_names_are_its_own() -> None:
    names = [(family, case.name) for family in FAMILIES for case in cases(family)]
    assert len(names) >= 300
    assert len(set(names)) == len(names)


def test_what_is_no_http_is_answered_in_our_words_and_without_an_echo(proxy: Proxy) -> None:
    answer = exchange(proxy.port, b"GET / HTTP/1.1\r\nHost: a\r\nX <script>: echo\r\n\r\n")
    head, body = answer.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 ")
    assert b"\r\nServer: gitpat-proxy" in head
    assert body == b"This is no request that HTTP/1.1 allows.\n"


class Tripwire:
    """Passes connections on to a port; does something before the bytes that it waits for pass."""

    def __init__(self, port: int, wire: bytes, action: Callable[[], object]) -> None:
        self._target = port
        self._wire = wire
        self._action = action
        self._server = socket.create_server(("127.0.0.1", 0))
        self._connections = [self._server]
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                proxy = socket.create_connection(("127.0.0.1", self._target))
                self._connections += [client, proxy]
                for ends in [(client, proxy, self._wire), (proxy, client, b"")]:
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, wire: bytes) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if wire and wire in data:
                    self._action()
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("front", ["proxy", "nginx"])
def test_git_reads_a_refusal_while_it_still_sends_a_large_body(place: Place, front: str) -> None:
    """The token is revoked as the pack begins; git has no eyes for a refused POST's sentence."""
    proxy = place.proxy
    git = proxy.git("code:write", home=f"push-{front}")
    token = proxy.services(lambda services: services.tokens.find(git.secret))[0]

    def revoke() -> None:
        proxy.services(lambda s: s.tokens.revoke([token.id], "leaked", by=Author("test")))

    git("clone", "--quiet", f"{proxy.url}/app", "work")
    commit(git, git.home / "work", "large.bin", os.urandom(48 * 1024 * 1024))
    tripwire = Tripwire(place.port(front), b"Transfer-Encoding: chunked", revoke)
    outcome = git.try_("push", f"{tripwire.url}/app", "main:large", cwd=git.home / "work")
    tripwire.close()
    assert not outcome.ok
    assert "HTTP 401" in outcome.text
    assert "roken pipe" not in outcome.text
    assert "reset" not in outcome.text
    assert proxy.log_lines()[-1]["code"] == "token_revoked"
    again = git.try_("push", f"{proxy.url}/app", "main:large", cwd=git.home / "work")
    assert f'remote: The token "Test" ({token.id}) was revoked on ' in again.text
    assert "large" not in git_refs(proxy)


def git_refs(proxy: Proxy) -> str:
    reader = proxy.git("code:read", home="reader")
    return reader("ls-remote", f"{proxy.url}/app")


def curl(url: str, folder: Path, authorization: str, *options: str, size: int = 0) -> tuple[str, str]:
    """Send a body of zeros with the real curl; return what it says of the exchange, and the body."""
    body = folder / "body"
    body.write_bytes(b"0" * size)
    fixed = ["--silent", "--show-error", "--verbose", "--expect100-timeout", "10", "--config", "-"]
    result = subprocess.run(
        ["curl", *fixed, *options, "--data-binary", f"@{body}", url],
        input=f'header = "Authorization: {authorization}"\n'.encode() if authorization else b"",
        capture_output=True,
        check=False,
        timeout=60,
    )
    return result.stderr.decode("latin-1"), result.stdout.decode("latin-1")


_PACK = ("--header", "Content-Type: application/x-git-upload-pack-request")
_JSON = ("--header", "Content-Type: application/json", "--header", "Expect: 100-continue")


def test_curl_is_told_to_go_on_once_its_credentials_are_good(place: Place, tmp_path: Path) -> None:
    """libcurl waits by itself before it sends more than a megabyte."""
    url = f"{place.proxy.url}/app/git-upload-pack"
    said, _ = curl(url, tmp_path, place.names["good"], *_PACK, size=2 * 1024 * 1024)
    assert "> Expect: 100-continue" in said
    assert said.index("< HTTP/1.1 100 Continue") < said.index("< HTTP/1.1 200 OK")
    url = f"{place.proxy.url}/-/api/v1/tokens"
    said, _ = curl(url, tmp_path, place.names["api token"], *_JSON, size=1000)
    assert said.index("< HTTP/1.1 100 Continue") < said.index("< HTTP/1.1 400 Bad Request")


@pytest.mark.parametrize(
    ("target", "name", "status"),
    [
        ("/app/git-upload-pack", "", "401 Unauthorized"),
        ("/app/git-upload-pack", "unknown", "401 Unauthorized"),
        ("/app/git-receive-pack", "reader", "401 Unauthorized"),
        ("/-/api/v1/tokens", "", "401 Unauthorized"),
        ("/-/api/v1/tokens", "reader", "403 Forbidden"),
        ("/-/api/v1/tokens", "api token", "413 Request Entity Too Large"),
    ],
)
def test_curl_is_refused_before_it_sends_anything(
    place: Place, tmp_path: Path, target: str, name: str, status: str
) -> None:
    options = (*(_JSON if "api" in target else _PACK), "--write-out", "\nuploaded %{size_upload}")
    url, authorization = f"{place.proxy.url}{target}", place.names.get(name, "")
    said, body = curl(url, tmp_path, authorization, *options, size=2 * 1024 * 1024)
    assert f"< HTTP/1.1 {status}" in said
    assert "100 Continue" not in said
    assert body.endswith("uploaded 0")


@pytest.mark.parametrize("front", ["proxy", "nginx"])
def test_curl_reads_the_refusal_while_it_still_sends(place: Place, tmp_path: Path, front: str) -> None:
    url = f"http://127.0.0.1:{place.port(front)}/app/git-receive-pack"
    options = (*_PACK, "--header", "Expect:", "--header", "Transfer-Encoding: chunked")
    said, body = curl(url, tmp_path, place.names["reader"], *options, size=64 * 1024 * 1024)
    assert "HTTP/1.1 401 Unauthorized" in said
    assert "needs code:write" in body
