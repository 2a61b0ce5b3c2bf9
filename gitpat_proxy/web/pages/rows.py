"""What templates are given: tokens, events, sessions as rows. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gitpat_proxy.access.lifetime import lifetime_of
from gitpat_proxy.access.model import Account, AuditEvent, AuditRow, EventKind, Session, Status, Token
from gitpat_proxy.access.representation import address_texts, ref_texts, version_of
from gitpat_proxy.access.scopes import scopes_of
from gitpat_proxy.web.pages.words import (
    browser_text,
    event_sentence,
    event_title,
    fact_text,
    fact_title,
    outcome_text,
    sentence_of,
)

_SOON = timedelta(days=7)
MOST_REFS = 10
"""How many refs of a push a page shows."""
_LIFETIMES = {
    "30d": "30 days",
    "90d": "90 days",
    "180d": "180 days",
    "365d": "1 year",
    "never": "Never",
}


@dataclass(frozen=True)
class TokenRow:
    """A token as a page shows it. `revoke_url` is None where there is nothing to revoke any more."""

    id: str
    name: str
    hint: str
    account: str
    scopes: Sequence[str]
    created_at: datetime
    not_before: datetime | None
    expires_at: datetime | None
    expires_soon: bool
    last_used_at: datetime | None
    last_used_from: str | None
    status: str
    revoked_at: datetime | None
    revoked_by: str | None
    revoked_reason: str | None
    repositories: Sequence[str] | None
    refs: Sequence[str] | None
    addresses: Sequence[str] | None
    most_uses: int | None
    uses_left: int | None
    parent: "TokenLink | None"
    version: str
    uses: Sequence[int]
    url: str
    revoke_url: str | None
    can_change: bool

    @property
    def uses_total(self) -> int:
        return sum(self.uses)


def token_row(token: Token, uses: Sequence[int], now: datetime, *, own: bool) -> TokenRow:
    """Return a token's row; what is not their own, people can revoke and look at, no more."""
    status = token.status(now)
    alive = status in {Status.ACTIVE, Status.PENDING}
    base = "/-/tokens" if own else "/-/administration/tokens"
    return TokenRow(
        id=token.id,
        name=token.name,
        hint=token.hint,
        account=token.account,
        scopes=sorted(token.scopes),
        created_at=token.created_at,
        not_before=token.not_before,
        expires_at=token.ends_at,
        expires_soon=alive and token.ends_at is not None and token.ends_at - now <= _SOON,
        last_used_at=token.last_used_at,
        last_used_from=token.last_used_from,
        status=status.value,
        revoked_at=token.revoked_at,
        revoked_by=token.revoked_by,
        revoked_reason=token.revoked_reason,
        repositories=token.repositories,
        refs=ref_texts(token),
        addresses=address_texts(token),
        most_uses=token.uses,
        uses_left=token.uses_left,
        parent=token_link(token.parent.id, token.parent.name, own=own) if token.parent else None,
        version=version_of(token),
        uses=uses,
        url=f"{base}/{token.id}" if own else f"/-/administration/activity?token={token.id}",
        revoke_url=f"{base}/{token.id}/revoke" if alive else None,
        can_change=alive and own,
    )


@dataclass(frozen=True)
class TokenLink:
    """A token that an event is about."""

    id: str
    name: str
    url: str


def token_link(token_id: str, name: str, *, own: bool) -> TokenLink:
    """Return the way to a token: to its page, or for administrators to what it did."""
    base = "/-/tokens/" if own else "/-/administration/activity?token="
    return TokenLink(token_id, name or token_id, base + token_id)


@dataclass(frozen=True)
class RefRow:
    """One ref that a push changed."""

    ref: str
    old: str
    new: str
    outcome: str
    reason: str | None


@dataclass(frozen=True)
class Change:
    """One fact that an edit changed."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class ActivityRow:
    """An event as a page shows it. `explain_url` leads to why it was refused, None if it was not."""

    at: datetime
    kind: str
    title: str
    account: str | None
    token: TokenLink | None
    repository: str | None
    address: str | None
    request: str | None
    sentence: str | None
    refs: Sequence[RefRow]
    refs_more: int
    changes: Sequence[Change]
    explain_url: str | None


def activity_row(row: AuditRow, names: Mapping[str, str], *, own: bool) -> ActivityRow:
    """Return an event's row; `names` are those of the tokens, by their ids."""
    row_id, event = row
    refused = event.kind is EventKind.REFUSED
    base = "/-/activity" if own else "/-/administration/activity"
    details: Mapping[str, Any] = event.details
    token = event.token and token_link(event.token, names.get(event.token, ""), own=own)
    return ActivityRow(
        at=event.at,
        kind=event.kind.value,
        title=event_title(event),
        account=event.account,
        token=token or None,
        repository=event.repository,
        address=event.address,
        request=event.request,
        sentence=event_sentence(event),
        refs=ref_rows(event),
        refs_more=details.get("updates_more", 0),
        changes=changes_of(event),
        explain_url=f"{base}/{row_id}" if refused and event.repository else None,
    )


