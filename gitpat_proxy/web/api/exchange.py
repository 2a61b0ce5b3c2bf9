"""One request to the API and its answer: how either is told, to the caller and to the log."""

import time
from collections.abc import Mapping

import structlog
from aiohttp import hdrs, web

from gitpat_proxy.access.address import Address, address_text
from gitpat_proxy.access.refusal import Code
from gitpat_proxy.outcome import make_request_id
from gitpat_proxy.web.api import answers
from gitpat_proxy.web.api.call import Answer, Caller
from gitpat_proxy.web.api.operations import Operation
from gitpat_proxy.web.api.problem import ProblemError

_JSON = "application/json"
_PROBLEM = "application/problem+json"
_REALM = 'Bearer realm="gitpat-proxy"'

_log = structlog.get_logger()


class ApiExchange:
    """A request, what is found out about it, and its answer."""

    def __init__(self, request: web.Request, client: Address | None) -> None:
        self.request = request
        self.client = client
        self.request_id = make_request_id()
        self.operation: Operation | None = None
        self.caller: Caller | None = None
        self.token_ends: str | None = None
        """When the permitted token ends, as text, if that is near."""
        self._started = time.monotonic()
        self._status: int | None = None
        self._problem: ProblemError | None = None

    @property
    def address(self) -> str:
        return address_text(self.client)

    def answer(self, answer: Answer) -> web.Response:
        body = answer.body
        text = body.model_dump_json(exclude_unset=True) if body is not None else None
        return self._response(answer.status, text, _JSON, answer.headers)

    def refuse(self, problem: ProblemError, public_url: str) -> web.Response:
        """Answer with a problem, the one way in which all of them are told."""
        self._problem = problem
        shown = {
            "type": f"{public_url.rstrip('/')}/-/api/#{problem.code.value}",
            "title": problem.title,
            "status": problem.status,
            "detail": problem.detail,
            "code": problem.code.value,
            "request": self.request_id,
        }
        if problem.errors:
            shown["errors"] = [{"field": f, "detail": d} for f, d in problem.errors.items()]
        if self.operation and self.operation.is_form:
            shown["error"] = problem.oauth_error
        text = answers.Problem.model_validate(shown).model_dump_json(exclude_unset=True)
        headers = dict(problem.headers) | self._challenge(problem)
        return self._response(problem.status, text, _PROBLEM, headers)

    def _challenge(self, problem: ProblemError) -> dict[str, str]:
        """Say what would do (RFC 6750, section 3)."""
        was_sent = hdrs.AUTHORIZATION in self.request.headers
        if problem.status == 401:
            return {hdrs.WWW_AUTHENTICATE: _REALM + (', error="invalid_token"' if was_sent else "")}
        if problem.code is Code.SCOPE_MISSING and self.operation:
            error = ', error="insufficient_scope"'
            return {hdrs.WWW_AUTHENTICATE: f'{_REALM}{error}, scope="{self.operation.scope}"'}
        return {}

    def _response(
        self, status: int, text: str | None, media_type: str, headers: Mapping[str, str]
    ) -> web.Response:
        self._status = status
        own = {
            "X-Request-Id": self.request_id,
            hdrs.CACHE_CONTROL: "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        if self.token_ends:
            own["X-Token-Expires"] = self.token_ends
        if text is not None:
            own[hdrs.CONTENT_TYPE] = media_type
        return web.Response(status=status, body=(text or "").encode(), headers=own | dict(headers))

    def log(self) -> None:
        """Write the request's one line."""
        caller, problem = self.caller, self._problem
        _log.info(
            "request",
            request=self.request_id,
            address=self.address,
            method=self.request.method,
            account=caller and caller.account.name,
            token=caller and caller.token and caller.token.id,
            service="api",
            operation=self.operation and self.operation.name,
            status=self._status,
            code=problem and problem.code.value,
            reason=problem and problem.detail,
            seconds=round(time.monotonic() - self._started, 4),
        )
