"""Accounts and tokens as JSON objects: the same for every face."""

from datetime import UTC, datetime

from gitpat_proxy.access.model import Account, Token


def time_text(moment: datetime | None) -> str | None:
    """Return RFC 3339 in UTC with whole seconds, None for never."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def address_texts(token: Token) -> list[str] | None:
    """Return the networks that the token may be used from, None for any."""
    return None if token.addresses is None else [str(network) for network in token.addresses]


def token_object(token: Token, now: datetime) -> dict[str, object]:
    """Return what may be shown of a token; its secret is not in it. None: no limit, or never."""
    return {
        "id": token.id,
        "name": token.name,
        "account": token.account,
        "scopes": sorted(token.scopes),
        "repositories": None,
        "refs": None,
        "addresses": address_texts(token),
        "uses_left": None,
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
    }


def account_object(account: Account) -> dict[str, object]:
    """Return what may be shown of an account."""
    return {
        "name": account.name,
        "administrator": account.administrator,
        "service": account.service,
        "created_at": time_text(account.created_at),
        "disabled_at": time_text(account.disabled_at),
    }
