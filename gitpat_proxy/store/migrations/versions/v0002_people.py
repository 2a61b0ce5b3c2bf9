"""Passwords, sessions, sign-ins, uses a day, kinds of events."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MICROSECONDS_OF_DAY = 86_400_000_000


def upgrade() -> None:
    """Make what the pages need, and count what has been used so far."""
    op.add_column("accounts", sa.Column("password_hash", sa.Text))
    op.drop_index("tokens_by_account", "tokens")
    op.create_index("tokens_by_account", "tokens", ["account_id", "created_at", "id"])
    op.create_index("tokens_by_time", "tokens", ["created_at", "id"])
    _add_kinds()
    _add_uses()
    _add_sessions()
    op.create_table(
        "idempotency_keys",
        _account_id("key_account_exists", primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("token_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("idempotency_keys_by_time", "idempotency_keys", ["created_at"])


def _add_kinds() -> None:
    op.add_column("audit", sa.Column("kind", sa.Text))
    op.execute(
        "UPDATE audit SET kind = CASE WHEN event IN ('clone', 'fetch', 'archive') THEN 'read' "
        "WHEN event IN ('push', 'refused') THEN event ELSE 'change' END"
    )
    op.create_index("audit_by_kind", "audit", ["kind", "at"])
    op.create_index("audit_by_token_and_kind", "audit", ["token", "kind", "at"])
    op.create_index("audit_by_account_and_kind", "audit", ["account", "kind", "at"])


def _add_uses() -> None:
    op.create_table(
        "token_uses",
        sa.Column("token_id", sa.Text, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("uses", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        f"INSERT INTO token_uses SELECT token, at / {_MICROSECONDS_OF_DAY}, count(*) FROM audit "  # noqa: S608 - a constant
        "WHERE kind IN ('read', 'push') AND token IS NOT NULL GROUP BY 1, 2"
    )


def _add_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text, primary_key=True),
        _account_id("sessions_account_exists"),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_seen_at", sa.BigInteger, nullable=False),
        sa.Column("authenticated_at", sa.BigInteger, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("browser", sa.Text, nullable=False),
        sa.Column("by_header", sa.Boolean, nullable=False),
        sa.UniqueConstraint("digest", name="sessions_digest_unique"),
    )
    op.create_index("sessions_by_account", "sessions", ["account_id", "created_at"])
    op.create_index("sessions_by_time", "sessions", ["created_at"])
    op.create_table(
        "known_devices",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        _account_id("devices_account_exists"),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
    op.create_index("known_devices_by_time", "known_devices", ["seen_at"])
    op.create_table(
        "failed_sign_ins",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
    )
    op.create_index("failed_sign_ins_by_time", "failed_sign_ins", ["last_at"])


def _account_id(constraint: str, *, primary_key: bool = False) -> sa.Column[int]:
    reference = sa.ForeignKey("accounts.id", name=constraint)
    return sa.Column("account_id", _row_id, reference, nullable=False, primary_key=primary_key)
