"""Accounts: who may own tokens."""

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from gitpat_proxy.access.model import Account, AuditEvent, Clock
from gitpat_proxy.access.names import checked_account_name
from gitpat_proxy.services.errors import ServiceError
from gitpat_proxy.store import accounts as store
from gitpat_proxy.store import audit
from gitpat_proxy.store.database import Database
from gitpat_proxy.store.errors import DuplicateError


class Accounts:
    """Each method is one transaction; `by` says for the audit who asked."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, name: str, *, administrator: bool, service: bool, by: str) -> Account:
        """Add an account; raises ServiceError if the name can't be used or is taken."""
        try:
            account = Account(checked_account_name(name), administrator, service, self._clock(), None)
        except ValueError as error:
            raise ServiceError(str(error)) from None
        try:
            async with self._database.writing() as connection:
                await store.insert(connection, account)
                details = {"by": by, "administrator": administrator, "service": service}
                event = self._event("account_added", name, details)
                await audit.insert(connection, [event])
        except DuplicateError:
            raise ServiceError(f"there is an account {name} already") from None
        return account

    async def listed(self) -> list[Account]:
        async with self._database.reading() as connection:
            return await store.everyone(connection)

    async def disable(self, name: str, *, by: str) -> Account:
        """From now on none of its tokens opens anything."""
        return await self._set_enabled(name, enabled=False, by=by)

    async def enable(self, name: str, *, by: str) -> Account:
        """Its tokens that were neither revoked nor have expired work again."""
        return await self._set_enabled(name, enabled=True, by=by)

    async def _set_enabled(self, name: str, *, enabled: bool, by: str) -> Account:
        disabled_at = None if enabled else self._clock()
        async with self._database.writing() as connection:
            account = await existing_account(connection, name)
            if (account.disabled_at is None) == enabled:
                return account
            await store.set_disabled(connection, name, disabled_at)
            event = "account_enabled" if enabled else "account_disabled"
            await audit.insert(connection, [self._event(event, name, {"by": by})])
        return replace(account, disabled_at=disabled_at)

    def _event(self, event: str, name: str, details: Mapping[str, object]) -> AuditEvent:
        return AuditEvent(self._clock(), event, account=name, details=details)


async def existing_account(connection: AsyncConnection, name: str) -> Account:
    """Return the account of that name; raises ServiceError if there is none."""
    account = await store.named(connection, name)
    if account is None:
        raise ServiceError(
            f"there is no account {name}; `account list` shows all, `account add` makes one"
        )
    return account
