"""One request and its answer: what passes is counted, watched, and told to the log and the audit."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog
from aiohttp import ClientError, hdrs, web

from gitpat_proxy.access.address import Address, address_text
from gitpat_proxy.access.model import Account, AuditEvent, Token
from gitpat_proxy.access.push import RefDecision, verdict_of
from gitpat_proxy.access.refusal import Code, Refusal, RefusedError, refuse
from gitpat_proxy.access.secret import without_secrets
from gitpat_proxy.backends.base import (
    Answer,
    AnswerCutError,
    BodyCutError,
    FilePart,
    Piece,
    bytes_of,
)
from gitpat_proxy.config.model import Limits
from gitpat_proxy.config.values import size_text
from gitpat_proxy.expectation import let_body_come
from gitpat_proxy.file_sender import FileSender
from gitpat_proxy.git.fetch import ArchiveObserver, FetchObserver
from gitpat_proxy.git.operation import Kind, Operation, Service, protocol_version
from gitpat_proxy.git.pktline import pkt_line
from gitpat_proxy.git.push import MOST_COMMANDS, MOST_UPDATES, PushObserver, RefUpdate
from gitpat_proxy.log import log_line
from gitpat_proxy.outcome import (
    make_request_id,
    own_headers,
    refusal_headers,
    refusal_line,
    refusal_text,
    request_facts,
)

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

_BEGINNING_BYTES = 64 * 1024
_DECISIONS_AT_ONCE = 10
_LARGEST_WRITE = 64 * 1024
_LONGEST_ANSWER_KEPT = 1024 * 1024
_NO_LINGERING = struct.pack("ii", 1, 0)
_LONGEST_REPOSITORY = 300
"""What is kept of a name in the audit: one that is longer is hardly one that is there."""

_log = structlog.get_logger()


class Pace:
    """Tells whether the other side is quick enough, by what passes while it is waited for.

    `least` is in bytes per second, on average over `seconds` of waiting.
    """

    def __init__(self, seconds: float, least: int) -> None:
        self._seconds = seconds
        self._least = least
        self._waited = 0.0
        self._passed = 0

    def is_kept(self, waited: float, passed: int) -> bool:
        """Count what passed, in bytes, after so many seconds of waiting; False: that was too slow."""
        self._waited += waited
        self._passed += passed
        if self._waited < self._seconds:
            return True
        kept = self._passed >= self._least * self._waited
        self._waited, self._passed = 0.0, 0
        return kept


class ClientGoneError(Exception):
    """Nobody is there any more to answer."""


class Observer(Protocol):
    """Watches an operation go by."""

    @property
    def is_looking(self) -> bool:
        """Tell whether more of the answer can change what is seen."""

    @property
    def may_be_use(self) -> bool:
        """Tell whether a request of which this is all may do what a token is used for."""

    def asked(self, chunk: bytes) -> None:
        """Take a piece of the request's body."""

    def answered(self, chunk: bytes) -> None:
        """Take a piece of the answer's body."""

    def event(self) -> tuple[str, dict[str, object]] | None:
        """Return the name and details of what happened; None if it is nothing to keep."""


