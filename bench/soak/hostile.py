"""Clients that mean no good, or do none: stalled, half, slow, garbled, guessing."""

import itertools
import random
import re
import select
import socket
import struct
import subprocess
import time
from contextlib import closing, suppress

from bench.soak.ledger import CONNECTION, Ledger, UnexpectedError
from bench.soak.site import Site, scratch
from bench.soak.tokens import begin_clone, clone_request
from gitpat_proxy.access.secret import make_secret
from gitpat_proxy.git.pktline import pkt_line
from tests.end_to_end.corpus import FAMILIES, Case, cases
from tests.support.git import kill
from tests.support.raw import answers_in, basic, request_bytes, service_request, status_of
from tests.support.relay import StallingRelay
from tests.support.secrets_seen import SEEN

_UNKNOWN_TOKENS = 30
"""How many an address may try in a minute (`limits.unknown_tokens`)."""
_LONGEST_WAIT = 60.0
_LONGEST_STALL = 100.0
"""A client that takes nothing is left alone for 60 seconds (`limits.send_idle_seconds`)."""
_METHOD = re.compile(rb"(?m)^([A-Z]+) [^ ]+ HTTP/1\.[01]\r$")
_addresses = itertools.cycle(f"127.0.{third}.{last}" for third in range(1, 9) for last in range(1, 255))


def connect_from(site: Site, address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.front.port), 20, source_address=(address, 0))


class StalledClone:
    """A clone that stops in the middle, for a while; then its client dies, or the network does."""

    def __init__(self, site: Site, ledger: Ledger, name: str) -> None:
        self._site, self._ledger = site, ledger
        self._git = site.git(name, site.reader)

    def __call__(self) -> None:
        relay = StallingRelay(self._site.front.port, proxy_bytes=random.choice([2**14, 2**17, 2**20]))
        with closing(relay), scratch(self._git.home / "clone") as folder:
            url = f"http://127.0.0.1:{relay.port}/{random.choice(['large', 'upstream/large'])}"
            clone = self._git.start("clone", "--bare", url, str(folder))
            try:
                self._wait_until_it_stalls(relay, clone)
                self._site.over.wait(random.uniform(3, 15))
                if random.random() < 0.5:
                    relay.close()
                    clone.wait(30)
            finally:
                kill(clone)
        self._ledger.refused("stalled clone", "ended by its client")

    def _wait_until_it_stalls(self, relay: StallingRelay, clone: "subprocess.Popen[bytes]") -> None:
        began = time.monotonic()
        while not relay.stalled.wait(0.1) and not self._site.over.is_set():
            if self._site.was_down_since(began):
                raise UnexpectedError(CONNECTION, "the relay lost the proxy")
            if clone.poll() is not None or time.monotonic() - began > _LONGEST_WAIT:
                raise UnexpectedError("not stalled", f"git clone: {clone.poll()}")


class Unread:
    """A clone of which nothing is ever read: the proxy must end it by itself."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site, self._ledger = site, ledger

    def __call__(self) -> None:
        began = time.monotonic()
        with closing(begin_clone(self._site, self._site.reader, "large")) as clone:
            while _is_open(clone) and not self._site.over.wait(0.5):
                if time.monotonic() - began > _LONGEST_STALL:
                    raise UnexpectedError("not ended", f"nothing was read for {_LONGEST_STALL:.0f} s")
        if not self._site.over.is_set():
            self._ledger.refused("clone that is never read", "ended by the proxy")


def _is_open(connection: socket.socket) -> bool:
    """Ask the kernel, without reading (tcp(7), TCP_INFO; its first byte is 1: established)."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\1"


