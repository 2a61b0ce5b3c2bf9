"""The life of a token: made, edited, given a new secret, revoked, looked up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gitpat_proxy.access import scopes
from gitpat_proxy.access.identifier import make_id
from gitpat_proxy.access.lifetime import beginning_of, expiry_of
from gitpat_proxy.access.model import Account, AuditEvent, Clock, Network, Status, Token
from gitpat_proxy.access.names import checked_text
from gitpat_proxy.access.representation import address_texts, time_text
from gitpat_proxy.access.secret import digest_of, hint_of, is_well_formed, make_secret
from gitpat_proxy.config.model import Config
from gitpat_proxy.services.accounts import existing_account
from gitpat_proxy.services.errors import ServiceError
from gitpat_proxy.store import audit
from gitpat_proxy.store import tokens as store
from gitpat_proxy.store.database import Database


@dataclass(frozen=True)
class TokenFacts:
    """What its owner decides about a token, as typed; None: not given.

    `expires` and `not_before` as the command line's options take them; `addresses` are networks.
    """

    name: str | None = None
    scopes: Sequence[str] | None = None
    expires: str | None = None
    not_before: str | None = None
    addresses: Sequence[str] | None = None


class Tokens:
    """Each method is one transaction; `by` says for the audit who asked."""

    def __init__(self, database: Database, clock: Clock, config: Config) -> None:
        self._database = database
        self._clock = clock
        self._catalogue = config.scopes
        self._lifetimes = config.tokens

    async def create(self, account: str, facts: TokenFacts, *, by: str) -> tuple[str, Token]:
        """Return the secret, which exists only now, and the token; raises ServiceError."""
        now = self._now()
        secret = make_secret()
        # What is missing is judged as what is empty, but for the expiry, which has a default.
        facts = replace(
            facts,
            name=facts.name or "",
            scopes=facts.scopes or (),
            expires=self._lifetimes.default_lifetime if facts.expires is None else facts.expires,
        )
        token = self._with_facts(Token(make_id(), account, now, hint_of(secret)), facts, now)
        async with self._database.writing() as connection:
            await _check_owner(connection, account)
            while await store.by_id(connection, token.id):
                token = replace(token, id=make_id())
            await store.insert(connection, token, digest_of(secret))
            await self._audit(connection, "token_created", token, _facts_of(token) | {"by": by})
        return secret, token

    async def get(self, token_id: str) -> Token:
        """Return the token; raises ServiceError if there is none."""
        async with self._database.reading() as connection:
            return await _existing(connection, token_id)

    async def listed(self, account: str | None, status: Status | None) -> list[Token]:
        """Return the tokens of an account, or all; with a status only those, oldest first."""
        now = self._clock()
        async with self._database.reading() as connection:
            if account is not None:
                await existing_account(connection, account)
            tokens = await store.of_account(connection, account)
        return [token for token in tokens if status in {None, token.status(now)}]

    async def edit(self, token_id: str, facts: TokenFacts, *, by: str) -> Token:
        """Replace what is given; the secret stays. Raises ServiceError, also if its life is over."""
        async with self._database.writing() as connection:
            now = self._now()
            before = await _existing(connection, token_id)
            _check_not_over(before, now)
            after = self._with_facts(before, facts, now)
            _check_not_undone(before, after, now)
            await store.update(connection, after)
            old, new = _facts_of(before), _facts_of(after)
            changes = {key: [old[key], new[key]] for key in new if old[key] != new[key]}
            await self._audit(connection, "token_edited", after, {"by": by, "changes": changes})
        return after

    async def rotate(self, token_id: str, *, by: str) -> tuple[str, Token]:
        """Give the token a new secret; the old one is dead when this returns. Raises ServiceError."""
        secret = make_secret()
        async with self._database.writing() as connection:
            before = await _existing(connection, token_id)
            _check_not_over(before, self._clock())
            await store.set_digest(connection, token_id, digest_of(secret), hint_of(secret))
            await self._audit(connection, "token_rotated", before, {"by": by})
        return secret, replace(before, hint=hint_of(secret))

    async def revoke(self, token_ids: Iterable[str], reason: str | None, *, by: str) -> list[Token]:
        """End the tokens for good, and return them.

        One that was revoked before keeps the first revocation's time, author and reason. Raises
        ServiceError if there is no such token, after all the others have been revoked.
        """
        try:
            reason = checked_text(reason, "a reason") if reason else None
        except ValueError as error:
            raise ServiceError(str(error)) from None
        async with self._database.writing() as connection:
            found = {token_id: await store.by_id(connection, token_id) for token_id in token_ids}
            for token in found.values():
                if token and token.revoked_at is None:
                    await store.set_revoked(connection, token.id, self._now(), by, reason)
                    await self._audit(connection, "token_revoked", token, {"by": by, "reason": reason})
            revoked = [await store.by_id(connection, token_id) for token_id in found if found[token_id]]
        if missing := [token_id for token_id, token in found.items() if token is None]:
            others = "; the others are revoked" if revoked else ""
            raise ServiceError(f"there is no token {', '.join(missing)}{others}")
        return [token for token in revoked if token]

    async def find(self, secret: str) -> tuple[Token, Account] | None:
        """Return the token with this secret and its owner, as they are now, whatever their state.

        Nothing is remembered from one call to the next. What can't be a secret is not looked up.
        """
        if not is_well_formed(secret):
            return None
        async with self._database.reading() as connection:
            return await store.by_digest(connection, digest_of(secret))

    def _with_facts(self, token: Token, facts: TokenFacts, now: datetime) -> Token:
        """Return the token with what is given in place of what was; raises ServiceError."""
        try:
            changes = self._read(facts, now)
        except ValueError as error:
            raise ServiceError(str(error)) from None
        changed = replace(token, **changes)
        if changed.not_before and changed.expires_at and changed.not_before >= changed.expires_at:
            raise ServiceError("the token would end before it begins to be valid")
        return changed

    def _read(self, facts: TokenFacts, now: datetime) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if facts.name is not None:
            changes["name"] = checked_text(facts.name, "a token's name")
        if facts.scopes is not None:
            changes["scopes"] = scopes.checked_scopes(facts.scopes, self._catalogue)
        if facts.expires is not None:
            changes["expires_at"] = expiry_of(facts.expires, now, self._lifetimes.longest_lifetime)
        if facts.not_before is not None:
            changes["not_before"] = beginning_of(facts.not_before, now)
        if facts.addresses is not None:
            changes["addresses"] = _networks(facts.addresses)
        return changes

    def _now(self) -> datetime:
        """A token's own times have whole seconds, so that what is shown is what holds."""
        return self._clock().replace(microsecond=0)

    async def _audit(
        self, connection: AsyncConnection, event: str, token: Token, details: Mapping[str, object]
    ) -> None:
        entry = AuditEvent(self._clock(), event, account=token.account, token=token.id, details=details)
        await audit.insert(connection, [entry])


