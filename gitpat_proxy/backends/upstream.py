"""Any HTTP server that speaks Git, asked with the proxy's own credentials."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
import structlog
from yarl import URL

from gitpat_proxy.access.push import RefProblem
from gitpat_proxy.access.refusal import Code, Refusal, RefusedError, refuse
from gitpat_proxy.backends.base import (
    Answer,
    AnswerCutError,
    Asked,
    BodyCutError,
    Call,
    Finding,
    answer_headers,
    content_type_of,
)
from gitpat_proxy.backends.ref_problems import problem_of_route
from gitpat_proxy.config.model import RouteConfig
from gitpat_proxy.git.operation import Operation

_CONNECT_SECONDS = 10
_BODY_CUT = "the client broke off what it sent"

_log = structlog.get_logger()


class Upstream:
    """One pooled session to one server. The caller's credentials and cookies never reach it.

    Made inside a running event loop; raises OSError with a sentence where the configuration's files
    can't be used.
    """

    def __init__(self, route: RouteConfig) -> None:
        self._base = str(route.upstream)
        self._ref_problem = problem_of_route(route)
        tls = _tls_context(route)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Content-Type", "User-Agent"),
            headers=_credentials(route) | {"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=_CONNECT_SECONDS,
                sock_read=route.upstream_timeout_seconds,
            ),
        )

    def at_hand(self, asked: Asked) -> Callable[[], None]:
        """Nothing is kept: what changes upstream can't be seen from here."""
        del asked
        return lambda: None

    def kept(self, call: Call) -> None:
        """See Backend.kept; nothing is, as above."""

    @asynccontextmanager
    async def serve(self, call: Call, on_taken: Callable[[], None]) -> AsyncIterator[Answer]:
        """See Backend.serve."""
        del on_taken  # the connection to the upstream is in use until the answer has been passed on
        body = _CuttingBody(call.body)
        try:
            response = body.response = await self._send(call, body)
        except BodyCutError:
            yield Answer({}, _no_answer())
            return
        try:
            if refusal := _refusal_of(response, call.operation):
                raise RefusedError(refusal)
            yield Answer(answer_headers(response.headers), _body(response, body))
        finally:
            response.close()

    def ref_problem(self, path: tuple[str, ...]) -> RefProblem:
        """See Backend.ref_problem."""
        del path
        return self._ref_problem

    async def check(self) -> Finding:
        """Ask for the address itself: any answer shows that there is an HTTP server."""
        part = f"upstream {self._base}"
        try:
            async with self._session.get(self._base + "/", allow_redirects=False) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            return Finding(part, False, f"can't be reached: {_words(error)}")
        if status == 401:
            return Finding(part, False, "it refuses the credentials of this route (401)")
        return Finding(part, status < 500, f"it answers ({status})")

    async def close(self) -> None:
        await self._session.close()

    async def _send(self, call: Call, body: "_CuttingBody") -> aiohttp.ClientResponse:
        """Raises BodyCutError where the client failed, RefusedError where the upstream did."""
        operation = call.operation
        path = "/".join(quote(segment, safe="") for segment in call.path)
        url = URL(
            f"{self._base}/{path}/{operation.endpoint}?{operation.query}".rstrip("?"), encoded=True
        )
        try:
            return await self._session.request(
                operation.method,
                url,
                headers=_headers(call),
                data=body.chunks() if operation.method == "POST" else None,
                allow_redirects=False,
            )
        except TimeoutError:
            raise RefusedError(refuse(Code.UPSTREAM_TIMEOUT)) from None
        except (aiohttp.ClientError, ValueError) as error:
            if body.is_cut:
                raise BodyCutError from None
            _log.warning("upstream_failed", request=call.request_id, reason=_words(error))
            raise RefusedError(
                refuse(Code.UPSTREAM_FAILED, what=f"can't be reached ({type(error).__name__})")
            ) from error


class _CuttingBody:
    """A request's body whose early end ends the answer too.

    aiohttp notices that only as long as the answer has not begun; without this a push that its
    client abandoned would wait for the upstream's timeout.
    """

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self.response: aiohttp.ClientResponse | None = None
        self.is_cut = False

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._body:
                yield chunk
        except BodyCutError:
            self.is_cut = True
            if self.response is not None:
                self.response.close()
            raise


def _headers(call: Call) -> dict[str, str]:
    """Return the client's headers for the upstream.

    A GET goes without a body, so nothing may announce one: the upstream would take the next request
    on this connection for it.
    """
    if call.operation.method == "POST":
        return dict(call.headers)
    return {name: value for name, value in call.headers.items() if not name.startswith("content-")}


def _credentials(route: RouteConfig) -> dict[str, str]:
    password = route.read_upstream_password()
    if route.upstream_username is None or password is None:
        return {}
    return {
        "Authorization": aiohttp.BasicAuth(route.upstream_username, password, encoding="utf-8").encode()
    }


def _tls_context(route: RouteConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=route.upstream_ca_file)
    except OSError as error:
        raise OSError(f"upstream_ca_file: {route.upstream_ca_file} can't be used: {error}") from None


async def _no_answer() -> AsyncIterator[bytes]:
    raise AnswerCutError(_BODY_CUT)
    yield b""  # an iterator, of nothing


async def _body(response: aiohttp.ClientResponse, sent: _CuttingBody) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, TimeoutError) as error:
        if sent.is_cut:
            raise AnswerCutError(_BODY_CUT) from None
        raise AnswerCutError(f"the upstream stopped in the middle: {_words(error)}") from None


def _refusal_of(response: aiohttp.ClientResponse, operation: Operation) -> Refusal | None:
    """Only a Git server's own 200 is passed on.

    Its 401 and 403 concern the proxy's credentials: passed on, they would make git forget a token
    that is good. A redirect would lead the caller, token and all, past the proxy.
    """
    status, kind = response.status, content_type_of(response.headers)
    if status in {404, 410}:
        return refuse(Code.REPOSITORY_NOT_FOUND, repository=operation.repository)
    if status in {401, 403}:
        return refuse(Code.UPSTREAM_FAILED, what=f"refused the proxy itself (status {status})")
    if 300 <= status < 400:
        return refuse(Code.UPSTREAM_FAILED, what="answered with a redirect, which is not followed")
    if status != 200:
        return refuse(Code.UPSTREAM_FAILED, what=f"answered with status {status}")
    if operation.answer_type not in {None, kind}:
        return refuse(Code.UPSTREAM_FAILED, what="gave an answer that is not Git's")
    return None


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
