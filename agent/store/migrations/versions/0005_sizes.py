"""When each group's size was accepted last, and the other sizes that it had within the last day."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("baselines", sa.Column("seen_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "former_sizes",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("people", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "connector", "group_id", "people", name=op.f("pk_former_sizes")),
    )
    # What stands there counts as accepted by the workspace's last enforcing run.
    op.execute(
        "UPDATE baselines SET seen_at = (SELECT max(started_at) FROM runs WHERE runs.workspace = baselines.workspace "
        "AND NOT runs.dry_run AND runs.status IN ('done', 'held'))"
    )
