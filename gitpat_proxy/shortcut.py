"""The short way of the gate: what can be answered without waiting for anything.

CI systems and editors ask for the same refs all day, and clients without a token get the same sentence.
For these there is no task, no stream and no event loop's turn; all else goes the gate's own way. The
steps are the gate's, by the same functions and in the same order.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus

from aiohttp.helpers import rfc822_formatted_time

from gitpat_proxy.access.address import Address, address_text, client_address
from gitpat_proxy.access.model import Token
from gitpat_proxy.access.policy import decide
from gitpat_proxy.access.refusal import Refusal, RefusedError
from gitpat_proxy.access.representation import ending_text
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
from gitpat_proxy.outcome import (
    log_request,
    own_headers,
    refusal_headers,
    refusal_text,
)
from gitpat_proxy.routes import Route, route_for
from gitpat_proxy.store.direct import NotAtOnceError
from gitpat_proxy.store.errors import DatabaseError

_LONGEST_REMEMBERED = 2048
"""Bytes of a request; git's own are a quarter of that to a half."""
_MOST_REMEMBERED = 500


@dataclass(frozen=True)
class Reading:
    """What a request says by itself, whoever sends it and whenever.

    `operation` None: the gate has to look. `sent` is a refusal where no secret came.
    """

    request: PlainRequest
    operation: Operation | None
    protocol: int
    sent: SentSecret | Refusal
    at_hand: Callable[[], WholeAnswer | None]


class Shortcut:
    """Answers at once, or not at all."""

    def __init__(self, parts: GateParts, routes: Sequence[Route]) -> None:
        self._parts = parts
        self._routes = routes
        self._readings: dict[tuple[bytes, int, int], Reading | None] = {}

    def read(self, data: bytes) -> Reading | None:
        """Return what came in one piece and is a request; None: the HTTP parser has to look.

        The same bytes always say the same, so that they need not be read twice. They are known by their
        digest: what opens something is not kept.
        """
        limits = self._parts.config.limits
        longest_head = min(limits.request_line_bytes, limits.header_bytes)
        key = sha256(data).digest(), longest_head, limits.headers
        if key not in self._readings:
            if len(data) > _LONGEST_REMEMBERED:
                return self._read(data, longest_head, limits.headers)
            if len(self._readings) >= _MOST_REMEMBERED:
                del self._readings[next(iter(self._readings))]
            self._readings[key] = self._read(data, longest_head, limits.headers)
        return self._readings[key]

    def answer(self, reading: Reading, peer: str | None) -> bytes | None:
        """Return all of the answer, None where the gate has to be asked.

        `peer` is the connection's other end, None for a Unix socket.
        """
        operation = reading.operation
        if operation is None:
            return None
        exchange = _ShortExchange(reading, self._address(reading.request, peer))
        if isinstance(reading.sent, Refusal):
            return exchange.refuse(operation, reading.sent, self._parts.config.public_url)
        try:
            token, account = self._parts.authentication.token_at_once(reading.sent, exchange.address)
        except RefusedError as error:
            return exchange.refuse(operation, error.refusal, self._parts.config.public_url)
        except (NotAtOnceError, DatabaseError):
            return None
        attempt = self._parts.attempt(operation, token, account, exchange.address)
        # A refusal is the gate's to give: the audit keeps it.
        refusal = decide(attempt, self._parts.config.missing_scope_status)
        if refusal or not (whole := reading.at_hand()):
            return None
        self._parts.recorder.use(token.id, attempt.now, exchange.address_text)
        return exchange.give(operation, token, whole, ending_text(token, attempt.now))

    def _read(self, data: bytes, longest_head: int, most_headers: int) -> Reading | None:
        request = plain_request(data, longest_head=longest_head, most_headers=most_headers)
        if request is None:
            return None
        sent = _sent_in(request)
        request.headers.pop("authorization", None)
        protocol = protocol_version(request.headers.get("git-protocol", ""))
        operation = _operation(request)
        found = operation and route_for(self._routes, operation.path)
        at_hand: Callable[[], WholeAnswer | None] = _nothing
        if found and operation:
            route, path = found
            at_hand = route.backend.at_hand(Asked(operation, path, request.headers, request.body))
        return Reading(request, operation, protocol, sent, at_hand)

    def _address(self, request: PlainRequest, peer: str | None) -> Address | None:
        forwarded = _values(request, "x-forwarded-for")
        return client_address(peer, forwarded, self._parts.config.trusted_proxies)


class _ShortExchange:
    """A request and its answer, told as `Exchange` does."""

    def __init__(self, reading: Reading, address: Address | None) -> None:
        self.address = address
        self.address_text = address_text(address)
        self._reading = reading
        self._request_id = secrets.token_hex(6)
        self._began = time.monotonic()

    def refuse(self, operation: Operation, refusal: Refusal, public_url: str) -> bytes:
        headers = own_headers(self._request_id, None) | refusal_headers(refusal)
        headers["Content-Type"] = "text/plain; charset=utf-8"
        body = refusal_text(refusal, self._request_id, public_url).encode()
        self._log(operation, None, refusal, len(body))
        return _answer(refusal.status, headers, body)

    def give(self, operation: Operation, token: Token, whole: WholeAnswer, ends: str | None) -> bytes:
        self._log(operation, token, None, len(whole.body))
        return _answer(200, {**whole.headers, **own_headers(self._request_id, ends)}, whole.body)

    def _log(
        self, operation: Operation, token: Token | None, refusal: Refusal | None, size: int
    ) -> None:
        sender = {
            "request": self._request_id,
            "address": self.address_text,
            "method": self._reading.request.method,
        }
        outcome = {
            "protocol": self._reading.protocol,
            "status": refusal.status if refusal else 200,
            "code": refusal.code if refusal else None,
            "reason": refusal.sentence if refusal else None,
            "complete": True,
            "bytes_in": len(self._reading.request.body) if token else 0,
            "bytes_out": 0 if refusal else size,
            "seconds": round(time.monotonic() - self._began, 4),
        }
        log_request(sender, operation, token, outcome)


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


def _answer(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}Content-Length: {len(body)}\r\n"
        f"Date: {rfc822_formatted_time()}\r\nServer: gitpat-proxy\r\n\r\n"
    ).encode() + body
