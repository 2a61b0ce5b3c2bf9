"""The short way of the gate: what the long one would answer, and log, but without waiting."""

import asyncio
import os
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gitpat_proxy.access.model import Author
from gitpat_proxy.access.rules import AccessRules
from gitpat_proxy.access.secret import make_secret
from gitpat_proxy.app import SHORTCUT
from gitpat_proxy.config.model import Config
from gitpat_proxy.git.pktline import pkt_line
from gitpat_proxy.serve.runner import Runner, make_runner
from gitpat_proxy.services.access import Access
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.clock import utc_now
from gitpat_proxy.services.passwords import Passwords
from gitpat_proxy.services.token_facts import TokenFacts
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.shared import Shared
from gitpat_proxy.shortcut import Reading
from gitpat_proxy.store.database import Database, upgrade
from tests.support.certificate import make_certificate
from tests.support.git import make_repository
from tests.support.raw import basic

SOMEBODY = Author("test")
LS_REFS = b"0014command=ls-refs\n00010009peel\n0000"
# Left to the HTTP parser, and of no other consequence.
LONG = "Connection: keep-alive"
OF_THE_MOMENT = {"date", "x-request-id", "request", "seconds"}


@dataclass
class Answer:
    """An answer, and the line about it in the log, without what differs each time."""

    status: str
    headers: dict[str, str]
    body: bytes
    line: dict[str, object]
    keys: list[str] = field(default_factory=list)
    """Of the line, in their order, which is promised."""
    request_id: str = field(default="", compare=False)


@dataclass
class Served:
    """A proxy in this process. `taken`: the requests that took the short way, by path.

    `turns`: how many were tried together, each time.
    """

    runner: Runner
    listener: socket.socket
    tokens: Tokens
    repository: Path
    taken: list[str] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    clients: list["Client"] = field(default_factory=list)

    async def connect(self, *, small_buffer: bool = False) -> "Client":
        connection = socket.socket()
        if small_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(self.listener.getsockname())
        client = Client(*await asyncio.open_connection(sock=connection))
        self.clients.append(client)
        return client

    async def connected(self, number: int) -> list["Client"]:
        """Return so many whom the proxy has accepted."""
        server = self.runner.server
        assert server
        before = len(server.connections)
        clients = [await self.connect() for _ in range(number)]
        for _ in range(1000):
            if len(server.connections) < before + number:
                await asyncio.sleep(0.001)
        return clients

    async def both_ends(self) -> "tuple[Client, web.RequestHandler[web.BaseRequest]]":
        """Return a client, and the proxy's end of its connection."""
        [client] = await self.connected(1)
        assert self.runner.server
        return client, self.runner.server.connections[-1]

    async def has_been_asked(self, request: bytes) -> None:
        """Have it answered by git once, so that it is kept."""
        client = await self.connect()
        client.writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        assert await client.reader.read(1)
        await client.reader.read()

    async def give_refs(self, number: int) -> None:
        """Give the repository so many refs more."""
        commit = (self.repository / "refs/heads/main").read_text().strip()
        refs = "".join(f"{commit} refs/tags/{one:05}\n" for one in range(number))
        (self.repository / "packed-refs").write_text(
            f"# pack-refs with: peeled fully-peeled sorted \n{refs}"
        )
        await asyncio.sleep(0.1)  # As below.

    async def token(self, *scopes: str) -> tuple[str, str]:
        """Return a new token's secret and id."""
        facts = TokenFacts(name="T", scopes=scopes, expires="90d")
        secret, token = await self.tokens.create("alice", facts, by=SOMEBODY)
        return secret, token.id


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, request: bytes) -> Answer:
        with capture_logs() as lines:
            self.writer.write(request)
            answer = await self.answer()
            for _ in range(1000):
                if not lines:  # The long way writes it after the answer.
                    await asyncio.sleep(0)
        line = lines[-1]
        assert line["request"] == answer.request_id
        answer.keys = list(line)
        answer.line = {name: value for name, value in line.items() if name not in OF_THE_MOMENT}
        return answer

    async def answer(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = b""
        if "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        request_id = headers["x-request-id"]
        body = body.replace(request_id.encode(), b"ID")
        headers = {name: value for name, value in headers.items() if name not in OF_THE_MOMENT}
        return Answer(status, headers, body, {}, request_id=request_id)


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    repository = make_repository(tmp_path / "repositories" / "app.git")
    keys = {"routes": [{"path": "/", "repositories": "repositories"}], "drain_seconds": 0}
    config = Config.model_validate(keys, context=tmp_path)
    async with Database(config.database) as database:
        await upgrade(database)
        accounts = Accounts(database, utc_now, Passwords())
        await accounts.add("alice", administrator=False, service=False, password=None, by=SOMEBODY)
        runner = make_runner(config, Access(config), Shared(), utc_now)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, listener).start()
        served = Served(runner, listener, Tokens(database, utc_now, config), repository)
        shortcut = runner.app[SHORTCUT]
        answers = shortcut.answers

        def noted(readings: Sequence[Reading]) -> list[tuple[bytes, bytes] | None]:
            served.turns += [len(readings)]
            found = answers(readings)
            paths = [reading.request.path for reading in readings]
            served.taken += [path for path, answer in zip(paths, found, strict=True) if answer]
            return found

        monkeypatch.setattr(shortcut, "answers", noted)
        await asyncio.sleep(0.1)  # What the repository was made by is too young to be relied upon.
        yield served
        for client in served.clients:
            client.writer.transport.abort()
        await runner.cleanup()


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def post(secret: str, body: bytes, *headers: str) -> bytes:
    lines = [
        "POST /app/git-upload-pack HTTP/1.1",
        "Host: localhost",
        f"Authorization: {basic(secret)}",
        "Content-Type: application/x-git-upload-pack-request",
        f"Content-Length: {len(body)}",
        "Git-Protocol: version=2",
    ]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


