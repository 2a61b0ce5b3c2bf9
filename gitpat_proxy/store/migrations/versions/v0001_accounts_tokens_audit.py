"""Accounts, tokens, audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "accounts",
        sa.Column("id", _row_id, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("administrator", sa.Boolean, nullable=False),
        sa.Column("service", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("disabled_at", sa.BigInteger),
        sa.UniqueConstraint("name", name="accounts_name_unique"),
    )
    op.create_table(
        "tokens",
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
        sa.Column("addresses", sa.JSON),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("last_used_at", sa.BigInteger),
        sa.Column("last_used_from", sa.Text),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("revoked_by", sa.Text),
        sa.Column("revoked_reason", sa.Text),
        sa.UniqueConstraint("digest", name="tokens_digest_unique"),
    )
    op.create_index("tokens_by_account", "tokens", ["account_id"])
    op.create_table(
        "audit",
        sa.Column("id", _row_id, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("account", sa.Text),
        sa.Column("token", sa.Text),
        sa.Column("repository", sa.Text),
        sa.Column("address", sa.Text),
        sa.Column("request", sa.Text),
        sa.Column("details", sa.JSON, nullable=False),
    )
    op.create_index("audit_by_time", "audit", ["at"])
    op.create_index("audit_by_token", "audit", ["token", "at"])
    op.create_index("audit_by_account", "audit", ["account", "at"])
    op.create_index("audit_by_repository", "audit", ["repository", "at"])
