"""Who calls the API: a token, or a page of ours with a person's session."""

from hmac import compare_digest

from aiohttp import hdrs, web

from gitpat_proxy.access.address import Address
from gitpat_proxy.access.refusal import Code, RefusedError, refuse
from gitpat_proxy.authentication import Authentication
from gitpat_proxy.services.errors import ServiceError
from gitpat_proxy.web.api.call import Caller
from gitpat_proxy.web.api.problem import ApiCode, ProblemError
from gitpat_proxy.web.visitor import Visitor, Visitors

CSRF = "X-CSRF-Token"
_SAFE = {"GET", "HEAD"}


class CallerFinder:
    """Finds out who calls. Where there is an Authorization header, a cookie counts for nothing."""

    def __init__(self, authentication: Authentication, visitors: Visitors) -> None:
        self._authentication = authentication
        self._visitors = visitors

    async def caller(self, request: web.Request, address: Address | None, *, sessions: bool) -> Caller:
        """Return who it is, whatever the token's state; raises RefusedError or ProblemError."""
        if sessions and hdrs.AUTHORIZATION not in request.headers and CSRF in request.headers:
            return await self._person(request)
        token, account = await self._authentication.token_of(
            request.headers.getall(hdrs.AUTHORIZATION, ()), address
        )
        return Caller(account, token)

    async def _person(self, request: web.Request) -> Caller:
        try:
            visitor = await self._visitors.visitor(request)
        except ServiceError as error:
            raise ProblemError(ApiCode.FORBIDDEN, error.sentence) from None
        if visitor.account is None or visitor.session is None:
            raise RefusedError(refuse(Code.CREDENTIALS_MISSING))
        if not self._is_ours(request, visitor):
            raise ProblemError(ApiCode.FORBIDDEN, f"{CSRF} is not that of a page of this session")
        return Caller(visitor.account, session=visitor.session)

    def _is_ours(self, request: web.Request, visitor: Visitor) -> bool:
        """Tell whether a page of ours sent it: no other can make this header without being asked for it
        by CORS, which is never granted; a GET changes nothing, and its Origin is seldom told.
        """
        csrf = ",".join(request.headers.getall(CSRF))
        if request.method not in _SAFE:
            return self._visitors.came_from_a_page_of_ours(request, visitor, csrf)
        return compare_digest(csrf.encode("utf-8", "surrogatepass"), visitor.csrf.encode())