ADVERTISEMENT = "/app/info/refs?service=git-upload-pack"


def advertisement(secret: str, *headers: str) -> bytes:
    return get(ADVERTISEMENT, f"Authorization: {basic(secret)}", *headers)


async def short_and_long(served: Served, request: bytes) -> Answer:
    """Ask both ways; return what both say."""
    await served.has_been_asked(request)
    client = await served.connect()
    path = request.split(b" ")[1].decode().partition("?")[0]
    head, end, body = request.partition(b"\r\n\r\n")
    long = await client.ask(head + f"\r\n{LONG}".encode() + end + body)
    assert served.taken == []
    client_again = await served.connect()
    short = await client_again.ask(request)
    assert served.taken == [path]
    assert short == long
    return short


@pytest.mark.parametrize("protocol", ["version=2", "version=1", "version=0"])
async def test_an_advertisement(served: Served, protocol: str) -> None:
    secret, _ = await served.token("code:read")
    answer = await short_and_long(served, advertisement(secret, f"Git-Protocol: {protocol}"))
    assert answer.status == "HTTP/1.1 200 OK"
    assert b"version 2" in answer.body if protocol[-1] == "2" else b" refs/heads/main" in answer.body
    assert answer.line["status"] == 200


async def test_a_list_of_refs(served: Served) -> None:
    secret, _ = await served.token("code:read")
    answer = await short_and_long(served, post(secret, LS_REFS))
    assert b" refs/heads/main\n" in answer.body
    assert answer.line["bytes_in"] == len(LS_REFS)


async def test_no_token(served: Served) -> None:
    answer = await short_and_long(served, get(ADVERTISEMENT))
    assert answer.status == "HTTP/1.1 401 Unauthorized"
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert answer.line["code"] == "credentials_missing"


@pytest.mark.parametrize("is_well_formed", [True, False])
async def test_an_unknown_token(served: Served, is_well_formed: bool) -> None:
    secret = make_secret() if is_well_formed else "a password"
    answer = await short_and_long(served, advertisement(secret))
    assert answer.status == "HTTP/1.1 401 Unauthorized"
    assert answer.line["code"] == "token_unknown"


async def test_an_end_that_is_near(served: Served) -> None:
    facts = TokenFacts(name="T", scopes=["code:read"], expires="1d")
    secret, _ = await served.tokens.create("alice", facts, by=SOMEBODY)
    assert "x-token-expires" in (await short_and_long(served, advertisement(secret))).headers


