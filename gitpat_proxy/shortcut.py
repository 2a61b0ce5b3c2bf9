"""The short way of the gate: what can be answered without waiting for anything.

CI systems and editors ask for the same refs all day, and clients without a token get the same sentence.
For these there is no task, no stream and no turn of the event loop but one that all share; all else goes
the gate's own way. The steps are the gate's, by the same functions and in the same order.
"""

import secrets
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus

import structlog
from aiohttp.helpers import rfc822_formatted_time

from gitpat_proxy.access.address import Address, address_text, client_address
from gitpat_proxy.access.model import Token
from gitpat_proxy.access.policy import Attempt, Permit, decide
from gitpat_proxy.access.refusal import Refusal, RefusedError
from gitpat_proxy.access.representation import is_near, time_text
from gitpat_proxy.access.secret import SentSecret
from gitpat_proxy.authentication import sent_secret
from gitpat_proxy.backends.base import Asked, WholeAnswer
from gitpat_proxy.gate import GateParts
from gitpat_proxy.git.fetch import asks_for_refs
from gitpat_proxy.git.operation import (
    Kind,
    MethodNotAllowedError,
    NotGitError,
    Operation,
    Service,
    operation_of,
    protocol_version,
)
from gitpat_proxy.git.plain_request import PlainRequest, plain_request
from gitpat_proxy.log import RepeatedLine, hold_lines, release_lines
from gitpat_proxy.outcome import (
    make_request_id,
    own_headers,
    refusal_headers,
    refusal_text,
    request_facts,
)
from gitpat_proxy.routes import Route, route_for
from gitpat_proxy.store.direct import NotAtOnceError
from gitpat_proxy.store.errors import DatabaseError

_LONGEST_REMEMBERED = 2048
"""Bytes of a request; git's own are a quarter of that to a half."""
_MOST_REMEMBERED = 1000

_log = structlog.get_logger()


@dataclass(eq=False)
class Reading:
    """What a request says by itself, whoever sends it and whenever; and what was answered last.

    `operation` None: the gate has to look. `sent` is a refusal where no secret came. `address` is that
    of the client, as the connection and the proxies in front tell.
    """

    request: PlainRequest
    operation: Operation | None
    protocol: int
    sent: SentSecret | Refusal
    address: Address | None
    address_text: str
    at_hand: Callable[[], WholeAnswer | None]
    permit: Permit | None = None
    given: "_Given | None" = None
    refused: "_Refused | None" = None


class Shortcut:
    """Answers at once, or not at all."""

    def __init__(self, parts: GateParts, routes: Sequence[Route]) -> None:
        self._parts = parts
        self._routes = routes
        self._readings: dict[tuple[bytes, str | None, int, int], Reading | None] = {}

    def read(self, data: bytes, peer: str | None) -> Reading | None:
        """Return what came in one piece and is a request; None: the HTTP parser has to look.

        `peer` is the connection's other end, None for a Unix socket. The same bytes from there always
        say the same, so that they need not be read twice. They are known by their digest: what opens
        something is not kept.
        """
        limits = self._parts.config.limits
        longest_head = min(limits.request_line_bytes, limits.header_bytes)
        key = sha256(data).digest(), peer, longest_head, limits.headers
        if key in self._readings:
            # What was asked for longest ago goes first.
            reading = self._readings[key] = self._readings.pop(key)
            return reading
        reading = self._read(data, peer, longest_head, limits.headers)
        if len(data) <= _LONGEST_REMEMBERED:
            if len(self._readings) >= _MOST_REMEMBERED:
                del self._readings[next(iter(self._readings))]
            self._readings[key] = reading
        return reading

    def answers(self, readings: Sequence[Reading]) -> list[tuple[bytes, bytes] | None]:
        """Return head and body of each answer, None where the gate has to be asked.

        All of the requests have come by now. What those rest on that are the same is looked at once: for
        each of them that is a look after it came. They share the body, too, until it is sent.
        """
        began = time.monotonic()
        found: dict[Reading, tuple[_Told, bytes] | None] = {}
        hold_lines()
        try:
            return [self._answer(reading, found, began) for reading in readings]
        finally:
            release_lines()

    def _answer(
        self, reading: Reading, found: "dict[Reading, tuple[_Told, bytes] | None]", began: float
    ) -> tuple[bytes, bytes] | None:
        try:
            if reading not in found:
                found[reading] = self._find(reading)
            if at_hand := found[reading]:
                told, body = at_hand
                return told.told(began), body
        except Exception:
            # The outermost edge: the gate meets it again, and tells the client.
            _log.exception("shortcut_failed")
        return None

    def _find(self, reading: Reading) -> "tuple[_Told, bytes] | None":
        """Return what is to be told, and what follows it."""
        if reading.operation is None:
            return None
        if isinstance(reading.sent, Refusal):
            return self._refused(reading, reading.sent), b""
        try:
            found = self._parts.authentication.token_at_once(reading.sent, reading.address)
        except RefusedError as error:
            return self._refused(reading, error.refusal), b""
        except (NotAtOnceError, DatabaseError):
            return None
        return self._given(reading, self._parts.attempt(reading.operation, *found, reading.address))

    def _given(self, reading: Reading, attempt: Attempt) -> "tuple[_Told, bytes] | None":
        token = attempt.token
        if reading.permit is None or not reading.permit.covers(attempt):
            # A refusal is the gate's to give: the audit keeps it.
            if decide(attempt, self._parts.config.missing_scope_status):
                return None
            reading.permit = Permit.of(attempt)
        if not (whole := reading.at_hand()):
            return None
        self._parts.recorder.use(token.id, attempt.now, reading.address_text)
        ends_soon = is_near(reading.permit.ends_at, attempt.now)
        if reading.given is None or not reading.given.is_of(whole, token, ends_soon=ends_soon):
            reading.given = _Given(reading, token, whole, ends_soon=ends_soon)
        return reading.given, whole.body

    def _refused(self, reading: Reading, refusal: Refusal) -> "_Refused":
        if reading.refused is None or reading.refused.refusal is not refusal:
            reading.refused = _Refused(reading, refusal, self._parts.config.public_url)
        return reading.refused

    def _read(
        self, data: bytes, peer: str | None, longest_head: int, most_headers: int
    ) -> Reading | None:
        request = plain_request(data, longest_head=longest_head, most_headers=most_headers)
        if request is None:
            return None
        sent = _sent_in(request)
        request.headers.pop("authorization", None)
        forwarded = _values(request, "x-forwarded-for")
        address = client_address(peer, forwarded, self._parts.config.trusted_proxies)
        protocol = protocol_version(request.headers.get("git-protocol", ""))
        operation = _operation(request)
        found = operation and route_for(self._routes, operation.path)
        at_hand: Callable[[], WholeAnswer | None] = _nothing
        if found and operation:
            route, path = found
            at_hand = route.backend.at_hand(Asked(operation, path, request.headers, request.body))
        return Reading(request, operation, protocol, sent, address, address_text(address), at_hand)


