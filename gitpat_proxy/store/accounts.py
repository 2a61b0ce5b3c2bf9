"""Queries on accounts."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gitpat_proxy.access.model import Account
from gitpat_proxy.store.tables import accounts


async def insert(connection: AsyncConnection, account: Account) -> None:
    """Raise DuplicateError, by way of the transaction, if the name is taken."""
    await connection.execute(
        accounts.insert().values(
            name=account.name,
            administrator=account.administrator,
            service=account.service,
            created_at=account.created_at,
            disabled_at=account.disabled_at,
        )
    )


async def named(connection: AsyncConnection, name: str) -> Account | None:
    """Return the account of that name."""
    row = (await connection.execute(accounts.select().where(accounts.c.name == name))).first()
    return account_of(row) if row else None


async def everyone(connection: AsyncConnection) -> list[Account]:
    """Return all accounts by name."""
    rows = await connection.execute(accounts.select().order_by(accounts.c.name))
    return [account_of(row) for row in rows]


async def set_disabled(connection: AsyncConnection, name: str, at: datetime | None) -> None:
    """Write since when the account is disabled, None for not at all."""
    await connection.execute(accounts.update().where(accounts.c.name == name).values(disabled_at=at))


def account_of(row: sa.Row[Any], prefix: str = "") -> Account:
    """Read an account from a row whose columns' names begin with `prefix`."""
    values = row._mapping
    return Account(
        name=values[f"{prefix}name"],
        administrator=values[f"{prefix}administrator"],
        service=values[f"{prefix}service"],
        created_at=values[f"{prefix}created_at"],
        disabled_at=values[f"{prefix}disabled_at"],
    )