async def test_what_has_changed_is_seen(served: Served) -> None:
    secret, token_id = await served.token("code:read")
    await short_and_long(served, advertisement(secret))
    client = await served.connect()
    (served.repository / "refs/heads/new").write_bytes(
        (served.repository / "refs/heads/main").read_bytes()
    )
    assert b"refs/heads/new" in (await client.ask(advertisement(secret))).body
    await asyncio.sleep(0.1)  # As below.
    await served.has_been_asked(advertisement(secret))
    answers = [await client.ask(advertisement(secret)) for _ in range(2)]
    assert answers[0].body.endswith(b" refs/heads/new\n0000")
    assert answers[0] == answers[1]
    assert len(served.taken) == 3
    await served.tokens.revoke([token_id], None, by=SOMEBODY)
    answer = await client.ask(advertisement(secret))
    assert answer.line["code"] == "token_revoked"
    assert len(served.taken) == 3


async def test_what_is_said_again_says_what_is_so_now(served: Served) -> None:
    """What was put together for an answer before holds no longer than its grounds."""
    facts = TokenFacts(name="T", scopes=["code:read"], expires="60d")
    secret, token = await served.tokens.create("alice", facts, by=SOMEBODY)
    request = advertisement(secret)
    whole = await short_and_long(served, request)
    client = await served.connect()
    answers = [await client.ask(request) for _ in range(3)]
    assert answers == [whole] * 3
    assert len({answer.request_id for answer in answers}) == 3
    await served.tokens.edit(token.id, TokenFacts(expires="1d"), by=SOMEBODY)
    soon = (await client.ask(request)).headers["x-token-expires"]
    await served.tokens.edit(token.id, TokenFacts(expires="2d"), by=SOMEBODY)
    assert (await client.ask(request)).headers["x-token-expires"] > soon
    await served.tokens.edit(token.id, TokenFacts(expires="60d"), by=SOMEBODY)
    assert await client.ask(request) == whole
    assert len(served.taken) == 7
    access = served.runner.app[SHORTCUT]._parts.access
    access.hold(AccessRules((), {}))
    assert (await client.ask(request)).line["code"] == "repository_not_found"
    access.hold(None)
    assert await client.ask(request) == whole
    await served.tokens.edit(token.id, TokenFacts(addresses=["192.0.2.0/24"]), by=SOMEBODY)
    assert (await client.ask(request)).line["code"] == "address_denied"
    assert len(served.taken) == 8


async def test_what_is_remembered_of_requests_keeps_no_answer(served: Served) -> None:
    """The answers are the backend's to keep, within its bounds."""
    secret, _ = await served.token("code:read")
    request = advertisement(secret)
    await short_and_long(served, request)
    reading = served.runner.app[SHORTCUT].read(request, "127.0.0.1")
    assert reading
    whole = reading.at_hand()
    assert whole
    assert reading.given
    kept = weakref.ref(whole)
    del whole
    commit = (served.repository / "refs/heads/main").read_bytes()
    (served.repository / "refs/heads/new").write_bytes(commit)
    assert reading.at_hand() is None
    assert kept() is None


async def test_a_refusal_that_is_said_again(served: Served) -> None:
    """Of unknown tokens an address may try some; the others are refused for another reason."""
    client = await served.connect()
    first = advertisement(make_secret())
    assert (await client.ask(first)).line["code"] == "token_unknown"
    codes = set()
    for _ in range(40):
        request = advertisement(make_secret())
        for _ in range(2):
            answer = await client.ask(request)
            code = answer.line["code"]
            assert ("retry-after" in answer.headers) is (code == "throttled")
            codes.add(code)
    assert codes == {"token_unknown", "throttled"}
    assert (await client.ask(first)).line["code"] == "throttled"
    missing = [await client.ask(get(ADVERTISEMENT)) for _ in range(2)]
    assert missing[0] == missing[1]
    assert missing[0].body.count(b"ID") == 1


