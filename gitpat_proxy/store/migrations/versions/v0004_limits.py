"""Limits of a token, and the token that it was derived from."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add what no token has had so far."""
    for name in ("repositories", "refs"):
        op.add_column("tokens", sa.Column(name, sa.JSON(none_as_null=True)))
    for name in ("uses", "uses_left"):
        op.add_column("tokens", sa.Column(name, sa.Integer))
    # Alembic would add the reference as a constraint of the table, which SQLite can't.
    op.execute("ALTER TABLE tokens ADD COLUMN parent_id TEXT REFERENCES tokens (id)")
    op.create_index("tokens_by_parent", "tokens", ["parent_id", "created_at", "id"])
