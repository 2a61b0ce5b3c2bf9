"""Queries on failed sign-ins, and on the devices from which somebody has signed in before."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from gitpat_proxy.store.accounts import id_of
from gitpat_proxy.store.connection import Connection
from gitpat_proxy.store.tables import failed_sign_ins, known_devices


async def failures(connection: Connection, key: str) -> tuple[int, datetime] | None:
    """Return how many there were, and when the last; None for none."""
    query = sa.select(failed_sign_ins.c.failures, failed_sign_ins.c.last_at)
    row = (await connection.execute(query.where(failed_sign_ins.c.key == key))).first()
    return (row.failures, row.last_at) if row else None


async def add_failure(connection: Connection, key: str, at: datetime) -> None:
    """Count one more."""
    new = insert(failed_sign_ins).values(key=key, failures=1, last_at=at)
    more = {"failures": failed_sign_ins.c.failures + 1, "last_at": at}
    await connection.execute(new.on_conflict_do_update(index_elements=["key"], set_=more))


async def take_failure_back(connection: Connection, key: str) -> None:
    """Count one less: it was none."""
    counted = (failed_sign_ins.c.key == key, failed_sign_ins.c.failures > 0)
    changed = failed_sign_ins.update().where(*counted)
    await connection.execute(changed.values(failures=failed_sign_ins.c.failures - 1))


async def forget_failures(connection: Connection, key: str) -> None:
    """Begin anew."""
    await connection.execute(failed_sign_ins.delete().where(failed_sign_ins.c.key == key))


async def forget_failures_before(connection: Connection, at: datetime) -> None:
    """Remove what counts no more."""
    await connection.execute(failed_sign_ins.delete().where(failed_sign_ins.c.last_at < at))


async def add_device(connection: Connection, digest: bytes, account: str, at: datetime) -> None:
    """Remember that this browser is one of the account's."""
    await connection.execute(
        known_devices.insert().values(digest=digest, account_id=id_of(account), seen_at=at)
    )


async def knows_device(connection: Connection, digest: bytes, account: str) -> bool:
    """Tell whether somebody has signed in to the account with this browser."""
    query = sa.select(known_devices.c.seen_at).where(
        known_devices.c.digest == digest, known_devices.c.account_id == id_of(account)
    )
    return (await connection.execute(query)).first() is not None


async def forget_device(connection: Connection, digest: bytes) -> None:
    """Another cookie takes its place."""
    await connection.execute(known_devices.delete().where(known_devices.c.digest == digest))


async def forget_devices_before(connection: Connection, at: datetime) -> None:
    """Remove those that were not seen since."""
    await connection.execute(known_devices.delete().where(known_devices.c.seen_at < at))