class HalfRequest:
    """A request that breaks off anywhere: its head, its body, a push's pack."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site, self._ledger = site, ledger

    def __call__(self) -> None:
        request = random.choice([self._fetch, self._push])()
        with closing(connect_from(self._site, next(_addresses))) as connection:
            connection.sendall(request[: random.randrange(1, len(request))])
            self._site.over.wait(random.uniform(0, 1))
            way = random.choice(["closed", "reset", "half-closed"])
            if way == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if way == "half-closed":
                connection.shutdown(socket.SHUT_WR)
                _read(connection, 10)
        self._ledger.refused("half a request", way)

    def _fetch(self) -> bytes:
        return clone_request(self._site, self._site.reader, "commits")

    def _push(self) -> bytes:
        head = self._site.heads["small"]
        command = f"{'0' * 40} {head} refs/heads/half\0report-status side-band-64k".encode()
        body = pkt_line(command) + b"0000PACK\0\0\0\2\0\0\0\3" + random.randbytes(500)
        framing = random.choice(["Content-Length: 100000", f"Content-Length: {len(body)}"])
        return service_request("git-receive-pack", self._site.writer, body, framing, repository="pushed")


class ByteASecond:
    """A request that comes byte by byte."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site, self._ledger = site, ledger

    def __call__(self) -> None:
        request = clone_request(self._site, self._site.reader, "small")
        beginning = random.choice([1, request.index(b"\r\n\r\n") + 4])
        with closing(connect_from(self._site, next(_addresses))) as connection:
            connection.sendall(request[:beginning])
            for place in range(beginning, beginning + random.randrange(5, 30)):
                if self._site.over.wait(1):
                    return
                connection.sendall(request[place : place + 1])
        self._ledger.refused("a byte a second", "ended by its client")


class Garbage:
    """What no client sends: the corpus of raw requests. Whatever is answered, it is no 5xx."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site, self._ledger = site, ledger
        self._cases = [case for family in FAMILIES for case in cases(family)]
        random.shuffle(self._cases)
        self._next = itertools.cycle(self._cases)
        api, _ = site.front.make_token("tokens:write", account="carol")
        good, _ = site.front.make_token("code:write", account="carol")
        reader, _ = site.front.make_token("code:read", account="carol")
        unknown = good[:-1] + ("A" if good[-1] != "A" else "B")
        SEEN.secrets.add(unknown)
        self._names = {
            "good": basic(good),
            "reader": basic(reader),
            "api token": f"Bearer {api}",
            "unknown": basic(unknown),
            "secret": good,
            "upstream": site.upstream.url,
        }

    def __call__(self) -> None:
        case = next(self._next)
        route = random.choice(["", "/upstream"])
        pieces = case.pieces({"R": route, **self._names})
        with closing(connect_from(self._site, next(_addresses))) as connection:
            with suppress(OSError):
                for piece in pieces:
                    connection.sendall(piece)
                    self._site.over.wait(0.05)
            answer = _read(connection, 0.5)
        self._judge(case, b"".join(pieces), answer)

    def _judge(self, case: Case, sent: bytes, answer: bytes) -> None:
        statuses, _ = answers_in(answer, [method.decode() for method in _METHOD.findall(sent)])
        if failed := [status for status in statuses if status.startswith("5")]:
            raise UnexpectedError(f"status {failed[0]}", f"{case.name}: {answer[:500]!r}")
        self._ledger.refused("raw request of the corpus", " ".join(statuses) or "no answer")


class Guesser:
    """Tries unknown tokens until the address has to wait; a good token is let in from there."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site, self._ledger = site, ledger
        self._own = (f"127.0.9.{last}" for last in itertools.cycle(range(1, 255)))

    def __call__(self) -> None:
        address, statuses = next(self._own), [401]
        while statuses[-1] == 401 and not self._site.over.is_set():
            secret = make_secret()
            SEEN.secrets.add(secret)
            statuses.append(self._status(address, secret))
        if self._site.over.is_set():
            return
        # The minute may end in between, and the count begins anew.
        if statuses[-1] == 429 and not _UNKNOWN_TOKENS < len(statuses) - 1 <= 2 * _UNKNOWN_TOKENS + 1:
            raise UnexpectedError("throttle", f"429 came after {len(statuses) - 2} tries")
        if statuses[-1] not in {401, 429}:
            raise UnexpectedError(f"status {statuses[-1]}", "the answer to an unknown token")
        self._ledger.refused("guessing until throttled", "throttled")
        if (status := self._status(address, self._site.reader)) != 200:
            raise UnexpectedError(
                f"status {status}", "the answer to a good token, from where was guessed"
            )
        self._ledger.done("good token from a throttled address")

    def _status(self, address: str, secret: str) -> int:
        request = request_bytes(
            "GET", "/small/info/refs?service=git-upload-pack", f"Authorization: {basic(secret)}"
        )
        with closing(connect_from(self._site, address)) as connection:
            connection.sendall(request)
            return status_of(_read(connection, 20))


def _read(connection: socket.socket, seconds: float) -> bytes:
    """Read until the end, or until nothing has come for so long."""
    answer = b""
    with suppress(ConnectionError):
        while select.select([connection], [], [], seconds)[0] and (chunk := connection.recv(65536)):
            answer += chunk
    return answer
