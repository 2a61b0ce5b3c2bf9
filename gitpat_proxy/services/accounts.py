"""Accounts: who may own tokens, and who may sign in."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gitpat_proxy.access.model import Account, Author, Clock
from gitpat_proxy.access.names import checked_account_name
from gitpat_proxy.access.password import checked_password
from gitpat_proxy.services.errors import FactsError, ForbiddenError, NotFoundError, ServiceError
from gitpat_proxy.services.passwords import Passwords, is_usable_hash
from gitpat_proxy.store import accounts as store
from gitpat_proxy.store import audit, sessions
from gitpat_proxy.store.connection import Connection
from gitpat_proxy.store.database import Database
from gitpat_proxy.store.errors import DuplicateError


class Accounts:
    """Each method is one transaction; `by` says for the audit who asked."""

    def __init__(self, database: Database, clock: Clock, passwords: Passwords) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords

    async def add(
        self,
        name: str,
        *,
        administrator: bool,
        service: bool,
        password: str | None = None,
        by: Author,
    ) -> Account:
        """Add an account; raises ServiceError if name or password can't be used, or it is there."""
        account = Account(
            _checked_name(name), administrator, service, self._clock(), None, password is not None
        )
        hashed = None if password is None else await self._hash(account, password, "password")
        try:
            async with self._database.writing() as connection:
                await store.insert(connection, account, hashed)
                details = {"administrator": administrator, "service": service}
                await self._audit(connection, "account_added", name, by, details)
        except DuplicateError:
            raise FactsError({"name": f"there is an account {name} already"}) from None
        return account

    async def get(self, name: str) -> Account:
        """Return the account; raises NotFoundError."""
        async with self._database.reading() as connection:
            return await existing_account(connection, name)

    async def listed(self) -> list[Account]:
        async with self._database.reading() as connection:
            return await store.everyone(connection)

    async def page(self, search: str, after: str, limit: int) -> list[tuple[Account, int]]:
        """Return accounts by name from behind `after`, each with the number of its tokens."""
        async with self._database.reading() as connection:
            return await store.page(connection, search, after, limit)

    async def disable(self, name: str, *, by: Author) -> Account:
        """From now on none of its tokens and sessions opens anything."""
        return await self._set_enabled(name, enabled=False, by=by)

    async def enable(self, name: str, *, by: Author) -> Account:
        """Its tokens that were neither revoked nor have expired work again."""
        return await self._set_enabled(name, enabled=True, by=by)

    async def set_administrator(self, name: str, *, administrator: bool, by: Author) -> Account:
        """Make the account an administrator, or an ordinary one again; raises ServiceError."""
        async with self._database.writing() as connection:
            account = await existing_account(connection, name)
            if account.administrator == administrator:
                return account
            edited = replace(account, administrator=administrator)
            await store.update(connection, edited)
            changes = {"administrator": [account.administrator, administrator]}
            await self._audit(connection, "account_edited", name, by, {"changes": changes})
        return edited

    async def set_password(self, name: str, password: str, *, by: Author) -> None:
        """Give an account a password and end its sessions; raises ServiceError."""
        hashed = await self._hash(await self.get(name), password, "new")
        async with self._database.writing() as connection:
            await store.set_password_hash(connection, name, hashed)
            await sessions.delete_others(connection, name, kept=None)
            await self._audit(connection, "password_set", name, by)

    async def change_password(self, name: str, new: str, *, session: str, by: Author) -> None:
        """Change one's own password and end one's other sessions; raises ServiceError.

        Whether it is theirs is known already: the present password was asked for.
        """
        hashed = await self._hash(await self.get(name), new, "new")
        async with self._database.writing() as connection:
            await store.set_password_hash(connection, name, hashed)
            await sessions.delete_others(connection, name, kept=session)
            await self._audit(connection, "password_changed", name, by)

    async def import_htpasswd(self, lines: Iterable[str], *, by: Author) -> tuple[list[str], list[str]]:
        """Add an account, or a password to one that has none, for each line `NAME:HASH`.

        Returns the names that can sign in now, and a sentence for each line that can't be used. The
        hashes are replaced by our own when their people sign in.
        """
        done: list[str] = []
        problems: list[str] = []
        async with self._database.writing() as connection:
            for number, line in enumerate(lines, 1):
                if not line.strip() or line.lstrip().startswith("#"):
                    continue
                try:
                    done.append(await self._import(connection, line.rstrip("\r\n"), by))
                except ServiceError as error:
                    problems.append(f"line {number}: {error}")
        return done, problems

    async def _import(self, connection: Connection, line: str, by: Author) -> str:
        name, _, hashed = line.partition(":")
        hashed = hashed.strip()
        name = _checked_name(name)
        if not is_usable_hash(hashed):
            raise ServiceError(f"the password of {name} is kept in a form that can't be used")
        account = await store.named(connection, name)
        if account is None:
            account = Account(name, administrator=False, service=False, created_at=self._clock())
            await store.insert(connection, account)
        elif account.has_password or account.service:
            raise ServiceError(
                f"{name} {'is a service' if account.service else 'has a password already'}"
            )
        await store.set_password_hash(connection, name, hashed)
        await self._audit(connection, "password_imported", name, by)
        return name

    async def _hash(self, account: Account, password: str, field: str) -> str:
        if account.service:
            raise ForbiddenError(f"{account.name} is a service: it has no password and can't sign in")
        try:
            return await self._passwords.hash(checked_password(password))
        except ValueError as error:
            raise FactsError({field: str(error)}) from None

    async def _set_enabled(self, name: str, *, enabled: bool, by: Author) -> Account:
        disabled_at = None if enabled else self._clock()
        async with self._database.writing() as connection:
            account = await existing_account(connection, name)
            if (account.disabled_at is None) == enabled:
                return account
            await store.set_disabled(connection, name, disabled_at)
            # Those of a thief must not come back with the account.
            await sessions.delete_others(connection, name, kept=None)
            event = "account_enabled" if enabled else "account_disabled"
            await self._audit(connection, event, name, by)
        return replace(account, disabled_at=disabled_at)

    async def _audit(
        self,
        connection: Connection,
        event: str,
        name: str,
        by: Author,
        details: Mapping[str, object] | None = None,
    ) -> None:
        await connection.run_sync(audit.insert, [by.did(event, self._clock(), name, details=details)])


async def existing_account(connection: Connection, name: str) -> Account:
    """Return the account of that name; raises NotFoundError."""
    account = await store.named(connection, name)
    if account is None:
        raise NotFoundError(
            f"there is no account {name}", "`account list` shows all, `account add` makes one"
        )
    return account


def _checked_name(name: str) -> str:
    try:
        return checked_account_name(name)
    except ValueError as error:
        raise FactsError({"name": str(error)}) from None
