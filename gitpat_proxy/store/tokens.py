"""Queries on tokens. What a state means is not decided here."""

from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_network
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gitpat_proxy.access.model import Account, Token
from gitpat_proxy.access.representation import address_texts
from gitpat_proxy.store.accounts import account_of
from gitpat_proxy.store.tables import accounts, tokens

_token_columns = [column for column in tokens.c if column.name not in {"account_id", "digest"}]
_with_account = sa.select(
    *_token_columns, *(column.label(f"account_{column.name}") for column in accounts.c)
).join_from(tokens, accounts)


async def insert(connection: AsyncConnection, token: Token, digest: bytes) -> None:
    """Raise DuplicateError, by way of the transaction, if the id is taken."""
    owner = sa.select(accounts.c.id).where(accounts.c.name == token.account).scalar_subquery()
    await connection.execute(
        tokens.insert().values(
            id=token.id,
            account_id=owner,
            digest=digest,
            hint=token.hint,
            created_at=token.created_at,
            **_editable(token),
        )
    )


async def update(connection: AsyncConnection, token: Token) -> None:
    """Write what an edit may have changed."""
    await connection.execute(tokens.update().where(tokens.c.id == token.id).values(**_editable(token)))


async def set_digest(connection: AsyncConnection, token_id: str, digest: bytes, hint: str) -> None:
    """Put another secret's digest and hint in place of the old ones."""
    await connection.execute(
        tokens.update().where(tokens.c.id == token_id).values(digest=digest, hint=hint)
    )


async def set_revoked(
    connection: AsyncConnection, token_id: str, at: datetime, by: str, reason: str | None
) -> None:
    """Write when, by whom and why the token was revoked."""
    await connection.execute(
        tokens.update()
        .where(tokens.c.id == token_id)
        .values(revoked_at=at, revoked_by=by, revoked_reason=reason)
    )


async def set_last_used(connection: AsyncConnection, uses: Sequence[tuple[str, datetime, str]]) -> None:
    """Write token id, time and address of each use; an older use never replaces a newer one."""
    statement = (
        tokens.update()
        .where(
            tokens.c.id == sa.bindparam("token_id"),
            sa.or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at <= sa.bindparam("at")),
        )
        .values(last_used_at=sa.bindparam("at"), last_used_from=sa.bindparam("address"))
    )
    parameters = [{"token_id": token_id, "at": at, "address": address} for token_id, at, address in uses]
    await connection.execute(statement, parameters)


async def by_id(connection: AsyncConnection, token_id: str) -> Token | None:
    """Return the token with that id."""
    row = (await connection.execute(_with_account.where(tokens.c.id == token_id))).first()
    return _token_of(row) if row else None


async def by_digest(connection: AsyncConnection, digest: bytes) -> tuple[Token, Account] | None:
    """Return the token with that digest and its owner."""
    row = (await connection.execute(_with_account.where(tokens.c.digest == digest))).first()
    return (_token_of(row), account_of(row, "account_")) if row else None


async def of_account(connection: AsyncConnection, account: str | None) -> list[Token]:
    """Return the tokens of one account, or all, oldest first."""
    query = _with_account.order_by(tokens.c.created_at, tokens.c.id)
    if account is not None:
        query = query.where(accounts.c.name == account)
    return [_token_of(row) for row in await connection.execute(query)]


def _editable(token: Token) -> dict[str, object]:
    return {
        "name": token.name,
        "scopes": sorted(token.scopes),
        "addresses": address_texts(token),
        "not_before": token.not_before,
        "expires_at": token.expires_at,
    }


def _token_of(row: sa.Row[Any]) -> Token:
    addresses = row.addresses
    return Token(
        id=row.id,
        account=row.account_name,
        name=row.name,
        scopes=frozenset(row.scopes),
        addresses=None if addresses is None else tuple(ip_network(text) for text in addresses),
        created_at=row.created_at,
        not_before=row.not_before,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        last_used_from=row.last_used_from,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
        revoked_reason=row.revoked_reason,
        hint=row.hint,
    )