_REQUEST_ID = secrets.token_hex(6)
"""Stands for one in what is put together before the request comes; nobody knows it."""


class _Told:
    """An answer, and the line about it in the log, both put together once: as `Exchange` does.

    Of two requests that are told the same, only ids, times and durations differ.
    """

    def __init__(self, head: str, length: int, text: str, facts: Mapping[str, object]) -> None:
        """`text` is all of the body, or nothing of it; `length` is that of the body, in bytes."""
        self._head = f"{head}Content-Length: {length}\r\nServer: gitpat-proxy\r\n".split(_REQUEST_ID)
        self._text = text.split(_REQUEST_ID)
        self._line = RepeatedLine("request", facts, ("request", "seconds"))

    def told(self, began: float) -> bytes:
        """Return it for a request that was begun at that time (`time.monotonic`); write its line."""
        request_id = make_request_id()
        self._line.write(request_id, round(time.monotonic() - began, 4))
        date = f"Date: {rfc822_formatted_time()}\r\n\r\n"
        return f"{request_id.join(self._head)}{date}{request_id.join(self._text)}".encode()


class _Given(_Told):
    """What the backend has at hand: the head alone, which the body follows."""

    def __init__(self, reading: Reading, token: Token, whole: WholeAnswer, *, ends_soon: bool) -> None:
        # The body is the backend's to keep, or to forget.
        self._of = weakref.ref(whole), token, ends_soon
        ends = time_text(token.ends_at) if ends_soon else None
        headers = {**whole.headers, **own_headers(_REQUEST_ID, ends)}
        size = len(whole.body)
        super().__init__(_head(200, headers), size, "", _facts(reading, token, None, size))

    def is_of(self, whole: WholeAnswer, token: Token, *, ends_soon: bool) -> bool:
        """Tell whether it is what would be put together for these."""
        of, of_token, ended_soon = self._of
        return of() is whole and of_token is token and ended_soon is ends_soon


class _Refused(_Told):
    """A refusal where no token is known."""

    def __init__(self, reading: Reading, refusal: Refusal, public_url: str) -> None:
        self.refusal = refusal
        headers = own_headers(_REQUEST_ID, None) | refusal_headers(refusal)
        headers["Content-Type"] = "text/plain; charset=utf-8"
        text = refusal_text(refusal, _REQUEST_ID, public_url)
        length = len(text.encode())
        facts = _facts(reading, None, refusal, length)
        super().__init__(_head(refusal.status, headers), length, text, facts)


def _head(status: int, headers: Mapping[str, str]) -> str:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}"


def _facts(
    reading: Reading, token: Token | None, refusal: Refusal | None, size: int
) -> dict[str, object]:
    sender = {
        "request": _REQUEST_ID,
        "address": reading.address_text,
        "method": reading.request.method,
    }
    outcome = {
        "protocol": reading.protocol,
        "status": refusal.status if refusal else 200,
        "code": refusal.code if refusal else None,
        "reason": refusal.sentence if refusal else None,
        "complete": True,
        "bytes_in": len(reading.request.body) if token else 0,
        "bytes_out": 0 if refusal else size,
        "seconds": 0.0,
    }
    return request_facts(sender, reading.operation, token, outcome)


def _operation(request: PlainRequest) -> Operation | None:
    """Return what is asked of upload-pack, without a pack; None for whatever else it is.

    Of a push nothing is kept, a pack takes time, and what is no body of git's is refused.
    """
    try:
        operation = operation_of(request.method, request.path, request.query)
    except (NotGitError, MethodNotAllowedError):
        return None
    has_type = request.headers.get("content-type") == operation.request_type
    is_of_git = has_type and "content-encoding" not in request.headers
    if operation.service is not Service.UPLOAD_PACK or not is_of_git:
        return None
    if operation.kind is Kind.RPC and not asks_for_refs(request.body):
        return None
    return operation


def _sent_in(request: PlainRequest) -> SentSecret | Refusal:
    try:
        return sent_secret(_values(request, "authorization"))
    except RefusedError as error:
        return error.refusal


def _nothing() -> None:
    """Where no route leads to nothing is at hand."""


def _values(request: PlainRequest, name: str) -> tuple[str, ...]:
    value = request.headers.get(name)
    return () if value is None else (value,)
