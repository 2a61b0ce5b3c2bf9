"""The life of a token: made, edited, given a new secret, revoked, looked up."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gitpat_proxy.access.delegation import child_of, earlier_end
from gitpat_proxy.access.identifier import make_id
from gitpat_proxy.access.model import (
    Account,
    Author,
    Clock,
    Status,
    Token,
    TokenQuery,
    lineage,
)
from gitpat_proxy.access.moment import day_of
from gitpat_proxy.access.names import checked_text
from gitpat_proxy.access.policy import used_up, without_limit_of_uses
from gitpat_proxy.access.refusal import RefusedError
from gitpat_proxy.access.representation import version_of
from gitpat_proxy.access.secret import SentSecret, digest_of, hint_of, is_well_formed, make_secret
from gitpat_proxy.config.model import Config
from gitpat_proxy.services.accounts import existing_account
from gitpat_proxy.services.errors import (
    ConflictError,
    FactsError,
    NotFoundError,
    ServiceError,
)
from gitpat_proxy.services.expiry import Expiry
from gitpat_proxy.services.token_checks import (
    check_may_derive,
    check_not_itself,
    check_not_over,
    check_not_undone,
    check_within,
    check_within_parent,
)
from gitpat_proxy.services.token_facts import TokenFacts, TokenRules, facts_of
from gitpat_proxy.store import audit, idempotency
from gitpat_proxy.store import tokens as store
from gitpat_proxy.store.connection import Connection
from gitpat_proxy.store.database import Database
from gitpat_proxy.store.direct import NotAtOnceError
from gitpat_proxy.store.idempotency import Answered

KEYS_KEPT = timedelta(days=30)
"""Longer than any session: a form that was sent once makes no second token."""

DERIVED_LIFETIME = "15m"
"""A job's, unless another is asked for."""
_ALL_TOKENS = "`token list --status all` shows them"
_PARENT_ROTATED = "the token that it was derived from got a new secret"


@dataclass(frozen=True)
class OnceRequest:
    """Something to be done once: the key that its sender made up, and what it asks for, as text."""

    key: str
    content: str


