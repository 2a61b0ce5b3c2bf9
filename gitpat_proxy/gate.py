"""The Git face: step by step, may this request be forwarded, and where to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import structlog
from aiohttp import hdrs, web
from aiohttp.http import HttpVersion10, HttpVersion11

from gitpat_proxy.access.address import Address
from gitpat_proxy.access.model import Account, Clock, Token
from gitpat_proxy.access.policy import Attempt, decide, limits_refs
from gitpat_proxy.access.push import decide_ref
from gitpat_proxy.access.refusal import Code, RefusedError, refuse
from gitpat_proxy.access.representation import ending_text
from gitpat_proxy.admission import Admission
from gitpat_proxy.authentication import Authentication
from gitpat_proxy.backends.base import (
    FORWARDED_REQUEST_HEADERS,
    Answer,
    Backend,
    Call,
    content_type_of,
)
from gitpat_proxy.config.model import Config
from gitpat_proxy.exchange import ClientGoneError, Exchange
from gitpat_proxy.git.body import GZIP
from gitpat_proxy.git.operation import (
    Kind,
    MethodNotAllowedError,
    NotGitError,
    Operation,
    Service,
    operation_of,
)
from gitpat_proxy.routes import Route, route_for
from gitpat_proxy.sender import address_of
from gitpat_proxy.services.access import Access
from gitpat_proxy.services.audit import Recorder
from gitpat_proxy.store.errors import DatabaseError
from gitpat_proxy.uses import Uses
from gitpat_proxy.watch import Watch

_AUDIT_SECONDS = 5.0
"""How long the end of a push waits until the audit has it; what is not written then is kept."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class GateParts:
    """What the gate works with."""

    config: Config
    access: Access
    authentication: Authentication
    admission: Admission
    recorder: Recorder
    watch: Watch
    uses: Uses
    clock: Clock

    def attempt(
        self, operation: Operation, token: Token, account: Account, address: Address | None
    ) -> Attempt:
        """Return what is to be decided, with all that it rests on, as that is now."""
        rules = self.access.of_account(account.name)
        return Attempt(operation, token, account, address, self.clock(), rules)


class Gate:
    """Answers Git's requests."""

    def __init__(self, parts: GateParts, routes: Sequence[Route]) -> None:
        self._parts = parts
        self._config = parts.config
        self._routes = routes
        self._authentication = parts.authentication
        self._admission = parts.admission
        self._recorder = parts.recorder
        self._watch = parts.watch
        self._uses = parts.uses
        self._clock = parts.clock
        self._exchanges: set[Exchange] = set()
        self._nothing_under_way = asyncio.Event()
        self._nothing_under_way.set()
        self._pushes: set[asyncio.Task[web.StreamResponse]] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request.

        A client that leaves ends what it asked for, but for a push: what of it has arrived decides
        whether git completes or undoes it, and the outcome goes to the audit.
        """
        if not request.path.endswith(f"/{Service.RECEIVE_PACK}"):
            return await self._answer(request)
        push = asyncio.create_task(self._answer(request))
        self._pushes.add(push)
        push.add_done_callback(self._pushes.discard)
        return await asyncio.shield(push)

    async def drain(self, seconds: float) -> None:
        """Let what is under way go on for so long, then cut it off."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nothing_under_way.wait()
        self.cut_off()

    def cut_off(self) -> None:
        """End all that is under way; a push that has wholly arrived is left to git."""
        for exchange in self._exchanges:
            exchange.cut_off(refuse(Code.STOPPING))

    async def close(self) -> None:
        """Wait for the pushes that outlast their clients."""
        if self._pushes:
            await asyncio.wait(self._pushes)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        config = self._config
        address = address_of(request, config.trusted_proxies)
        exchange = Exchange(request, address, config.public_url, config.limits)
        self._exchanges.add(exchange)
        self._nothing_under_way.clear()
        try:
            _check_framing(request)
            operation = exchange.operation = _operation(request)
            authorization = request.headers.getall(hdrs.AUTHORIZATION, ())
            token, account = await self._authentication.token_of(authorization, address)
            exchange.token, exchange.account = token, account
            attempt = self._parts.attempt(operation, token, account, address)
            self._permit(attempt)
            exchange.token_ends = ending_text(token, attempt.now)
            _check_media_type(request, operation)
            backend, path = self._route(operation)
            if _is_push(operation) and limits_refs(attempt):
                exchange.decide_ref = partial(decide_ref, attempt, backend.ref_problem(path))
            self._recorder.use(token.id, self._clock(), exchange.address)
            with self._watch.over(exchange):
                if operation.kind is Kind.RPC:
                    await exchange.receive_beginning()
                async with (
                    self._uses.counted(exchange) as use,
                    self._served(request, exchange, backend, path) as answer,
                ):
                    passed = use.of(answer, operation.service) if use else answer
                    await exchange.relay(passed, partial(self._keep, exchange))
            if _is_push(operation):
                await self._keep(exchange)
            return await exchange.end()
        except RefusedError as error:
            return exchange.refuse(exchange.body_refusal or error.refusal)
        except DatabaseError as error:
            _log.error("database_failed", request=exchange.request_id, reason=str(error))
            return exchange.refuse(refuse(Code.UNAVAILABLE))
        except ClientGoneError:
            return exchange.response
        except Exception:
            # The outermost edge: whatever fails is refused, and its cause is in the log.
            _log.exception("failed", request=exchange.request_id)
            return exchange.refuse(refuse(Code.INTERNAL))
        finally:
            self._exchanges.discard(exchange)
            if not self._exchanges:
                self._nothing_under_way.set()
            self._audit(exchange)
            exchange.log()

    def _permit(self, attempt: Attempt) -> None:
        if refusal := decide(attempt, self._config.missing_scope_status):
            raise RefusedError(refusal)

    def _route(self, operation: Operation) -> tuple[Backend, tuple[str, ...]]:
        found = route_for(self._routes, operation.path)
        if found is None:
            raise RefusedError(refuse(Code.REPOSITORY_NOT_FOUND, repository=operation.repository))
        route, path = found
        if operation.kind is Kind.DUMB and not route.dumb_protocol:
            raise RefusedError(refuse(Code.DUMB_PROTOCOL_OFF))
        return route.backend, path

    @asynccontextmanager
    async def _served(
        self, request: web.Request, exchange: Exchange, backend: Backend, path: tuple[str, ...]
    ) -> AsyncIterator[Answer]:
        """Give the answer; what has to be made holds a place for as long as it costs a process."""
        call = _call(request, exchange, path)
        if kept := backend.kept(call):
            async with kept as answer:
                yield answer
            return
        async with self._admission.place(call.token_id, exchange.sender) as place:
            if exchange.decide_ref:
                await exchange.receive_commands()
                call = _call(request, exchange, path)
            exchange.must_go_on()
            async with backend.serve(call, place.release) as answer:
                yield answer

    async def _keep(self, exchange: Exchange) -> None:
        self._audit(exchange)
        await self._recorder.flush_within(_AUDIT_SECONDS)

    def _audit(self, exchange: Exchange) -> None:
        if event := exchange.audit_event(self._clock()):
            self._recorder.event(event)


