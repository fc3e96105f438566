"""The oldest schema whose release may use the state: an older release goes on if the newer one lets it."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

usable_since = "0020"
"""A release with this schema reads and writes what this migration leaves."""


def upgrade() -> None:
    op.create_table(
        "schema_support",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("oldest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_support")),
    )
