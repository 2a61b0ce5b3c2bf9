"""One request and its answer: what passes is counted, watched, and told to the log and the audit."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog
from aiohttp import ClientError, hdrs, web

from gitpat_proxy.access.address import Address, address_text
from gitpat_proxy.access.model import AuditEvent, Token
from gitpat_proxy.access.refusal import Code, Refusal
from gitpat_proxy.access.secret import without_secrets
from gitpat_proxy.backends.base import Answer, AnswerCutError, BodyCutError
from gitpat_proxy.expectation import let_body_come
from gitpat_proxy.git.fetch import ArchiveObserver, FetchObserver
from gitpat_proxy.git.operation import Kind, Operation, Service
from gitpat_proxy.git.pktline import pkt_line
from gitpat_proxy.git.push import PushObserver

IDLE_SECONDS = 60
"""How long a client may take to send anything, or to take 64 KiB; git is never silent for so long."""
_CHALLENGE = 'Basic realm="Git, with a personal access token as the password", charset="UTF-8"'

# git shows nothing of a refused POST's body, but what stands in an ERR packet (gitprotocol-pack).
# 401 and 403 stay what they are: a credential helper acts on them.
_TOLD_IN_A_PACKET = frozenset(
    {
        Code.REPOSITORY_NOT_FOUND,
        Code.BUSY,
        Code.UNAVAILABLE,
        Code.UPSTREAM_FAILED,
        Code.UPSTREAM_TIMEOUT,
    }
)

_LONGEST_REPOSITORY = 300
"""What is kept of a name in the audit: one that is longer is hardly one that is there."""

_log = structlog.get_logger()


class ClientGoneError(Exception):
    """Nobody is there any more to answer."""


class Observer(Protocol):
    """Watches an operation go by."""

    def asked(self, chunk: bytes) -> None:
        """Take a piece of the request's body."""

    def answered(self, chunk: bytes) -> None:
        """Take a piece of the answer's body."""

    def event(self) -> tuple[str, dict[str, object]] | None:
        """Return the name and details of what happened; None if it is nothing to keep."""


