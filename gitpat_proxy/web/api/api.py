"""The API's edge: a request is matched, its caller found, its parts read, and it is answered."""

from collections.abc import Mapping

import structlog
from aiohttp import web

from gitpat_proxy.access.model import AuditEvent
from gitpat_proxy.access.policy import decide_admission
from gitpat_proxy.access.refusal import Code, RefusedError, refuse
from gitpat_proxy.access.representation import ending_text
from gitpat_proxy.sender import address_of
from gitpat_proxy.web.api import parameters
from gitpat_proxy.web.api.call import Answer, ApiParts, Call, Caller, scope_missing
from gitpat_proxy.web.api.caller import CallerFinder
from gitpat_proxy.web.api.exchange import ApiExchange
from gitpat_proxy.web.api.operations import Callers, Operation, methods_at
from gitpat_proxy.web.api.problem import ApiCode, ProblemError, of_refusal, problem_of

_log = structlog.get_logger()


class Api:
    """Answers the API's requests, whatever happens, as JSON."""

    def __init__(self, parts: ApiParts, callers: CallerFinder) -> None:
        self._parts = parts
        self._callers = callers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        config = self._parts.config
        exchange = ApiExchange(request, address_of(request, config.trusted_proxies))
        try:
            return exchange.answer(await self._answer(exchange))
        except Exception as error:
            # The outermost edge: whatever fails is told, and its cause is in the log.
            problem = self._problem(exchange, error)
            self._audit(exchange, problem)
            return exchange.refuse(problem, config.public_url)
        finally:
            exchange.log()

    async def _answer(self, exchange: ApiExchange) -> Answer:
        request = exchange.request
        operation, ids = _match(request)
        exchange.operation = operation
        if operation.callers is not Callers.ANYBODY:
            sessions = operation.callers is Callers.TOKENS_AND_SESSIONS
            exchange.caller = await self._callers.caller(request, exchange.client, sessions=sessions)
            self._permit(exchange, operation, exchange.caller)
        return await operation.handle(
            Call(
                parts=self._parts,
                method=operation.method,
                path=request.path,
                ids=ids,
                query=parameters.query_of(request, operation.query),
                headers=parameters.headers_of(request, operation.headers),
                body=await parameters.body_of(request, operation),
                now=self._parts.clock(),
                client=exchange.client,
                request_id=exchange.request_id,
                asked_by=exchange.caller,
            )
        )

    def _permit(self, exchange: ApiExchange, operation: Operation, caller: Caller) -> None:
        """Raise if the token opens nothing now, or not this; note that it was used."""
        now, token = self._parts.clock(), caller.token
        if token:
            if refusal := decide_admission(token, caller.account, exchange.client, now):
                raise RefusedError(refusal)
            exchange.token_ends = ending_text(token, now)
        if operation.scope and not caller.may(operation.scope, or_admin=operation.admin_will_do):
            raise scope_missing(caller, operation.scope)
        if token:
            self._parts.recorder.use(token.id, now, exchange.address)

    def _problem(self, exchange: ApiExchange, error: Exception) -> ProblemError:
        """Return as what it is told; what should not happen is told as little as can be, and logged."""
        problem = problem_of(error)
        if problem is None:
            _log.exception("failed", request=exchange.request_id, exc_info=error)
            return of_refusal(refuse(Code.INTERNAL))
        if problem.code == Code.UNAVAILABLE:
            _log.error("database_failed", request=exchange.request_id, reason=str(error))
        return problem

    def _audit(self, exchange: ApiExchange, problem: ProblemError) -> None:
        """Keep what a token tried that it may not."""
        token = exchange.caller.token if exchange.caller else None
        if token is None or problem.status not in {401, 403}:
            return
        event = AuditEvent(
            self._parts.clock(),
            "refused",
            account=token.account,
            token=token.id,
            address=exchange.address,
            request=exchange.request_id,
            details={"code": problem.code.value, "service": "api"},
        )
        self._parts.recorder.event(event)


def _match(request: web.Request) -> tuple[Operation, Mapping[str, str]]:
    """Find the operation in the table, by the address as it was sent; raises ProblemError."""
    path = request.rel_url.raw_path
    methods = methods_at(path)
    if not methods:
        raise ProblemError(ApiCode.NOT_FOUND, "the API has no such address")
    operation = methods.get("GET" if request.method == "HEAD" else request.method)
    if operation is None:
        allow = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
        headers = {"Allow": allow}
        raise ProblemError(ApiCode.METHOD_NOT_ALLOWED, f"ask this with {allow}", headers=headers)
    match = operation.pattern.fullmatch(path)
    return operation, match.groupdict() if match else {}
