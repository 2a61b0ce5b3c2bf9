"""Queries on tokens."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_network
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert as upsert

from gitpat_proxy.access.model import Account, Status, Token, TokenQuery
from gitpat_proxy.access.refs import ref_rule_of
from gitpat_proxy.access.representation import address_texts, ref_texts
from gitpat_proxy.store.accounts import COLUMNS, account_of, id_of
from gitpat_proxy.store.connection import Connection
from gitpat_proxy.store.direct import DirectReader
from gitpat_proxy.store.tables import accounts, token_uses, tokens

# A token comes with all that it was derived from, in one statement: what holds is what all allow.
_lineage: dict[str, sa.FromClause] = {
    "": tokens,
    "older_": tokens.alias("older"),
    "oldest_": tokens.alias("oldest"),
}


def _columns_of(generation: str) -> list[sa.Label[Any]]:
    return [
        column.label(generation + column.name)
        for column in _lineage[generation].c
        if column.name not in {"account_id", "digest"}
    ]


_alone = sa.select(
    *_columns_of(""), *(column.label(f"account_{column.name}") for column in COLUMNS)
).join_from(tokens, accounts)
_with_account = _alone.add_columns(*_columns_of("older_"), *_columns_of("oldest_"))
for _child, _parent in pairwise(_lineage.values()):
    _with_account = _with_account.outerjoin(_parent, _child.c.parent_id == _parent.c.id)

# The one query of each request, also as the text and the types' readers that SQLAlchemy makes of it.
_has_digest = tokens.c.digest == sa.bindparam("digest")
_by_digest = _with_account.where(_has_digest)
_DIALECT = sqlite.dialect()
_BY_DIGEST_TEXT = str(_by_digest.compile(dialect=_DIALECT))
_READERS = {
    column.name: column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None)
    for column in _by_digest.selected_columns
}
# Most are derived from none, and are read in half the time without the columns of others.
_ALONE_TEXT = str(_alone.where(_has_digest).compile(dialect=_DIALECT))
_PARENT = list(_READERS).index("parent_id")


async def insert(connection: Connection, token: Token, digest: bytes) -> None:
    """Raise DuplicateError, by way of the transaction, if the id is taken."""
    await connection.execute(
        tokens.insert().values(
            id=token.id,
            account_id=id_of(token.account),
            digest=digest,
            hint=token.hint,
            created_at=token.created_at,
            parent_id=token.parent and token.parent.id,
            **_editable(token),
        )
    )


async def update(connection: Connection, token: Token) -> None:
    """Write what an edit may have changed."""
    await connection.execute(tokens.update().where(tokens.c.id == token.id).values(**_editable(token)))


async def take_use(connection: Connection, token_ids: Sequence[str]) -> None:
    """Count a use of each, which has one left."""
    await connection.execute(
        tokens.update().where(tokens.c.id.in_(token_ids)).values(uses_left=tokens.c.uses_left - 1)
    )


async def give_use_back(connection: Connection, taken: Mapping[str, int]) -> None:
    """Undo what `take_use` did to each id whose `uses` are still those."""
    statement = (
        tokens.update()
        .where(
            tokens.c.id == sa.bindparam("token_id"),
            tokens.c.uses == sa.bindparam("of"),
            tokens.c.uses_left < tokens.c.uses,
        )
        .values(uses_left=tokens.c.uses_left + 1)
    )
    parameters = [{"token_id": token_id, "of": uses} for token_id, uses in taken.items()]
    await connection.execute(statement, parameters)


async def set_digest(connection: Connection, token_id: str, digest: bytes, hint: str) -> None:
    """Put another secret's digest and hint in place of the old ones."""
    await connection.execute(
        tokens.update().where(tokens.c.id == token_id).values(digest=digest, hint=hint)
    )


async def set_revoked(
    connection: Connection, token_id: str, at: datetime, by: str, reason: str | None
) -> None:
    """Write when, by whom and why the token was revoked."""
    await connection.execute(
        tokens.update()
        .where(tokens.c.id == token_id)
        .values(revoked_at=at, revoked_by=by, revoked_reason=reason)
    )


_SET_LAST_USED = (
    tokens.update()
    .where(
        tokens.c.id == sa.bindparam("token_id"),
        sa.or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at <= sa.bindparam("at")),
    )
    .values(last_used_at=sa.bindparam("at"), last_used_from=sa.bindparam("address"))
)


def set_last_used(connection: sa.Connection, uses: Sequence[tuple[str, datetime, str]]) -> None:
    """Write token id, time and address of each use; an older use never replaces a newer one."""
    parameters = [{"token_id": token_id, "at": at, "address": address} for token_id, at, address in uses]
    connection.execute(_SET_LAST_USED, parameters)


async def by_id(connection: Connection, token_id: str) -> Token | None:
    """Return the token with that id."""
    row = (await connection.execute(_with_account.where(tokens.c.id == token_id))).first()
    return _token_of(row) if row else None


async def by_digest(connection: Connection, digest: bytes) -> tuple[Token, Account] | None:
    """Return the token with that digest and its owner."""
    row = (await connection.execute(_by_digest, {"digest": digest})).first()
    return (_token_of(row), account_of(row, "account_")) if row else None


def by_digest_at_once(reader: DirectReader, digest: bytes) -> tuple[Token, Account] | None:
    """Return what `by_digest` would; raises NotAtOnceError."""
    row = reader.row(_ALONE_TEXT, digest)
    if row and row[_PARENT] is not None:
        row = reader.row(_BY_DIGEST_TEXT, digest)
    return _pair_of(row) if row else None