async def test_what_is_remembered_of_requests_is_bounded_and_opens_nothing(served: Served) -> None:
    secret, _ = await served.token("code:read")
    shortcut = served.runner.app[SHORTCUT]
    peer = "192.0.2.1"
    whole = shortcut.read(advertisement(secret), peer)
    assert shortcut.read(advertisement(secret), peer) is whole
    assert shortcut.read(advertisement(secret), "192.0.2.2") is not whole
    for number in range(1100):
        shortcut.read(advertisement(secret, f"User-Agent: git/{number}"), peer)
        if number < 600:
            assert shortcut.read(advertisement(secret), peer) is whole
    assert len(shortcut._readings) == 1000
    assert shortcut.read(advertisement(secret), peer) is whole
    for number in range(1000):
        shortcut.read(advertisement(secret, f"User-Agent: git/{number}"), peer)
    again = shortcut.read(advertisement(secret), peer)
    assert again is not whole
    remembered = repr(shortcut._readings)
    assert "git/999" in remembered
    assert secret not in remembered
    assert basic(secret).removeprefix("Basic ") not in remembered
    long = advertisement(secret, f"User-Agent: {'x' * 2000}")
    assert shortcut.read(long, peer) is not shortcut.read(long, peer)


async def test_what_the_gate_has_to_decide(served: Served) -> None:
    """What is audited, waits for git, or is refused for what the token may."""
    reader, _ = await served.token("code:read")
    nothing, _ = await served.token("code:read", "tokens:read")
    await served.tokens.edit(_, TokenFacts(scopes=["tokens:read"]), by=SOMEBODY)
    await short_and_long(served, advertisement(reader))
    await served.has_been_asked(post(reader, LS_REFS))
    served.taken.clear()
    push = "/app/info/refs?service=git-receive-pack"
    commit = (served.repository / "refs/heads/main").read_bytes()
    fetch = b"0011command=fetch0001" + pkt_line(b"want " + commit) + b"0009done\n0000"
    authorization = f"Authorization: {basic(reader)}"
    client = await served.connect()
    for request, code in [
        (get(push, authorization), "scope_missing"),
        (advertisement(nothing), "scope_missing"),
        (get("/nothing/info/refs?service=git-upload-pack", authorization), "repository_not_found"),
        (get("/app/HEAD", authorization), "dumb_protocol_off"),
        (get("/app/favicon.ico"), "not_git"),
        (get("/app/git-upload-pack"), "method_not_allowed"),
        (post(reader, LS_REFS).replace(b"x-git-upload", b"x-git-other"), "media_type"),
        (post(reader, LS_REFS, "Content-Encoding: br"), "media_type"),
        (post(reader, fetch), None),
        (post(reader, fetch), None),
    ]:
        answer = await client.ask(request)
        assert answer.line["code"] == code, request
    assert served.taken == []