class Exchange:
    """A request, what is found out about it, and its answer."""

    def __init__(self, request: web.Request, address: Address | None, public_url: str) -> None:
        self.request_id = secrets.token_hex(6)
        self.address = address_text(address)
        self.operation: Operation | None = None
        self.token: Token | None = None
        self.refusal: Refusal | None = None
        self.token_ends: str | None = None
        """When the permitted token ends, as text, if that is near."""
        self._request = request
        self._public_url = public_url
        self._response: web.StreamResponse | None = None
        self._observer: Observer | None = None
        self._body_is_over = asyncio.Event()
        self._is_cut = False
        self._is_cut_off = False
        self._complete = False
        self._started = time.monotonic()
        self._bytes_in = 0
        self._bytes_out = 0

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the request's body as it was sent; raise BodyCutError if it does not arrive whole."""
        observer = self._observer = _observer_of(self._request, self.operation)
        try:
            await let_body_come(self._request)
            while True:
                # aiohttp (3.14) may leave reading paused when all has been taken, and then sees no end.
                if self._request.transport is not None:
                    self._request.protocol.resume_reading()
                async with asyncio.timeout(IDLE_SECONDS):
                    chunk = await self._request.content.readany()
                if not chunk:
                    return
                self._bytes_in += len(chunk)
                if observer:
                    observer.asked(chunk)
                yield chunk
        except (ConnectionError, ClientError, web.RequestPayloadError, TimeoutError) as error:
            raise BodyCutError from error
        finally:
            self._body_is_over.set()

    @property
    def _own_headers(self) -> dict[str, str]:
        ends = {"X-Token-Expires": self.token_ends} if self.token_ends else {}
        return {"X-Request-Id": self.request_id} | ends

    def refuse(self, refusal: Refusal) -> web.StreamResponse:
        """Answer with a refusal, the one way in which all of them are told.

        Where an answer has begun already there is no status any more: the connection is cut.
        """
        self.refusal = refusal
        if self._response is not None:
            self._cut()
            return self._response
        # A secret that somebody typed into the address would be in the repository's name.
        text = without_secrets(f"{refusal.sentence} (request {self.request_id})")
        headers = self._own_headers | {hdrs.CACHE_CONTROL: "no-store"}
        if refusal.retry_after is not None:
            headers[hdrs.RETRY_AFTER] = str(refusal.retry_after)
        if refusal.allow:
            headers[hdrs.ALLOW] = refusal.allow
        if refusal.challenges:
            headers[hdrs.WWW_AUTHENTICATE] = _CHALLENGE
        response = self._packet(refusal, text, headers) or web.Response(
            status=refusal.status, text=f"{text}\n{self._link(refusal)}", headers=headers
        )
        self._response = response
        return response

    def _link(self, refusal: Refusal) -> str:
        """Return the line that leads to the page where the person can do something about it."""
        return f"Go to {self._public_url}{refusal.page}\n" if refusal.page else ""

    def _packet(self, refusal: Refusal, text: str, headers: dict[str, str]) -> web.Response | None:
        operation = self.operation
        if (
            refusal.code not in _TOLD_IN_A_PACKET
            or operation is None
            or operation.kind is not Kind.RPC
            or operation.service is not Service.UPLOAD_PACK
        ):
            return None
        return web.Response(
            body=pkt_line(f"ERR {text}".encode()),
            headers=headers | {hdrs.CONTENT_TYPE: str(operation.answer_type)},
        )

    async def relay(self, answer: Answer) -> None:
        """Pass the answer on, all but its end.

        Raises ClientGoneError, except for a push: its answer is then read for its outcome alone. An
        answer that breaks off cuts the connection, so that git notices.
        """
        response = self._response = web.StreamResponse(headers=answer.headers)
        response.headers.update(self._own_headers)
        if self.operation is not None and self.operation.kind is Kind.RPC:
            await self._until_body_is_over()
        await self._send(partial(response.prepare, self._request))
        try:
            async for chunk in answer.body:
                self._bytes_out += len(chunk)
                if self._observer:
                    self._observer.answered(chunk)
                await self._send(partial(response.write, chunk))
        except AnswerCutError as error:
            _log.error("answer_cut", request=self.request_id, reason=str(error))
            self._cut()
        else:
            self._complete = True

    async def _until_body_is_over(self) -> None:
        """Hold the answer back: nginx in front stops passing a body on once it has an answer's head.

        A body of which nothing arrives any more is not waited for: an upstream may not want the rest.
        """
        arrived = -1
        while not self._body_is_over.is_set() and self._bytes_in != arrived:
            arrived = self._bytes_in
            with suppress(TimeoutError):
                await asyncio.wait_for(self._body_is_over.wait(), IDLE_SECONDS)

    async def end(self) -> web.StreamResponse:
        """Say that the answer is complete."""
        if self._response is not None and self._complete:
            await self._send(self._response.write_eof)
        return self.response

    @property
    def response(self) -> web.StreamResponse:
        """The answer as far as there is one; aiohttp wants one also where nobody is left to get it."""
        return self._response or web.Response()

    async def _send(self, step: Callable[[], Awaitable[object]]) -> None:
        if self._is_cut:
            return
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await step()
        except (ConnectionError, TimeoutError):
            self._cut()
            if self.operation is None or self.operation.service is not Service.RECEIVE_PACK:
                raise ClientGoneError from None

    def cut_off(self, refusal: Refusal) -> None:
        """End what is under way for the reason given; a push that has wholly arrived is left to git."""
        is_push = self.operation is not None and self.operation.service is Service.RECEIVE_PACK
        if self._is_cut or (is_push and self._body_is_over.is_set()):
            return
        self.refusal = refusal
        self._is_cut_off = True
        self._cut()

    def _cut(self) -> None:
        """Reset the connection: an orderly end could look like the answer's, or never be taken."""
        self._is_cut = True
        if self._request.transport is not None:
            self._request.transport.abort()

    def audit_event(self, now: datetime) -> AuditEvent | None:
        """Return what the audit keeps of the exchange; None for what is but a step of something."""
        event, details = self._happened()
        if event is None or self.token is None or self.operation is None:
            return None
        return AuditEvent(
            now,
            event,
            account=self.token.account,
            token=self.token.id,
            repository=without_secrets(self.operation.repository)[:_LONGEST_REPOSITORY],
            address=self.address,
            request=self.request_id,
            details=details,
        )

    def _happened(self) -> tuple[str | None, dict[str, object]]:
        event, details = (self._observer and self._observer.event()) or (None, {})
        if self.refusal and event and self._is_cut_off:
            return event, details | {"aborted": True, "code": self.refusal.code.value}
        if self.refusal:
            service = self.operation.service if self.operation else None
            return "refused", {"code": self.refusal.code.value, "service": service}
        return event, details if self._complete else details | {"aborted": True}

    def log(self) -> None:
        """Write the request's one line."""
        operation, token = self.operation, self.token
        _log.info(
            "request",
            request=self.request_id,
            address=self.address,
            method=self._request.method,
            account=token and token.account,
            token=token and token.id,
            repository=operation and operation.repository,
            service=operation and operation.service,
            kind=operation and operation.kind,
            protocol=_protocol_version(self._request),
            status=self._response.status if self._response else None,
            code=self.refusal.code if self.refusal else None,
            reason=self.refusal.sentence if self.refusal else None,
            complete=self._complete or (self.refusal is not None and not self._is_cut_off),
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            seconds=round(time.monotonic() - self._started, 4),
        )


def _observer_of(request: web.Request, operation: Operation | None) -> Observer | None:
    if operation is None or operation.kind is not Kind.RPC:
        return None
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "")
    if operation.service is Service.RECEIVE_PACK:
        return PushObserver(encoding)
    return FetchObserver(encoding) if operation.service is Service.UPLOAD_PACK else ArchiveObserver()


def _protocol_version(request: web.Request) -> int:
    """Return what the client asks for (gitprotocol-v2, "HTTP Transport"); 0 if it does not say."""
    words = request.headers.get("Git-Protocol", "").split(":")
    versions = [word[-1] for word in words if word in {"version=1", "version=2"}]
    return max(map(int, versions), default=0)
