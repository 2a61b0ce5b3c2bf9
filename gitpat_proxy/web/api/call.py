"""One call of the API: who asks, for what, and the answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from gitpat_proxy.access.address import Address, address_text
from gitpat_proxy.access.model import Account, Author, Clock, Session, Token
from gitpat_proxy.access.policy import grants_of
from gitpat_proxy.access.refusal import Code, RefusedError, refuse
from gitpat_proxy.access.scopes import granted_by, withheld_from
from gitpat_proxy.authentication import Authentication
from gitpat_proxy.config.model import Config
from gitpat_proxy.services.audit import Recorder
from gitpat_proxy.services.explanations import Explanations
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.database import Database
from gitpat_proxy.throttle import Throttle
from gitpat_proxy.web.api.problem import ApiCode, ProblemError

Query = TypeVar("Query", bound=BaseModel)
Headers = TypeVar("Headers", bound=BaseModel)
Body = TypeVar("Body")

_ADMIN = "admin"


@dataclass(frozen=True)
class ApiParts:
    """What the operations are made with."""

    config: Config
    database: Database
    tokens: Tokens
    explanations: Explanations
    authentication: Authentication
    throttle: Throttle
    recorder: Recorder
    clock: Clock
    document: Callable[[], Mapping[str, Any]]
    """The OpenAPI document."""


@dataclass(frozen=True)
class Caller:
    """Who asks: an account by one of its tokens, or a signed-in person by a page."""

    account: Account
    token: Token | None = None
    session: Session | None = None

    @property
    def grants(self) -> frozenset[str]:
        """All scopes that count at this moment; what the account may not have any more does not."""
        if self.token:
            return grants_of(self.token, self.account)
        return granted_by({"tokens:write", _ADMIN}) - withheld_from(self.account)

    def may(self, scope: str, *, or_admin: bool = False) -> bool:
        return scope in self.grants or (or_admin and _ADMIN in self.grants)

    def check_fresh(self, now: datetime) -> None:
        """Raise ProblemError if a person has to give the password once more for this."""
        if self.session and not self.session.is_fresh(now):
            raise ProblemError(
                ApiCode.CONFIRMATION_REQUIRED, "confirm that it is you at /-/confirm, then try again"
            )

    def check_administers(self, now: datetime) -> None:
        """Raise if what is others' is not there for whoever asks."""
        if _ADMIN not in self.grants:
            raise scope_missing(self, _ADMIN)
        self.check_fresh(now)

    def reach(self, now: datetime) -> str | None:
        """Return whose tokens alone are there to be seen and revoked; None: everybody's."""
        fresh = self.session is None or self.session.is_fresh(now)
        return None if _ADMIN in self.grants and fresh else self.account.name


def scope_missing(caller: Caller, scope: str) -> Exception:
    """Return the error that whoever asks may not do that (RFC 6750, section 3.1)."""
    if caller.token is None:
        return ProblemError(ApiCode.FORBIDDEN, f"{caller.account.name} is no administrator")
    return RefusedError(
        refuse(
            Code.SCOPE_MISSING,
            status=403,
            token=caller.token.label,
            token_id=caller.token.id,
            scopes=", ".join(sorted(caller.grants)) or "nothing that counts",
            service="this",
            needed=scope,
        )
    )


@dataclass(frozen=True)
class Call(Generic[Query, Headers, Body]):
    """What an operation gets: all of it checked."""

    parts: ApiParts
    method: str
    path: str
    ids: Mapping[str, str]
    query: Query
    headers: Headers
    body: Body
    now: datetime
    client: Address | None
    request_id: str
    asked_by: Caller | None

    @property
    def address(self) -> str:
        return address_text(self.client)

    @property
    def caller(self) -> Caller:
        if self.asked_by is None:
            raise RuntimeError("this operation is for everybody")
        return self.asked_by

    def author(self, confined_to: str | None) -> Author:
        """Who does it, as the audit calls them."""
        caller = self.caller
        name = caller.account.name
        if caller.token:
            name = f"{name} (token {caller.token.id})"
        return Author(name, self.address, self.request_id, confined_to, caller.token)

    @property
    def own(self) -> Author:
        """Who does something with what is their own."""
        return self.author(self.caller.account.name)


AnyCall = Call[Any, Any, Any]


@dataclass(frozen=True)
class Answer:
    """Status, body and headers."""

    status: int
    body: BaseModel | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