async def test_after_a_failure_the_rest_of_the_connection_is_the_parsers(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether what failed was whole: what looks like a request may be a part of it."""
    secret, _ = await served.token("code:read")
    one = advertisement(secret)
    whole = await short_and_long(served, one)
    client = await served.connect()

    def fail(*_: object) -> None:
        raise ValueError("anything")

    with monkeypatch.context() as patch:
        patch.setattr(served.runner.app[SHORTCUT], "read", fail)
        client.writer.write(one)
        assert (await client.answer()).body == whole.body
    client.writer.write(one)
    assert (await client.answer()).body == whole.body
    assert len(served.taken) == 1


async def test_requests_one_behind_the_other(served: Served) -> None:
    """In one piece they are the HTTP parser's, and so is all that follows on the connection."""
    secret, _ = await served.token("code:read")
    one = advertisement(secret)
    whole = await short_and_long(served, one)
    client = await served.connect()
    client.writer.write(one + one[:50])
    bodies = [(await client.answer()).body]
    client.writer.write(one[50:])
    bodies += [(await client.answer()).body]
    client.writer.write(one)
    bodies += [(await client.answer()).body]
    assert bodies == [whole.body] * 3
    assert len(served.taken) == 1


async def test_a_client_that_takes_nothing(served: Served) -> None:
    secret, _ = await served.token("code:read")
    await served.give_refs(900)
    one = advertisement(secret)
    assert len((await short_and_long(served, one)).body) > 50_000
    client = await served.connect()
    served.taken.clear()
    server = served.runner.server
    assert server
    most = 0
    for number in range(500):
        client.writer.write(one)
        for _ in range(20):
            if len(served.taken) == number:
                await asyncio.sleep(0)
        sizes = [c.transport.get_write_buffer_size() for c in server.connections if c.transport]
        most = max([most, *sizes])
    assert 3 < len(served.taken) < 500
    assert most < 1024 * 1024


@pytest.fixture
async def long(served: Served) -> tuple[bytes, bytes]:
    """A request whose answer no socket's buffers hold, and the answer. A second is idle."""
    assert served.runner.server
    served.runner.server._kwargs["keepalive_timeout"] = 1.0
    # What is accepted from now on inherits it.
    served.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    secret, _ = await served.token("code:read")
    await served.give_refs(4_000)
    request = advertisement(secret)
    bodies = [(await (await served.connect()).ask(request)).body for _ in range(3)]
    assert served.taken == ["/app/info/refs"] * 2
    assert len(bodies[0]) > 200_000
    assert bodies == [bodies[0]] * 3
    return request, bodies[0]


async def stalled(served: Served, request: bytes) -> Client:
    """Ask for it, and take nothing of the answer yet."""
    taken = len(served.taken)
    client = await served.connect(small_buffer=True)
    cast(asyncio.Transport, client.writer.transport).pause_reading()
    client.writer.write(request)
    for _ in range(1000):
        if len(served.taken) == taken:
            await asyncio.sleep(0.001)
    return client


async def test_of_a_client_that_takes_nothing_of_its_answer_nothing_is_kept(
    served: Served, long: tuple[bytes, bytes]
) -> None:
    await stalled(served, long[0])
    assert served.runner.server
    [*_, connection] = served.runner.server.connections
    transport = connection.transport
    assert transport
    assert transport.get_write_buffer_size() > 50_000
    for _ in range(1000):
        if served.runner.server.connections:
            await asyncio.sleep(0.01)
    assert not served.runner.server.connections
    assert transport.get_write_buffer_size() == 0


async def test_a_slow_client_gets_all_of_its_answer(served: Served, long: tuple[bytes, bytes]) -> None:
    request, body = long
    client = await stalled(served, request)
    got = b""
    began = asyncio.get_running_loop().time()
    connection = client.writer.get_extra_info("socket")
    for _ in range(1000):
        if not got.endswith(body[-1000:]):
            await asyncio.sleep(0.05)
            with suppress(BlockingIOError):
                got += os.read(connection.fileno(), 4_000)
    assert got.endswith(body[-1000:])
    assert asyncio.get_running_loop().time() - began > 2


async def test_what_fails_on_the_short_way_is_answered_on_the_long_one(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, _ = await served.token("code:read")
    await short_and_long(served, advertisement(secret))

    def fail(*_: object) -> None:
        raise ValueError("a flaw")

    authentication = served.runner.app[SHORTCUT]._parts.authentication
    monkeypatch.setattr(authentication, "token_at_once", fail)
    clients = await served.connected(2)
    with capture_logs() as lines:
        ask_together(clients, [advertisement(secret), get(ADVERTISEMENT)])
        statuses = [(await client.answer()).status for client in clients]
    assert statuses == ["HTTP/1.1 200 OK", "HTTP/1.1 401 Unauthorized"]
    assert served.turns[-1] == 2
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["shortcut_failed"]


def ask_together(clients: list[Client], requests: list[bytes]) -> None:
    """Send all of it at once, before the proxy, which shares this thread, reads any."""
    for client, request in zip(clients, requests, strict=True):
        client.writer.write(request)


async def test_what_comes_together_is_answered_together(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, token_id = await served.token("code:read")
    other, _ = await served.token("code:read")
    one = await short_and_long(served, advertisement(secret))
    clients = await served.connected(6)
    requests = [
        *[advertisement(secret)] * 3,
        advertisement(other),
        get(ADVERTISEMENT),
        get("/nothing/info/refs", f"Authorization: {basic(secret)}"),
    ]
    served.taken.clear()
    authentication = served.runner.app[SHORTCUT]._parts.authentication
    looked = Mock(wraps=authentication.token_at_once)
    monkeypatch.setattr(authentication, "token_at_once", looked)
    with capture_logs() as lines:
        ask_together(clients, requests)
        answers = [await client.answer() for client in clients]
        await asyncio.sleep(0)
    assert served.turns[-1] == 5
    assert len(served.taken) == 5
    assert looked.call_count == 2
    assert [answer.body for answer in answers[:4]] == [one.body] * 4
    assert answers[4].status == "HTTP/1.1 401 Unauthorized"
    logged = {line["request"]: line for line in lines if line["event"] == "request"}
    assert len(logged) == 6
    assert [logged[answer.request_id]["token"] for answer in answers[:3]] == [token_id] * 3
    assert logged[answers[4].request_id]["code"] == "credentials_missing"


@pytest.mark.parametrize(("first", "turns"), [(2, [3]), (1, [1, 1])])
async def test_several_wait_for_those_of_the_next_turn_and_one_alone_does_not(
    served: Served, first: int, turns: list[int]
) -> None:
    secret, _ = await served.token("code:read")
    request = advertisement(secret)
    whole = await short_and_long(served, request)
    clients = await served.connected(first + 1)
    assert served.runner.server
    *connections, last = list(served.runner.server.connections)[-len(clients) :]
    served.turns.clear()
    for connection in connections:
        connection.data_received(request)
    asyncio.get_running_loop().call_soon(last.data_received, request)
    assert [(await client.answer()).body for client in clients] == [whole.body] * len(clients)
    assert served.turns == turns


async def test_what_changes_while_requests_come_is_seen_by_those_after_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None relies on a look from before it came, also not of one that came in the same turn."""
    secret, _ = await served.token("code:read")
    request = advertisement(secret)
    await short_and_long(served, request)
    shortcut = served.runner.app[SHORTCUT]
    read = shortcut.read
    came = 0

    def read_after_a_change(data: bytes, peer: str | None) -> Reading | None:
        nonlocal came
        came += 1
        if came == 2:
            commit = (served.repository / "refs/heads/main").read_bytes()
            (served.repository / "refs/heads/new").write_bytes(commit)
        return read(data, peer)

    monkeypatch.setattr(shortcut, "read", read_after_a_change)
    clients = await served.connected(2)
    ask_together(clients, [request] * 2)
    answers = [await client.answer() for client in clients]
    assert served.turns[-1] == 2
    assert b" refs/heads/new\n" in answers[1].body


async def test_who_leaves_before_the_answers_takes_nobody_elses(served: Served) -> None:
    secret, _ = await served.token("code:read")
    request = advertisement(secret)
    whole = await short_and_long(served, request)
    clients = await served.connected(3)
    assert served.runner.server
    connections = list(served.runner.server.connections)[-3:]
    for connection in connections:
        connection.data_received(request)
    connections[0].force_close()
    connections[1].connection_lost(None)
    assert (await clients[2].answer()).body == whole.body
    assert served.turns[-1] == 1


@pytest.mark.parametrize("split", [0, 50])
async def test_what_comes_before_there_was_time_to_answer_is_answered_after_it(
    served: Served, split: int
) -> None:
    secret, _ = await served.token("code:read")
    request = advertisement(secret)
    whole = await short_and_long(served, request)
    client, connection = await served.both_ends()
    served.taken.clear()
    connection.data_received(request)
    connection.data_received(request[:split])
    connection.data_received(request[split:])
    assert [(await client.answer()).body for _ in range(2)] == [whole.body] * 2
    assert len(served.taken) == (1 if split else 2)


async def test_what_is_no_request_takes_no_answer_from_the_one_before(served: Served) -> None:
    secret, _ = await served.token("code:read")
    request = advertisement(secret)
    whole = await short_and_long(served, request)
    client, connection = await served.both_ends()
    connection.data_received(request)
    connection.data_received(b"\x00\r\n\r\n")
    assert (await client.answer()).body == whole.body
    assert (await client.reader.readline()).endswith(b" 400 Bad Request\r\n")


async def test_a_connection_that_fails_fails_alone(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, _ = await served.token("code:read")
    request = advertisement(secret)
    whole = await short_and_long(served, request)
    clients = await served.connected(2)
    assert served.runner.server
    connections = list(served.runner.server.connections)[-2:]

    def fail(_data: bytes) -> None:
        raise ValueError("a flaw")

    with capture_logs() as lines:
        monkeypatch.setattr(connections[0].transport, "write", fail)
        ask_together(clients, [request] * 2)
        assert (await clients[1].answer()).body == whole.body
    async with asyncio.timeout(10):
        assert await clients[0].reader.read() == b""
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["connection_failed"]


async def test_what_follows_in_pieces_is_no_request_of_its_own(served: Served) -> None:
    """It is the rest of a head, also where what came before it had no time to be answered until then."""
    secret, _ = await served.token("code:read")
    request = advertisement(secret)
    await short_and_long(served, request)
    client, connection = await served.both_ends()
    served.taken.clear()
    connection.data_received(request)
    connection.data_received(b"GET /nothing/info/refs?service=x HTTP/1.1\r\nRest: ")
    assert (await client.answer()).status == "HTTP/1.1 200 OK"
    client.writer.write(request)
    assert (await client.answer()).status != "HTTP/1.1 200 OK"
    assert len(served.taken) == 1


async def test_a_connection_that_asks_stays(served: Served) -> None:
    secret, _ = await served.token("code:read")
    request = advertisement(secret)
    await short_and_long(served, request)
    client, connection = await served.both_ends()
    connection._next_keepalive_close_time = 0.0
    await client.ask(request)
    assert connection._next_keepalive_close_time > asyncio.get_running_loop().time() + 60


class TlsClient:
    """A client that sends the pieces of TLS when it is told to."""

    def __init__(self, port: int) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        # In later ones the end of the handshake would go with the first request.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.received, self.to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.received, self.to_send)
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._until(self.tls.do_handshake)

    def send(self, request: bytes, *, end: str | None = None) -> None:
        """Send it, with the end of TLS in the same piece, or with that of the connection alone."""
        self.tls.write(request)
        if end == "tls":
            with suppress(ssl.SSLWantReadError):
                self.tls.unwrap()
        self.connection.sendall(self.to_send.read())
        if end == "connection":
            self.connection.shutdown(socket.SHUT_WR)

    def answer(self) -> bytes:
        """Return what comes, b"" if nothing does."""
        with self.connection:
            return cast(bytes, self._until(lambda: self.tls.read(65536)))

    def _until(self, step: Callable[[], object]) -> object:
        while True:
            with suppress(ssl.SSLWantReadError):
                return step()
            if piece := self.to_send.read():
                self.connection.sendall(piece)
            if not (piece := self.connection.recv(65536)):
                return b""
            self.received.write(piece)


@pytest.mark.parametrize("end", ["tls", "connection"])
@pytest.mark.parametrize("number", [1, 2])
async def test_a_client_that_ends_tls_right_behind_its_request_is_answered(
    served: Served, tmp_path: Path, end: str, number: int
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*make_certificate(tmp_path))
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(served.runner, listener, ssl_context=context).start()
    secret, _ = await served.token("code:read")
    request = advertisement(secret)
    await short_and_long(served, request)
    served.taken.clear()
    port = listener.getsockname()[1]
    clients = [await asyncio.to_thread(TlsClient, port) for _ in range(number)]
    # The proxy shares this thread: it reads nothing before all is sent.
    for client in clients:
        client.send(request, end=end)
    answers = [await asyncio.to_thread(client.answer) for client in clients]
    assert [answer.partition(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * number
    assert len(served.taken) == number


async def test_what_came_before_a_stop_is_answered(served: Served) -> None:
    secret, _ = await served.token("code:read")
    request = advertisement(secret)
    whole = await short_and_long(served, request)
    client, connection = await served.both_ends()
    connection.data_received(request)
    assert served.runner.server
    served.runner.server.pre_shutdown()
    async with asyncio.timeout(10):
        assert (await client.answer()).body == whole.body


async def test_a_connection_that_fails_ends_also_if_its_client_takes_nothing(
    served: Served, long: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    await stalled(served, long[0])
    assert served.runner.server
    [*_, connection] = served.runner.server.connections
    assert connection.transport
    assert connection.transport.get_write_buffer_size() > 50_000

    def fail(_self: object, _answer: object) -> None:
        raise ValueError("a flaw")

    with monkeypatch.context() as patch:
        patch.setattr(type(connection), "take", fail)
        connection.turn.add(connection)
        for _ in range(1000):
            if connection in served.runner.server.connections:
                await asyncio.sleep(0.001)
    assert connection not in served.runner.server.connections
