"""Accounts, tokens and the audit's events as JSON objects: the same for every face."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

from gitpat_proxy.access.model import Account, AuditEvent, Token, lineage


def time_text(moment: datetime | None) -> str | None:
    """Return RFC 3339 in UTC with whole seconds, None for never."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def address_texts(token: Token) -> list[str] | None:
    """Return the networks that the token may be used from, None for any."""
    return None if token.addresses is None else [str(network) for network in token.addresses]


def ref_texts(token: Token) -> list[str] | None:
    """Return the rules for refs as `access.refs.ref_rule_of` reads them, None for no limit."""
    return None if token.refs is None else [str(rule) for rule in token.refs]


def token_object(token: Token, now: datetime) -> dict[str, object]:
    """Return what may be shown of a token; its secret is not in it. None: no limit, or never."""
    return {
        "id": token.id,
        "name": token.name,
        "account": token.account,
        "scopes": sorted(token.scopes),
        "repositories": None if token.repositories is None else list(token.repositories),
        "refs": ref_texts(token),
        "addresses": address_texts(token),
        "uses": token.uses,
        "uses_left": token.uses_left,
        "status": token.status(now).value,
        "created_at": time_text(token.created_at),
        "not_before": time_text(token.not_before),
        "expires_at": time_text(token.expires_at),
        "last_used_at": time_text(token.last_used_at),
        "last_used_from": token.last_used_from,
        "revoked_at": time_text(token.revoked_at),
        "revoked_by": token.revoked_by,
        "revoked_reason": token.revoked_reason,
        "hint": token.hint,
        "parent": token.parent and token.parent.id,
    }


def ending_text(token: Token, now: datetime) -> str | None:
    """Return when the token ends if that is near, for those who can still see to it."""
    end = token.ends_at
    return time_text(end) if is_near(end, now) else None


def is_near(end: datetime | None, now: datetime) -> bool:
    """Tell whether who uses a token should hear of its end."""
    return end is not None and end <= now + _NEAR_END


_NEAR_END = timedelta(days=30)


def account_object(account: Account) -> dict[str, object]:
    """Return what may be shown of an account."""
    return {
        "name": account.name,
        "administrator": account.administrator,
        "service": account.service,
        "has_password": account.has_password,
        "created_at": time_text(account.created_at),
        "disabled_at": time_text(account.disabled_at),
    }


def event_object(row_id: int, event: AuditEvent) -> dict[str, object]:
    """Return an event of the audit."""
    return {"id": row_id} | vars(event) | {"at": time_text(event.at), "details": dict(event.details)}


def version_of(token: Token) -> str:
    """Return a text that changes when somebody changes the token, and not when it is used.

    Nor when others do, but where that ends or begins it: its status is part of what is shown.
    """
    facts = [token.name, sorted(token.scopes), address_texts(token), token.hint]
    limits = [token.repositories, ref_texts(token), token.uses]
    times = [
        time_text(moment)
        for each in lineage(token)
        for moment in (each.not_before, each.expires_at, each.revoked_at)
    ]
    return hashlib.sha256(json.dumps([facts, limits, times]).encode()).hexdigest()[:32]
