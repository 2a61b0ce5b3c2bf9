"""The tables, as the newest migration leaves them."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

REVISION = "0001"
"""The newest migration: what the code needs the database to be at."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcTime(sa.TypeDecorator[datetime]):
    """A moment in UTC, kept as microseconds since 1970: sorts and compares the same everywhere."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        del dialect
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        del dialect
        return None if value is None else _EPOCH + timedelta(microseconds=value)


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
    sa.UniqueConstraint("digest", name="tokens_digest_unique"),
    sa.Index("tokens_by_account", "account_id"),
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
    sa.Index("audit_by_time", "at"),
    sa.Index("audit_by_token", "token", "at"),
    sa.Index("audit_by_account", "account", "at"),
    sa.Index("audit_by_repository", "repository", "at"),
)
