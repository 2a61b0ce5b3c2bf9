"""Accounts, tokens, sessions and the audit's events, as everything above the store sees them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

from gitpat_proxy.access.refs import RefRule

Clock: TypeAlias = Callable[[], datetime]
Network: TypeAlias = IPv4Network | IPv6Network


class Status(StrEnum):
    """A token's state. It goes from left to right and never back."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Account:
    """A person or a service that owns tokens."""

    name: str
    administrator: bool
    service: bool
    created_at: datetime
    disabled_at: datetime | None = None
    has_password: bool = False


@dataclass(frozen=True)
class Session:
    """A person's signed-in browser. Times are UTC."""

    id: str
    account: str
    created_at: datetime
    last_seen_at: datetime
    authenticated_at: datetime
    """When the person last gave the password."""
    address: str
    browser: str
    """What the browser calls itself: its User-Agent."""
    by_header: bool
    """The proxy in front vouches for the person, with each request anew."""

    def is_alive(self, now: datetime) -> bool:
        """One from the future counts no longer than one from the past: its clock was put back since."""
        idle, age = abs(now - self.last_seen_at), abs(now - self.created_at)
        return idle < SESSION_IDLE and age < SESSION_LONGEST

    def is_fresh(self, now: datetime) -> bool:
        """Whether what matters may be done without asking for the password again."""
        return self.by_header or abs(now - self.authenticated_at) < SESSION_FRESH


SESSION_IDLE = timedelta(hours=12)
SESSION_LONGEST = timedelta(days=7)
SESSION_FRESH = timedelta(minutes=30)


@dataclass(frozen=True)
class Token:
    """What an account lets a tool use in its stead. Times are UTC; None: never, or no limit."""

    id: str
    account: str
    created_at: datetime
    hint: str
    name: str = ""
    scopes: frozenset[str] = frozenset()
    repositories: tuple[str, ...] | None = None
    """Patterns as `access.patterns.RepositoryPatterns` takes them."""
    refs: tuple[RefRule, ...] | None = None
    addresses: tuple[Network, ...] | None = None
    uses: int | None = None
    """After so many operations it ends."""
    uses_left: int | None = None
    parent: "Token | None" = None
    """The token that it was derived from: it never does more than that one, nor outlives it."""
    not_before: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    last_used_from: str | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    revoked_reason: str | None = None
    was_expired: bool = False
    """It was seen expired; the clock may have been put back since."""

    def status(self, now: datetime) -> Status:
        """Return what opens or ends it: a state of its own, or one of those that it was derived from."""
        states = {each.own_status(now) for each in lineage(self)}
        order = (Status.REVOKED, Status.EXPIRED, Status.PENDING, Status.ACTIVE)
        return next(status for status in order if status in states)

    def own_status(self, now: datetime) -> Status:
        """Revoked outlasts expired; a token is expired from its `expires_at` or its last use on."""
        if self.revoked_at is not None:
            return Status.REVOKED
        if self.was_expired or self.uses_left == 0:
            return Status.EXPIRED
        if self.expires_at is not None and now >= self.expires_at:
            return Status.EXPIRED
        if self.not_before is not None and now < self.not_before:
            return Status.PENDING
        return Status.ACTIVE

    @property
    def ends_at(self) -> datetime | None:
        """The earliest time at which it, or one that it was derived from, expires."""
        ends = (each.expires_at for each in lineage(self))
        return min((end for end in ends if end), default=None)

    @property
    def label(self) -> str:
        """How the token is named to its owner."""
        return f'"{self.name}" ({self.id})'


def lineage(token: Token) -> Iterator[Token]:
    """Yield the token, the one it was derived from, and so on: what holds is what all of them allow."""
    each: Token | None = token
    while each is not None:
        yield each
        each = each.parent


MOST_GENERATIONS = 3
"""A token, one that was derived from it, and one that was derived from that."""


@dataclass(frozen=True)
class TokenQuery:
    """What to look for; None or "": whatever. `before` is the last token of the page before."""

    account: str | None = None
    status: Status | None = None
    search: str = ""
    before: tuple[datetime, str] | None = None
    limit: int | None = None
    parent: str | None = None


class EventKind(StrEnum):
    """What sort of thing an event of the audit is, for those who look for one."""

    READ = "read"
    PUSH = "push"
    REFUSED = "refused"
    CHANGE = "change"
    SIGN_IN = "sign_in"


_KINDS = {
    **dict.fromkeys(("clone", "fetch", "archive"), EventKind.READ),
    "push": EventKind.PUSH,
    "refused": EventKind.REFUSED,
    **dict.fromkeys(
        ("signed_in", "sign_in_failed", "signed_out", "session_ended", "password_confirmed"),
        EventKind.SIGN_IN,
    ),
}


@dataclass(frozen=True)
class AuditEvent:
    """Who did what, when, with which token, to what, from where; `details` is plain JSON data."""

    at: datetime
    event: str
    account: str | None = None
    token: str | None = None
    repository: str | None = None
    address: str | None = None
    request: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def kind(self) -> EventKind:
        """What is not named is a change of an account or a token."""
        return _KINDS.get(self.event, EventKind.CHANGE)

    @property
    def is_use(self) -> bool:
        """Whether a token was used for what it is there for."""
        return self.kind in {EventKind.READ, EventKind.PUSH}


@dataclass(frozen=True)
class Author:
    """Who does something by the command line, a page or the API; `name` is for the audit."""

    name: str
    address: str | None = None
    request: str | None = None
    confined_to: str | None = None
    """The account whose tokens alone are there for them; None: everybody's."""
    maker: Token | None = None
    """The token that asks: what it makes or changes never does more than itself."""

    def did(
        self,
        event: str,
        at: datetime,
        account: str,
        token: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> AuditEvent:
        """Return what the audit keeps of it."""
        return AuditEvent(
            at,
            event,
            account=account,
            token=token,
            address=self.address,
            request=self.request,
            details={"by": self.name, **(details or {})},
        )


@dataclass(frozen=True)
class AuditFilter:
    """What to look for; None: whatever."""

    since: datetime | None = None
    token: str | None = None
    account: str | None = None
    repository: str | None = None
    after_id: int = 0
    kind: EventKind | None = None
    address: str | None = None
    request: str | None = None


AuditRow: TypeAlias = tuple[int, AuditEvent]
"""An event with its row id."""
AuditPlace: TypeAlias = tuple[datetime, int]
"""Where in the audit: the time and the row id of an event."""
