"""Queries on the audit."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

from gitpat_proxy.access.chain import BEGINNING, link_of
from gitpat_proxy.access.model import AuditEvent, AuditFilter, AuditPlace, AuditRow
from gitpat_proxy.store.connection import Connection
from gitpat_proxy.store.tables import audit, audit_pruned

Link: TypeAlias = tuple[int, bytes]
"""A record's row id, and the digest that stands in the chain for it."""

_MOST_LOOKED_AT = 20_000
"""Where no index leads to the few events that fit, a page ends after so many that don't."""
_FILTERS = ("token", "account", "repository", "kind", "address", "request")
_PLACE = (audit.c.at, audit.c.id)
_NEWEST = (audit.c.at.desc(), audit.c.id.desc())


_UNREAD = sa.select(*(column for column in audit.c if column is not audit.c.details)).add_columns(
    sa.type_coerce(audit.c.details, sa.Text).label("details")
)


def insert(connection: sa.Connection, events: Sequence[AuditEvent]) -> Link:
    """Write the events in their order, each linked to the one before; at least one.

    Return the last one's link.
    """
    row_id, chain = last_link(connection)
    rows = []
    for event in events:
        row_id += 1
        chain = link_of(chain, row_id, event)
        facts = {"id": row_id, "chain": chain, "kind": event.kind.value, "details": dict(event.details)}
        rows.append(vars(event) | facts)
    connection.execute(_INSERT, rows)
    return row_id, chain


async def holds(connection: Connection, link: Link) -> bool:
    """Tell whether the record with this link is there."""
    row_id, chain = link
    query = sa.select(audit.c.id).where(audit.c.id == row_id, audit.c.chain == chain)
    return (await connection.execute(query)).first() is not None


def last_link(connection: sa.Connection) -> Link:
    """Return the end of the chain."""
    return _link_by(connection, _LAST) or first_link(connection)


def first_link(connection: sa.Connection) -> Link:
    """Return what stands before the first record: the last that was pruned, or nothing."""
    return _link_by(connection, _LAST_PRUNED) or (0, BEGINNING)


def _link_by(connection: sa.Connection, query: sa.Select[Any]) -> Link | None:
    row = connection.execute(query).first()
    return (row.id, row.chain) if row else None


def _newest_in(table: sa.Table) -> sa.Select[Any]:
    newest = sa.select(sa.func.max(table.c.id)).scalar_subquery()
    return sa.select(table.c.id, table.c.chain).where(table.c.id == newest)


# Made once: each push waits for them.
_INSERT = audit.insert()
_LAST, _LAST_PRUNED = _newest_in(audit), _newest_in(audit_pruned)


async def linked(connection: Connection, after_id: int, limit: int) -> list[tuple[AuditRow, bytes]]:
    """Return the records after one, in the chain's order, each with its link; b"" if it has none."""
    query = audit.select().where(audit.c.id > after_id).order_by(audit.c.id).limit(limit)
    return [(_row_of(row), row.chain or b"") for row in await connection.execute(query)]


async def prune(connection: Connection, before: datetime, limit: int) -> int:
    """Remove the oldest records, as far as they are from before that time; return how many.

    The chain's order decides, so that what is left is one piece; times may differ from it by what
    the clock was put back. The last one's link is kept: from there on the rest can be verified.
    """
    first, _ = await connection.run_sync(first_link)
    oldest = sa.select(audit.c.id, audit.c.at, audit.c.chain).where(audit.c.id > first)
    rows = (await connection.execute(oldest.order_by(audit.c.id).limit(limit))).all()
    pruned = list(itertools.takewhile(lambda row: row.at < before, rows))
    if not pruned:
        return 0
    last = pruned[-1]
    await connection.execute(audit.delete().where(audit.c.id <= last.id))
    await connection.execute(audit_pruned.delete())
    await connection.execute(audit_pruned.insert().values(id=last.id, chain=last.chain, at=last.at))
    return len(pruned)


async def by_id(connection: Connection, row_id: int, most_refs: int) -> AuditEvent | None:
    """Return the event with that row id, with so many refs as `page` does."""
    row = (await connection.execute(_UNREAD.where(audit.c.id == row_id))).first()
    return (await asyncio.to_thread(_read, row, most_refs))[1] if row else None


async def matching(connection: Connection, wanted: AuditFilter) -> list[AuditRow]:
    """Return the events with their row ids, oldest first."""
    query = audit.select().where(audit.c.id > wanted.after_id, *_conditions(wanted, *_FILTERS))
    rows = await connection.execute(query.order_by(audit.c.at, audit.c.id))
    return [_row_of(row) for row in rows]


async def page(
    connection: Connection,
    wanted: AuditFilter,
    before: AuditPlace | None,
    limit: int,
    most_refs: int | None = None,
) -> tuple[list[AuditRow], AuditPlace | None]:
    """Return the newest events before a place, and the place where to go on; None at the end.

    Of the refs of a push only so many are in its details; `updates_more` says how many there are
    beside.

    Events of an account, a token or a kind are found by an index, those of a repository alone, too.
    For the rest, the ones of a repository, an address or a request are looked for one by one, and only
    among so many at a time: there may be fewer than `limit`, or none, and still more to come.
    """
    by_index = [name for name, _ in _equal(wanted, "token", "account", "kind")] or ["repository"]
    looked_for = _equal(wanted, *(n for n in ("repository", "address", "request") if n not in by_index))
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