class Exchange:
    """A request, what is found out about it, and its answer."""

    def __init__(
        self, request: web.Request, address: Address | None, public_url: str, limits: Limits
    ) -> None:
        self.request_id = make_request_id()
        self.sender = address
        self.address = address_text(address)
        self.operation: Operation | None = None
        self.token: Token | None = None
        self.account: Account | None = None
        """Whose the token is."""
        self.refusal: Refusal | None = None
        self.body_refusal: Refusal | None = None
        """Why a body is refused that was let in: what it asks for shows as it comes."""
        self.decide_ref: Callable[[RefUpdate], RefDecision] | None = None
        """Decides each command of a push whose refs are limited: nothing is forwarded before."""
        self.only_forward = False
        """The push may update branches to what follows them, and to nothing else."""
        self.token_ends: str | None = None
        """When the permitted token ends, as text, if that is near."""
        self._request = request
        self._public_url = public_url
        self._limits = limits
        self._taking = Pace(limits.send_idle_seconds, limits.least_bytes_per_second)
        self._too_slow: str | None = None
        self._response: web.StreamResponse | None = None
        self._file_sender: FileSender | None = None
        self._observer: Observer | None = None
        self._arriving = self._receive()
        self._beginning: list[bytes] = []
        self._is_decided = False
        self._body_is_over = asyncio.Event()
        self._is_body_cut = False
        self._is_forwarded = False
        self._is_audited = False
        self._is_cut = False
        self._is_cut_off = False
        self._complete = False
        self._started = time.monotonic()
        self._bytes_in = 0
        self._bytes_out = 0

    async def receive_beginning(self) -> None:
        """Wait for the first 64 KiB of the body, or its end: who is slow until then costs no process.

        Raises ClientGoneError if that does not come, RefusedError if it shows what is refused.
        """
        await self._hold_until(lambda: self._bytes_in >= _BEGINNING_BYTES)

    async def receive_commands(self) -> None:
        """Wait for the rest of the commands of a push whose refs are limited; raises as above."""
        await self._hold_until(lambda: self._is_decided)

    async def _hold_until(self, is_enough: Callable[[], bool]) -> None:
        try:
            while not is_enough():
                self._beginning.append(await anext(self._arriving))
        except StopAsyncIteration:
            return
        except BodyCutError:
            if self.body_refusal:
                raise RefusedError(self.body_refusal) from None
            self._cut()
            raise ClientGoneError from None

    def must_go_on(self) -> None:
        """Say that from now on a push that has wholly arrived is the backend's to end.

        Raises ClientGoneError if it was cut off before.
        """
        if self._is_cut_off:
            raise ClientGoneError
        self._is_forwarded = True

    @property
    def whole_body(self) -> bytes | None:
        """The request's body if all of it has arrived and is in order, else None."""
        if self._beginning and not self._body_is_over.is_set():
            return None
        return None if self.body_refusal else b"".join(self._beginning)

    @property
    def may_be_use(self) -> bool:
        """Tell whether the request may do what the token is used for.

        It surely doesn't where all of it has arrived, and asks for a list of refs or is git's probe.
        """
        if self._observer is None:
            return False
        return self.whole_body is None or self._observer.may_be_use

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the request's body as it was sent; raise BodyCutError if it does not arrive whole."""
        if self.decide_ref and not self._is_decided:
            raise RuntimeError("a push is forwarded when all its refs are decided")
        for chunk in self._beginning:
            yield chunk
        self._beginning.clear()
        async for chunk in self._arriving:
            yield chunk

    async def _receive(self) -> AsyncIterator[bytes]:
        """Yield what arrives, watched and counted; raise BodyCutError if it is cut off, or refused.

        Where it is refused the rest, up to a bound, is read and not passed on: git reads why only when
        it has sent all.
        """
        observer = self._observer = _observer_of(
            self._request,
            self.operation,
            self._limits.command_list_bytes,
            MOST_COMMANDS if self.decide_ref else MOST_UPDATES,
        )
        try:
            async for chunk in self._chunks():
                self._bytes_in += len(chunk)
                if self.body_refusal is None:
                    if observer:
                        observer.asked(chunk)
                    while isinstance(observer, PushObserver) and observer.is_behind:
                        # Few bytes may hold many commands: others have a turn.
                        await asyncio.sleep(0)
                        observer.asked(b"")
                    self.body_refusal = self._refusal_of_body() or await self._refusal_of_refs()
                if self.body_refusal and self._bytes_in > 2 * self._limits.push_bytes:
                    self._cut()
                    break
                if self.body_refusal is None:
                    yield chunk
            if self.body_refusal is None:
                self.body_refusal = await self._refusal_of_refs(is_all=True)
        except BodyCutError:
            self._is_body_cut = True
            raise
        finally:
            self._body_is_over.set()
        if self.body_refusal:
            raise BodyCutError

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; raise BodyCutError if it breaks off, or is too slow."""
        content, seconds = self._request.content, self._limits.receive_idle_seconds
        pace = Pace(seconds, self._limits.least_bytes_per_second)
        try:
            await let_body_come(self._request)
            while True:
                # aiohttp (3.14) may leave reading paused when all has been taken, and then sees no end.
                if self._request.transport is not None:
                    self._request.protocol.resume_reading()
                began = time.monotonic()
                # Most have arrived as a whole: to set a timer for each step takes longer than to read.
                chunk = content.read_nowait()
                if not chunk and not content.at_eof():
                    async with asyncio.timeout(seconds):
                        chunk = await content.readany()
                if not chunk:
                    return
                if not pace.is_kept(time.monotonic() - began, len(chunk)):
                    raise TimeoutError  # noqa: TRY301 - the same as if nothing had come
                yield chunk
        except TimeoutError as error:
            self._too_slow = "the client sent too little for too long"
            raise BodyCutError from error
        except (ConnectionError, ClientError, web.RequestPayloadError) as error:
            raise BodyCutError from error

    def _refusal_of_body(self) -> Refusal | None:
        observer, limits = self._observer, self._limits
        if not isinstance(observer, PushObserver):
            return None
        if observer.is_list_too_long:
            return refuse(Code.TOO_MANY_REFS, most=size_text(limits.command_list_bytes))
        if self._bytes_in > limits.push_bytes:
            return refuse(Code.PUSH_TOO_LARGE, most=size_text(limits.push_bytes))
        return None

    async def _refusal_of_refs(self, *, is_all: bool = False) -> Refusal | None:
        """Decide the push, once, as soon as its commands are there; `is_all`: no more will come."""
        observer, decide_ref = self._observer, self.decide_ref
        if decide_ref is None or self._is_decided or not isinstance(observer, PushObserver):
            return None
        if not (is_all or observer.is_list_over):
            return None
        if observer.has_too_many:
            return refuse(Code.TOO_MANY_REFS, most=f"{MOST_COMMANDS:,} lines")
        if not observer.is_list_clear:
            return refuse(Code.COMMANDS_UNCLEAR)
        decisions = []
        for number, update in enumerate(observer.updates, 1):
            decisions.append(decide_ref(update))
            if number % _DECISIONS_AT_ONCE == 0:
                # There may be many, and many rules: others have a turn.
                await asyncio.sleep(0)
        verdict = verdict_of(observer.updates, decisions)
        told = {reason: without_secrets(reason) for reason in set(verdict.reasons)}
        observer.decide([told[reason] for reason in verdict.reasons])
        self.only_forward, self._is_decided = verdict.only_forward, True
        return verdict.refusal

    @property
    def _own_headers(self) -> dict[str, str]:
        return own_headers(self.request_id, self.token_ends)

    def refuse(self, refusal: Refusal) -> web.StreamResponse:
        """Answer with a refusal, the one way in which all of them are told.

        Where an answer has begun already there is no status any more: the connection is cut.
        """
        self.refusal = refusal
        if self._response is not None:
            self._cut()
            return self._response
        headers = self._own_headers | refusal_headers(refusal)
        is_services = self.account is not None and self.account.service
        # Nobody signs in as a service: its tokens are made by those who run the proxy.
        told = replace(refusal, page=None) if is_services else refusal
        response = self._packet(refusal, headers) or web.Response(
            # A push that asked for no report: with 200 it would seem to be done.
            status=403 if refusal.status == 200 else refusal.status,
            text=refusal_text(told, self.request_id, self._public_url),
            headers=headers,
        )
        self._response = response
        return response

    def _packet(self, refusal: Refusal, headers: dict[str, str]) -> web.Response | None:
        """Return an answer of which git shows the text; None where a status has to do."""
        operation, told = self.operation, None
        if operation is None or operation.kind is not Kind.RPC:
            return None
        text = refusal_line(refusal, self.request_id)
        if refusal is self.body_refusal and isinstance(self._observer, PushObserver):
            told = self._observer.refusal(text, f"Nothing was pushed (request {self.request_id})")
        elif refusal.code in _TOLD_IN_A_PACKET and operation.service is Service.UPLOAD_PACK:
            told = pkt_line(f"ERR {text}".encode())
        if told is None:
            return None
        return web.Response(body=told, headers=headers | {hdrs.CONTENT_TYPE: str(operation.answer_type)})

    async def relay(self, answer: Answer, keep: Callable[[], Awaitable[None]]) -> None:
        """Pass the answer on, all but its end.

        `keep` is called as soon as git reports what became of a push, before its client can read it.
        Raises ClientGoneError, except for a push: its answer is then read for its outcome alone. An
        answer that breaks off cuts the connection, so that git notices.
        """
        response = self._response = web.StreamResponse(headers=answer.headers)
        response.headers.update(self._own_headers)
        if self.operation is not None and self.operation.kind is Kind.RPC:
            await self._until_body_is_over()
        if self.body_refusal:
            answer = await self._answer_in_spite_of(self.body_refusal, answer)
        await self._send(partial(response.prepare, self._request))
        try:
            async for piece in answer.body:
                self._bytes_out += len(piece)
                if self._observer and self._observer.is_looking:
                    self._observer.answered(bytes_of(piece))
                if self._is_reported and not self._is_audited:
                    await keep()
                await self._pass_on(response, piece)
        except AnswerCutError as error:
            log = _log.info if self._is_body_cut else _log.error
            log("answer_cut", request=self.request_id, reason=str(error))
            self._cut()
        else:
            self._complete = True
        finally:
            if self._file_sender:
                self._file_sender.close()
        if isinstance(self._observer, PushObserver) and self._observer.failure:
            _log.error("push_failed", request=self.request_id, reason=self._observer.failure)

    async def _pass_on(self, response: web.StreamResponse, piece: Piece) -> None:
        """Send a piece; one that lies in a file, where possible, within the kernel."""
        if self._is_cut:
            return
        if isinstance(piece, bytes):
            await self._send(partial(response.write, piece), len(piece))
        elif self._request.get_extra_info("sslcontext"):
            for part in piece.split(_LARGEST_WRITE):
                await self._send(partial(_write_part, response, part), part.size)
                await asyncio.sleep(0)
        else:
            await self._send_file(response, piece)

    async def _send_file(self, response: web.StreamResponse, part: FilePart) -> None:
        async def send_some() -> int:
            sender = self._file_sender = self._file_sender or FileSender(self._request, response)
            return await sender.send_some(part)

        while not self._is_cut and not (self._file_sender and self._file_sender.is_sent(part)):
            await self._send(send_some)
            # A client that is quicker than the disk never has to be waited for: others have a turn.
            await asyncio.sleep(0)

    async def _answer_in_spite_of(self, refusal: Refusal, answer: Answer) -> Answer:
        """Return git's answer if it did what was refused, else raise RefusedError.

        git may have had all that it needs before the body became too large.
        """
        chunks, size = [], 0
        with suppress(AnswerCutError):
            async for piece in answer.body:
                chunk = bytes_of(piece)
                if isinstance(self._observer, PushObserver):
                    self._observer.answered(chunk)
                size += len(chunk)
                if size <= _LONGEST_ANSWER_KEPT:
                    chunks.append(chunk)
        if not (isinstance(self._observer, PushObserver) and self._observer.is_applied):
            self._response = None
            raise RefusedError(refusal)
        self.body_refusal = None
        return Answer(answer.headers, _given(chunks))

    async def _until_body_is_over(self) -> None:
        """Hold the answer back: nginx in front stops passing a body on once it has an answer's head.

        A body of which nothing arrives any more is not waited for: an upstream may not want the rest.
        """
        arrived = -1
        while not self._body_is_over.is_set() and self._bytes_in != arrived:
            arrived = self._bytes_in
            with suppress(TimeoutError):
                await asyncio.wait_for(self._body_is_over.wait(), self._limits.receive_idle_seconds)

    async def end(self) -> web.StreamResponse:
        """Say that the answer is complete."""
        if self._response is not None and self._complete:
            await self._send(self._response.write_eof)
        return self.response

    @property
    def response(self) -> web.StreamResponse:
        """The answer as far as there is one; aiohttp wants one also where nobody is left to get it."""
        return self._response or web.Response()

    async def _send(self, step: Callable[[], Awaitable[object]], size: int = 0) -> None:
        """Do a step that sends `size` bytes, or as many as it returns, unless the client is gone."""
        if self._is_cut:
            return
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._limits.send_idle_seconds):
                sent = await step()
            passed = sent if isinstance(sent, int) else size
            if not self._taking.is_kept(time.monotonic() - began, passed):
                raise TimeoutError
        except OSError as error:
            # Whatever fails on the way to the client: a push must not end with it.
            if isinstance(error, TimeoutError):
                self._too_slow = "the client took too little for too long"
            self._cut()
            if self.operation is None or self.operation.service is not Service.RECEIVE_PACK:
                raise ClientGoneError from None

    def cut_off(self, refusal: Refusal) -> None:
        """End what is under way for the reason given; a push that has wholly arrived is left to git."""
        is_push = self.operation is not None and self.operation.service is Service.RECEIVE_PACK
        if self._is_cut or (is_push and self._is_forwarded and self._body_is_over.is_set()):
            return
        self.refusal = refusal
        self._is_cut_off = True
        self._cut()

    def _cut(self) -> None:
        """Reset the connection: an orderly end could look like the answer's, or never be taken.

        What the kernel still holds for the client, megabytes at times, is not sent any more.
        """
        self._is_cut = True
        if self._file_sender:
            self._file_sender.close()
        if self._request.transport is not None:
            connection = self._request.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
            self._request.transport.abort()

    def audit_event(self, now: datetime) -> AuditEvent | None:
        """Return, once, what the audit keeps of the exchange; None for a step of something."""
        event, details = self._happened()
        if event is None or self.token is None or self.operation is None or self._is_audited:
            return None
        self._is_audited = True
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
            refused = {"code": self.refusal.code.value, "service": service} | _step_of(self.refusal)
            if isinstance(self._observer, PushObserver) and self._observer.is_refused:
                return "refused", refused | details
            return "refused", refused
        return event, details if self._complete or self._is_reported else details | {"aborted": True}

    @property
    def _is_reported(self) -> bool:
        return isinstance(self._observer, PushObserver) and self._observer.is_reported

    def log(self) -> None:
        """Write the request's one line."""
        sender = {
            "request": self.request_id,
            "address": self.address,
            "method": self._request.method,
        }
        outcome = {
            "protocol": protocol_version(self._request.headers.get("Git-Protocol", "")),
            "status": self._response.status if self._response else None,
            "code": self.refusal.code if self.refusal else None,
            "reason": self.refusal.sentence if self.refusal else self._too_slow,
            "complete": self._complete or (self.refusal is not None and not self._is_cut_off),
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
            "seconds": round(time.monotonic() - self._started, 4),
        }
        log_line("request", request_facts(sender, self.operation, self.token, outcome))


def _step_of(refusal: Refusal) -> dict[str, object]:
    """Return which check refused, and by which rule, as short as what the audit keeps must be."""
    if refusal.check is None or refusal.rule is None:
        return {}
    step = {"check": refusal.check, "rule": refusal.rule}
    return {name: without_secrets(text)[:_LONGEST_REPOSITORY] for name, text in step.items()}


async def _write_part(response: web.StreamResponse, part: FilePart) -> None:
    await response.write(part.read())


async def _given(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _observer_of(
    request: web.Request, operation: Operation | None, longest_list: int, most_updates: int
) -> Observer | None:
    if operation is None or operation.kind is not Kind.RPC:
        return None
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "")
    if operation.service is Service.RECEIVE_PACK:
        return PushObserver(encoding, longest_list, most_updates)
    return FetchObserver(encoding) if operation.service is Service.UPLOAD_PACK else ArchiveObserver()
