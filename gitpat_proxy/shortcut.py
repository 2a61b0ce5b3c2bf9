"""The short way of the gate: what can be answered without waiting for anything.

CI systems and editors ask for the same refs all day, and clients without a token get the same sentence.
For these there is no task, no stream and no event loop's turn; all else goes the gate's own way. The
steps are the gate's, by the same functions and in the same order.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from aiohttp.helpers import rfc822_formatted_time

from gitpat_proxy.access.address import Address, address_text, client_address
from gitpat_proxy.access.model import Token
from gitpat_proxy.access.policy import Attempt, decide
from gitpat_proxy.access.refusal import Refusal, RefusedError
from gitpat_proxy.access.representation import ending_text
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


class Shortcut:
    """Answers at once, or not at all."""

    def __init__(self, parts: GateParts, routes: Sequence[Route]) -> None:
        self._parts = parts
        self._routes = routes

    def plain(self, data: bytes) -> PlainRequest | None:
        """Return the request that came in one piece; None: the HTTP parser has to look."""
        limits = self._parts.config.limits
        longest = min(limits.request_line_bytes, limits.header_bytes)
        return plain_request(data, longest_head=longest, most_headers=limits.headers)

    def answer(self, request: PlainRequest, peer: str | None) -> bytes | None:
        """Return all of the answer, None where the gate has to be asked.

        `peer` is the connection's other end, None for a Unix socket.
        """
        exchange = _ShortExchange(request, self._address(request, peer))
        try:
            operation = operation_of(request.method, request.path, request.query)
            # Of a push nothing is kept, a pack takes time, and what is no body of git's is refused.
            if operation.service is not Service.UPLOAD_PACK or not _is_of_git(operation, request):
                return None
            if operation.kind is Kind.RPC and not asks_for_refs(request.body):
                return None
            token, account = self._parts.authentication.token_at_once(
                _values(request, "authorization"), exchange.address
            )
        except RefusedError as error:
            return exchange.refuse(operation, error.refusal, self._parts.config.public_url)
        except (NotGitError, MethodNotAllowedError, NotAtOnceError, DatabaseError):
            return None
        attempt = self._parts.attempt(operation, token, account, exchange.address)
        whole = self._at_hand(attempt, request)
        if whole is None:
            return None
        self._parts.recorder.use(token.id, attempt.now, address_text(exchange.address))
        return exchange.give(operation, token, whole, ending_text(token, attempt.now))

    def _at_hand(self, attempt: Attempt, request: PlainRequest) -> WholeAnswer | None:
        """Return the answer if the token may have it, and it is nothing that the audit keeps."""
        found = route_for(self._routes, attempt.operation.path)
        if found is None or decide(attempt, self._parts.config.missing_scope_status):
            return None
        route, path = found
        asked = Asked(attempt.operation, path, request.headers, request.body)
        return route.backend.at_hand(asked)

    def _address(self, request: PlainRequest, peer: str | None) -> Address | None:
        forwarded = _values(request, "x-forwarded-for")
        return client_address(peer, forwarded, self._parts.config.trusted_proxies)


class _ShortExchange:
    """A request and its answer, told as `Exchange` does."""

    def __init__(self, request: PlainRequest, address: Address | None) -> None:
        self.address = address
        self._request = request
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
            "address": address_text(self.address),
            "method": self._request.method,
        }
        outcome = {
            "protocol": protocol_version(self._request.headers.get("git-protocol", "")),
            "status": refusal.status if refusal else 200,
            "code": refusal.code if refusal else None,
            "reason": refusal.sentence if refusal else None,
            "complete": True,
            "bytes_in": len(self._request.body) if token else 0,
            "bytes_out": 0 if refusal else size,
            "seconds": round(time.monotonic() - self._began, 4),
        }
        log_request(sender, operation, token, outcome)


def _is_of_git(operation: Operation, request: PlainRequest) -> bool:
    has_type = request.headers.get("content-type") == operation.request_type
    return has_type and "content-encoding" not in request.headers


def _values(request: PlainRequest, name: str) -> tuple[str, ...]:
    value = request.headers.get(name)
    return () if value is None else (value,)


def _answer(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}Content-Length: {len(body)}\r\n"
        f"Date: {rfc822_formatted_time()}\r\nServer: gitpat-proxy\r\n\r\n"
    ).encode() + body
