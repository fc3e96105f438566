"""Approvals, each with its person, reason and guards."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "approvals",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("guards", sa.Text(), nullable=False),
        sa.Column("applied_in", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_approvals")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_approvals_run_id"), ondelete="CASCADE"),
    )
    op.create_index(op.f("ix_approvals_workspace_digest"), "approvals", ["workspace", "digest"])
    op.create_index(op.f("ix_approvals_applied_in"), "approvals", ["applied_in"])
