"""Queries on the audit."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gitpat_proxy.access.model import AuditEvent, AuditFilter, AuditPlace, AuditRow
from gitpat_proxy.store.tables import audit

_MOST_LOOKED_AT = 20_000
"""Where no index leads to the few events that fit, a page ends after so many that don't."""
_FILTERS = ("token", "account", "repository", "kind", "address")
_PLACE = (audit.c.at, audit.c.id)
_NEWEST = (audit.c.at.desc(), audit.c.id.desc())


_UNREAD = sa.select(*(column for column in audit.c if column is not audit.c.details)).add_columns(
    sa.type_coerce(audit.c.details, sa.Text).label("details")
)


async def insert(connection: AsyncConnection, events: Sequence[AuditEvent]) -> None:
    """Write the events in their order; at least one."""
    rows = [vars(e) | {"kind": e.kind.value, "details": dict(e.details)} for e in events]
    await connection.execute(audit.insert(), rows)


async def matching(connection: AsyncConnection, wanted: AuditFilter) -> list[AuditRow]:
    """Return the events with their row ids, oldest first."""
    query = audit.select().where(audit.c.id > wanted.after_id, *_conditions(wanted, *_FILTERS))
    rows = await connection.execute(query.order_by(audit.c.at, audit.c.id))
    return [_row_of(row) for row in rows]


async def page(
    connection: AsyncConnection,
    wanted: AuditFilter,
    before: AuditPlace | None,
    limit: int,
    most_refs: int | None = None,
) -> tuple[list[AuditRow], AuditPlace | None]:
    """Return the newest events before a place, and the place where to go on; None at the end.

    Of the refs of a push only so many are in its details; `updates_more` says how many there are
    beside.

    Events of an account, a token or a kind are found by an index, those of a repository alone, too.
    For the rest, the ones of a repository or an address are looked for one by one, and only among so
    many at a time: there may be fewer than `limit`, or none, and still more to come.
    """
    by_index = [name for name, _ in _equal(wanted, "token", "account", "kind")] or ["repository"]
    looked_for = _equal(wanted, *(n for n in ("repository", "address") if n not in by_index))
    conditions = _conditions(wanted, *by_index)
    if before is not None:
        conditions.append(sa.tuple_(*_PLACE) < _bound(before))
    end = None
    if looked_for:
        far = sa.select(*_PLACE).where(*conditions).order_by(*_NEWEST).offset(_MOST_LOOKED_AT - 1)
        if row := (await connection.execute(far.limit(1))).first():
            end = row.at, row.id
            conditions.append(sa.tuple_(*_PLACE) >= _bound(end))
        # Of what is put together SQLite uses no index: the other conditions lead to less.
        conditions += [audit.c[name].concat("") == value for name, value in looked_for]
    found = _UNREAD.where(*conditions).order_by(*_NEWEST).limit(limit + 1)
    unread = (await connection.execute(found)).all()
    # A push may have thousands of refs: while they are read others must not have to wait.
    rows = await asyncio.to_thread(lambda: [_read(row, most_refs) for row in unread])
    if len(rows) > limit:
        row_id, event = rows[limit - 1]
        return rows[:limit], (event.at, row_id)
    return rows, end


def _bound(place: AuditPlace) -> sa.Tuple:
    """Without its columns' types a time would be compared as the text that it is not kept as."""
    return sa.tuple_(*place, types=[column.type for column in _PLACE])


def _conditions(wanted: AuditFilter, *names: str) -> list[sa.ColumnElement[bool]]:
    conditions = [audit.c[name] == value for name, value in _equal(wanted, *names)]
    return conditions if wanted.since is None else [*conditions, audit.c.at >= wanted.since]


def _equal(wanted: AuditFilter, *names: str) -> list[tuple[str, str]]:
    return [(name, getattr(wanted, name)) for name in names if getattr(wanted, name) is not None]


def _read(row: sa.Row[Any], most_refs: int | None) -> AuditRow:
    details: dict[str, Any] = json.loads(row.details)
    updates = details.get("updates", [])
    if most_refs is not None and len(updates) > most_refs:
        details |= {"updates": updates[:most_refs], "updates_more": len(updates) - most_refs}
    row_id, event = _row_of(row)
    return row_id, replace(event, details=details)


def _row_of(row: sa.Row[Any]) -> AuditRow:
    return row.id, AuditEvent(
        row.at,
        row.event,
        row.account,
        row.token,
        row.repository,
        row.address,
        row.request,
        row.details,
    )