def changes_of(event: AuditEvent) -> list[Change]:
    """Return what an edit changed."""
    changes: Any = event.details.get("changes", {})
    return [
        Change(fact_title(fact), fact_text(fact, before), fact_text(fact, after))
        for fact, (before, after) in changes.items()
    ]


def ref_rows(event: AuditEvent) -> list[RefRow]:
    """Return the refs that a push changed, or tried to."""
    updates: Any = event.details.get("updates", ())
    return [
        RefRow(
            u["ref"],
            _object_text(u["old"]),
            _object_text(u["new"]),
            outcome_text(u["old"], u["new"], u["outcome"]),
            u.get("reason"),
        )
        for u in updates
    ]


def _object_text(name: str) -> str:
    """Return an object's name as short as git shows it, "" for none."""
    return name[:10] if name.strip("0") else ""


@dataclass(frozen=True)
class SessionRow:
    """A signed-in browser."""

    id: str
    created_at: datetime
    last_seen_at: datetime
    address: str
    browser: str
    current: bool
    end_url: str


def session_row(session: Session, current: Session) -> SessionRow:
    """Return a session's row; `current` is the one that asks."""
    return SessionRow(
        session.id,
        session.created_at,
        session.last_seen_at,
        session.address,
        browser_text(session.browser),
        session.id == current.id,
        f"/-/account/sessions/{session.id}/end",
    )


@dataclass(frozen=True)
class AccountRow:
    """An account as administrators see it."""

    name: str
    administrator: bool
    service: bool
    disabled_at: datetime | None
    created_at: datetime
    has_password: bool
    tokens: int | None
    url: str


def account_row(account: Account, tokens: int | None = None) -> AccountRow:
    """Return an account's row, with the number of its tokens where that is shown."""
    return AccountRow(
        account.name,
        account.administrator,
        account.service,
        account.disabled_at,
        account.created_at,
        account.has_password,
        tokens,
        account_url(account.name),
    )


def account_url(name: str) -> str:
    """Return the address of an account's page; names have no character that would need quoting."""
    return f"/-/administration/accounts/{name}"


@dataclass(frozen=True)
class Lifetime:
    """One of the lifetimes that can be chosen; `ends` is None for never."""

    value: str
    label: str
    ends: datetime | None


def lifetimes(default: str, longest: str, now: datetime) -> list[Lifetime]:
    """Return what can be chosen, as far as the longest allows, the default always among it."""
    most = lifetime_of(longest)
    values = list(_LIFETIMES) if default in _LIFETIMES else [default, *_LIFETIMES]
    choices = []
    for value in values:
        lifetime = lifetime_of(value)
        if most is None or (lifetime is not None and lifetime <= most):
            ends = None if lifetime is None else now + lifetime
            choices.append(Lifetime(value, _LIFETIMES.get(value, value), ends))
    return choices


@dataclass(frozen=True)
class ScopeChoice:
    """A scope that can be chosen."""

    name: str
    title: str
    description: str


@dataclass(frozen=True)
class ScopeGroup:
    """Scopes that are about the same."""

    title: str
    scopes: Sequence[ScopeChoice]


def scope_groups(account: Account, catalogue: Mapping[str, str]) -> list[ScopeGroup]:
    """Return the scopes that an account's tokens may have, grouped by the word before the colon."""
    groups: dict[str, list[ScopeChoice]] = {}
    for name, text in scopes_of(account, catalogue).items():
        title, _, description = text.partition(": ")
        word = "tokens" if name == "admin" else name.partition(":")[0]
        what = sentence_of(description or "for a service behind this proxy")
        choice = ScopeChoice(name, title, what)
        groups.setdefault(word, []).append(choice)
    order = sorted(groups, key=lambda word: (word != "code", word == "tokens"))
    return [ScopeGroup(_group_title(word), groups[word]) for word in order]


def _group_title(word: str) -> str:
    return "Tokens of this proxy" if word == "tokens" else word.replace("_", " ").capitalize()
