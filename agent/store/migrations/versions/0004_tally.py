"""Whom a run was for, how many members it saw active, and how many changes it made, held and failed to make."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("for_user", sa.Text(), nullable=False, server_default=sa.text("''")))
    for name in ("active", "changed", "held", "failed"):
        op.add_column("runs", sa.Column(name, sa.Integer(), nullable=True))