def framing_problem(request: web.Request) -> str | None:
    """Return why another server in front could see another end of the request (RFC 9112, 6.1)."""
    if request.version not in {HttpVersion10, HttpVersion11}:
        return "only HTTP/1.0 and HTTP/1.1 are spoken here"
    coding = request.headers.getall(hdrs.TRANSFER_ENCODING, ())
    if coding and (request.version < HttpVersion11 or [c.lower() for c in coding] != ["chunked"]):
        return "only chunked is accepted, in HTTP/1.1"
    return None


def _check_framing(request: web.Request) -> None:
    """Refuse what another server in front or behind could read with another end."""
    problem = framing_problem(request)
    if request.method != "POST" and request.body_exists:
        problem = "only a POST may have a body"
    if problem:
        raise RefusedError(refuse(Code.BAD_REQUEST, what=problem))


def _operation(request: web.Request) -> Operation:
    url = request.rel_url
    try:
        return operation_of(request.method, url.raw_path, url.raw_query_string)
    except NotGitError:
        raise RefusedError(refuse(Code.NOT_GIT)) from None
    except MethodNotAllowedError as error:
        raise RefusedError(refuse(Code.METHOD_NOT_ALLOWED, allow=error.allowed)) from None


def _is_push(operation: Operation) -> bool:
    return operation.kind is Kind.RPC and operation.service is Service.RECEIVE_PACK


def _check_media_type(request: web.Request, operation: Operation) -> None:
    """Let nothing pass that git, or an upstream, could read and we could not."""
    wanted = operation.request_type
    if wanted and content_type_of(request.headers) != wanted:
        raise RefusedError(refuse(Code.MEDIA_TYPE, what=f"its Content-Type is not {wanted}"))
    encodings = request.headers.getall(hdrs.CONTENT_ENCODING, ())
    if encodings and (len(encodings) > 1 or encodings[0] not in GZIP):
        raise RefusedError(
            refuse(Code.MEDIA_TYPE, what="its Content-Encoding is neither gzip nor left out")
        )


def _call(request: web.Request, exchange: Exchange, path: tuple[str, ...]) -> Call:
    operation, token = exchange.operation, exchange.token
    if operation is None or token is None:
        raise RuntimeError("only a permitted operation is forwarded")
    names = FORWARDED_REQUEST_HEADERS & {name.lower() for name in request.headers}
    return Call(
        operation=operation,
        path=path,
        headers={name: request.headers[name] for name in names},
        body=exchange.body(),
        whole_body=exchange.whole_body,
        account=token.account,
        token_id=token.id,
        address=exchange.address,
        request_id=exchange.request_id,
        only_forward=exchange.only_forward,
    )
