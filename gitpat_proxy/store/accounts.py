"""Queries on accounts."""

from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from gitpat_proxy.access.model import Account
from gitpat_proxy.store.connection import Connection
from gitpat_proxy.store.tables import accounts, tokens

COLUMNS: Sequence[sa.ColumnElement[Any]] = (
    *(column for column in accounts.c if column.name != "password_hash"),
    accounts.c.password_hash.is_not(None).label("has_password"),
)
"""What an account is made from. Nobody but a sign-in takes the hash out of the database."""


async def insert(connection: Connection, account: Account, password_hash: str | None = None) -> None:
    """Raise DuplicateError, by way of the transaction, if the name is taken."""
    await connection.execute(
        accounts.insert().values(
            name=account.name,
            administrator=account.administrator,
            service=account.service,
            created_at=account.created_at,
            disabled_at=account.disabled_at,
            password_hash=password_hash,
        )
    )


async def named(connection: Connection, name: str) -> Account | None:
    """Return the account of that name."""
    row = (await connection.execute(sa.select(*COLUMNS).where(accounts.c.name == name))).first()
    return account_of(row) if row else None


async def password_hash(connection: Connection, name: str) -> str | None:
    """Return the hash of the account's password; None if there is none, or no such account."""
    query = sa.select(accounts.c.password_hash).where(accounts.c.name == name)
    return (await connection.execute(query)).scalar_one_or_none()


async def everyone(connection: Connection) -> list[Account]:
    """Return all accounts by name."""
    rows = await connection.execute(sa.select(*COLUMNS).order_by(accounts.c.name))
    return [account_of(row) for row in rows]


async def page(connection: Connection, search: str, after: str, limit: int) -> list[tuple[Account, int]]:
    """Return accounts by name, each with the number of its tokens.

    Those whose name has `search` in it and comes behind `after`.
    """
    count = sa.select(sa.func.count()).where(tokens.c.account_id == accounts.c.id).scalar_subquery()
    query = (
        sa.select(*COLUMNS, count.label("tokens"))
        .where(accounts.c.name > after, accounts.c.name.icontains(search, autoescape=True))
        .order_by(accounts.c.name)
        .limit(limit)
    )
    return [(account_of(row), row.tokens) for row in await connection.execute(query)]


async def set_disabled(connection: Connection, name: str, at: datetime | None) -> None:
    """Write since when the account is disabled, None for not at all."""
    await connection.execute(accounts.update().where(accounts.c.name == name).values(disabled_at=at))


async def update(connection: Connection, account: Account) -> None:
    """Write what an edit may have changed."""
    changed = accounts.update().where(accounts.c.name == account.name)
    await connection.execute(changed.values(administrator=account.administrator))


async def set_password_hash(connection: Connection, name: str, value: str) -> None:
    """Put another password's hash in place of the old one."""
    await connection.execute(
        accounts.update().where(accounts.c.name == name).values(password_hash=value)
    )


def account_of(row: sa.Row[*tuple[Any, ...]] | SimpleNamespace, prefix: str = "") -> Account:
    """Read an account from a row whose columns' names begin with `prefix`."""

    def value(name: str) -> Any:  # noqa: ANN401 - a column's type
        return getattr(row, f"{prefix}{name}")

    return Account(
        name=value("name"),
        administrator=value("administrator"),
        service=value("service"),
        created_at=value("created_at"),
        disabled_at=value("disabled_at"),
        has_password=value("has_password"),
    )


def id_of(name: str) -> sa.ScalarSelect[int]:
    """Return the expression for an account's row id."""
    return sa.select(accounts.c.id).where(accounts.c.name == name).scalar_subquery()
