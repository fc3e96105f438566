"""What later listings showed of creates without a known end, and keys of addresses in which `ß` is not `ss`."""

import time

import orjson
import sqlalchemy as sa
from alembic import op

from agent.store.text import EscapedText, address_key

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

WEEK = 7 * 86_400 * 1_000_000
SETTLED = 3


def upgrade() -> None:
    op.add_column("changes", sa.Column("accepted", sa.Boolean(), nullable=True))
    op.add_column("changes", sa.Column("absences", sa.Integer(), nullable=True))
    op.create_index("ix_changes_workspace_outcome", "changes", ["workspace", "outcome"])
    connection = op.get_bind()
    # What is older than a week was forgotten by the release before, and must not come back.
    connection.execute(
        sa.text("UPDATE changes SET absences = :settled WHERE sent_at < :since"),
        {"settled": SETTLED, "since": time.time_ns() // 1_000 - WEEK},
    )
    _renew_keys(connection)


def _renew_keys(connection: sa.Connection) -> None:
    """Rewrite the keys of addresses with letters beyond ASCII: they were folded with expansion before."""
    changes = sa.table(
        "changes",
        sa.column("run_id", EscapedText),
        sa.column("seq", sa.Integer()),
        sa.column("change", sa.Text()),
        sa.column("email", EscapedText),
        sa.column("former_email", EscapedText),
    )
    renewed = []
    for row in connection.execute(sa.select(changes)):
        if not row.change.isascii():
            change = orjson.loads(row.change)
            keys = address_key(change["email"]), address_key(change["before"]["email"] or "")
            if keys != (row.email, row.former_email):
                renewed.append((row.run_id, row.seq, *keys))
    for run_id, seq, email, former in renewed:
        is_it = sa.and_(changes.c.run_id == run_id, changes.c.seq == seq)
        connection.execute(sa.update(changes).where(is_it).values(email=email, former_email=former))
