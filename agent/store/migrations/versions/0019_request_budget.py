"""The request budget that processes share."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "request_budgets",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("paused_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_request_budgets")),
    )
    op.create_table(
        "request_permits",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("permits", sa.Integer(), nullable=False),
        sa.Column("counts_until", sa.BigInteger(), nullable=False),
        sa.Column("deactivation_waits_until", sa.BigInteger(), nullable=False),
        sa.Column("read_waits_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("host", "holder", name=op.f("pk_request_permits")),
    )
    op.create_table(
        "answered_requests",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("counts_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("host", "holder", "number", name=op.f("pk_answered_requests")),
    )