@lru_cache(maxsize=1024)
def _pair_of(row: tuple[Any, ...]) -> tuple[Token, Account]:
    """Read a row as it comes from the file: by all of it, so that what is remembered can't be old."""
    # A token that is alone has the first of the columns.
    read = zip(_READERS.items(), row, strict=False)
    values = SimpleNamespace(**{name: reader(v) if reader else v for (name, reader), v in read})
    return _token_of(values), account_of(values, "account_")


async def with_ids(connection: Connection, token_ids: Sequence[str]) -> dict[str, tuple[Token, Account]]:
    """Return the tokens that are there with their owners, by their ids."""
    rows = await connection.execute(_with_account.where(tokens.c.id.in_(token_ids)))
    return {row.id: (_token_of(row), account_of(row, "account_")) for row in rows}


async def names(connection: Connection, token_ids: Sequence[str]) -> dict[str, str]:
    """Return the names of the tokens that are there, by their ids."""
    query = sa.select(tokens.c.id, tokens.c.name).where(tokens.c.id.in_(token_ids))
    return {row.id: row.name for row in await connection.execute(query)}


async def matching(connection: Connection, wanted: TokenQuery, now: datetime) -> list[Token]:
    """Return tokens, the newest first."""
    query = _with_account.order_by(tokens.c.created_at.desc(), tokens.c.id.desc())
    if wanted.account is not None:
        query = query.where(tokens.c.account_id == id_of(wanted.account))
    if wanted.parent is not None:
        query = query.where(tokens.c.parent_id == wanted.parent)
    if wanted.status is not None:
        query = query.where(*_conditions(wanted.status, now))
    if wanted.search:
        columns = (tokens.c.name, tokens.c.id, tokens.c.hint)
        query = query.where(sa.or_(*(c.icontains(wanted.search, autoescape=True) for c in columns)))
    if wanted.before is not None:
        place = (tokens.c.created_at, tokens.c.id)
        before = sa.tuple_(*wanted.before, types=[column.type for column in place])
        query = query.where(sa.tuple_(*place) < before)
    return [_token_of(row) for row in await connection.execute(query.limit(wanted.limit))]


def _conditions(status: Status, now: datetime) -> list[sa.ColumnElement[bool]]:
    """`Token.status` in SQL, so that ten thousand tokens need not be read to show fifty."""
    tables = _lineage.values()
    is_revoked = sa.or_(*(table.c.revoked_at.is_not(None) for table in tables))
    if status is Status.REVOKED:
        return [is_revoked]
    alive = sa.not_(is_revoked)
    is_over = _any(
        condition
        for table in tables
        for condition in (table.c.expires_at <= now, table.c.uses_left == 0)
    )
    if status is Status.EXPIRED:
        return [alive, is_over]
    is_to_come = _any(table.c.not_before > now for table in tables)
    return [alive, sa.not_(is_over), is_to_come if status is Status.PENDING else sa.not_(is_to_come)]


def _any(conditions: Iterable[sa.ColumnElement[bool]]) -> sa.ColumnElement[bool]:
    """Tell whether one of them holds; what compares with NULL does not."""
    return sa.or_(*(sa.func.coalesce(condition, sa.false()) for condition in conditions))


_new_uses = upsert(token_uses)
_ADD_USES = _new_uses.on_conflict_do_update(
    index_elements=["token_id", "day"], set_={"uses": token_uses.c.uses + _new_uses.excluded.uses}
)


def add_uses(connection: sa.Connection, uses: Iterable[tuple[str, int, int]]) -> None:
    """Count token id, day since 1970, number of uses; at least one."""
    rows = [{"token_id": token_id, "day": day, "uses": number} for token_id, day, number in uses]
    connection.execute(_ADD_USES, rows)


async def uses_since(
    connection: Connection, token_ids: Sequence[str], day: int
) -> list[tuple[str, int, int]]:
    """Return token id, day and number of uses, from that day on."""
    query = sa.select(token_uses).where(token_uses.c.token_id.in_(token_ids), token_uses.c.day >= day)
    return [(row.token_id, row.day, row.uses) for row in await connection.execute(query)]


def _editable(token: Token) -> dict[str, object]:
    return {
        "name": token.name,
        "scopes": sorted(token.scopes),
        "repositories": token.repositories,
        "refs": ref_texts(token),
        "addresses": address_texts(token),
        "uses": token.uses,
        "uses_left": token.uses_left,
        "not_before": token.not_before,
        "expires_at": token.expires_at,
    }


def _token_of(row: sa.Row[Any] | SimpleNamespace, generation: str = "") -> Token:
    """Read a token and all that it was derived from; `generation` is what its columns begin with."""

    def value(column: str) -> Any:  # noqa: ANN401 - whatever stands there
        return getattr(row, generation + column)

    addresses, refs, repositories = value("addresses"), value("refs"), value("repositories")
    before = {"": "older_", "older_": "oldest_"}.get(generation)
    return Token(
        id=value("id"),
        account=row.account_name,
        name=value("name"),
        scopes=frozenset(value("scopes")),
        repositories=None if repositories is None else tuple(repositories),
        refs=None if refs is None else tuple(map(ref_rule_of, refs)),
        addresses=None if addresses is None else tuple(ip_network(text) for text in addresses),
        uses=value("uses"),
        uses_left=value("uses_left"),
        parent=_token_of(row, before) if before and value("parent_id") is not None else None,
        created_at=value("created_at"),
        not_before=value("not_before"),
        expires_at=value("expires_at"),
        last_used_at=value("last_used_at"),
        last_used_from=value("last_used_from"),
        revoked_at=value("revoked_at"),
        revoked_by=value("revoked_by"),
        revoked_reason=value("revoked_reason"),
        hint=value("hint"),
    )
