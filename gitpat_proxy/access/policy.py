"""May this token, of this account, from this address, do this: the one place that decides."""

from dataclasses import dataclass
from datetime import datetime

from gitpat_proxy.access.address import Address
from gitpat_proxy.access.model import Account, Status, Token
from gitpat_proxy.access.refusal import Code, Refusal, refuse
from gitpat_proxy.access.scopes import granted_by
from gitpat_proxy.git.operation import Operation


@dataclass(frozen=True)
class Attempt:
    """All that a decision rests on. `address` is None where a Unix socket brings no client's."""

    operation: Operation
    token: Token
    account: Account
    address: Address | None
    now: datetime


def decide(attempt: Attempt, missing_scope_status: int = 401) -> Refusal | None:
    """Return why the attempt is refused, None if it is permitted.

    The order is that of what the person should learn first: what no change of the token's scopes
    would help against comes before them.
    """
    return decide_admission(
        attempt.token, attempt.account, attempt.address, attempt.now
    ) or _refusal_by_scope(attempt, missing_scope_status)


def decide_admission(
    token: Token, account: Account, address: Address | None, now: datetime
) -> Refusal | None:
    """Return why the token opens nothing at all from there at that time, None if it may."""
    return decide_alive(token, account, now) or _refusal_by_address(token, address)


def decide_alive(token: Token, account: Account, now: datetime) -> Refusal | None:
    """Return why the token opens nothing at all at that time, None if it may open something."""
    if refusal := _refusal_by_state(token, now):
        return refusal
    if account.disabled_at is not None:
        return refuse(Code.ACCOUNT_DISABLED, account=account.name, token=token.label)
    return None


def _refusal_by_state(token: Token, now: datetime) -> Refusal | None:
    match token.status(now):
        case Status.REVOKED:
            reason = f": {token.revoked_reason}" if token.revoked_reason else ""
            return refuse(
                Code.TOKEN_REVOKED, token=token.label, date=_time(token.revoked_at), reason=reason
            )
        case Status.EXPIRED:
            return refuse(Code.TOKEN_EXPIRED, token=token.label, date=_time(token.expires_at))
        case Status.PENDING:
            return refuse(Code.TOKEN_NOT_YET_VALID, token=token.label, date=_time(token.not_before))
        case Status.ACTIVE:
            return None


def _refusal_by_address(token: Token, address: Address | None) -> Refusal | None:
    allowed = token.addresses
    if allowed is None or (address and any(address in network for network in allowed)):
        return None
    return refuse(Code.ADDRESS_DENIED, token=token.label, address=address or "of a local socket")


def _refusal_by_scope(attempt: Attempt, missing_scope_status: int) -> Refusal | None:
    operation, token = attempt.operation, attempt.token
    if operation.scope in granted_by(token.scopes):
        return None
    return refuse(
        Code.SCOPE_MISSING,
        status=missing_scope_status,
        token=token.label,
        token_id=token.id,
        scopes=", ".join(sorted(token.scopes)),
        service=operation.service or "the dumb protocol",
        needed=operation.scope,
    )


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"
