"""Queries on the requests that have been answered, and must not be done again."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from gitpat_proxy.store.accounts import id_of
from gitpat_proxy.store.connection import Connection
from gitpat_proxy.store.tables import idempotency_keys as keys


@dataclass(frozen=True)
class Answered:
    """The digests of a key and of the request that came with it, and the token that it was about."""

    key: bytes
    request: bytes
    token_id: str


async def answered(connection: Connection, account: str, key: bytes) -> Answered | None:
    """Return what came with the key before."""
    query = sa.select(keys.c.request, keys.c.token_id)
    row = (
        await connection.execute(query.where(keys.c.account_id == id_of(account), keys.c.key == key))
    ).first()
    return Answered(key, row.request, row.token_id) if row else None


async def insert(connection: Connection, account: str, new: Answered, at: datetime) -> None:
    """Remember that the request with this key has been answered."""
    await connection.execute(keys.insert().values(account_id=id_of(account), created_at=at, **vars(new)))


async def delete_before(connection: Connection, at: datetime) -> None:
    """Forget those that are old."""
    await connection.execute(keys.delete().where(keys.c.created_at < at))
