"""Queries on the audit."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gitpat_proxy.access.model import AuditEvent, AuditFilter
from gitpat_proxy.store.tables import audit


async def insert(connection: AsyncConnection, events: Sequence[AuditEvent]) -> None:
    """Write the events in their order; at least one."""
    await connection.execute(
        audit.insert(), [vars(event) | {"details": dict(event.details)} for event in events]
    )


async def matching(connection: AsyncConnection, wanted: AuditFilter) -> list[tuple[int, AuditEvent]]:
    """Return the events with their row ids, oldest first."""
    conditions: list[sa.ColumnElement[bool]] = [audit.c.id > wanted.after_id]
    if wanted.since is not None:
        conditions.append(audit.c.at >= wanted.since)
    conditions += [
        audit.c[name] == getattr(wanted, name)
        for name in ("token", "account", "repository")
        if getattr(wanted, name) is not None
    ]
    rows = await connection.execute(audit.select().where(*conditions).order_by(audit.c.at, audit.c.id))
    return [
        (
            row.id,
            AuditEvent(
                row.at,
                row.event,
                row.account,
                row.token,
                row.repository,
                row.address,
                row.request,
                row.details,
            ),
        )
        for row in rows
    ]
