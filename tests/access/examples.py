"""A token, its owner, and the moment at which the tests take place."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gitpat_proxy.access.model import Account, Token

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def an_account(**changes: Any) -> Account:
    return replace(
        Account("alice", administrator=False, service=False, created_at=NOW, disabled_at=None), **changes
    )


def a_token(**changes: Any) -> Token:
    """Return an active token without limits, but for what is given."""
    token = Token(
        id="lusab-babad",
        account="alice",
        name="Laptop",
        scopes=frozenset({"code:read"}),
        addresses=None,
        created_at=NOW,
        not_before=None,
        expires_at=None,
        last_used_at=None,
        last_used_from=None,
        revoked_at=None,
        revoked_by=None,
        revoked_reason=None,
        hint="gpat_…wxyz",
    )
    return replace(token, **changes)
