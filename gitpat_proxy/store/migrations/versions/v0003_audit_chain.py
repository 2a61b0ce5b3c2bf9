"""A chain through the audit."""

import json

import sqlalchemy as sa
from alembic import op

from gitpat_proxy.access.chain import BEGINNING, link_of
from gitpat_proxy.access.model import AuditEvent
from gitpat_proxy.access.moment import moment_of

revision = "0003"
down_revision = "0002"

_AT_ONCE = 10_000
_FACTS = "id, at, event, account, token, repository, address, request, details"


def upgrade() -> None:
    """Link the records that are there, as they are."""
    op.add_column("audit", sa.Column("chain", sa.LargeBinary))
    op.create_table(
        "audit_pruned",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("chain", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    connection = op.get_bind()
    last, previous = 0, BEGINNING
    while True:
        query = sa.text(f"SELECT {_FACTS} FROM audit WHERE id > :last ORDER BY id LIMIT {_AT_ONCE}")  # noqa: S608 - constants
        rows = connection.execute(query, {"last": last}).all()
        if not rows:
            return
        links = []
        for row in rows:
            facts = dict(row._mapping) | {"at": moment_of(row.at), "details": json.loads(row.details)}
            row_id = facts.pop("id")
            previous = link_of(previous, row_id, AuditEvent(**facts))
            links.append({"row_id": row_id, "chain": previous})
        connection.execute(sa.text("UPDATE audit SET chain = :chain WHERE id = :row_id"), links)
        last = rows[-1][0]