class Tokens:
    """Each method is one transaction; `by` says for the audit who asked.

    Another's tokens are, for those who are confined to an account, as if they were not there.
    """

    def __init__(self, database: Database, clock: Clock, config: Config) -> None:
        self._database = database
        self._clock = clock
        self._expiry = Expiry(clock)
        self._config = config

    @property
    def _rules(self) -> TokenRules:
        return TokenRules(self._config.scopes, self._config.tokens)

    async def create(self, account: str, facts: TokenFacts, *, by: Author) -> tuple[str, Token]:
        """Return the secret, which exists only now, and the token; raises ServiceError."""
        async with self._database.writing() as connection:
            return await self._create(connection, account, facts, by)

    async def create_once(
        self,
        account: str,
        facts: TokenFacts,
        request: OnceRequest,
        *,
        by: Author,
    ) -> tuple[str | None, Token]:
        """Do as `create` does, the first time that the request comes; later only return the token."""

        async def create(connection: Connection) -> tuple[str, Token]:
            return await self._create(connection, account, facts, by)

        return await self._once(account, request, create)

    async def derive(self, parent_id: str, facts: TokenFacts, *, by: Author) -> tuple[str, Token]:
        """Make a token out of another one, which it never exceeds and ends with; raises ServiceError.

        What is not given is as the parent has it, but for the name and the scopes, which are asked for,
        and the end.
        """
        async with self._database.writing() as connection:
            parent = await self._existing(connection, parent_id, by.confined_to)
            check_may_derive(parent, await existing_account(connection, parent.account), self._clock())
            by = replace(by, maker=parent)
            return await self._create(connection, parent.account, facts, by, parent)

    async def take_use(self, token_id: str) -> dict[str, int]:
        """Count a use of the token and of all that it was derived from, where it is limited.

        Return the ids of those with their `uses`; raises RefusedError if one has none left. Exact since
        whoever writes has the database's one lock from the transaction's beginning on.
        """
        async with self._database.writing() as connection:
            limited = {}
            for each in lineage(await self._existing(connection, token_id)):
                if each.uses_left == 0:
                    raise RefusedError(used_up(each))
                if each.uses is not None:
                    limited[each.id] = each.uses
            await store.take_use(connection, list(limited))
        return limited

    async def give_use_back(self, taken: Mapping[str, int]) -> None:
        """Undo `take_use`, which returned that, but where somebody has set another number since."""
        async with self._database.writing() as connection:
            await store.give_use_back(connection, taken)

    async def get(self, token_id: str, account: str | None = None) -> Token:
        """Return the token; raises NotFoundError."""
        async with self._database.reading() as connection:
            return await self._existing(connection, token_id, account)

    async def listed(self, account: str | None, status: Status | None) -> list[Token]:
        """Return the tokens of an account, or all; with a status only those, oldest first."""
        async with self._database.reading() as connection:
            if account is not None:
                await existing_account(connection, account)
            tokens = await store.matching(connection, TokenQuery(account, status), self._clock())
        return [self._expiry.judged(token) for token in tokens[::-1]]

    async def page(self, wanted: TokenQuery) -> list[Token]:
        """Return the tokens that are wanted, newest first."""
        async with self._database.reading() as connection:
            tokens = await store.matching(connection, wanted, self._clock())
        return [self._expiry.judged(token) for token in tokens]

    async def with_ids(self, token_ids: Collection[str]) -> dict[str, tuple[Token, Account]]:
        """Return tokens with their owners, as they are now, by their ids."""
        async with self._database.reading() as connection:
            found = await store.with_ids(connection, list(token_ids))
        return {i: (self._expiry.judged(token), account) for i, (token, account) in found.items()}

    async def names(self, token_ids: Iterable[str]) -> dict[str, str]:
        """Return the names of tokens by their ids."""
        async with self._database.reading() as connection:
            return await store.names(connection, list(token_ids))

    async def uses(self, tokens: Iterable[Token], days: int) -> dict[str, list[int]]:
        """Return for each token's id its uses a day, the last of them today, in UTC."""
        today = day_of(self._clock())
        uses = {token.id: [0] * days for token in tokens}
        async with self._database.reading() as connection:
            for token_id, day, number in await store.uses_since(
                connection, list(uses), today - days + 1
            ):
                if day <= today:
                    uses[token_id][day - today - 1] = number
        return uses

    async def edit(
        self,
        token_id: str,
        facts: TokenFacts,
        *,
        by: Author,
        version: str | None = None,
    ) -> Token:
        """Replace what is given; the secret stays. Raises ServiceError, also if its life is over.

        With a version (`access.representation.version_of`) ConflictError if it is another by now.
        """
        async with self._database.writing() as connection:
            now = self._now()
            before = await self._existing(connection, token_id, by.confined_to)
            if version is not None and version != version_of(before):
                raise ConflictError(f"the token {before.label} was changed meanwhile; look at it again")
            check_not_over(before, now)
            check_not_itself(before, by.maker)
            owner = await existing_account(connection, before.account)
            after = self._rules.with_facts(before, facts, owner, now)
            check_not_undone(before, after, now)
            check_within(after, by.maker)
            check_within_parent(before, after)
            await store.update(connection, after)
            old, new = facts_of(before), facts_of(after)
            changes = {key: [old[key], new[key]] for key in new if old[key] != new[key]}
            await self._audit(connection, "token_edited", after, by, {"changes": changes})
        return after

    async def rotate(self, token_id: str, *, by: Author) -> tuple[str, Token]:
        """Give the token a new secret; the old one is dead when this returns. Raises ServiceError."""
        async with self._database.writing() as connection:
            return await self._rotate(connection, token_id, by)

    async def rotate_once(
        self, token_id: str, account: str, request: OnceRequest, *, by: Author
    ) -> tuple[str | None, Token]:
        """Do as `rotate` does, the first time that the request comes; later only return the token."""

        async def rotate(connection: Connection) -> tuple[str, Token]:
            return await self._rotate(connection, token_id, by)

        return await self._once(account, request, rotate)

    async def revoke(
        self,
        token_ids: Iterable[str],
        reason: str | None,
        *,
        by: Author,
    ) -> list[Token]:
        """End the tokens for good, and return them.

        One that was revoked before keeps the first revocation's time, author and reason. Raises
        ServiceError if there is no such token, after all the others have been revoked.
        """
        reason = _checked_reason(reason)
        async with self._database.writing() as connection:
            found = {token_id: await store.by_id(connection, token_id) for token_id in token_ids}
            found = {i: t if t and _is_there_for(by, t) else None for i, t in found.items()}
            for token in found.values():
                if token and token.revoked_at is None:
                    await self._revoke(connection, token, reason, by)
            revoked = [await store.by_id(connection, token_id) for token_id in found if found[token_id]]
        if missing := [token_id for token_id, token in found.items() if token is None]:
            others = "; the others are revoked" if revoked else ""
            raise NotFoundError(f"there is no token {', '.join(missing)}{others}", _ALL_TOKENS)
        return [token for token in revoked if token]

    async def revoke_all(self, account: str, reason: str | None, *, by: Author) -> int:
        """End all tokens of an account that still open something; return how many there were.

        Also those without a use left: a request that holds the last one may give it back.
        """
        reason = _checked_reason(reason)
        async with self._database.writing() as connection:
            now = self._clock()
            tokens = [
                token
                for token in await store.matching(connection, TokenQuery(account), now)
                if without_limit_of_uses(token).own_status(now) in {Status.ACTIVE, Status.PENDING}
            ]
            for token in tokens:
                await self._revoke(connection, token, reason, by)
        return len(tokens)

    async def revoke_found(self, secret: str, note: str | None, *, by: Author) -> None:
        """End the token with a secret that somebody found; the owner sees the note.

        The same whether there is one or not, and whether it had ended before.
        """
        note = _checked_reason(note)
        if not is_well_formed(secret):
            return
        async with self._database.writing() as connection:
            found = await store.by_digest(connection, digest_of(secret))
            if found and found[0].revoked_at is None:
                await self._revoke(connection, found[0], f"found: {note}" if note else "found", by)

    def find_at_once(self, sent: SentSecret) -> tuple[Token, Account] | None:
        """Return what `find_sent` would; raises NotAtOnceError where that has to wait."""
        if not sent.is_well_formed:
            return None
        found = store.by_digest_at_once(self._database.direct, sent.digest)
        return found and (self._expiry.judged(found[0]), found[1])

    async def find_sent(self, sent: SentSecret) -> tuple[Token, Account] | None:
        """Return the token with this secret and its owner, as they are now, whatever their state.

        What was committed before the call is seen. What can't be a secret is not looked up.
        """
        try:
            return self.find_at_once(sent)
        except NotAtOnceError:
            async with self._database.reading() as connection:
                self._database.direct.open()
                found = await store.by_digest(connection, sent.digest)
        return found and (self._expiry.judged(found[0]), found[1])

    async def find(self, secret: str) -> tuple[Token, Account] | None:
        """Return what `find_sent` does."""
        return await self.find_sent(SentSecret.of(secret))

    async def _create(
        self,
        connection: Connection,
        account: str,
        facts: TokenFacts,
        by: Author,
        parent: Token | None = None,
    ) -> tuple[str, Token]:
        now = self._now()
        secret = make_secret()
        has_default_end = facts.expires is None
        # What is missing is judged as what is empty, but for the expiry, which has a default.
        facts = replace(
            facts,
            name=facts.name or "",
            scopes=facts.scopes or (),
            expires=self._default_lifetime(parent) if facts.expires is None else facts.expires,
        )
        owner = await _owner(connection, account)
        token = Token(make_id(), account, now, hint_of(secret))
        if parent:
            token = child_of(parent, token)
        token = self._rules.with_facts(token, facts, owner, now)
        if by.maker and has_default_end:
            token = replace(token, expires_at=earlier_end(token, by.maker))
        check_within(token, by.maker)
        while await store.by_id(connection, token.id):
            token = replace(token, id=make_id())
        await store.insert(connection, token, digest_of(secret))
        if parent:
            details = facts_of(token) | {"parent": parent.id}
            await self._audit(connection, "token_derived", token, by, details)
        else:
            await self._audit(connection, "token_created", token, by, facts_of(token))
        return secret, token

    def _default_lifetime(self, parent: Token | None) -> str:
        return DERIVED_LIFETIME if parent else self._rules.lifetimes.default_lifetime

    async def _rotate(
        self,
        connection: Connection,
        token_id: str,
        by: Author,
    ) -> tuple[str, Token]:
        secret = make_secret()
        before = await self._existing(connection, token_id, by.confined_to)
        check_not_over(before, self._clock())
        check_not_itself(before, by.maker)
        check_within(before, by.maker)
        await store.set_digest(connection, token_id, digest_of(secret), hint_of(secret))
        await self._audit(connection, "token_rotated", before, by, {})
        # Whoever had the old secret may have made them.
        for child in await store.matching(connection, TokenQuery(parent=token_id), self._clock()):
            if child.revoked_at is None:
                await self._revoke(connection, child, _PARENT_ROTATED, by)
        return secret, replace(before, hint=hint_of(secret))

    async def _revoke(
        self, connection: Connection, token: Token, reason: str | None, by: Author
    ) -> None:
        await store.set_revoked(connection, token.id, self._now(), by.name, reason)
        await self._audit(connection, "token_revoked", token, by, {"reason": reason})

    async def _once(
        self,
        account: str,
        request: OnceRequest,
        do: Callable[[Connection], Awaitable[tuple[str, Token]]],
    ) -> tuple[str | None, Token]:
        key, content = digest_of(request.key), digest_of(request.content)
        async with self._database.writing() as connection:
            now = self._clock()
            await idempotency.delete_before(connection, now - KEYS_KEPT)
            answered = await idempotency.answered(connection, account, key)
            if answered is None:
                secret, token = await do(connection)
                await idempotency.insert(connection, account, Answered(key, content, token.id), now)
                return secret, token
            if answered.request != content:
                raise ConflictError("this key came before, with another request; make up a new one")
            return None, await self._existing(connection, answered.token_id, account)

    async def _existing(
        self, connection: Connection, token_id: str, account: str | None = None
    ) -> Token:
        token = await store.by_id(connection, token_id)
        if token is None or account not in {None, token.account}:
            raise NotFoundError(f"there is no token {token_id}", _ALL_TOKENS)
        return self._expiry.judged(token)

    def _now(self) -> datetime:
        """A token's own times have whole seconds, so that what is shown is what holds."""
        return self._clock().replace(microsecond=0)

    async def _audit(
        self,
        connection: Connection,
        event: str,
        token: Token,
        by: Author,
        details: Mapping[str, object],
    ) -> None:
        entry = by.did(event, self._clock(), token.account, token.id, details)
        await connection.run_sync(audit.insert, [entry])


async def _owner(connection: Connection, name: str) -> Account:
    account = await existing_account(connection, name)
    if account.disabled_at is not None:
        raise ServiceError(f"the account {name} is disabled", f"`account enable {name}` changes that")
    return account


def _is_there_for(author: Author, token: Token) -> bool:
    return author.confined_to in {None, token.account}


def _checked_reason(reason: str | None) -> str | None:
    try:
        return checked_text(reason, "a reason") if reason else None
    except ValueError as error:
        raise FactsError({"reason": str(error)}) from None
