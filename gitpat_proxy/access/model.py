"""Accounts, tokens and the audit's events, as everything above the store sees them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

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
    disabled_at: datetime | None


@dataclass(frozen=True)
class Token:
    """What an account lets a tool use in its stead. Times are UTC; None: never, or no limit."""

    id: str
    account: str
    created_at: datetime
    hint: str
    name: str = ""
    scopes: frozenset[str] = frozenset()
    addresses: tuple[Network, ...] | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    last_used_from: str | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    revoked_reason: str | None = None

    def status(self, now: datetime) -> Status:
        """Revoked outlasts expired; a token is expired from its `expires_at` on."""
        if self.revoked_at is not None:
            return Status.REVOKED
        if self.expires_at is not None and now >= self.expires_at:
            return Status.EXPIRED
        if self.not_before is not None and now < self.not_before:
            return Status.PENDING
        return Status.ACTIVE

    @property
    def label(self) -> str:
        """How the token is named to its owner."""
        return f'"{self.name}" ({self.id})'


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


@dataclass(frozen=True)
class AuditFilter:
    """What to look for; None: whatever."""

    since: datetime | None = None
    token: str | None = None
    account: str | None = None
    repository: str | None = None
    after_id: int = 0
