"""Accounts and tokens, as everything above the store sees them."""

from collections.abc import Callable
from dataclasses import dataclass
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
    name: str
    scopes: frozenset[str]
    addresses: tuple[Network, ...] | None
    created_at: datetime
    not_before: datetime | None
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_from: str | None
    revoked_at: datetime | None
    revoked_by: str | None
    revoked_reason: str | None
    hint: str

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