async def _existing(connection: AsyncConnection, token_id: str) -> Token:
    token = await store.by_id(connection, token_id)
    if token is None:
        raise ServiceError(f"there is no token {token_id}; `token list --status all` shows them")
    return token


async def _check_owner(connection: AsyncConnection, name: str) -> None:
    account = await existing_account(connection, name)
    if account.disabled_at is not None:
        raise ServiceError(f"the account {name} is disabled; `account enable {name}` changes that")


def _check_not_over(token: Token, now: datetime) -> None:
    """Nothing comes back to life."""
    if token.status(now) in {Status.EXPIRED, Status.REVOKED}:
        raise ServiceError(
            f"the token {token.label} is {token.status(now)} and stays so; create another one"
        )


def _check_not_undone(before: Token, after: Token, now: datetime) -> None:
    """What has begun does not go back to its beginning."""
    if before.status(now) is Status.ACTIVE and after.status(now) is Status.PENDING:
        raise ServiceError(f"the token {before.label} is valid already; revoke it to end that")


def _networks(texts: Sequence[str]) -> tuple[Network, ...] | None:
    """Read a list of networks; `any` alone takes the limit away."""
    if list(texts) == ["any"]:
        return None
    if any("%" in text for text in texts):
        raise ValueError("an address with a zone (%) names this machine's own network cards")
    try:
        return tuple(ip_network(text) for text in texts) or None
    except ValueError as error:
        raise ValueError(f"{error}; accepted: networks as 192.0.2.0/24, or any") from None


def _facts_of(token: Token) -> dict[str, object]:
    """What the audit keeps of a token's limits: plain JSON data."""
    return {
        "name": token.name,
        "scopes": sorted(token.scopes),
        "addresses": address_texts(token),
        "not_before": time_text(token.not_before),
        "expires_at": time_text(token.expires_at),
    }
