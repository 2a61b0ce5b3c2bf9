"""Queries on sessions."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gitpat_proxy.access.model import Account, Session
from gitpat_proxy.store.accounts import COLUMNS, account_of, id_of
from gitpat_proxy.store.connection import Connection
from gitpat_proxy.store.tables import accounts, sessions

_session_columns = [column for column in sessions.c if column.name not in {"account_id", "digest"}]
_with_account = sa.select(
    *_session_columns, *(column.label(f"account_{column.name}") for column in COLUMNS)
).join_from(sessions, accounts)


async def insert(connection: Connection, session: Session, digest: bytes) -> None:
    """Write a new session."""
    values = vars(session) | {"digest": digest, "account_id": id_of(session.account)}
    del values["account"]
    await connection.execute(sessions.insert().values(**values))


async def by_digest(connection: Connection, digest: bytes) -> tuple[Session, Account] | None:
    """Return the session with that digest and its account."""
    row = (await connection.execute(_with_account.where(sessions.c.digest == digest))).first()
    return (_session_of(row), account_of(row, "account_")) if row else None


async def of_account(connection: Connection, account: str) -> list[Session]:
    """Return the account's sessions, newest first."""
    query = _with_account.where(sessions.c.account_id == id_of(account))
    rows = await connection.execute(query.order_by(sessions.c.created_at.desc(), sessions.c.id))
    return [_session_of(row) for row in rows]


async def set_last_seen(connection: Connection, session_id: str, at: datetime, address: str) -> None:
    """Write when, and from where, the session was last used."""
    changed = sessions.update().where(sessions.c.id == session_id)
    await connection.execute(changed.values(last_seen_at=at, address=address))


async def set_authenticated(connection: Connection, session_id: str, at: datetime) -> None:
    """Write when the password was last given."""
    changed = sessions.update().where(sessions.c.id == session_id)
    await connection.execute(changed.values(authenticated_at=at))


async def delete(connection: Connection, session_id: str, account: str) -> bool:
    """End one of the account's sessions; tell whether there was one."""
    gone = sessions.delete().where(sessions.c.id == session_id, sessions.c.account_id == id_of(account))
    return await connection.run_sync(lambda sync: sync.execute(gone).rowcount > 0)


async def delete_others(connection: Connection, account: str, kept: str | None) -> None:
    """End all sessions of an account but one, or all."""
    gone = sessions.delete().where(sessions.c.account_id == id_of(account))
    if kept is not None:
        gone = gone.where(sessions.c.id != kept)
    await connection.execute(gone)


async def delete_outside(connection: Connection, first: datetime, last: datetime) -> None:
    """Remove those that can't be alive: made before the first moment or after the last."""
    made = sessions.c.created_at
    await connection.execute(sessions.delete().where(sa.or_(made < first, made > last)))


def _session_of(row: sa.Row[Any]) -> Session:
    values = row._mapping
    names = [column.name for column in _session_columns]
    return Session(account=values["account_name"], **{name: values[name] for name in names})
