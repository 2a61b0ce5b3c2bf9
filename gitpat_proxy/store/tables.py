"""The tables, as the newest migration leaves them."""

from datetime import datetime

import sqlalchemy as sa

from gitpat_proxy.access.moment import microseconds_of, moment_of

REVISION = "0004"
"""The newest migration: what the code needs the database to be at."""


class UtcTime(sa.TypeDecorator[datetime]):
    """A moment in UTC, kept as microseconds since 1970: sorts and compares the same everywhere."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        del dialect
        return None if value is None else microseconds_of(value)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        del dialect
        return None if value is None else moment_of(value)


metadata = sa.MetaData()

_row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", _row_id, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("administrator", sa.Boolean, nullable=False),
    sa.Column("service", sa.Boolean, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("disabled_at", UtcTime),
    sa.Column("password_hash", sa.Text),
    sa.UniqueConstraint("name", name="accounts_name_unique"),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column(
        "account_id",
        _row_id,
        sa.ForeignKey("accounts.id", name="tokens_account_exists"),
        nullable=False,
    ),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("hint", sa.Text, nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("addresses", sa.JSON(none_as_null=True)),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("not_before", UtcTime),
    sa.Column("expires_at", UtcTime),
    sa.Column("last_used_at", UtcTime),
    sa.Column("last_used_from", sa.Text),
    sa.Column("revoked_at", UtcTime),
    sa.Column("revoked_by", sa.Text),
    sa.Column("revoked_reason", sa.Text),
    sa.Column("repositories", sa.JSON(none_as_null=True)),
    sa.Column("refs", sa.JSON(none_as_null=True)),
    sa.Column("uses", sa.Integer),
    sa.Column("uses_left", sa.Integer),
    sa.Column("parent_id", sa.Text, sa.ForeignKey("tokens.id")),
    sa.UniqueConstraint("digest", name="tokens_digest_unique"),
    sa.Index("tokens_by_account", "account_id", "created_at", "id"),
    sa.Index("tokens_by_time", "created_at", "id"),
    sa.Index("tokens_by_parent", "parent_id", "created_at", "id"),
)

token_uses = sa.Table(
    "token_uses",
    metadata,
    sa.Column("token_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("uses", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""How often a token was used on a day, counted from 1970, in UTC."""

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column(
        "account_id", _row_id, sa.ForeignKey("accounts.id", name="key_account_exists"), primary_key=True
    ),
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("request", sa.LargeBinary, nullable=False),
    sa.Column("token_id", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Index("idempotency_keys_by_time", "created_at"),
)
"""Digests of the keys and requests that have been answered, with the token that each is about."""

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column(
        "account_id",
        _row_id,
        sa.ForeignKey("accounts.id", name="sessions_account_exists"),
        nullable=False,
    ),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("last_seen_at", UtcTime, nullable=False),
    sa.Column("authenticated_at", UtcTime, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("browser", sa.Text, nullable=False),
    sa.Column("by_header", sa.Boolean, nullable=False),
    sa.UniqueConstraint("digest", name="sessions_digest_unique"),
    sa.Index("sessions_by_account", "account_id", "created_at"),
    sa.Index("sessions_by_time", "created_at"),
)

known_devices = sa.Table(
    "known_devices",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column(
        "account_id",
        _row_id,
        sa.ForeignKey("accounts.id", name="devices_account_exists"),
        nullable=False,
    ),
    sa.Column("seen_at", UtcTime, nullable=False),
    sa.Index("known_devices_by_time", "seen_at"),
)
"""Browsers from which somebody has signed in before."""

failed_sign_ins = sa.Table(
    "failed_sign_ins",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("last_at", UtcTime, nullable=False),
    sa.Index("failed_sign_ins_by_time", "last_at"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", _row_id, primary_key=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("account", sa.Text),
    sa.Column("token", sa.Text),
    sa.Column("repository", sa.Text),
    sa.Column("address", sa.Text),
    sa.Column("request", sa.Text),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("kind", sa.Text),
    sa.Column("chain", sa.LargeBinary),
    sa.Index("audit_by_time", "at"),
    sa.Index("audit_by_token", "token", "at"),
    sa.Index("audit_by_account", "account", "at"),
    sa.Index("audit_by_repository", "repository", "at"),
    sa.Index("audit_by_kind", "kind", "at"),
    sa.Index("audit_by_token_and_kind", "token", "kind", "at"),
    sa.Index("audit_by_account_and_kind", "account", "kind", "at"),
)

audit_pruned = sa.Table(
    "audit_pruned",
    metadata,
    sa.Column("id", _row_id, primary_key=True),
    sa.Column("chain", sa.LargeBinary, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)
"""The last record that was pruned: what stands in the chain before the first that is there."""
