"""What the change feeds announced, the leavers that runs over everyone found, and how late deactivations were."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "announcements",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("named_at", sa.BigInteger(), nullable=False),
        sa.Column("event_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "connector", "person", name=op.f("pk_announcements")),
    )
    op.create_table(
        "feed_reads",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "connector", name=op.f("pk_feed_reads")),
    )
    op.create_table(
        "found_leavers",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.Column("announced_since", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "connector", "person", name=op.f("pk_found_leavers")),
    )
    op.create_table(
        "feed_lags",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("lag", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "connector", "person", "at", name=op.f("pk_feed_lags")),
    )
