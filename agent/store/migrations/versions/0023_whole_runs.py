"""Runs over everyone that a change feed asks for, so that any replica starts them."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

usable_since = "0020"
"""A new table only, which an older release leaves alone: it keeps what its feeds ask for in its memory."""


def upgrade() -> None:
    op.create_table(
        "whole_runs",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("tried_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", name=op.f("pk_whole_runs")),
    )
